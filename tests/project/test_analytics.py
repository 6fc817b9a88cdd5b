"""Every block of docs/analytics.md runs, on local results and on a bucket."""

import datetime as dt
import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from deepfake_core import cli
from deepfake_core.records import Json
from deepfake_core.reporting.trend import draw, weekly
from deepfake_core.results.layout import published_name
from deepfake_core.results.schema import VERDICTS, with_metadata
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import parquet_bytes
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from deepfake_core.storage.local import LocalStorage
from tests.support.s3_server import Bucket, bucket, environment, server  # noqa: F401 - fixtures

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "analytics.md").read_text()
TODAY = dt.datetime.now(dt.UTC).date()
YESTERDAY = TODAY - dt.timedelta(days=1)
LAST_MONTH = TODAY.replace(day=1) - dt.timedelta(days=10)
HAS_POLARS = importlib.util.find_spec("polars") is not None


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)


def ran(code: str) -> dict[str, Any]:
    """The variables of a block after it ran."""
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def publish(
    output: Path, run_id: str, day: dt.date, rows: dict[str, str | None], **other: str
) -> None:
    """Publish labels by image, or None for a failure, under a run of that day."""
    content = [
        {
            "image": image,
            "source": "s3://photos",
            "sha256": image * 64,
            "bytes": 1,
            "status": "ok" if label else "failed",
            "failure": None if label else "decode.corrupt",
            "score": {"fake": 0.9, "real": 0.1, None: None}[label],
            "logit": None if label is None else 0.0,
            "label": label,
            "model_id": other.get("model_id", "resnet50@1+00000000"),
            "run_id": run_id,
            "run_started": dt.datetime.combine(day, dt.time(2), dt.UTC),
        }
        for image, label in sorted(rows.items())
    ]
    again = {"redecided_from": other["again"]} if "again" in other else {}
    table = with_metadata(pa.Table.from_pylist(content, schema=VERDICTS), again)
    Results(LocalStorage(output)).storage.put(
        published_name(day.isoformat(), run_id), parquet_bytes(table)
    )


@pytest.fixture
def output(
    tmp_path: Path,
    tiny_registry: Path,
    image_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Last month a, b and c were judged, yesterday c again, d anew, and x failed."""
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "reports"
    publish(output, "month", LAST_MONTH, {"a": "real", "b": "fake", "c": "real"})
    newer = "resnet50@2+11111111"
    publish(output, "night", YESTERDAY, {"b": "fake", "c": "fake", "d": "real"}, model_id=newer)
    publish(output, "odd", YESTERDAY, {"x": None}, model_id=newer)
    Results(LocalStorage(output)).rebuild_latest()
    # A real summary, as if it were last month's.
    config = ScanConfig(
        source=str(image_folder(3)), output=str(tmp_path / "real"), run_id="one", model="tiny"
    )
    scan(config, registry=tiny_registry)
    summary = json.loads((tmp_path / "real/runs/one/summary.json").read_text())
    for run_id, day in (("month", LAST_MONTH), ("night", TODAY)):
        folder = output / "runs" / run_id
        folder.mkdir(parents=True)
        content = {**summary, "run_id": run_id, "run_date": day.isoformat()}
        (folder / "summary.json").write_text(json.dumps(content))
    return output


def test_questions_in_duckdb(output: Path):
    by_day, changed, said, failures, flipped, again = (
        duckdb.sql(query) for query in blocks("DuckDB", "sql")
    )
    assert [row[:4] for row in by_day.fetchall()] == [(LAST_MONTH, 3, 0, 1), (YESTERDAY, 3, 1, 2)]
    rows = changed.fetchall()
    assert [row[:3] for row in rows] == [("c", "real", "fake"), ("d", None, "real")]
    assert [(row[0], row[1], row[3], row[4]) for row in said.fetchall()] == [
        (LAST_MONTH, "month", 3, 3)
    ]
    assert failures.fetchall() == [("decode.corrupt", 1, "x")]
    assert [row[:3] for row in flipped.fetchall()] == [("c", "real", "fake")]
    assert again.fetchall() == []
    publish(output, "again", TODAY, {"a": "fake"}, again="month")
    found = duckdb.sql(blocks("DuckDB", "sql")[5]).fetchall()
    assert [(Path(name).stem, run_id) for name, run_id in found] == [("again", "month")]


def test_questions_in_pandas(output: Path):
    first, second = (ran(block) for block in blocks("pandas", "python"))
    assert first["by_day"]["fake"].tolist() == [1, 2]
    assert first["models"] == ["resnet50@1", "resnet50@2"]
    assert first["by_day"]["failed"].tolist() == [0, 1]
    assert sorted(first["changed"]["image"]) == ["c", "d"]
    assert [index[1] for index in first["flipped"].index] == ["c"]
    assert [found["run_id"] for found in second["last_month_said"]] == ["month"]
    assert second["failures"].to_dict() == {"decode.corrupt": 1}


@pytest.mark.skipif(not HAS_POLARS, reason="polars is not installed")
def test_questions_in_polars(output: Path):
    (block,) = blocks("Polars", "python")
    publish(output, "twice", YESTERDAY, {"b": "fake"}, model_id="resnet50@2+11111111")
    found = ran(block)
    assert found["by_day"].rows() == [(LAST_MONTH, 3, 0, 1), (YESTERDAY, 3, 1, 2)]
    assert sorted(found["changed"]["image"]) == ["c", "d"]
    assert found["flipped"]["image"].to_list() == ["c"]
    assert found["failures"].rows() == [("decode.corrupt", 1)]


def test_questions_to_a_bucket(
    output: Path,
    bucket: Bucket,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    bucket.fill(output, "out")
    monkeypatch.setenv("OUTPUT", f"{bucket.url}/out")
    pandas, duck, polars = blocks("From a bucket", "python")
    found = ran(pandas)
    assert sorted(found["latest"]["image"]) == ["a", "b", "c", "d", "x"]
    assert len(found["recent"]) == 7
    try:
        assert ran(duck)["counts"] == [
            (LAST_MONTH, "fake", 1),
            (LAST_MONTH, "real", 2),
            (YESTERDAY, "fake", 2),
            (YESTERDAY, "real", 1),
            (YESTERDAY, None, 1),
        ]
    finally:
        duckdb.unregister_filesystem("s3")
    if HAS_POLARS:
        counts = dict(ran(polars)["per_label"].rows())
        assert counts == {"fake": 2, "real": 2, None: 1}


def test_an_image_that_was_published_twice_counts_once(output: Path):
    publish(output, "twice", YESTERDAY, {"b": "fake", "c": "fake"}, again="night")
    by_day = duckdb.sql(blocks("DuckDB", "sql")[0]).fetchall()
    assert [row[:4] for row in by_day] == [(LAST_MONTH, 3, 0, 1), (YESTERDAY, 3, 1, 2)]
    first = ran(blocks("pandas", "python")[0])
    assert first["by_day"]["fake"].tolist() == [1, 2]


def test_one_model_alone_has_flipped_nothing(output: Path):
    for name in ("night", "odd"):
        (output / published_name(YESTERDAY.isoformat(), name)).unlink()
    assert ran(blocks("pandas", "python")[0])["flipped"].empty


def trend(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Json:
    assert cli.main(["trend", *arguments, "--json"]) == 0
    found: Json = json.loads(capsys.readouterr().out)
    return found


def test_the_trend_has_every_week(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "reports"
    publish(output, "first", dt.date(2026, 9, 2), {"a": "fake", "b": "real", "c": "real"})
    publish(output, "late", dt.date(2026, 9, 20), {"d": "fake", "x": None})
    publish(output, "again", dt.date(2026, 9, 21), {"a": "real"}, again="first")
    assert trend(["--output", str(output)], capsys)["weeks"] == 3
    assert (output / "trend.png").read_bytes().startswith(b"\x89PNG")
    table = (output / "trend.csv").read_text().splitlines()
    assert table[0] == "week,judged,failed,fake,uncertain,real,fake_share"
    assert [line.split(",")[:6] for line in table[1:]] == [
        ["2026-08-31", "3", "0", "1", "0", "2"],
        ["2026-09-07", "0", "0", "0", "0", "0"],
        ["2026-09-14", "1", "1", "1", "0", "0"],
    ]
    trend(["--output", str(output), "--to", "new/drawn.svg"], capsys)
    assert "<svg" in (tmp_path / "new" / "drawn.svg").read_text()
    assert (tmp_path / "new" / "drawn.csv").read_text().splitlines() == table
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "reports"]


@pytest.mark.parametrize("label", ["fake", "real", None])
def test_one_week_is_drawn_as_one_bar(tmp_path: Path, label: str | None):
    publish(tmp_path, "only", dt.date(2026, 9, 2), {"a": label})
    picture = draw(weekly(str(tmp_path)), kind="svg").decode()
    assert picture.count("31 Aug 2026") == 1
    assert "<svg" in picture


def test_a_trend_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for arguments in (["--output", str(tmp_path)], ["--output", str(tmp_path), "--to", "a.gif"]):
        assert cli.main(["trend", *arguments]) == 2
        assert capsys.readouterr().err.startswith("deepfake: ")
