"""Feedback and erasure: what is kept, and that it can be taken back."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from deepfake_core import cli
from deepfake_core.datasets.labelled import read_labelled
from deepfake_core.errors import UsageError
from deepfake_core.operations.erasure import KINDS, erase
from deepfake_core.records import Label
from deepfake_core.reporting.run_report import report_again
from deepfake_core.results.feedback import Feedback, gather
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.executor import open_judge
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.scan import begin, commit_shard, scan
from deepfake_core.storage.local import LocalStorage
from deepfake_core.storage.opening import open_storage


def run_scan(source: Path, output: Path | str, registry: Path, **settings: object) -> dict:
    config = ScanConfig(source=str(source), output=str(output), model="tiny", **settings)
    return scan(config, registry=registry)


def rows_of(output: Path) -> list[dict]:
    query = f"SELECT * FROM '{output}/verdicts/*/*.parquet' ORDER BY run_started, image"
    return duckdb.sql(query).df().to_dict("records")


def mentions(output: Path, *needles: str) -> list[str]:
    """Files below the output that hold any of the texts, also inside Parquet."""
    found = []
    for path in sorted(p for p in output.rglob("*") if p.is_file()):
        if path.suffix == ".parquet":
            text = duckdb.sql(f"SELECT * FROM '{path}'").df().to_csv()
        else:
            text = path.read_text("latin-1")
        if any(needle in text or needle in path.name for needle in needles):
            found.append(path.relative_to(output).as_posix())
    return found


@pytest.fixture
def scanned(
    tmp_path: Path, tiny_registry: Path, image_folder: Callable[..., Path]
) -> tuple[Path, Path]:
    """A source of nine pictures and the output of a scan of it."""
    source = image_folder(6, broken=True, folder=tmp_path / "images")
    run_scan(source, tmp_path / "out", tiny_registry, run_id="first", shard_size=4)
    return source, tmp_path / "out"


def upload_verdict(image: bytes) -> dict:
    digest = hashlib.sha256(image).hexdigest()
    return {"image": "a.jpg", "source": "upload", "sha256": digest, "label": "fake", "score": 0.9}


def test_an_answer_is_kept_without_the_image(tmp_path: Path, picture: Callable[..., bytes]):
    image, feedback = picture(5), Feedback(open_storage(str(tmp_path)))
    verdict = upload_verdict(image) | {"password": "x"}
    feedback.store(verdict, correct=Label.REAL, image=image, consent=False)
    (entry,) = feedback.entries()
    assert (entry["correct"], entry["sha256"]) == ("real", verdict["sha256"])
    assert entry["consent"] is False
    assert entry["verdict"]["label"] == "fake"
    assert "password" not in entry["verdict"]
    assert [p.suffix for p in tmp_path.rglob("*") if p.is_file()] == [".json"]


def test_an_image_given_with_consent_is_read_as_labelled(
    tmp_path: Path, picture: Callable[..., bytes]
):
    feedback = Feedback(open_storage(str(tmp_path)))
    for seed, label in ((1, Label.FAKE), (2, Label.REAL), (1, Label.REAL)):
        image = picture(seed)
        feedback.store(upload_verdict(image), correct=label, image=image, consent=True)
    labelled = read_labelled(tmp_path / "feedback")
    assert {hashlib.sha256(one.path.read_bytes()).hexdigest() for one in labelled} == {
        hashlib.sha256(picture(seed)).hexdigest() for seed in (1, 2)
    }
    # The second answer on the first image replaced the first one.
    assert [one.fake for one in labelled] == [False, False]
    assert all(one.group_id == one.path.stem for one in labelled)


@pytest.mark.parametrize(
    ("change", "correct", "words"),
    [
        ({"sha256": None}, Label.REAL, "no sha256"),
        ({"sha256": "../../etc/passwd"}, Label.REAL, "no sha256"),
        ({}, Label.UNCERTAIN, "say real or fake"),
        ({"sha256": "0" * 64}, Label.REAL, "its sha256 differs"),
    ],
)
def test_what_cannot_be_feedback_is_refused(
    tmp_path: Path, picture: Callable[..., bytes], change: dict, correct: Label, words: str
):
    feedback = Feedback(open_storage(str(tmp_path)))
    image = picture(1)
    with pytest.raises(UsageError, match=words):
        feedback.store(upload_verdict(image) | change, correct=correct, image=image, consent=True)
    assert not list(tmp_path.rglob("*"))


def test_scanned_images_are_read_again_where_they_are_unchanged(scanned: tuple[Path, Path]):
    source, output = scanned
    rows = {row["image"]: row for row in rows_of(output) if row["status"] == "ok"}
    feedback = Feedback(open_storage(str(output)))
    for image in ("0000.jpg", "0001.jpg", "0003.jpg"):
        feedback.store(rows[image], correct=Label.FAKE)
    forged = rows["0001.jpg"] | {"run_id": "../..", "sha256": "1" * 64}
    feedback.store(forged, correct=Label.REAL)
    (source / "0003.jpg").write_bytes(b"something else")
    counts = gather(str(output), output.parent / "regression")
    assert counts == {"answers": 4, "given": 0, "read_again": 2, "missing": 2}
    labelled = read_labelled(output.parent / "regression")
    assert {one.path.stem for one in labelled} == {
        rows[n]["sha256"] for n in ("0000.jpg", "0001.jpg")
    }
    assert not mentions(output / "feedback", "JFIF")


def test_erasing_leaves_nothing_of_an_image_and_a_consistent_run(
    scanned: tuple[Path, Path], tiny_registry: Path
):
    source, output = scanned
    run_scan(source, output, tiny_registry, run_id="second")
    (row,) = [row for row in rows_of(output) if row["image"] == "0000.jpg"]
    image = (source / "0000.jpg").read_bytes()
    Feedback(open_storage(str(output))).store(row, correct=Label.FAKE, image=image, consent=True)
    digest = row["sha256"]
    assert len(mentions(output, digest, "0000.jpg")) >= 9
    counts = erase(str(output), digest.upper())
    assert counts == {
        "verdicts": 1, "latest": 1, "parts": 1, "listed": 2, "reports": 2, "answers": 1, "images": 1
    }  # fmt: skip
    assert mentions(output, digest, "0000.jpg") == []
    assert erase(str(output), digest) == dict.fromkeys(KINDS, 0)
    first = json.loads((output / "runs/first/run.json").read_text())
    counts = {"listed": 8, "skipped": 0, "judged": 5, "not_applicable": 0, "failed": 3}
    assert first["counts"] == counts
    assert first["erased"] == 1
    second = json.loads((output / "runs/second/run.json").read_text())
    assert second["counts"] == dict.fromkeys(first["counts"], 0) | {"listed": 8, "skipped": 8}
    for run_id in ("first", "second"):
        report_again(run_id, str(output), thumbnails=True)
    assert mentions(output, digest, "0000.jpg") == []
    assert len(rows_of(output)) == 8
    # A finished run stays as it is, and the next scan judges what is still at the source.
    assert run_scan(source, output, tiny_registry, run_id="first", shard_size=4)["judged"] == 5
    third = run_scan(source, output, tiny_registry)
    assert (third["judged"], third["skipped"]) == (1, 8)


def test_a_run_that_is_continued_after_erasing_finishes_without_the_image(
    tmp_path: Path, tiny_registry: Path, image_folder: Callable[..., Path]
):
    source, output = image_folder(9, folder=tmp_path / "images"), tmp_path / "out"
    settings = {"run_id": "cut", "shard_size": 2}
    config = ScanConfig(source=str(source), output=str(output), model="tiny", **settings)
    plan = make_plan(config, registry=tiny_registry)
    begin(plan)
    with open_judge(plan) as judge:
        for index in range(3):
            commit_shard(plan, judge, index)
    digest = hashlib.sha256((source / "0003.jpg").read_bytes()).hexdigest()
    counts = erase(str(output), digest)
    assert (counts["parts"], counts["listed"], counts["verdicts"]) == (1, 1, 0)
    assert mentions(output, "0003.jpg", digest) == []
    result = run_scan(source, output, tiny_registry, **settings)
    assert (result["listed"], result["judged"], result["failed"]) == (8, 8, 0)
    assert mentions(output, "0003.jpg", digest) == []


def test_an_erasure_that_was_cut_off_anywhere_is_finished_by_the_next(
    scanned: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    whole = scanned[1]
    (row,) = [row for row in rows_of(whole) if row["image"] == "0001.jpg"]
    put, left = LocalStorage.put, 0

    def put_some(self: LocalStorage, path: str, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        put(self, path, data)

    monkeypatch.setattr(LocalStorage, "put", put_some)
    cuts = 0
    while True:
        output = whole.with_name(f"cut{cuts}")
        shutil.copytree(whole, output)
        left = cuts
        try:
            erase(str(output), row["sha256"])
            break
        except KeyboardInterrupt:
            cuts += 1
        left = 99
        erase(str(output), row["sha256"])
        assert mentions(output, row["sha256"], "0001.jpg") == []
        run = json.loads((output / "runs/first/run.json").read_text())
        assert (run["counts"]["listed"], run["erased"]) == (8, 1)
        report_again("first", str(output), thumbnails=False)
    # The list of hashes and its pointer, then summary, its two renderings, run.json, a part, the
    # manifest, the verdicts, latest.
    assert cuts == 10


def test_erasing_the_only_image_removes_the_published_file(
    tmp_path: Path, tiny_registry: Path, picture: Callable[..., bytes]
):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "one.jpg").write_bytes(picture(1))
    result = run_scan(tmp_path / "images", tmp_path / "out", tiny_registry, run_id="one")
    erase(str(tmp_path / "out"), hashlib.sha256(picture(1)).hexdigest())
    assert not Path(result["verdicts"]).exists()
    report_again("one", str(tmp_path / "out"), thumbnails=True)
    assert mentions(tmp_path / "out", "one.jpg") == []


def test_a_store_behind_a_url_is_erased_too(
    tmp_path: Path, tiny_registry: Path, image_folder: Callable[..., Path]
):
    source, output = image_folder(3, folder=tmp_path / "images"), f"memory://{tmp_path.name}/out"
    run_scan(source, output, tiny_registry, run_id="far")
    image = (source / "0001.jpg").read_bytes()
    digest = hashlib.sha256(image).hexdigest()
    feedback = Feedback(open_storage(output))
    feedback.store(upload_verdict(image), correct=Label.REAL, image=image, consent=True)
    assert gather(output, tmp_path / "gathered")["given"] == 1
    counts = erase(output, digest)
    assert counts == {
        "verdicts": 1, "latest": 1, "parts": 1, "listed": 1, "reports": 1, "answers": 1, "images": 1
    }  # fmt: skip
    assert erase(output, digest) == dict.fromkeys(KINDS, 0)
    assert feedback.entries() == []
    assert report_again("far", output, thumbnails=True).startswith("memory://")


def test_the_command(scanned: tuple[Path, Path], capsys: pytest.CaptureFixture[str]):
    _, output = scanned
    (row,) = [row for row in rows_of(output) if row["image"] == "0001.jpg"]
    assert cli.main(["erase", row["sha256"], "--output", str(output), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sha256"] == row["sha256"]
    assert told["verdicts"] == told["latest"] == 1
    assert cli.main(["erase", row["sha256"], "--output", str(output)]) == 0
    assert "nothing was kept" in capsys.readouterr().out
    assert cli.main(["erase", "abc", "--output", str(output)]) == 2
    assert "64 hex digits" in capsys.readouterr().err
    shutil.rmtree(output)
    assert cli.main(["erase", row["sha256"], "--output", str(output)]) == 2
