"""Remove files of a storage."""

from __future__ import annotations

from deepfake_core.storage.base import Storage
from deepfake_core.storage.local import LocalStorage


def remove(storage: Storage, path: str) -> None:
    """Remove a file below a storage; one that is gone already is no error."""
    if isinstance(storage, LocalStorage):
        (storage.root / path).unlink(missing_ok=True)
        return
    import fsspec

    filesystem, place = fsspec.core.url_to_fs(storage.address(path))
    if filesystem.exists(place):
        filesystem.rm_file(place)
