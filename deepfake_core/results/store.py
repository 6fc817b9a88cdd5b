"""Where results land: parts, published verdicts, the newest verdict of each image."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import (
    BrokenInvariant,
    DamagedFile,
    damaged,
    output_error,
    unreadable,
)
from deepfake_core.results.file_hashes import FileHash, Signer, hash_bytes
from deepfake_core.results.latest import newest_of
from deepfake_core.results.layout import (
    LATEST,
    PART,
    RUN_FILE,
    part_name,
    published_name,
    run_file,
)
from deepfake_core.results.run_record import RunRecord, parse_run
from deepfake_core.results.schema import validate, with_metadata
from deepfake_core.results.verdict_files import (
    OnDamaged,
    bare,
    chunks_of,
    parquet_bytes,
    pieces,
    read_verdicts,
    write_verdicts,
)
from deepfake_core.storage.base import Readable, Storage

# Rows of it, or of verdicts, that are read at once while others are brought in.
MERGED_AT_ONCE = 50_000
# Folders that are listed at once: one for each day on which something was published.
LISTED_AT_ONCE = 8


class Results:
    """The output folder of scans."""

    def __init__(self, storage: Storage, signer: Signer | None = None) -> None:
        """Wrap the output's storage; `signer` signs what is told of finished runs' files."""
        self.storage, self.signer = storage, signer
        # What was written here is read whole, however large.
        storage.most_bytes = sys.maxsize
        # Of the files that were written by this process.
        self.hashes: dict[str, FileHash] = {}

    def put(self, path: str, data: bytes) -> None:
        """Write a file, and remember its hash."""
        self.storage.put(path, data)
        self.hashes[path] = hash_bytes(data)

    def put_json(self, run_id: str, name: str, content: Mapping[str, object]) -> None:
        """Write one of a run's JSON files."""
        self.put(run_file(run_id, name), json_bytes(content))

    def get_json(self, run_id: str, name: str) -> dict[str, object] | None:
        """Read one of a run's JSON files; None where it is missing.

        Raises:
            DamagedFile: it is not JSON.
            OutputError: it cannot be read.
        """
        address = self.storage.address(run_file(run_id, name))
        try:
            content = json.loads(self.storage.read(run_file(run_id, name)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unreadable(address, error) from error
        except (ValueError, RecursionError) as error:
            raise damaged(address, str(error)) from error
        if not isinstance(content, dict):
            raise damaged(address, "it is not a JSON object")
        return content

    def put_run(self, run: RunRecord) -> None:
        """Write a run's ``run.json``."""
        self.put_json(run.run_id, RUN_FILE, run.as_json())

    def get_run(self, run_id: str) -> RunRecord | None:
        """Read a run's ``run.json``; None where it is missing.

        Raises:
            OutputError: it cannot be read or understood.
        """
        where = self.storage.address(run_file(run_id, RUN_FILE))
        content = self.get_json(run_id, RUN_FILE)
        return None if content is None else parse_run(content, where=where)

    def committed(self, run_id: str) -> set[int]:
        """The numbers of the shards that are committed."""
        names = self.storage.names(run_file(run_id, "parts"))
        # Somebody's copy of a part, or a file manager's, is none.
        return {int(match["index"]) for name in names if (match := PART.fullmatch(name))}

    def commit(self, run_id: str, index: int, rows: pa.Table, metadata: dict[str, str]) -> None:
        """Check a shard's rows and put its part; its presence is the commit."""
        validate(rows)
        part = parquet_bytes(with_metadata(rows, metadata))
        self.put(run_file(run_id, f"parts/{part_name(index)}"), part)

    def part(self, run_id: str, index: int) -> pa.Table:
        """Read a committed shard."""
        return read_verdicts(self.storage, run_file(run_id, f"parts/{part_name(index)}"))

    def publish(
        self, run_id: str, run_date: str, expected: pa.Table, metadata: dict[str, str], parts: int
    ) -> str:
        """Join a run's parts into its one file under ``verdicts/``, by one rename or put.

        Args:
            run_id: the run.
            run_date: the UTC date on which it started.
            expected: the manifest's unskipped rows in the order in which they were judged; the
                parts must be exactly these. They are published in the order of `image`.
            metadata: facts for the footer.
            parts: number of shards.

        Raises:
            BrokenInvariant: the rows are not those of the manifest.
        """
        path = published_name(run_date, run_id)
        rows = self._checked(run_id, expected["image"], parts)
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(self.storage.spool())
            if not _is_sorted(expected["image"]):
                rows = stack.enter_context(newest_of(rows, self.storage.spool))
            try:
                write_verdicts(file, rows, metadata)
            except OSError as error:
                raise output_error(self.storage.address(path), error, started=True) from error
            # Another process that finishes the same run has published the same rows.
            self.storage.create(path, file)
        return path

    def _checked(self, run_id: str, expected: pa.ChunkedArray, parts: int) -> Iterator[pa.Table]:
        """The rows of each part, which must be those of the expected images, in order."""
        seen = 0
        for index in range(parts):
            rows = bare(self.part(run_id, index))
            validate(rows)
            images = expected.slice(seen, rows.num_rows)
            if not rows["image"].combine_chunks().equals(images.combine_chunks()):
                raise BrokenInvariant(f"part {index} of run {run_id} is not its manifest's")
            yield rows
            seen += rows.num_rows
        if seen != len(expected):
            raise BrokenInvariant(f"run {run_id} has {seen} rows of {len(expected)}")

    def published(self) -> list[str]:
        """The paths of all published files, oldest date first."""
        days = [day for day in self.storage.names("verdicts") if day.startswith("run_date=")]
        folders = [f"verdicts/{day}" for day in days]
        with ThreadPoolExecutor(LISTED_AT_ONCE, "list") as pool:
            listed = zip(folders, pool.map(self.storage.names, folders), strict=True)
            return [
                f"{folder}/{name}"
                for folder, names in listed
                for name in names
                if name.endswith(".parquet") and not name.startswith(".")
            ]

    def update_latest(self, path: str, on_damaged: OnDamaged | None = None) -> None:
        """Bring a published file's rows into ``latest.parquet``; doing it twice is the same.

        Where that is damaged it is made again from all that is published.
        """

        def change(before: Readable | None, after: Path) -> None:
            known = []
            if before is not None:
                some = pieces(before, self.storage.address(LATEST), None, MERGED_AT_ONCE)
                known = [map(bare, some)]
            try:
                with newest_of(self._rows([path]), self.storage.spool, *known) as rows:
                    write_verdicts(after, rows, {})
            except DamagedFile as error:
                if on_damaged is not None:
                    on_damaged(error)
                self._write_latest(after, on_damaged)

        self.storage.update(LATEST, change)

    def rebuild_latest(self, on_damaged: OnDamaged | None = None) -> int:
        """Make ``latest.parquet`` again from ``verdicts/``; returns its rows.

        Args:
            on_damaged: told of published files that are left out as they are damaged; without it
                they raise DamagedFile.
        """
        count = 0

        def change(_: Readable | None, after: Path) -> None:
            nonlocal count
            count = self._write_latest(after, on_damaged)

        self.storage.update(LATEST, change)
        return count

    def _write_latest(self, after: Path, on_damaged: OnDamaged | None) -> int:
        with newest_of(self._rows(self.published(), on_damaged), self.storage.spool) as rows:
            return write_verdicts(after, rows, {})

    def _rows(self, paths: list[str], on_damaged: OnDamaged | None = None) -> Iterator[pa.Table]:
        """The rows of some published files, bit by bit."""
        chunks = chunks_of(self.storage, paths, None, rows=MERGED_AT_ONCE, on_damaged=on_damaged)
        return map(bare, chunks)


def json_bytes(content: Mapping[str, object]) -> bytes:
    """The content of one of a run's JSON files."""
    data = json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"
    # The name of a folder that could not be listed may be no UTF-8.
    return data.encode("utf-8", "backslashreplace")


def _is_sorted(images: pa.ChunkedArray) -> bool:
    if len(images) < 2:
        return True
    together = images.combine_chunks()
    return bool(pc.all(pc.less_equal(together[:-1], together[1:])).as_py())
