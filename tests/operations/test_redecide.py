"""New thresholds give new labels from stored scores, as a run that says what it is."""

import datetime as dt
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_core import cli
from deepfake_core.errors import PlanMismatch
from deepfake_core.models.decision import Thresholds, decide
from deepfake_core.operations import redecision
from deepfake_core.operations.erasure import erase
from deepfake_core.operations.redecision import redecide
from deepfake_core.records import Json
from deepfake_core.reporting.run_report import report_again
from deepfake_core.results.layout import LATEST
from deepfake_core.results.store import Results
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from deepfake_core.storage.local import LocalStorage

STRICT = Thresholds(real_below=0.1, fake_from=0.95)
LOOSE = Thresholds(real_below=0.5, fake_from=0.5)
Run = Callable[..., Json]


@pytest.fixture
def source(image_folder: Callable[..., Path], tmp_path: Path) -> Path:
    return image_folder(12, broken=True, folder=tmp_path / "images")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def run(source: Path, two_models: Path, output: Path) -> Run:
    def scan_it(**options: Any) -> Json:
        settings = {"source": str(source), "model": "tiny@1", "output": str(output)}
        return scan(ScanConfig(**{**settings, **options}), registry=two_models)

    return scan_it


def table(result: Json) -> pa.Table:
    return pq.read_table(result["verdicts"], partitioning=None)


def latest(output: Path) -> dict[str, Json]:
    return {row["image"]: row for row in pq.read_table(output / LATEST).to_pylist()}


def run_json(output: Path, run_id: str) -> Json:
    content: Json = json.loads((output / "runs" / run_id / "run.json").read_text())
    return content


def test_labels_are_decided_again_and_nothing_else_changes(run: Run, source: Path, output: Path):
    first = run()
    # Not even a source that is gone matters: no image is read.
    shutil.rmtree(source)
    again = redecide(first["run_id"], STRICT, output=str(output))
    old, new = table(first), table(again)
    ours = ["label", "run_id", "run_started"]
    assert new.drop(ours).replace_schema_metadata().equals(old.drop(ours).replace_schema_metadata())
    judged = new.filter(pa.compute.equal(new["status"], "ok"))
    assert judged["label"].to_pylist() == decide(judged["score"].to_numpy(), STRICT)
    assert set(new["run_id"].to_pylist()) == {again["run_id"]}
    assert again["labels"] == dict.fromkeys(again["labels"], 0) | Counter(
        judged["label"].to_pylist()
    )
    assert (again["judged"], again["failed"], again["listed"]) == (12, 3, 15)
    flips = pa.compute.sum(pa.compute.not_equal(old["label"], new["label"])).as_py()
    assert again["flipped"] == flips > 0
    assert {name: row["label"] for name, row in latest(output).items()} == dict(
        zip(new["image"].to_pylist(), new["label"].to_pylist(), strict=True)
    )


def test_the_new_run_says_what_it_is(run: Run, output: Path):
    first = run()
    again = redecide(first["run_id"], STRICT, output=str(output))
    footer = table(again).schema.metadata
    assert json.loads(footer[b"deepfake.thresholds"]) == STRICT.model_dump()
    assert json.loads(footer[b"deepfake.thresholds_before"]) == again["thresholds_before"]
    assert footer[b"deepfake.redecided_from"].decode() == first["run_id"]
    assert footer[b"deepfake.run_id"].decode() == again["run_id"]
    assert footer[b"deepfake.model_id"].decode() == first["model_id"]
    stored = run_json(output, again["run_id"])
    assert stored["state"] == "done"
    assert stored["redecided"]["from"] == first["run_id"]
    assert stored["thresholds"] == STRICT.model_dump()
    folder = output / "runs" / again["run_id"]
    for name in ("summary.md", "report.html"):
        text = (folder / name).read_text()
        assert first["run_id"] in text
        assert "No image was read" in text
        assert "flagged from 0.950" in text
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["changes"]["flipped"] == again["flipped"]
    assert "decided with real below 0.1" in summary["card"]["limits"][-1]
    # What was made for the first run is as it was, and the new one can be rendered again.
    assert run_json(output, first["run_id"])["thresholds"] == again["thresholds_before"]
    report_again(again["run_id"], str(output), thumbnails=True)
    assert json.loads((folder / "summary.json").read_text())["changes"] == summary["changes"]


def test_the_figures_of_other_thresholds_are_left_out(run: Run, output: Path):
    first = run()
    path = output / "runs" / first["run_id"] / "run.json"
    stored = json.loads(path.read_text())
    curve = {"threshold": [0.5, 0.95], "tpr": [0.9, 0.6], "fpr": [0.2, 0.01]}
    report = {"auc": 0.9, "tpr_at_fake": 0.8, "fpr_at_fake": 0.1, "decided_share": 0.7}
    stored["card"]["figures"] = {"report": {**report, "curve": curve}, "other": report}
    path.write_text(json.dumps(stored))
    again = redecide(first["run_id"], STRICT, output=str(output))
    figures = run_json(output, again["run_id"])["card"]["figures"]
    assert figures["other"] == {"auc": 0.9}
    assert figures["report"] == {
        "auc": 0.9, "curve": curve, "tpr_at_fake": 0.6, "fpr_at_fake": 0.01,
    }  # fmt: skip


def test_the_newest_thresholds_win_and_a_later_scan_wins_over_all(run: Run, output: Path):
    first = run()
    strict = redecide(first["run_id"], STRICT, output=str(output))
    assert {row["run_id"] for row in latest(output).values()} == {strict["run_id"]}
    loose = redecide(first["run_id"], LOOSE, output=str(output))
    assert {row["run_id"] for row in latest(output).values()} == {loose["run_id"]}
    # A redecision of a redecision is one more of the same scan.
    third = redecide(strict["run_id"], STRICT, output=str(output))
    assert {row["run_id"] for row in latest(output).values()} == {third["run_id"]}
    assert len({strict["run_id"], loose["run_id"], third["run_id"]}) == 3
    later = run(model="tiny@2")
    fourth = redecide(first["run_id"], LOOSE, output=str(output))
    newest = {row["run_id"] for row in latest(output).values()}
    assert newest == {later["run_id"]}
    assert fourth["labels"] == loose["labels"]
    before = pq.read_table(output / LATEST)
    Results(LocalStorage(output)).rebuild_latest()
    assert pq.read_table(output / LATEST).equals(before)


def test_a_redecision_is_no_new_judgement(run: Run, output: Path):
    first = run()
    redecide(first["run_id"], STRICT, output=str(output))
    second = run()
    assert (second["judged"], second["skipped"]) == (0, 15)


def test_a_redecision_that_was_cut_off_is_finished(
    run: Run, output: Path, two_models: Path, monkeypatch: pytest.MonkeyPatch
):
    first = run()

    def fail(*_: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    for step in ("update_latest", "put_json"):
        monkeypatch.setattr(Results, step, fail)
        with pytest.raises(KeyboardInterrupt):
            redecide(first["run_id"], STRICT, output=str(output))
        monkeypatch.undo()
    monkeypatch.setattr("deepfake_core.operations.redecision.write_report", fail)
    with pytest.raises(KeyboardInterrupt):
        redecide(first["run_id"], STRICT, output=str(output))
    monkeypatch.undo()
    unfinished = next(p.name for p in (output / "runs").iterdir() if p.name != first["run_id"])
    with pytest.raises(PlanMismatch, match="deepfake redecide"):
        run(run_id=unfinished)
    again = redecide(
        first["run_id"], STRICT, output=str(output), now=dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    )
    assert again["run_id"] == unfinished
    assert {row["run_id"] for row in latest(output).values()} == {unfinished}
    assert len(list((output / "runs").iterdir())) == 2


def test_a_scan_of_a_finished_redecision_gives_its_result(run: Run, output: Path):
    first = run()
    again = redecide(first["run_id"], STRICT, output=str(output))
    result = run(run_id=again["run_id"])
    assert result["labels"] == again["labels"]
    assert result["verdicts"] == again["verdicts"]


def test_erasing_reaches_redecisions(run: Run, output: Path):
    first = run()
    again = redecide(first["run_id"], STRICT, output=str(output))
    target = table(first).to_pylist()[0]
    assert erase(str(output), target["sha256"])["verdicts"] == 2
    for path in output.rglob("*"):
        if path.is_file():
            assert target["sha256"].encode() not in path.read_bytes()
    assert run_json(output, again["run_id"])["counts"]["judged"] == 11
    assert target["image"] not in (output / "runs" / again["run_id"] / "summary.json").read_text()
    # What is left can be decided once more.
    assert redecide(first["run_id"], LOOSE, output=str(output))["judged"] == 11


def test_the_command(run: Run, output: Path, capsys: pytest.CaptureFixture[str]):
    first = run()
    arguments = ["redecide", first["run_id"], "--output", str(output), "--thresholds"]
    assert cli.main([*arguments, "0.1,0.95", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["redecided_from"] == first["run_id"]
    assert told["thresholds"] == STRICT.model_dump()
    assert cli.main([*arguments, "0.1,0.95"]) == 0
    assert "decided again" in capsys.readouterr().out
    for wrong in ("0.9,0.1", "0.5", "a,b", "0.1,1.5", "nan,0.5", "0.1,0.2,0.3", ""):
        assert cli.main([*arguments, wrong]) == 2
        message = capsys.readouterr().err
        assert message.startswith("deepfake: --thresholds")
        assert message.count("\n") == 1
    runs = len(list((output / "runs").iterdir()))
    for unknown in ("missing", "../..", ""):
        rest = ["--output", str(output), "--thresholds", "0.1,0.9"]
        assert cli.main(["redecide", unknown, *rest]) == 2
        assert "deepfake: " in capsys.readouterr().err
    assert len(list((output / "runs").iterdir())) == runs


def test_runs_without_verdicts_are_refused(
    run: Run, output: Path, capsys: pytest.CaptureFixture[str]
):
    run()
    nothing = run()
    arguments = ["--output", str(output), "--thresholds", "0.1,0.9"]
    assert cli.main(["redecide", nothing["run_id"], *arguments]) == 2
    assert "judged no image" in capsys.readouterr().err
    path = output / "runs" / nothing["run_id"] / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "planned"}))
    assert cli.main(["redecide", nothing["run_id"], *arguments]) == 2
    assert "is not finished" in capsys.readouterr().err


def test_many_redecisions_within_one_second_and_long_names_stay_apart(run: Run, output: Path):
    first = run(run_id="a" * 64)
    moment = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)
    ids = [
        redecide(first["run_id"], one, output=str(output), now=moment)["run_id"]
        for one in (STRICT, LOOSE, STRICT)
    ]
    assert len(set(ids)) == 3
    assert all(len(run_id) <= 64 for run_id in ids)
    assert {row["run_id"] for row in latest(output).values()} == {ids[2]}


def test_two_that_want_one_name_at_the_same_moment_stay_apart(
    run: Run, output: Path, monkeypatch: pytest.MonkeyPatch
):
    first = run()
    moment = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)
    others: list[Json] = []
    read = redecision.read_manifest

    def read_late(results: Results, run_id: str) -> pa.Table:
        """Between the choice of a name and its taking, another redecision takes it."""
        if not others:
            others.append({})
            others[0] = redecide(first["run_id"], LOOSE, output=str(output), now=moment)
        return read(results, run_id)

    monkeypatch.setattr(redecision, "read_manifest", read_late)
    again = redecide(first["run_id"], STRICT, output=str(output), now=moment)
    assert again["run_id"] != others[0]["run_id"]
    for result, thresholds in ((again, STRICT), (others[0], LOOSE)):
        judged = table(result).filter(pa.compute.equal(table(result)["status"], "ok"))
        assert judged["label"].to_pylist() == decide(judged["score"].to_numpy(), thresholds)
