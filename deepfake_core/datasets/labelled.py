"""Labelled images: class folders or a manifest, and the split by group."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from deepfake_core.errors import SourceError
from deepfake_core.images.decoding import load, resize
from deepfake_core.records import Failure, UInt8Array

CLASSES = ("fake", "real")
LABELS_FILE = "manifest.csv"
SPLITS = {"train": "train", "val": "valid", "test": "test"}
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".bmp", ".tif", ".tiff"}
)
SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled image.

    Attributes:
        path: where the file is.
        fake: the label.
        group_id: images with one group stay in one split.
        set_name: the folder above the class folder, such as ``train``; empty without one.
        source: what made the image, where a manifest says it (``generator`` or ``source``).
        people: the group of people by the name of the manifest's column (``people_...``).
    """

    path: Path
    fake: bool
    group_id: str
    set_name: str = ""
    source: str = ""
    people: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def reported(self) -> bool:
        """Whether the image is only reported on: the first hex digit of its group's hash is 8-f.

        The other half chooses the model, the temperature and the thresholds.
        """
        return hashlib.sha256(self.group_id.encode()).hexdigest()[0] >= "8"

    @property
    def split(self) -> str:
        """The split that the set belongs to, see `split_of`."""
        return split_of(self.set_name)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a labelled folder holds.

    Attributes:
        images: sorted by path.
        problems: what is wrong, one line each; the images that it concerns are left out.
        ignored: how many files in class folders are no images by their name.
    """

    images: tuple[Labelled, ...]
    problems: tuple[str, ...] = ()
    ignored: int = 0


def read_labelled(root: Path, within: str = "") -> list[Labelled]:
    """List labelled images, sorted by path.

    Args:
        root: a folder with ``manifest.csv`` (columns ``path,label`` and, where there are more,
            ``group_id``, ``split``, ``generator`` or ``source``, ``people_...``), or with the
            class folders ``real`` and ``fake``, or with sets such as ``train`` that have them.
        within: only images below this folder of `root`, or of this set, such as ``train``.

    Raises:
        SourceError: there is no manifest and a class folder is missing, a line of the manifest
            is wrong, or nothing is labelled.
    """
    listing = list_labelled(root, within)
    if listing.problems:
        raise SourceError(_in_short(root, listing.problems))
    if not listing.images:
        raise SourceError(f"{root / within} holds no labelled images; add some to real/ and fake/")
    return list(listing.images)


def list_labelled(root: Path, within: str = "") -> Listing:
    """List labelled images as `read_labelled` does, with what is wrong as lines of text.

    Raises:
        SourceError: the folder or its manifest cannot be read at all.
    """
    manifest = root / LABELS_FILE
    if manifest.is_file():
        return _from_manifest(manifest, within)
    return _from_folders(root, within)


def split_of(set_name: str) -> str:
    """The split that a set belongs to: ``valid_q75`` is part of ``valid``.

    Returns:
        ``train``, ``valid`` or ``test`` by how the set's name begins (``val`` is enough); any
        other name is a split of its own.
    """
    name = set_name.rpartition("/")[2].casefold()
    return next((split for start, split in SPLITS.items() if name.startswith(start)), set_name)


def _in_short(root: Path, problems: Sequence[str]) -> str:
    more = len(problems) - SHOWN_PROBLEMS
    shown = "; ".join(problems[:SHOWN_PROBLEMS])
    return f"{root}: {shown}" + (f"; and {more} more" if more > 0 else "")


def _from_manifest(manifest: Path, within: str) -> Listing:
    prefix = f"{within.rstrip('/')}/" if within else ""
    images: dict[str, Labelled] = {}
    problems: list[str] = []
    for line, row in _rows(manifest):
        path = row.get("path") or ""
        set_name = row.get("split") or _set_of(path)
        if not path.startswith(prefix) and set_name != within:
            continue
        problem = _problem(manifest.parent, row)
        if path in images and not problem:
            problem = f"{path} is listed twice"
        if problem:
            problems.append(f"line {line} of {LABELS_FILE}: {problem}")
            continue
        images[path] = Labelled(
            path=manifest.parent / path,
            fake=_label(row) == "fake",
            group_id=row.get("group_id") or path,
            set_name=set_name,
            source=row.get("generator") or row.get("source") or "",
            people={name: row[name] for name in row if name.startswith("people_") and row[name]},
        )
    return Listing(_sorted(images.values()), tuple(problems))


def _rows(manifest: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a manifest with their numbers.

    Raises:
        SourceError: it is no CSV in UTF-8 with the columns ``path`` and ``label``.
    """
    try:
        # Spreadsheets put a byte order mark in front of the first column's name.
        with manifest.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, restkey="")
            missing = {"path", "label"} - set(reader.fieldnames or ())
            if missing:
                raise SourceError(
                    f"{manifest} should have the columns path,label[,group_id]; "
                    f"missing: {', '.join(sorted(missing))}"
                )
            for row in reader:
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{manifest} cannot be read as CSV in UTF-8: {error}") from error


def _problem(folder: Path, row: Mapping[str, str]) -> str:
    """What is wrong with a line of the manifest; empty if nothing is."""
    path = row.get("path") or ""
    place = PurePosixPath(path)
    if not path:
        return "there is no path"
    if _label(row) not in CLASSES:
        return f"{path} has the label {row.get('label')!r}; expected real or fake"
    if place.is_absolute() or ".." in place.parts:
        return f"{path} lies outside the folder; paths are relative to it, without .."
    if not (folder / path).is_file():
        return f"{path} does not exist; restore the file or remove the line"
    return ""


def _label(row: Mapping[str, str]) -> str:
    return (row.get("label") or "").strip().casefold()


def _set_of(path: str) -> str:
    """The folders above the class folder, or the first folder where it is named like a split."""
    folders = PurePosixPath(path).parts[:-1]
    for place, folder in enumerate(folders):
        if folder.casefold() in CLASSES:
            return "/".join(folders[:place])
    return folders[0] if folders and split_of(folders[0]) in SPLITS.values() else ""


def _from_folders(root: Path, within: str) -> Listing:
    folder = root / within
    classes = _class_folders(folder)
    missing = [name for name in CLASSES if name not in classes]
    sets: dict[str, Mapping[str, Path]] = {within.rstrip("/"): classes}
    if missing and not within:
        sets = {place.name: _class_folders(place) for place in _folders(root)}
        sets = {name: found for name, found in sets.items() if found}
    if missing and (classes or within or not sets):
        raise SourceError(
            f"{folder} should have the folders real/ and fake/, or train/ and valid/ that have "
            f"them, or a {LABELS_FILE}; missing: {', '.join(missing)}{_advice(folder)}"
        )
    images, ignored = [], 0
    for set_name, found in sets.items():
        for label, place in found.items():
            for path in place.rglob("*"):
                if path.name.startswith(".") or not path.is_file():
                    continue
                if path.suffix.lower() not in IMAGE_SUFFIXES:
                    ignored += 1
                    continue
                group_id = path.relative_to(root).as_posix()
                images.append(Labelled(path, label == "fake", group_id, set_name))
    return Listing(_sorted(images), ignored=ignored)


def _advice(folder: Path) -> str:
    """Names a folder below that has the layout, as the archive of a data set often has."""
    for place in _folders(folder):
        if (place / LABELS_FILE).is_file() or any(map(_class_folders, _folders(place))):
            return f". {place} has them: name that"
    return ""


def _class_folders(folder: Path) -> Mapping[str, Path]:
    found = {place.name.casefold(): place for place in _folders(folder)}
    return {name: found[name] for name in CLASSES if name in found}


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(place for place in folder.iterdir() if place.is_dir())
    except OSError as error:
        raise SourceError(f"{folder} cannot be listed: {error.strerror}") from error


def _sorted(images: Iterable[Labelled]) -> tuple[Labelled, ...]:
    return tuple(sorted(images, key=lambda image: str(image.path)))


def read_pixels(
    images: list[Labelled], *, size: int, change: Callable[[Image.Image], Image.Image] | None = None
) -> UInt8Array:
    """Decode labelled images as a scan does: uint8[N, size, size, 3].

    Args:
        images: what to decode.
        size: side of the result in pixels.
        change: what happens to each image before it is resized.

    Raises:
        SourceError: one of them cannot be decoded.
    """
    pixels = np.empty((len(images), size, size, 3), np.uint8)

    def decode_one(index: int) -> None:
        image = images[index]
        loaded = load(image.path.read_bytes(), size=size)
        if isinstance(loaded, Failure):
            raise SourceError(f"{image.path}: {loaded.code} ({loaded.detail}); remove the file")
        pixels[index] = resize(change(loaded.image) if change else loaded.image, size)

    with ThreadPoolExecutor() as threads:
        for _ in threads.map(decode_one, range(len(images))):
            pass
    return pixels


def is_fake(images: list[Labelled]) -> np.ndarray:
    """The labels as bool[N]."""
    return np.array([image.fake for image in images], dtype=bool)
