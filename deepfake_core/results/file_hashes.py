"""What files a finished run has, by hash: ``runs/<run_id>/files.json``, a chain of links.

A link says which files were written, why, and what was there before; it holds the hash of the link
before it in its run, and that of the newest link of the whole output when it was added. Links are
only ever added, before the files that they tell of are replaced. ``chain.json`` beside ``runs/``
names the newest.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deepfake_core.errors import damaged, unreadable
from deepfake_core.records import Json
from deepfake_core.results.layout import run_file
from deepfake_core.storage.base import Readable, Storage

FILES_FILE, CHAIN_FILE = "files.json", "chain.json"
FORMAT = 1
_READ_AT_ONCE = 2**20


class Signer(Protocol):
    """Signs links; see `deepfake_core.results.signing.open_signer`."""

    def sign(self, message: bytes) -> dict[str, str]:
        """The signature of a message, with the public key that it can be checked by."""
        ...


@dataclass(frozen=True, slots=True)
class FileHash:
    """A file's sha256, in hex, and its size."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a run's chain.

    Attributes:
        content: what it says: ``why``, ``at``, ``run_id``, ``before``, ``previous``, ``files``.
        sha256: its hash, as it is stored.
        signature: None where it is not signed.
    """

    content: Json
    sha256: str
    signature: dict[str, str] | None = None

    @property
    def message(self) -> bytes:
        """What is hashed and signed."""
        return json.dumps(self.content, sort_keys=True, separators=(",", ":")).encode()

    @property
    def is_whole(self) -> bool:
        """Whether its hash is that of its content."""
        return hashlib.sha256(self.message).hexdigest() == self.sha256

    @property
    def files(self) -> dict[str, FileHash | None]:
        """The files that it tells of; None where one was removed."""
        hashes: dict[str, FileHash | None] = {}
        for path, facts in self.content["files"].items():
            sha256 = facts["sha256"]
            hashes[path] = None if sha256 is None else FileHash(sha256, int(facts["bytes"]))
        return hashes


def hash_bytes(data: bytes) -> FileHash:
    """The hash of a file's content."""
    return FileHash(hashlib.sha256(data).hexdigest(), len(data))


def hash_file(storage: Storage, path: str) -> FileHash:
    """The hash of a file as it is stored now.

    Raises:
        FileNotFoundError: it is not there.
        OutputError: it cannot be read.
    """
    try:
        readable = storage.readable(path)
        if not isinstance(readable, str):
            return hash_bytes(storage.read(path))
        digest, size = hashlib.sha256(), 0
        for block in _blocks(Path(readable)):
            digest.update(block)
            size += len(block)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(storage.address(path), error) from error
    return FileHash(digest.hexdigest(), size)


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while block := stream.read(_READ_AT_ONCE):
            yield block


def read_links(storage: Storage, run_id: str) -> list[Link] | None:
    """The chain of a run; None where it has none, such as of an earlier version.

    Raises:
        DamagedFile: it is not such a chain.
        OutputError: it cannot be read.
    """
    path = run_file(run_id, FILES_FILE)
    address = storage.address(path)
    try:
        stored = json.loads(storage.read(path))
        links = [
            Link(entry["link"], entry["sha256"], entry.get("signature"))
            for entry in stored["links"]
        ]
        for link in links:
            # What it must have is looked at here, so that nobody trips over it later.
            _ = link.files, link.content["why"], link.content["before"], link.content["previous"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(address, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(address, f"{type(error).__name__} in its content") from error
    return links


def newest_hashes(links: list[Link]) -> dict[str, FileHash]:
    """The files that a run should have now."""
    now: dict[str, FileHash | None] = {}
    for link in links:
        now.update(link.files)
    return {path: file_hash for path, file_hash in now.items() if file_hash is not None}


def add_link(
    storage: Storage,
    run_id: str,
    why: str,
    files: Mapping[str, FileHash | None],
    *,
    signer: Signer | None = None,
) -> None:
    """Add a link to a run's chain, before the files that it tells of are replaced.

    Args:
        storage: the output.
        run_id: the run.
        why: such as ``scan`` or ``erase``.
        files: by their paths below the output; None for one that is removed.
        signer: signs the link.

    Raises:
        DamagedFile: the run's chain cannot be read.
        OutputError: it cannot be written.
    """
    links = read_links(storage, run_id) or []
    before = newest_hashes(links)

    def change(stored: Readable | None, file: Path) -> None:
        content: dict[str, object] = {
            "why": why,
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "run_id": run_id,
            "before": links[-1].sha256 if links else None,
            "previous": _newest(stored),
            "files": {path: _entry(before.get(path), files[path]) for path in sorted(files)},
        }
        link = Link(content, "")
        link = Link(
            content,
            hashlib.sha256(link.message).hexdigest(),
            signer.sign(link.message) if signer else None,
        )
        storage.put(run_file(run_id, FILES_FILE), chain_bytes([*links, link]))
        file.write_bytes(json.dumps({"run_id": run_id, "link": link.sha256}).encode() + b"\n")

    storage.update(CHAIN_FILE, change)


def _entry(before: FileHash | None, now: FileHash | None) -> dict[str, object]:
    entry: dict[str, object] = {"sha256": now and now.sha256, "bytes": now and now.bytes}
    return entry if before is None else {**entry, "old": before.sha256}


def _newest(stored: Readable | None) -> dict[str, object] | None:
    """The newest link of the output; None where that is not known."""
    if stored is None:
        return None
    data = Path(stored).read_bytes() if isinstance(stored, str) else stored.read()
    try:
        pointer = json.loads(data)
        return {"run_id": str(pointer["run_id"]), "link": str(pointer["link"])}
    except (ValueError, KeyError, TypeError):
        return None


def read_newest(storage: Storage) -> dict[str, object] | None:
    """The run and hash of the output's newest link; None where that is not known."""
    try:
        return _newest(storage.readable(CHAIN_FILE))
    except OSError:
        return None


def chain_bytes(links: list[Link]) -> bytes:
    """The content of ``files.json``."""
    content = [
        {"link": link.content, "sha256": link.sha256}
        | ({"signature": link.signature} if link.signature else {})
        for link in links
    ]
    return json.dumps({"format": FORMAT, "links": content}, indent=1).encode() + b"\n"
