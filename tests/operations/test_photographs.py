"""Photographs are judged as a scan judges them; what does not count is named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepfake_core.engines.engine import open_engine
from deepfake_core.errors import UsageError
from deepfake_core.inference.classifier import Classifier
from deepfake_core.models.registry import find_model
from deepfake_core.operations.photographs import judge_photographs
from deepfake_core.storage.local import LocalStorage


@pytest.fixture(scope="module")
def classifier(tiny_registry: Path) -> Classifier:
    bundle = find_model("tiny", tiny_registry)
    return Classifier(bundle, open_engine(bundle, kind="openvino", precision="fp32"))


def test_each_photograph_counts_once_by_its_highest_score(
    classifier: Classifier, image_folder: Callable[..., Path], tmp_path: Path
):
    folder = image_folder(20, broken=True, folder=tmp_path)
    (folder / "again.jpg").write_bytes((folder / "0000.jpg").read_bytes())
    told: list[tuple[int, int]] = []
    found = judge_photographs(
        LocalStorage(folder), classifier, told=lambda done, of: told.append((done, of))
    )
    assert len(found.images) == len(found.scores) == 20
    assert found.images == sorted(found.images)
    assert found.left_out == {"duplicate": 1, "decode.corrupt": 1, "decode.unsupported": 2}
    assert found.sizes is None
    assert told[-1] == (24, 24)
    contents = [(folder / image).read_bytes() for image in found.images]
    expected = [one.score for one in classifier.judge(contents).judgements]
    assert np.allclose(found.scores, np.float32(expected), atol=1e-4)


def test_an_empty_folder_is_refused(classifier: Classifier, tmp_path: Path):
    with pytest.raises(UsageError, match="no files"):
        judge_photographs(LocalStorage(tmp_path), classifier)
