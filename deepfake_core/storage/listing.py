"""What is found below a folder."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Listing:
    """Columns of the regular files below a folder, in no order.

    Attributes:
        paths: relative to the folder, forward slashes; bytes that are not UTF-8 as surrogates.
        sizes: bytes, or None where they are not known.
        etags: the store's, or size and modification time in nanoseconds; None where the content
            may change without a sign of it, so that it is read again by every scan.
        modified: seconds since 1970, or None where the store does not say.
        unreadable: folders, and what is in them, that could not be listed.
    """

    paths: list[str] = field(default_factory=list)
    sizes: list[int | None] = field(default_factory=list)
    etags: list[str | None] = field(default_factory=list)
    modified: list[float | None] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def add(self, path: str, *, size: int | None, etag: str | None, modified: float | None) -> None:
        """Take a file."""
        self.paths.append(path)
        self.sizes.append(size)
        self.etags.append(etag)
        self.modified.append(modified)


def is_hidden(path: str) -> bool:
    """Whether a path is a marker of a folder, or a name in it begins with a dot."""
    return not path or path.endswith("/") or any(part[:1] == "." for part in path.split("/"))
