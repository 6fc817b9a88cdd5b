"""Known pictures get the answers that the networks gave when they were released, or it is seen."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.engines.engine import open_engine
from deepfake_core.errors import ModelError, SuspectNetworks
from deepfake_core.images.decoding import Loaded
from deepfake_core.inference import face_reading
from deepfake_core.inference.canaries import check_first, check_second
from deepfake_core.inference.canary_watch import CanaryWatch
from deepfake_core.inference.looks import Looks
from deepfake_core.inference.opening import Choice, Networks, choose_networks, open_classifier
from deepfake_core.models.bundle import CANARIES_FILE, read_bundle, write_description
from deepfake_core.models.canaries import PICTURES, known_pictures, read_canaries, read_pictures
from deepfake_core.models.registry import find_model, register
from deepfake_core.records import Failure
from deepfake_core.release.canary_answers import record_first

FIRST, FINDER = "resnet50@3+785cfee4", "centerface@2+1d00e256"


@pytest.fixture(scope="module", params=["auto", "fp32"])
def watch(request: pytest.FixtureRequest) -> CanaryWatch:
    return CanaryWatch(choose_networks(find_model("resnet50"), Choice(precision=request.param)))


def drifts(watch: CanaryWatch) -> set[str]:
    """The networks that answer otherwise."""
    check = check_first(watch._networks, watch.classifier)
    return {drift.network.partition("@")[0] for drift in check.drifts}


def decoded_as(
    monkeypatch: pytest.MonkeyPatch, watch: CanaryWatch, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Let decoding give other pixels."""
    reader = watch.classifier.reader
    assert isinstance(reader, face_reading.AlignedFaces)
    load = reader.load

    def changed(content: bytes, side: int = face_reading.FINDING_SIDE) -> Loaded | Failure:
        loaded = load(content, side)
        assert isinstance(loaded, Loaded)
        pixels = change(np.asarray(loaded.image))
        return dataclasses.replace(loaded, image=Image.fromarray(np.ascontiguousarray(pixels)))

    monkeypatch.setattr(reader, "load", changed)


def test_the_shipped_networks_answer_as_they_did(watch: CanaryWatch):
    watch.begin(stop=True)
    known = watch.known()
    assert known.checked == (FINDER, FIRST)
    assert known.drifts == ()
    assert not known.suspect


def test_pixels_in_another_order_are_seen(watch: CanaryWatch, monkeypatch: pytest.MonkeyPatch):
    decoded_as(monkeypatch, watch, lambda pixels: pixels[..., ::-1])
    assert "resnet50" in drifts(watch)


def test_a_mirrored_picture_is_seen(watch: CanaryWatch, monkeypatch: pytest.MonkeyPatch):
    decoded_as(monkeypatch, watch, lambda pixels: pixels[:, ::-1])
    assert drifts(watch) == {"resnet50", "centerface"}


def test_faces_that_are_cut_without_alignment_are_seen(
    watch: CanaryWatch, monkeypatch: pytest.MonkeyPatch
):
    align = face_reading.align

    def cut(image: Image.Image, landmarks: np.ndarray, *, size: int) -> object:
        return dataclasses.replace(
            align(image, landmarks, size=size), crop=np.asarray(image.resize((size, size)))
        )

    monkeypatch.setattr(face_reading, "align", cut)
    assert drifts(watch) == {"resnet50"}


def test_a_finder_that_sees_nothing_is_named(watch: CanaryWatch, monkeypatch: pytest.MonkeyPatch):
    decoded_as(monkeypatch, watch, np.zeros_like)
    check = check_first(watch._networks, watch.classifier)
    assert [drift.picture for drift in check.drifts] == sorted(known_pictures("all"))
    assert {drift.network for drift in check.drifts} == {FINDER}
    assert check.drifts[0].words == f"{FINDER} sees nothing to judge in photograph-degraded.jpg"


@pytest.mark.parametrize("broken", [np.zeros_like, lambda logits: logits * np.nan])
def test_an_engine_that_computes_otherwise_is_seen(
    watch: CanaryWatch, monkeypatch: pytest.MonkeyPatch, broken: Callable[..., np.ndarray]
):
    engine = watch.classifier.engine
    logits = engine.logits
    monkeypatch.setattr(engine, "logits", lambda pixels: broken(logits(pixels)))
    check = check_first(watch._networks, watch.classifier)
    assert {drift.network for drift in check.drifts} == {FIRST}
    assert json.loads(check.model_dump_json())["drifts"]


def test_a_run_may_be_ended_by_it(watch: CanaryWatch, monkeypatch: pytest.MonkeyPatch):
    engine = watch.classifier.engine
    monkeypatch.setattr(engine, "logits", lambda pixels: np.full(len(pixels), 9.0, np.float32))
    with pytest.raises(SuspectNetworks, match=r"resnet50@3\S+ gives render.jpg the logit 9.00 ins"):
        watch.begin(stop=True)
    watch.begin()
    assert watch.known().suspect


@pytest.mark.slow
def test_the_second_look_is_asked_when_it_is_needed():
    watch = CanaryWatch(choose_networks(find_model("resnet50")))
    second = watch.classifier.looks.second
    assert second is not None
    watch.begin(stop=True)
    assert len(watch.known().checked) == 2
    second.logits(np.zeros((1, 128, 128, 3), np.uint8))
    assert watch.known().checked[2].startswith("clip@1+")
    assert not watch.known().suspect

    engine = second._engine.get()

    class Mirrored:
        precision, lanes = engine.precision, engine.lanes

        def logits(self, pixels: np.ndarray) -> np.ndarray:
            return engine.logits(pixels[..., ::-1])

    check = check_second(watch._networks, watch.classifier, Mirrored())
    assert {drift.network for drift in check.drifts} == {second.model_id}
    # A cluster's worker keeps the networks for the next run, which asks both looks again.
    watch._second_engine = Mirrored()
    with pytest.raises(SuspectNetworks, match="clip@1"):
        watch.begin(stop=True)


def test_weights_of_another_network_are_seen(two_models: Path):
    one, other = (find_model(f"tiny@{version}", two_models) for version in (1, 2))
    assert record_first(one) is not None
    networks = Networks(one, "fp32")
    classifier = open_classifier(networks)
    assert check_first(networks, classifier).model_dump() == {
        "checked": (one.model_id,),
        "drifts": (),
    }
    engine = open_engine(other, kind="openvino", precision="fp32")
    classifier.looks = Looks(engine, classifier.curve)
    assert check_first(networks, classifier).suspect


def test_answers_are_no_part_of_what_names_a_network(two_models: Path, tmp_path: Path):
    bundle = find_model("tiny@1", two_models)
    record_first(bundle)
    assert write_description(bundle.folder, bundle.description).digest == bundle.digest
    # They go where the network goes, and are of no other one.
    moved = register(bundle, registry=tmp_path / "registry")
    assert read_canaries(moved.folder, moved.digest) == read_canaries(bundle.folder, bundle.digest)
    assert read_canaries(moved.folder, "0" * 64) is None


def test_a_network_without_answers_is_not_asked(tiny_registry: Path):
    bundle = find_model("tiny", tiny_registry)
    assert read_canaries(bundle.folder, bundle.digest) is None
    watch = CanaryWatch(Networks(bundle, "fp32"))
    watch.begin(stop=True)
    assert watch.known().checked == ()


def test_damaged_answers_and_pictures_are_refused(two_models: Path, tmp_path: Path):
    bundle = find_model("tiny@1", two_models)
    canaries = record_first(bundle)
    assert canaries is not None
    copied = shutil.copytree(PICTURES, tmp_path / "pictures")
    assert read_pictures(canaries, copied) == list(known_pictures("all").values())
    (copied / "render.jpg").write_bytes((PICTURES / "photograph.jpg").read_bytes())
    with pytest.raises(ModelError, match=r"render\.jpg is not the picture that was answered"):
        read_pictures(canaries, copied)
    (copied / "render.jpg").unlink()
    assert read_pictures(canaries, copied) is None
    (bundle.folder / CANARIES_FILE).write_text("{")
    with pytest.raises(ModelError, match="is not a list of answers"):
        read_canaries(bundle.folder, bundle.digest)


def test_what_ships_is_small_and_belongs_to_the_networks():
    assert read_bundle(find_model("resnet50").folder).model_id == FIRST
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 100_000
