"""A finished run's rows as text, for people and programs without Parquet."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa

from deepfake_core.errors import UsageError
from deepfake_core.records import Label
from deepfake_core.rendering.evidence import strength
from deepfake_core.results.layout import published_name
from deepfake_core.results.run_ids import check_run_id
from deepfake_core.results.schema import VERDICTS
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import verdict_chunks
from deepfake_core.results.verdict_row import DecidedRow
from deepfake_core.storage.opening import open_storage

Format = Literal["csv", "jsonl", "events"]
ROWS_AT_ONCE = 10_000
# A spreadsheet takes a cell that begins so for a formula, and obeys it (OWASP, CSV injection);
# the wide ones are made narrow by some of them first.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
EVENT_TYPE = "deepfake.image.flagged"


def export(run_id: str, output: str, *, kind: Format) -> Iterator[str]:
    """The rows of a finished run as lines of text, each with its line end.

    Args:
        run_id: the run.
        output: the folder of results, local or a URL.
        kind: ``csv`` with a line of names first, ``jsonl`` with an object a row, or ``events``
            with an object for each flagged image, in the form of CloudEvents.

    Raises:
        UsageError: there is no such run, or it is not finished.
    """
    results = Results(open_storage(output))
    path = _published(results, run_id, output)
    tables = (
        verdict_chunks(results.storage, path, None, rows=ROWS_AT_ONCE)
        if path
        else iter([VERDICTS.empty_table()])
    )
    if kind == "csv":
        return _csv(tables)
    return _objects(tables) if kind == "jsonl" else _events(tables)


def neutral(text: str) -> str:
    """A text that no spreadsheet takes for a formula.

    Examples:
        >>> neutral("=HYPERLINK(...)"), neutral("a=b"), neutral("")
        ("'=HYPERLINK(...)", 'a=b', '')
    """
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA_STARTS) else text


def _published(results: Results, run_id: str, output: str) -> str | None:
    """The path of a finished run's rows; None where it has none."""
    check_run_id(run_id)
    run = results.get_run(run_id)
    if run is None or run.state != "done":
        state = "is not finished; continue it" if run else "is not there"
        raise UsageError(f"run {run_id} in {output} {state}; give a finished run's id")
    path = published_name(run.run_date, run_id)
    if results.storage.exists(path):
        return path
    if run.has_rows:
        raise UsageError(
            f"the verdicts of run {run_id} in {output} are gone, by a retention or otherwise; "
            "`deepfake verify-run` says which, and `deepfake repair` makes lost ones again"
        )
    return None


def _csv(tables: Iterator[pa.Table]) -> Iterator[str]:
    names: Sequence[str] | None = None
    for table in tables:
        if names is None:
            names = table.schema.names
            yield _line(names)
        for row in table.to_pylist():
            yield _line([_cell(row[name]) for name in names])


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue()


def _cell(value: Any) -> str:  # noqa: ANN401 - a cell of any column
    """A cell for a spreadsheet: empty for null, numbers as they are, lists as JSON."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return neutral(value if isinstance(value, str) else _json(value))


def _objects(tables: Iterator[pa.Table]) -> Iterator[str]:
    for table in tables:
        for row in table.to_pylist():
            yield _json(row) + "\n"


def _events(tables: Iterator[pa.Table]) -> Iterator[str]:
    for table in tables:
        for row in table.to_pylist():
            if row["label"] == Label.FAKE:
                yield _json(_event(row)) + "\n"


def _event(row: DecidedRow) -> dict[str, object]:
    """One finding, in the envelope of CloudEvents 1.0; the same finding has the same id."""
    data = {"strength": strength(row["score"], row["label"]), **row}
    return {
        "specversion": "1.0",
        "id": f"{row['run_id']}/{row['image']}",
        "source": row["source"],
        "type": EVENT_TYPE,
        "subject": row["image"],
        "time": row["run_started"],
        "datacontenttype": "application/json",
        "data": {name: value for name, value in data.items() if value is not None},
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)
