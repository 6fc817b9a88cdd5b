"""After a promotion new images come first and the backlog follows; what changed is told."""

import datetime as dt
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from deepfake_core import cli
from deepfake_core.errors import OutputError, PlanMismatch, RunTaken, UsageError
from deepfake_core.operations.erasure import erase
from deepfake_core.records import Json
from deepfake_core.results import manifest
from deepfake_core.results.layout import LATEST
from deepfake_core.results.schema import SCHEMA_VERSION, VERSION_KEY
from deepfake_core.scanning import scan as steps
from deepfake_core.scanning import selection
from deepfake_core.scanning.committed import CommittedShard
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.globs import match_names
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.scan import Execution, begin, commit_shard, scan
from deepfake_core.storage.listing import Listing
from deepfake_core.storage.local import LocalStorage

Run = Callable[..., Json]


@pytest.fixture
def source(image_folder: Callable[..., Path], tmp_path: Path) -> Path:
    return image_folder(10, folder=tmp_path / "images")


@pytest.fixture
def run(source: Path, two_models: Path, tmp_path: Path) -> Run:
    """Scans the source, by default with the tiny model's second version."""

    def scan_it(**options: Any) -> Json:
        more = {"notify": options.pop("notify")} if "notify" in options else {}
        more["execution"] = Execution(commit=options.pop("commit", None))
        settings = {"source": str(source), "model": "tiny@2", "output": str(tmp_path / "out")}
        return scan(ScanConfig(**{**settings, **options}), registry=two_models, **more)

    return scan_it


def images(result: Json) -> list[str]:
    """What a run published, in its order."""
    if result["verdicts"] is None:
        return []
    return pq.read_table(result["verdicts"], partitioning=None)["image"].to_pylist()


def rows_of(result: Json) -> dict[str, Json]:
    rows = pq.read_table(result["verdicts"], partitioning=None).to_pylist()
    return {row["image"]: row for row in rows}


def summary_of(result: Json, name: str = "summary.json") -> str:
    return (Path(result["report"]).parent / name).read_text()


def add(source: Path, picture: Callable[..., bytes], *names: str) -> None:
    """Put new pictures beside the old ones."""
    for seed, name in enumerate(names):
        (source / name).write_bytes(picture(500 + seed))


@pytest.fixture
def three_nights(run: Run, source: Path, picture: Callable[..., bytes]) -> list[str]:
    """Two runs of the first model, the later names first, and then two new images.

    Returns the images in the order in which the second model should take them.
    """
    old = images(run(model="tiny@1", include="000[5-9].*"))
    later = images(run(model="tiny@1"))
    assert len(old) + len(later) == 10
    assert old[0] > later[0]
    add(source, picture, "0004-new.jpg", "z-new.jpg")
    return ["0004-new.jpg", "z-new.jpg", *old, *later]


def test_new_images_come_first_and_the_longest_unseen_next(run: Run, three_nights: list[str]):
    nights = [run(limit=count) for count in (3, 4, 99)]
    expected = [three_nights[:3], three_nights[3:7], three_nights[7:]]
    # What is published is in the order of the names, whatever came first.
    assert [images(night) for night in nights] == [sorted(names) for names in expected]
    assert [(night["new"], night["backlog"], night["left"]) for night in nights] == [
        (2, 1, 9),
        (0, 4, 5),
        (0, 5, 0),
    ]
    assert images(run()) == []


def test_the_backlog_fills_the_time_that_is_left(
    run: Run,
    three_nights: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    minutes = 0

    def commit(*arguments: Any) -> Json:
        nonlocal minutes
        minutes += 1
        return commit_shard(*arguments)

    clock = SimpleNamespace(monotonic=lambda: 60 * minutes)
    monkeypatch.setattr(steps, "time", clock)
    night = run(shard_size=2, max_minutes=2.5, commit=commit)
    assert images(night) == sorted(three_nights[:6])
    assert (night["new"], night["backlog"], night["left"]) == (2, 4, 6)
    assert night["skipped_reasons"] == {"time": 6}
    parts = sorted((tmp_path / "out" / "runs" / night["run_id"] / "parts").iterdir())
    taken = [name for part in parts for name in pq.read_table(part)["image"].to_pylist()]
    assert taken == three_nights[:6]
    monkeypatch.undo()
    rest = run()
    assert images(rest) == sorted(three_nights[6:])
    run_json = json.loads((Path(rest["report"]).parent / "run.json").read_text())
    assert (run_json["new"], run_json["backlog"], run_json["left"]) == (0, 6, 0)
    assert "6 wait for the next scan" in summary_of(night, "summary.md")
    assert "6 wait for the next scan" in summary_of(night, "report.html")


def test_no_time_at_all_is_not_called_nothing_new(
    run: Run, three_nights: list[str], capsys: pytest.CaptureFixture[str]
):
    from deepfake_core.commands.scan import _in_words

    result = run(max_minutes=1e-9)
    assert (result["judged"], result["left"]) == (0, 12)
    assert _in_words(result).startswith("there was no time: 12 images wait for the next scan")


def test_a_resume_keeps_the_order_in_which_shards_were_planned(
    run: Run, three_nights: list[str], source: Path, picture: Callable[..., bytes]
):
    class Killed(Exception):
        pass

    def commit(*arguments: Any) -> CommittedShard:
        facts = commit_shard(*arguments)
        if facts.shard == 1:
            raise Killed
        return facts

    with pytest.raises(Killed):
        run(run_id="r", shard_size=3, commit=commit)
    # Neither a new image nor another run in between changes the stored plan.
    add(source, picture, "a-newer.jpg")
    run(model="tiny@1", full=True)
    committed: list[int] = []

    def note(event: str, facts: Json) -> None:
        committed.extend([facts["shard"]] if event == "committed" else [])

    result = run(run_id="r", shard_size=3, notify=note)
    assert committed == [2, 3]
    assert images(result) == sorted(three_nights)


def test_of_two_that_plan_a_run_at_once_one_goes_on(
    run: Run, source: Path, picture: Callable[..., bytes], two_models: Path, tmp_path: Path
):
    config = ScanConfig(source=str(source), output=str(tmp_path / "out"), model="tiny", run_id="r")
    first = make_plan(config, registry=two_models)
    add(source, picture, "only-the-second-saw-it.jpg")
    second = make_plan(config, registry=two_models)
    first.claim()
    with pytest.raises(RunTaken, match="start the run again"):
        begin(second)
    begin(first)
    with pytest.raises(RunTaken):
        begin(second)
    assert run(run_id="r", model="tiny")["listed"] == 10


def test_a_run_that_lacks_its_run_json_is_continued_as_it_was_planned(
    run: Run, source: Path, picture: Callable[..., bytes], two_models: Path, tmp_path: Path
):
    config = ScanConfig(source=str(source), output=str(tmp_path / "out"), model="tiny", run_id="r")
    then = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    make_plan(config, registry=two_models, now=then).claim()
    add(source, picture, "new.jpg")
    with pytest.raises(PlanMismatch, match="shard_size"):
        run(run_id="r", shard_size=3)
    result = run(run_id="r")
    assert (result["listed"], result["run_date"]) == (10, "2026-01-01")


def test_an_erased_image_undoes_the_shards_from_its_own_on(
    run: Run, three_nights: list[str], tmp_path: Path
):
    class Killed(Exception):
        pass

    def commit(*arguments: Any) -> CommittedShard:
        facts = commit_shard(*arguments)
        if facts.shard == 2:
            raise Killed
        return facts

    with pytest.raises(Killed):
        run(run_id="r", shard_size=3, commit=commit)
    parts = tmp_path / "out" / "runs" / "r" / "parts"
    # The fifth in turn lies in the second shard, wherever its name is in the list.
    target = three_nights[4]
    rows = pq.read_table(parts / "part-00001.parquet").to_pylist()
    erase(str(tmp_path / "out"), next(row["sha256"] for row in rows if row["image"] == target))
    assert [part.name for part in parts.iterdir()] == ["part-00000.parquet"]
    result = run(run_id="r", shard_size=3)
    assert images(result) == sorted(set(three_nights) - {target})


def test_failed_reads_do_not_keep_new_images_waiting(
    run: Run, source: Path, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
):
    read = LocalStorage.read

    def refuse(self: LocalStorage, path: str) -> bytes:
        if path.startswith("000"):
            raise PermissionError(13, "Permission denied")
        return read(self, path)

    monkeypatch.setattr(LocalStorage, "read", refuse)
    assert run()["failures"] == {"read.denied": 8}
    add(source, picture, "z-new.jpg")
    again = run(limit=2)
    assert images(again) == ["0000.jpg", "z-new.jpg"]
    assert (again["new"], again["backlog"], again["left"]) == (1, 1, 7)


def test_full_takes_all_in_the_order_of_names(run: Run, three_nights: list[str]):
    result = run(full=True, limit=5)
    assert images(result) == sorted(three_nights)[:5]
    assert (result["new"], result["backlog"], result["left"]) == (1, 4, 7)


def test_the_report_names_the_labels_that_flipped(run: Run, source: Path):
    before, after = run(model="tiny@1"), run()
    old, new = rows_of(before), rows_of(after)
    flipped = {name for name in old if old[name]["label"] != new[name]["label"]}
    assert 0 < len(flipped) < 10
    assert after["flipped"] == len(flipped)
    changes = json.loads(summary_of(after))["changes"]
    assert (changes["compared"], changes["flipped"]) == (10, len(flipped))
    assert {row["image"] for row in changes["images"]} == flipped
    assert changes["models"] == {before["model_id"]: 10}
    for row in changes["images"]:
        assert row["before"] == old[row["image"]]["label"]
        assert row["after"] == new[row["image"]]["label"]
        assert row["score"] == pytest.approx(new[row["image"]]["score"])
    assert sum(row["images"] for row in changes["by"]) == len(flipped)
    for page in ("summary.md", "report.html"):
        text = summary_of(after, page)
        assert "label before" in text or "Changed labels" in text
        assert all(name in text for name in flipped)
    assert json.loads(summary_of(before))["changes"] is None


def test_a_changed_image_is_new_and_no_flip(run: Run, source: Path, picture: Callable[..., bytes]):
    run(model="tiny@1")
    add(source, picture, "0000.jpg")
    result = run(limit=1)
    assert images(result) == ["0000.jpg"]
    assert (result["new"], result["backlog"], result["flipped"]) == (1, 0, None)


def test_two_models_and_two_runs_are_compared(
    run: Run, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    before = run(model="tiny@1", run_id="one")
    (source / "0001.jpg").write_bytes((source / "0000.jpg").read_bytes())
    (source / "0003.jpg").unlink()
    after = run(run_id="two")
    old, new = rows_of(before), rows_of(after)
    same = set(old) & set(new) - {"0001.jpg"}
    flipped = {name for name in same if old[name]["label"] != new[name]["label"]}

    def compared(*names: str) -> Json:
        arguments = ["changes", *names, "--output", str(tmp_path / "out"), "--json"]
        assert cli.main(arguments) == 0
        found: Json = json.loads(capsys.readouterr().out)
        return found

    found = compared("one", "two")
    assert (found["compared"], found["flipped"]) == (8, len(flipped))
    assert {row["image"] for row in found["images"]} == flipped
    assert (found["other_content"], found["only_before"], found["only_after"]) == (1, 1, 0)
    by_model = compared("tiny@1", after["model_id"])
    assert by_model["images"] == found["images"]
    assert by_model["before"]["made_with"][0]["model_id"] == before["model_id"]
    assert len(compared("one", "two", "--show", "1")["images"]) == 1
    assert compared("one", "one")["flipped"] == 0
    output = ["--output", str(tmp_path / "out")]
    assert cli.main(["changes", "one", "two", *output, "--show", "0"]) == 0
    assert f"and {len(flipped)} more" in capsys.readouterr().out
    for wrong in (["one", "three"], ["tiny", "two"], ["one", "two", "--show", "-1"]):
        assert cli.main(["changes", *wrong, *output]) == 2
        assert "deepfake: " in capsys.readouterr().err


def test_images_that_are_gone_or_renamed_are_told(
    run: Run, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert (run()["gone"], run()["renamed"]) == (0, 0)
    (source / "0000.jpg").unlink()
    (source / "0001.jpg").rename(source / "moved.jpg")
    result = run()
    assert images(result) == ["moved.jpg"]
    assert (result["listed"], result["gone"], result["renamed"]) == (9, 2, 1)
    text = summary_of(result, "report.html")
    assert "2 images that were judged before are not listed any more" in text
    assert "1 new names have the content of such an image" in text
    known = pq.read_table(tmp_path / "out" / LATEST)["image"].to_pylist()
    assert {"0000.jpg", "0001.jpg", "moved.jpg"} <= set(known)
    # It is told as long as it is so, and what is renamed is known by its new name.
    assert (run()["gone"], run()["renamed"]) == (2, 0)


def test_what_lies_in_a_folder_that_cannot_be_listed_is_not_gone(
    run: Run, source: Path, monkeypatch: pytest.MonkeyPatch
):
    run()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path) == str(source / "below"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (source / "0000.jpg").unlink()
    result = run()
    assert (result["listed"], result["gone"]) == (7, 1)


def test_a_manifest_of_an_earlier_version_is_judged_in_the_order_of_names(
    two_models: Path, source: Path, tmp_path: Path
):
    config = ScanConfig(
        source=str(source), output=str(tmp_path / "out"), model="tiny@1", run_id="r", shard_size=4
    )
    plan = make_plan(config, registry=two_models)
    begin(plan)
    path = tmp_path / "out" / "runs" / "r" / "manifest.parquet"
    pq.write_table(pq.read_table(path).drop(["seen", "seen_label", "seen_model", "turn"]), path)
    result = scan(config, registry=two_models)
    assert (result["judged"], result["new"], result["backlog"]) == (10, 10, 0)


def test_a_newer_schema_is_refused_with_advice(run: Run, tmp_path: Path, two_models: Path):
    first = run(run_id="r")
    path = Path(first["verdicts"])
    table = pq.read_table(path, partitioning=None)
    for version, advice in ((SCHEMA_VERSION + 1, "update this one"), ("none", "move it away")):
        footer = {**table.schema.metadata, VERSION_KEY: str(version).encode()}
        pq.write_table(table.replace_schema_metadata(footer), path)
        with pytest.raises(OutputError, match=advice):
            run()
    pq.write_table(table, path)
    # A run that a newer version planned is not continued.
    run_json = path.parents[2] / "runs" / "r" / "run.json"
    run_json.write_text(
        json.dumps(json.loads(run_json.read_text()) | {"schema_version": SCHEMA_VERSION + 1})
    )
    with pytest.raises(UsageError, match=f"schema version {SCHEMA_VERSION + 1}"):
        run(run_id="r")


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.jpg", ["a.jpg", "b/a.jpg", "b/c/a.jpg", "bc/a.jpg"]),
        ("a.*", ["a.jpg", "b/a.jpg", "b/c/a.jpg", "bc/a.jpg"]),
        ("/a.jpg", ["a.jpg"]),
        ("./a.jpg", ["a.jpg"]),
        ("b/*", ["b/a.jpg", "b/c/a.jpg", "b/c/d.PNG"]),
        ("b/", ["b/a.jpg", "b/c/a.jpg", "b/c/d.PNG"]),
        ("b/**", ["b/a.jpg", "b/c/a.jpg", "b/c/d.PNG"]),
        ("**/a.jpg", ["a.jpg", "b/a.jpg", "b/c/a.jpg", "bc/a.jpg"]),
        ("b/**/a.jpg", ["b/a.jpg", "b/c/a.jpg"]),
        ("*/c/*", ["b/c/a.jpg", "b/c/d.PNG"]),
        ("[a-b]*/a.jpg", ["b/a.jpg", "b/c/a.jpg", "bc/a.jpg"]),
        ("*.png", ["b/c/d.PNG"]),
        ("*.Png", []),
        ("**", ["a.jpg", "b/a.jpg", "b/c/a.jpg", "b/c/d.PNG", "bc/a.jpg", "odd [x]\n.gif"]),
        ("odd [[]x]*", ["odd [x]\n.gif"]),
    ],
)
def test_globs(glob: str, expected: list[str]):
    names = ["a.jpg", "b/a.jpg", "b/c/a.jpg", "b/c/d.PNG", "bc/a.jpg", "odd [x]\n.gif"]
    assert [n for n, hit in zip(names, match_names(names, glob), strict=True) if hit] == expected


def test_since_is_utc_unless_it_says_otherwise_and_takes_what_has_no_date():
    noon = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC).timestamp()
    names = ["at noon", "before", "undated"]
    dates = [noon, noon - 1, None]

    def left(since: str) -> list[str]:
        listed = selection.build_manifest(
            Listing(names[:], [1, 1, 1], ["a", "b", "c"], dates[:], [])
        )
        config = ScanConfig(source="images", since=since)
        chosen = selection.skip_some(listed, config, np.zeros(3, bool))
        return manifest.unskipped(chosen)["image"].to_pylist()

    for noon_words in ("2026-11-24T12:00", "2026-11-24T14:00+02:00", "2026-11-24T07:00-05:00"):
        assert left(noon_words) == ["at noon", "undated"]
    assert left("2026-11-24") == names
    assert left("2026-11-25") == ["undated"]
    for number in ("20261124", "2026", "1e9", 20261124):
        with pytest.raises(ValidationError, match="since"):
            ScanConfig(source="images", since=number)


def test_an_empty_glob_is_refused():
    for option in ("include", "exclude"):
        with pytest.raises(ValidationError, match=option):
            ScanConfig(source="images", **{option: ""})


def test_archived_objects_are_named_and_tried_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from deepfake_core.storage.base import Archived

    read = LocalStorage.read

    def refuse(self: LocalStorage, path: str) -> bytes:
        if path == "0000.jpg":
            raise Archived("the object is archived")
        return read(self, path)

    monkeypatch.setattr(LocalStorage, "read", refuse)
    first = run()
    assert first["failures"] == {"read.archived": 1}
    assert "cold storage" in summary_of(first, "report.html")
    monkeypatch.undo()
    again = run()
    assert images(again) == ["0000.jpg"]
    assert (again["judged"], again["backlog"]) == (1, 1)


def test_turns_survive_storage_and_a_lack_of_time():
    names = [f"{at:02}" for at in range(6)]
    listed = selection.build_manifest(Listing(names[:], [1] * 6, [None] * 6, [None] * 6, []))
    moments = pa.array([3, None, 1, 2, None, 1], pa.timestamp("us", tz="UTC"))
    listed = manifest.replace_columns(listed, seen=moments)
    chosen = selection.skip_some(listed, ScanConfig(source="images"), np.zeros(6, bool))
    stored = manifest.from_bytes(manifest.to_bytes(selection.skip_rest(chosen, 4)))
    wanted = manifest.unskipped(stored)
    order = manifest.turn_order(wanted)
    assert wanted["image"].to_pylist() == ["01", "02", "04", "05"]
    assert wanted["image"].take(pa.array(order)).to_pylist() == ["01", "04", "02", "05"]
    assert manifest.turn_counts(stored) == (2, 2, 2)
