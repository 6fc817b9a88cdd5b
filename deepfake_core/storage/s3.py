"""A folder of an S3 bucket, through the client of s3fs.

The calls of S3 are made one by one, not through the file system that s3fs draws over them: its
reads ask for an object's size first, and its listings keep everything they have seen.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from deepfake_core.errors import (
    OutputError,
    OutputLost,
    SourceError,
    SourceOutage,
    output_error,
    reason,
    unreadable,
)
from deepfake_core.storage.base import (
    MAX_FILE_BYTES,
    Archived,
    Changed,
    Content,
    Tag,
    Tagged,
    TooLarge,
    Update,
)
from deepfake_core.storage.listing import Listing, is_hidden
from deepfake_core.storage.range_file import TAIL_BYTES, RangeFile, Span
from deepfake_core.storage.remote import without_credentials
from deepfake_core.storage.s3_attempts import pause, tried
from deepfake_core.storage.s3_errors import NoRange, Transient, Unconditional, complaints
from deepfake_core.storage.s3_multipart import MULTIPART_ABOVE_BYTES, put_in_parts, size_of
from deepfake_core.storage.s3_reader import DirectReader, client
from deepfake_core.storage.s3_tags import put_tag
from deepfake_core.storage.staging import MadeHere

UPDATES = 50
ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}
RESTORED = {"OptionalObjectAttributes": ["RestoreStatus"]}

Answer = dict[str, Any]
Condition = dict[str, str]


class BucketStorage(MadeHere):
    """A folder of a bucket; credentials and endpoint come from the usual places of AWS."""

    attempts = 1
    most_bytes = MAX_FILE_BYTES
    is_local = False

    def __init__(self, url: str) -> None:
        """Connect lazily; the URL must hold no credentials."""
        self.name = without_credentials(url).replace("s3a://", "s3://", 1)
        self._bucket, _, folder = self.name.removeprefix("s3://").partition("/")
        self._prefix = f"{folder}/" if folder else ""
        self._archived: set[str] = set()
        self._conditional = True
        self._started = False
        try:
            self._fs = client()
            self._reader = DirectReader(self._fs, self._bucket)
        except complaints() as error:
            raise SourceError(f"cannot open {self.name}: {type(error).__name__}") from error

    def list_files(self, *, leave_out: str = "") -> Listing:
        """See `Storage.list_files`; page by page, of each only what is needed is kept."""
        listing = Listing()
        empty = True
        try:
            for page in self._pages(self._prefix, **RESTORED):
                empty = empty and not page.get("Contents")
                self._add(page, listing, f"{leave_out.rstrip('/')}/" if leave_out else "")
        except Transient as error:
            raise SourceOutage(f"cannot list {self.name}: {error}; try again later") from error
        except OSError as error:
            raise SourceError(f"cannot list {self.name}: {reason(error)}") from error
        if empty and self._prefix:
            raise SourceError(f"cannot list {self.name}: there is no such folder")
        return listing

    def list_file(self, path: str) -> Listing:
        """See `Storage.list_file`; of the keys that begin with it, the key itself is first."""
        listing, key = Listing(), self._prefix + path
        first = next(self._pages(key, MaxKeys=1, **RESTORED)).get("Contents", [])
        self._add({"Contents": [item for item in first if item["Key"] == key]}, listing, "")
        return listing

    def _add(self, page: Answer, listing: Listing, left_out: str) -> None:
        for entry in page.get("Contents", []):
            path = entry["Key"][len(self._prefix) :]
            if is_hidden(path) or (left_out and self.address(path).startswith(left_out)):
                continue
            restored = "RestoreExpiryDate" in entry.get("RestoreStatus", {})
            if entry.get("StorageClass") in ARCHIVES and not restored:
                self._archived.add(path)
            listing.paths.append(path)
            listing.sizes.append(int(entry["Size"]))
            listing.etags.append(entry["ETag"].strip('"') if "ETag" in entry else None)
            listing.modified.append(entry["LastModified"].timestamp())

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`; of folders as well."""
        prefix, names = f"{self._prefix}{folder}/", []
        try:
            for page in self._pages(prefix, Delimiter="/"):
                keys = [entry["Key"] for entry in page.get("Contents", [])]
                keys += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
                names += [key[len(prefix) :].rstrip("/") for key in keys]
        except OSError as error:
            raise unreadable(self.address(folder), error) from error
        return sorted(name for name in names if name)

    def read(self, path: str) -> bytes:
        """See `Storage.read`; objects that were listed as archived are not asked for."""
        if path in self._archived:
            raise Archived("it was listed as archived")
        direct = self._reader.usable
        data = self._reader.read(self._prefix + path, self.most_bytes) if direct else None
        if data is not None:
            return data
        data, _ = self._get(path, self.most_bytes)
        if direct:
            self._reader.was_useless()
        return data

    def readable(self, path: str) -> BinaryIO:
        """See `Storage.readable`; one request, and one for each part that is far from the end."""
        return self._open(path)[0]

    def _open(self, path: str) -> tuple[BinaryIO, str]:
        """A file of which parts are read, as long as nobody changes it, and its etag."""
        try:
            tail, answer = self._get(path, Range=f"bytes=-{TAIL_BYTES}")
        except NoRange:
            tail, answer = self._get(path)
        etag = str(answer.get("ETag", ""))
        size = int(answer.get("ContentRange", "").rpartition("/")[2] or len(tail))
        condition = {"IfMatch": etag} if etag else {}

        def read(span: Span) -> bytes:
            told = {"Range": f"bytes={span[0]}-{span[1] - 1}", **condition}
            return self._get(path, sys.maxsize, **told)[0]

        file = RangeFile(read, size=size, tail=tail) if len(tail) < size else io.BytesIO(tail)
        return cast(BinaryIO, file), etag

    def put(self, path: str, data: Content) -> None:
        """One request, which the store makes atomic; what is large goes in parts."""
        try:
            self._put(path, data, {})
        except OSError as error:
            raise self._unwritable(path, error) from error

    def create(self, path: str, data: Content) -> bool:
        """See `Storage.create`; the store itself sees to it."""
        try:
            self._put(path, data, {"IfNoneMatch": "*"})
        except Changed:
            return False
        except OSError as error:
            raise self._unwritable(path, error) from error
        return True

    def update(self, path: str, change: Update) -> None:
        """See `Storage.update`; put on condition that nobody else has since it was read."""
        for _ in range(UPDATES):
            try:
                with self.spool() as file:
                    condition = self._change(path, change, file)
                    self._put(path, file, condition)
                return
            except (Changed, FileNotFoundError):
                pause(1)
            except OSError as error:
                raise self._unwritable(path, error) from error
        raise OutputLost(
            f"cannot write {self.address(path)}: others changed it {UPDATES} times meanwhile; "
            "start the run again with its --run-id"
        )

    def _change(self, path: str, change: Update, file: Path) -> Condition:
        """Make the new content; returns the condition under which it may be put."""
        try:
            before, etag = self._open(path)
        except FileNotFoundError:
            change(None, file)
            return {"IfNoneMatch": "*"}
        with before:
            change(before, file)
        return {"IfMatch": etag} if etag else {}

    def tag(self, path: str, tag: Tag) -> Tagged:
        """See `deepfake_core.storage.base.Taggable`."""
        return put_tag(self._call, self._prefix + path, tag)

    def delete(self, path: str) -> None:
        """See `Storage.delete`."""
        try:
            self._call("delete_object", Key=self._prefix + path)
        except OSError as error:
            raise self._unwritable(path, error) from error

    def exists(self, path: str = "") -> bool:
        """See `Storage.exists`."""
        try:
            if not path:
                page = self._call("list_objects_v2", Prefix=self._prefix, MaxKeys=1)
                return not self._prefix or bool(page.get("Contents"))
            self._call("head_object", Key=self._prefix + path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise unreadable(self.address(path), error) from error
        return True

    def address(self, path: str) -> str:
        """See `Storage.address`."""
        return f"{self.name}/{path}".rstrip("/")

    def check_writable(self) -> None:
        """See `Storage.check_writable`; of a bucket only a write tells."""

    def _pages(self, prefix: str, **arguments: object) -> Iterator[Answer]:
        page = self._call("list_objects_v2", Prefix=prefix, **arguments)
        yield page
        while page.get("IsTruncated"):
            arguments["ContinuationToken"] = page["NextContinuationToken"]
            page = self._call("list_objects_v2", Prefix=prefix, **arguments)
            yield page

    def _get(self, path: str, most: int = sys.maxsize, **arguments: str) -> tuple[bytes, Answer]:
        async def get() -> tuple[bytes, Answer]:
            answer = await self._fs._call_s3(
                "get_object", Bucket=self._bucket, Key=self._prefix + path, **arguments
            )
            if answer["ContentLength"] > most:
                answer["Body"].close()
                return b"", answer
            async with answer["Body"] as body:
                return await body.read(), answer

        data, answer = tried(self._fs, get)
        if answer["ContentLength"] > most:
            raise TooLarge(f"{answer['ContentLength']} bytes; at most {most} are read")
        return data, answer

    def _put(self, path: str, data: Content, condition: Condition) -> None:
        if condition and not self._conditional:
            if "IfNoneMatch" in condition and self.exists(path):
                raise Changed
            condition = {}
        key = self._prefix + path
        try:
            if size_of(data) > MULTIPART_ABOVE_BYTES:
                put_in_parts(self._call, key, data, condition)
            else:
                body = data.read_bytes() if isinstance(data, Path) else data
                self._call("put_object", Key=key, Body=body, **condition)
        except Unconditional:
            if not condition:
                raise
            self._conditional = False
            self._put(path, data, condition)
        self._started = True

    def _call(self, method: str, **arguments: object) -> Answer:
        async def call() -> Answer:
            answer: Answer = await self._fs._call_s3(method, Bucket=self._bucket, **arguments)
            return answer

        return tried(self._fs, call)

    def _unwritable(self, path: str, error: OSError) -> OutputError | OutputLost:
        started = self._started or isinstance(error, Transient)
        return output_error(self.address(path), error, started=started)
