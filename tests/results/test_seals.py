"""One flipped bit of a Parquet file is named; it never gives other rows."""

import datetime as dt
import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core.errors import DamagedFile
from deepfake_core.results import verdict_files
from deepfake_core.results.manifest import MANIFEST_SCHEMA, from_bytes, run_of, to_bytes
from deepfake_core.results.schema import VERDICTS, with_metadata
from deepfake_core.results.seals import is_whole
from deepfake_core.results.verdict_files import parquet_bytes, parse, pieces, write_verdicts
from tests.support.runs import a_run

NOW = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
ROWS = [
    {
        "image": f"{index}.jpg",
        "source": "/photos",
        "etag": "an etag",
        "sha256": "a" * 64,
        "bytes": index,
        "status": "ok",
        "logit": 0.1 * index,
        "score": 0.5,
        "label": "real",
        "model_id": "tiny@1+00000000",
        "run_id": "a run",
        "run_started": NOW,
    }
    for index in range(20)
]
VERDICT_ROWS = with_metadata(pa.Table.from_pylist(ROWS, schema=VERDICTS), {"thresholds": "0.3"})
DATA = parquet_bytes(VERDICT_ROWS)


def little_by_little(data: bytes) -> pa.Table:
    return pa.concat_tables(list(pieces(io.BytesIO(data), "a file", None, 7)))


def at_once(data: bytes) -> pa.Table:
    return parse(data, "a file")


def flipped(data: bytes, bit: int) -> bytes:
    other = bytearray(data)
    other[bit // 8] ^= 1 << bit % 8
    return bytes(other)


@pytest.mark.parametrize("read", [at_once, little_by_little])
def test_what_was_written_is_read(read: Callable[[bytes], pa.Table]):
    assert is_whole(DATA) is True
    assert read(DATA).equals(VERDICT_ROWS, check_metadata=True)


@pytest.mark.parametrize("read", [at_once, little_by_little])
@settings(deadline=None, max_examples=1500)
@given(bit=st.integers(0, 8 * len(DATA) - 1))
def test_a_flipped_bit_is_named_or_changes_nothing(read: Callable[[bytes], pa.Table], bit: int):
    try:
        rows = read(flipped(DATA, bit))
    except DamagedFile:
        return
    # A bit of the word by which a seal is known.
    assert rows.equals(VERDICT_ROWS, check_metadata=True)


def test_nearly_every_flipped_bit_is_named():
    named = 0
    for place in range(len(DATA)):
        try:
            at_once(flipped(DATA, 8 * place + place % 8))
        except DamagedFile:
            named += 1
    # What is left are the bytes by which a seal is known.
    assert named >= len(DATA) - 20


@pytest.mark.parametrize("left", [0, 1, 7, 12, 100, len(DATA) // 2, len(DATA) - 1])
def test_a_file_that_was_cut_is_named(left: int):
    for read in (at_once, little_by_little):
        with pytest.raises(DamagedFile):
            read(DATA[:left])


def test_pages_are_checked_where_not_the_whole_file_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(verdict_files, "is_whole", lambda content: None)
    # The bytes of the first column's pages, behind their header.
    column = pq.ParquetFile(io.BytesIO(DATA)).metadata.row_group(0).column(0)
    end = column.dictionary_page_offset + column.total_compressed_size
    with pytest.raises(DamagedFile, match=r"CRC|checksum"):
        little_by_little(flipped(DATA, 8 * (end - 3)))


def test_a_file_that_is_written_little_by_little_is_sealed(tmp_path: Path):
    file = tmp_path / "some.parquet"
    assert write_verdicts(file, [VERDICT_ROWS, VERDICT_ROWS], {"thresholds": "0.3"}) == 40
    assert is_whole(file) is True
    file.write_bytes(flipped(file.read_bytes(), 8 * 200))
    assert is_whole(file) is False
    with pytest.raises(DamagedFile):
        list(pieces(str(file), "a file", ["image"], 100))


def test_files_of_earlier_versions_have_no_seal_and_are_read():
    buffer = io.BytesIO()
    pq.write_table(VERDICT_ROWS, buffer)
    assert is_whole(buffer.getvalue()) is None
    assert at_once(buffer.getvalue()).equals(VERDICT_ROWS)


def test_a_manifest_is_sealed_too():
    row = {"image": "a.jpg", "bytes": 1, "etag": "an etag"}
    data = to_bytes(pa.Table.from_pylist([row], schema=MANIFEST_SCHEMA), run=a_run())
    assert from_bytes(data)["image"].to_pylist() == ["a.jpg"]
    assert run_of(data, "a manifest") == a_run()
    with pytest.raises(
        DamagedFile, match=r"a manifest cannot be read, as it is damaged.*deepfake repair"
    ):
        from_bytes(flipped(data, 8 * 200))
    with pytest.raises(DamagedFile):
        run_of(flipped(data, 8 * 200), "a manifest")
