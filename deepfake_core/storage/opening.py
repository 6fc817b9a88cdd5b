"""The storage of a path or URL."""

from __future__ import annotations

import contextlib
from pathlib import Path

from deepfake_core.storage.base import Storage
from deepfake_core.storage.local import LocalStorage


def open_storage(location: str) -> Storage:
    """The storage of a local path or a URL such as ``s3://bucket/prefix``."""
    scheme = location.partition("://")[0]
    if scheme in ("s3", "s3a"):
        from deepfake_core.storage.s3 import BucketStorage

        return BucketStorage(location)
    if "://" in location and scheme != "file":
        from deepfake_core.storage.remote import RemoteStorage

        return RemoteStorage(location)
    return LocalStorage(Path(location.removeprefix("file://")))


def open_source(location: str) -> tuple[Storage, str | None]:
    """The folder of a source and, where the source is one file, the name of that file in it.

    Of an address only what ends like a file's name, with a dot in it, is asked for as one.

    Raises:
        SourceError: it cannot be opened.
    """
    folder, slash, name = location.rpartition("/")
    remote = "://" in location
    if not name or (remote and ("." not in name or folder.endswith(":/"))):
        return open_storage(location), None
    parent = open_storage(folder or slash or ".")
    # Who may not look at the file is told so when the folder is listed.
    with contextlib.suppress(OSError):
        if parent.list_file(name).paths:
            return parent, name
    return open_storage(location), None
