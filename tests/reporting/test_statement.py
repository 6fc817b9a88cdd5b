"""A statement counts what the runs of a period did, and nothing else."""

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from deepfake_core.cli import main
from deepfake_core.errors import UsageError
from deepfake_core.reporting.statement import make_statement, statement_markdown
from deepfake_core.results.review_log import ReviewLog, decided, undone
from deepfake_core.storage.local import LocalStorage
from tests.support.published import publish, row

CARD = {"figures": {"report": {
    "tpr_at_fake": 0.8, "fpr_at_fake": 0.0, "real": 185, "fake": 100, "images": 285,
    "intervals": {"tpr_at_fake": [0.7, 0.9], "fpr_at_fake": [0.0, 0.0]},
}}}  # fmt: skip


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def pictures(*found: tuple[str, float | None, str | None], **columns: Any) -> list[dict[str, Any]]:
    return [row(name, score, label, sha256=sha(name), **columns) for name, score, label in found]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    first = pictures(("a", 0.9, "fake"), ("b", 0.9, "fake"), ("c", 0.1, "real"), ("d", None, None))
    publish(tmp_path, first, run_id="one", run_date="2026-11-01", card=CARD)
    second = pictures(("a", 0.9, "fake"), ("e", 0.5, "uncertain"), ("f", 0.9, "fake"))
    second += pictures(("g", None, "not_applicable"), reason="no_face")
    publish(tmp_path, second, run_id="two", run_date="2026-11-02", card=CARD)
    publish(tmp_path, pictures(("z", 0.9, "fake")), run_id="later", run_date="2026-12-01")
    publish(tmp_path, [], run_id="open", run_date="2026-11-02", state="planned")
    log = ReviewLog(LocalStorage(tmp_path))
    log.add(
        [
            decided(sha(name), say, reviewer="A")
            for name, say in (
                ("a", "real"),
                ("b", "fake"),
                ("c", "fake"),
                ("e", "unsure"),
                ("z", "real"),
            )
        ]
    )
    taken_back = decided(sha("f"), "real", reviewer="A")
    log.add([taken_back])
    log.add([undone(taken_back, reviewer="A")])
    return tmp_path


def test_the_runs_of_a_period_are_counted_together(output: Path):
    found = make_statement(str(output), dt.date(2026, 11, 1), dt.date(2026, 11, 30))
    assert (found.runs, found.unfinished, found.redecided) == (2, 1, 0)
    assert (found.listed, found.skipped, found.judged) == (8, 0, 6)
    assert found.labels == {"fake": 4, "real": 1, "uncertain": 1}
    assert (found.refused, found.failed) == ({"no_face": 1}, {"read.failed": 1})
    assert (found.pictures, found.flagged) == (5, 3)
    assert (found.reviewed, found.reviewed_flagged, found.overturned) == (4, 2, 1)
    assert (found.found_by_people, found.disputed) == (1, 1)
    (model,) = found.models
    assert (model.runs, model.false_alarms) == (2, "0 % (0 % to 2 %)")
    assert model.misses == "20 % (10 % to 30 %)"


def test_the_last_day_belongs_to_the_period_and_the_next_does_not(output: Path):
    one = make_statement(str(output), dt.date(2026, 11, 1), dt.date(2026, 11, 1))
    assert (one.runs, one.judged) == (1, 3)
    everything = make_statement(str(output), dt.date(2026, 1, 1), dt.date(2026, 12, 1))
    assert everything.runs == 3


def test_a_statement_reads_as_a_document(output: Path):
    escaped = statement_markdown(
        make_statement(str(output), dt.date(2026, 11, 1), dt.date(2026, 11, 2))
    )
    text = escaped.replace("\\", "")
    assert "| flags overturned by people | 1 of 2: 50 % (1.3 % to 99 %) |" in text
    assert "| judged: nothing found | 1 |" in text
    assert "not legal advice" in text
    assert " real" not in text


def test_labels_that_were_decided_again_judge_nothing(output: Path):
    again = {
        "scan": "one",
        "scan_started": "2026-11-01T02:00:00+00:00",
        "from": "one",
        "thresholds_before": {"real_below": 0.3, "fake_from": 0.8},
        "at": "2026-11-03",
    }
    publish(
        output, pictures(("a", 0.9, "real")), run_id="again", run_date="2026-11-03", redecided=again
    )
    found = make_statement(str(output), dt.date(2026, 11, 1), dt.date(2026, 11, 3))
    assert (found.runs, found.redecided, found.judged) == (2, 1, 6)


def test_the_command_prints_it(output: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["statement", "--output", str(output), "--from", "2026-11-01", "--to"]
    assert main([*arguments, "2026-11-30", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["flagged"] == 3
    assert main([*arguments, "soon"]) == 2
    assert main([*arguments, "2026-10-01"]) == 2


def test_a_period_without_runs_is_refused(output: Path):
    with pytest.raises(UsageError, match="no run"):
        make_statement(str(output), dt.date(2020, 1, 1), dt.date(2020, 12, 31))
