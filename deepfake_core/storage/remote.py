"""A folder behind any URL that fsspec knows, but for S3, which has a module of its own."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from deepfake_core.errors import SourceError, output_error, reason
from deepfake_core.storage.base import MAX_FILE_BYTES, Content, TooLarge, Update
from deepfake_core.storage.listing import Listing, is_hidden
from deepfake_core.storage.staging import MadeHere

READ_AT_ONCE = 2**20


class RemoteStorage(MadeHere):
    """A folder behind a URL; what its fsspec implementation raises must be OSErrors."""

    attempts = 3
    most_bytes = MAX_FILE_BYTES
    is_local = False

    def __init__(self, url: str) -> None:
        """Connect lazily; the URL must hold no credentials."""
        import fsspec

        self.name = without_credentials(url)
        try:
            self._fs: Any
            self._fs, root = fsspec.core.url_to_fs(self.name)
        except (ImportError, ValueError) as error:
            advice = "give a folder, s3://bucket/prefix or another URL that fsspec knows"
            raise SourceError(f"cannot open {self.name}: {error}; {advice}") from error
        except OSError as error:
            # Some file systems connect at once.
            advice = "check the host, and that it can be reached from here"
            raise SourceError(f"cannot open {self.name}: {reason(error)}; {advice}") from error
        self._root = root.rstrip("/")
        self._started = False

    def list_files(self, *, leave_out: str = "") -> Listing:
        """See `Storage.list_files`."""
        listing = Listing()
        skipped = leave_out.rstrip("/") + "/" if leave_out else None
        try:
            infos = self._fs.find(self._root, detail=True)
            missing = not infos and not self._fs.exists(self._root)
        except OSError as error:
            raise SourceError(f"cannot list {self.name}: {reason(error)}") from error
        if missing:
            raise SourceError(f"cannot list {self.name}: there is no such folder")
        for full, info in infos.items():
            path = full[len(self._root) :].lstrip("/")
            if is_hidden(path) or (skipped and f"{self.name}/{path}".startswith(skipped)):
                continue
            _add(listing, path, info)
        return listing

    def list_file(self, path: str) -> Listing:
        """See `Storage.list_file`; a page of a web server is the listing of a folder."""
        listing = Listing()
        with contextlib.suppress(FileNotFoundError):
            info = self._fs.info(self._at(path))
            if info.get("type") == "file" and info.get("mimetype") != "text/html":
                _add(listing, path, info)
        return listing

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        try:
            self._fs.invalidate_cache()
            return sorted(path.rpartition("/")[2] for path in self._fs.ls(self._at(folder), False))
        except FileNotFoundError:
            return []

    def read(self, path: str) -> bytes:
        """See `Storage.read`; what is sent without its length is read no further."""
        most = self.most_bytes
        streamed = {"block_size": 0} if self.name.startswith(("http:", "https:")) else {}
        with self._fs.open(self._at(path), "rb", **streamed) as file:
            size = getattr(file, "size", None)
            if size is not None and size > most:
                raise TooLarge(f"{size} bytes; at most {most} are read")
            parts, count = [], 0
            while part := file.read(READ_AT_ONCE):
                parts.append(part)
                count += len(part)
                if count > most:
                    raise TooLarge(f"more than the {most} bytes that are read at most")
        return b"".join(parts)

    def readable(self, path: str) -> BinaryIO:
        """See `Storage.readable`."""
        file: BinaryIO = self._fs.open(self._at(path), "rb")
        return file

    def put(self, path: str, data: Content) -> None:
        """One put; the store makes it atomic."""
        try:
            if isinstance(data, Path):
                self._fs.put_file(str(data), self._at(path))
            else:
                self._fs.pipe_file(self._at(path), data)
        except OSError as error:
            raise output_error(self.address(path), error, started=self._started) from error
        self._started = True

    def create(self, path: str, data: Content) -> bool:
        """See `Storage.create`; without a promise against others that write at once."""
        missing = not self.exists(path)
        if missing:
            self.put(path, data)
        return missing

    def update(self, path: str, change: Update) -> None:
        """See `Storage.update`; without a promise against others that write at once."""
        with self.spool() as file:
            change(self.readable(path) if self.exists(path) else None, file)
            self.put(path, file)

    def delete(self, path: str) -> None:
        """See `Storage.delete`."""
        try:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(self._at(path))
        except OSError as error:
            raise output_error(self.address(path), error, started=self._started) from error

    def exists(self, path: str = "") -> bool:
        """See `Storage.exists`."""
        return bool(self._fs.exists(self._at(path)))

    def address(self, path: str) -> str:
        """See `Storage.address`."""
        return f"{self.name}/{path}".rstrip("/")

    def check_writable(self) -> None:
        """See `Storage.check_writable`; of a store only a write tells."""

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")


def _add(listing: Listing, path: str, info: dict[str, Any]) -> None:
    """Add what a file system says of a file."""
    changed = info.get("LastModified") or info.get("mtime") or info.get("created")
    if isinstance(changed, dt.datetime):
        changed = changed.timestamp()
    size = info.get("size")
    listing.add(path, size=size, etag=_etag(info, changed), modified=changed)


def _etag(info: Mapping[str, Any], changed: float | None) -> str | None:
    """What changes with the content; None where a store, such as a web server, says too little."""
    for name in ("ETag", "etag", "md5", "sha", "CRC"):
        if info.get(name):
            return str(info[name]).strip('"')
    known = info.get("size") is not None and changed is not None
    return f"{info['size']}-{changed}" if known else None


def without_credentials(url: str) -> str:
    """A URL in its normal form.

    Raises:
        SourceError: it holds credentials.
    """
    scheme, _, rest = url.partition("://")
    if "@" in rest.partition("/")[0]:
        raise SourceError(
            "the URL holds credentials; leave them out and set them in the environment"
        )
    return f"{scheme}://{rest.strip('/')}"
