"""Rows as text: nothing is lost, nothing is a formula."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core.cli import main
from deepfake_core.errors import UsageError
from deepfake_core.reporting.export import FORMULA_STARTS, export, neutral
from deepfake_core.results.schema import VERDICTS
from tests.support.published import publish, row

EVIL = ['=HYPERLINK("http://x";"y").jpg', "+1.jpg", "-1.jpg", "@SUM(A1).jpg", "  =1.jpg"]
ODD = ['a"b,c.jpg', "line\nbreak.jpg", "\u2028.jpg", "<script>.jpg", "\uff1d1.jpg"]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    rows = [row(name, 0.9, "fake") for name in (*EVIL, *ODD)]
    rows += [row("quiet.jpg", 0.01, "real"), row("lost.jpg", None, None, detail="=1+1")]
    publish(tmp_path / "out", rows)
    return tmp_path / "out"


def test_csv_holds_every_row_and_no_formula(output: Path):
    text = "".join(export("run-1", str(output), kind="csv"))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == VERDICTS.names
    names = {one["image"].removeprefix("'") for one in rows}
    assert names == {*EVIL, *ODD, "quiet.jpg", "lost.jpg"}
    for one in rows:
        for name in ("image", "detail", "source"):
            assert not one[name].lstrip(" ").startswith(FORMULA_STARTS)
    (quiet,) = (one for one in rows if one["image"] == "quiet.jpg")
    # Numbers stay numbers, also below zero, and what is null is empty.
    assert float(quiet["logit"]) == pytest.approx(-4.9)
    assert quiet["failure"] == ""
    assert quiet["run_started"] == "2026-11-24T02:00:00+00:00"


def test_json_lines_hold_every_row_as_it_is(output: Path):
    lines = list(export("run-1", str(output), kind="jsonl"))
    assert all(line.count("\n") == 1 for line in lines)
    rows = [json.loads(line) for line in lines]
    assert {one["image"] for one in rows} == {*EVIL, *ODD, "quiet.jpg", "lost.jpg"}
    assert {tuple(one) for one in rows} == {tuple(VERDICTS.names)}


def test_events_are_the_flagged_images(output: Path):
    events = [json.loads(line) for line in export("run-1", str(output), kind="events")]
    assert {event["subject"] for event in events} == {*EVIL, *ODD}
    assert len({event["id"] for event in events}) == len(events)
    assert {event["data"]["strength"] for event in events} == {"weak"}
    assert all(event["specversion"] == "1.0" for event in events)


def test_the_command_prints_utf_8(output: Path, capsysbinary: pytest.CaptureFixture[bytes]):
    assert main(["export", "run-1", "--output", str(output)]) == 0
    assert '"a""b,c.jpg"' in capsysbinary.readouterr().out.decode()
    assert main(["export", "run-2", "--output", str(output)]) == 2
    assert main(["export", "run-1", "--output", str(output / "none")]) == 2


def test_a_run_without_rows_is_a_line_of_names(tmp_path: Path):
    publish(tmp_path, [])
    (tmp_path / "verdicts" / "run_date=2026-11-24" / "run-1.parquet").unlink()
    assert "".join(export("run-1", str(tmp_path), kind="csv")).startswith("image,source,")
    assert list(export("run-1", str(tmp_path), kind="jsonl")) == []


def test_an_unfinished_run_is_refused(tmp_path: Path):
    publish(tmp_path, [], state="planned")
    with pytest.raises(UsageError, match="not finished"):
        export("run-1", str(tmp_path), kind="csv")


@given(text=st.text())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_no_text_becomes_a_formula_and_none_is_lost(text: str):
    shown = neutral(text)
    assert shown.removeprefix("'") == text.removeprefix("'") or shown == text
    assert not shown.lstrip(" ").startswith(FORMULA_STARTS)
