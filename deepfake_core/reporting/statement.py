"""A statement over a period: what was scanned, judged, refused, flagged, reviewed, overturned.

These are figures that a transparency report asks for, such as that of Article 15(1)(e) of the
Digital Services Act (EU 2022/2065). They are counted, not legal advice.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from deepfake_core.errors import UsageError
from deepfake_core.models.figures import value_of
from deepfake_core.records import DECIDED, Label
from deepfake_core.rendering.evidence import label_words
from deepfake_core.rendering.figure_intervals import figure_interval
from deepfake_core.rendering.text import as_markdown, percent, share_text
from deepfake_core.results.layout import published_name
from deepfake_core.results.review_log import ReviewLog, Standing, standings
from deepfake_core.results.run_record import RunRecord
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import verdict_chunks
from deepfake_core.storage.opening import open_storage

READ_AT_ONCE, ROWS_AT_ONCE = 8, 100_000
COLUMNS = ("sha256", "label", "failure", "reason")
LIMITS = (
    "Counted from this folder of results alone: what was erased, or moved away by retention, is "
    "not in it. Error rates are those of the test sets on the models' cards; on other pictures "
    "they differ. These figures are not legal advice."
)


class ModelUse(BaseModel):
    """A model that judged in the period, with what its card says of its errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model_id: str = Field(description="Its name, version and hash.")
    runs: int = Field(description="Runs in which it judged.")
    false_alarms: str | None = Field(description="Share of photographs flagged in its test set.")
    misses: str | None = Field(description="Share of fakes not flagged in its test set.")


class Statement(BaseModel):
    """The content of a statement; counts of files over all runs of the period."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    begins: dt.date = Field(description="First day, UTC.")
    ends: dt.date = Field(description="Last day, included.")
    runs: int = Field(description="Finished scans.")
    unfinished: int = Field(description="Scans that did not finish.")
    redecided: int = Field(description="Runs that only decided stored scores again.")
    listed: int = Field(description="Files that scans found.")
    skipped: int = Field(description="Files that were known or out of scope.")
    judged: int = Field(description="Files that got a label from a score.")
    refused: dict[str, int] = Field(description="Files that are not judged, by reason.")
    failed: dict[str, int] = Field(description="Files that could not be judged, by failure code.")
    labels: dict[str, int] = Field(description="Judged files by label.")
    pictures: int = Field(description="Distinct pictures among those judged, by their bytes.")
    flagged: int = Field(description="Distinct pictures that were flagged.")
    reviewed: int = Field(description="Distinct judged pictures that people decided on.")
    reviewed_flagged: int = Field(description="Flagged ones among them.")
    overturned: int = Field(description="Flagged ones that people found to be photographs.")
    found_by_people: int = Field(description="Unflagged ones that people found to be fake.")
    disputed: int = Field(description="Ones on which reviewers disagree or are unsure.")
    models: tuple[ModelUse, ...] = Field(description="The models that judged.")


def make_statement(output: str, begins: dt.date, ends: dt.date) -> Statement:
    """Count what was done in a period.

    Args:
        output: the folder of results, local or a URL.
        begins: the first day on which a run started, UTC.
        ends: the last day, included.

    Raises:
        UsageError: the period ends before it begins, or nothing was scanned in it.
    """
    if ends < begins:
        raise UsageError(f"the period ends on {ends}, before it begins on {begins}; swap them")
    results = Results(open_storage(output))
    runs = [run for run in _runs(results) if begins.isoformat() <= run.run_date <= ends.isoformat()]
    if not runs:
        raise UsageError(
            f"no run in {output} started from {begins} to {ends}; give other days, or --output"
        )
    scans = [run for run in runs if run.state == "done" and run.redecided is None]
    rows = _Rows()
    for run in scans:
        if run.has_rows:
            rows.count(results, run)
    decided = standings(ReviewLog(results.storage).lines())
    return Statement(
        begins=begins,
        ends=ends,
        runs=len(scans),
        unfinished=sum(run.state != "done" and run.redecided is None for run in runs),
        redecided=sum(run.redecided is not None for run in runs),
        listed=sum(run.counts.listed for run in scans),
        skipped=sum(run.counts.skipped for run in scans),
        judged=sum(count for label, count in rows.labels.items() if label != Label.NOT_APPLICABLE),
        refused=dict(sorted(rows.reasons.items())),
        failed=dict(sorted(rows.failures.items())),
        labels={label: n for label, n in rows.labels.items() if label != Label.NOT_APPLICABLE},
        pictures=len(rows.pictures),
        flagged=sum(label == Label.FAKE for label in rows.pictures.values()),
        **_reviews(rows.pictures, decided),
        models=tuple(_models(scans)),
    )


def statement_markdown(statement: Statement) -> str:
    """The statement for people."""
    rows: list[tuple[str, str]] = [
        ("finished scans", f"{statement.runs:,}"),
        ("scans that did not finish", f"{statement.unfinished:,}"),
        ("runs that decided stored scores again", f"{statement.redecided:,}"),
        ("files listed", f"{statement.listed:,}"),
        ("known or out of scope", f"{statement.skipped:,}"),
        ("judged", f"{statement.judged:,}"),
        *((f"judged: {label_words(label)}", f"{n:,}") for label, n in statement.labels.items()),
        *((f"not applicable: {reason}", f"{n:,}") for reason, n in statement.refused.items()),
        *((f"failed: {code}", f"{n:,}") for code, n in statement.failed.items()),
        ("distinct pictures judged", f"{statement.pictures:,}"),
        ("distinct pictures flagged", f"{statement.flagged:,}"),
        ("decided on by people", f"{statement.reviewed:,}"),
        (
            "flags overturned by people",
            share_text(statement.overturned, statement.reviewed_flagged),
        ),
        ("not flagged, found to be fake by people", f"{statement.found_by_people:,}"),
        ("reviewers disagree or are unsure", f"{statement.disputed:,}"),
    ]
    models = [
        (
            model.model_id,
            f"{model.runs:,}",
            model.false_alarms or "unknown",
            model.misses or "unknown",
        )
        for model in statement.models
    ]
    return "\n".join(
        [
            "# Automated detection of machine-generated faces, "
            f"{statement.begins} to {statement.ends}",
            "",
            *_table(("what", "count"), rows),
            "",
            "## Accuracy and possible rate of error",
            "",
            *_table(("model", "runs", "photographs flagged", "fakes not flagged"), models),
            "",
            LIMITS,
            "",
        ]
    )


class _Rows:
    """What the rows of several runs say together."""

    def __init__(self) -> None:
        self.labels: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        # The strongest label that a picture got, by its sha256.
        self.pictures: dict[str, str] = {}

    def count(self, results: Results, run: RunRecord) -> None:
        """Add the rows of a finished run."""
        path = published_name(run.run_date, run.run_id)
        for rows in verdict_chunks(results.storage, path, COLUMNS, rows=ROWS_AT_ONCE):
            refused = pc.fill_null(pc.equal(rows["label"], Label.NOT_APPLICABLE), False)
            for counter, column in (
                (self.labels, rows["label"]),
                (self.failures, rows["failure"]),
                # A reason of what was judged, `unstable`, is not a refusal.
                (self.reasons, rows.filter(refused)["reason"]),
            ):
                for pair in pc.value_counts(column.drop_null()).to_pylist():
                    counter[pair["values"]] += pair["counts"]
            judged = rows.filter(pc.is_in(rows["label"], _LABELS))
            pairs = judged.select(["sha256", "label"]).group_by(["sha256", "label"]).aggregate([])
            for pair in pairs.to_pylist():
                if self.pictures.get(pair["sha256"]) != Label.FAKE:
                    self.pictures[pair["sha256"]] = pair["label"]


_LABELS = pa.array([str(label) for label in DECIDED])


def _runs(results: Results) -> Iterable[RunRecord]:
    names = results.storage.names("runs")
    with ThreadPoolExecutor(READ_AT_ONCE, "runs") as pool:
        return [run for run in pool.map(results.get_run, names) if run is not None]


def _reviews(pictures: Mapping[str, str], decided: Mapping[str, Standing]) -> dict[str, int]:
    said = [
        (label, decided[sha256].decision) for sha256, label in pictures.items() if sha256 in decided
    ]
    counts = Counter((label == Label.FAKE, decision) for label, decision in said)
    return {
        "reviewed": len(said),
        "reviewed_flagged": sum(label == Label.FAKE for label, _ in said),
        "overturned": counts[True, "real"],
        "found_by_people": counts[False, "fake"],
        "disputed": sum(decision in ("unsure", "disputed") for _, decision in said),
    }


def _models(runs: Iterable[RunRecord]) -> Iterable[ModelUse]:
    by_model: dict[str, list[RunRecord]] = {}
    for run in runs:
        by_model.setdefault(run.model_id, []).append(run)
    for model_id, used in sorted(by_model.items()):
        figures = used[-1].card.figures.get("report") or {}
        yield ModelUse(
            model_id=model_id,
            runs=len(used),
            false_alarms=_rate(figures, "fpr_at_fake"),
            misses=_rate(figures, "tpr_at_fake", turned=True),
        )


def _rate(figures: Mapping[str, object], name: str, *, turned: bool = False) -> str | None:
    """A figure with its interval; turned into the share of the others if so wished."""
    value, ends = value_of(figures, name), figure_interval(figures, name)
    if value is None:
        return None
    if turned:
        value, ends = 1 - value, ends and (1 - ends[1], 1 - ends[0])
    between = f" ({percent(ends[0])} to {percent(ends[1])})" if ends else ""
    return percent(value) + between


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(as_markdown(cell) for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *lines]
