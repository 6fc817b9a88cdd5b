"""Which labels change when another model judges the same pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow.compute as pc

from deepfake_core.errors import UsageError
from deepfake_core.inference.classifier import Classifier
from deepfake_core.inference.judgement import Judgement
from deepfake_core.records import Label
from deepfake_core.results.layout import published_name
from deepfake_core.results.run_ids import is_run_id
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.storage.base import Storage
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.reading import read_or_failure

READ_THREADS, BATCH = 8, 16
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Flip:
    """A picture whose label is another one.

    Attributes:
        image: its path below the source.
        before: the label by the first model; ``failed`` where it could not be judged.
        after: by the second.
        score_before: by the first model; None where there is none.
        score_after: by the second.
    """

    image: str
    before: str
    after: str
    score_before: float | None
    score_after: float | None

    @property
    def reversed(self) -> bool:
        """Whether it went from one decided label to its opposite."""
        return {self.before, self.after} == {Label.FAKE, Label.REAL}


@dataclass(frozen=True, slots=True)
class Difference:
    """How two models judge the same pictures.

    Attributes:
        images: pictures that were compared.
        by: how many went from which label to which, also those that stayed.
        flips: those that changed, reversals first, then by how far the score moved.
        mean_score_change: mean absolute difference of the scores that both gave; None for none.
    """

    images: int
    by: dict[tuple[str, str], int]
    flips: list[Flip]
    mean_score_change: float | None


def pictures_of(data: str, output: str) -> tuple[Storage, list[str]]:
    """The pictures to compare on.

    Args:
        data: a folder or URL, or the id of a finished run below `output`.
        output: the folder of results.

    Raises:
        UsageError: it is neither, or holds no pictures.
    """
    if is_run_id(data):
        results = Results(open_storage(output))
        run = results.get_run(data)
        if run is not None and run.state == "done" and run.has_rows:
            path = published_name(run.run_date, data)
            rows = read_verdicts(results.storage, path, ["image", "label"])
            return open_storage(run.source), rows.filter(pc.is_valid(rows["label"]))[
                "image"
            ].to_pylist()
    source = open_storage(data)
    if not source.exists():
        raise UsageError(
            f"--data {data}: there is neither such a folder nor a finished run of that name in "
            f"{output}"
        )
    paths = sorted(source.list_files().paths)
    if not paths:
        raise UsageError(f"there are no files in {source.name}; give a folder of pictures")
    return source, paths


def compare_models(
    source: Storage,
    images: Sequence[str],
    *,
    first: Classifier,
    second: Classifier,
    told: Callable[[int, int], None] = lambda *_: None,
) -> Difference:
    """Judge pictures by two models.

    Args:
        source: where they are.
        images: their paths.
        first: the model before.
        second: the model after.
        told: called with the number of pictures that are done, and of all.
    """
    by: Counter[tuple[str, str]] = Counter()
    flips: list[Flip] = []
    moved: list[float] = []
    with ThreadPoolExecutor(READ_THREADS, "read") as pool:
        for start in range(0, len(images), BATCH):
            some = images[start : start + BATCH]
            contents = [
                content for content, _ in pool.map(lambda path: read_or_failure(source, path), some)
            ]
            pairs = zip(
                some,
                first.judge(contents).judgements,
                second.judge(contents).judgements,
                strict=True,
            )
            for image, before, after in pairs:
                by[_label(before), _label(after)] += 1
                if before.score is not None and after.score is not None:
                    moved.append(abs(after.score - before.score))
                if _label(before) != _label(after):
                    flips.append(
                        Flip(image, _label(before), _label(after), before.score, after.score)
                    )
            told(start + len(some), len(images))
    flips.sort(key=lambda flip: (not flip.reversed, -_change(flip), flip.image))
    mean = sum(moved) / len(moved) if moved else None
    return Difference(len(images), dict(by), flips, mean)


def _label(judgement: Judgement) -> str:
    return FAILED if judgement.label is None else str(judgement.label)


def _change(flip: Flip) -> float:
    return abs((flip.score_after or 0.0) - (flip.score_before or 0.0))
