"""The storage of a path or URL."""

from __future__ import annotations

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
