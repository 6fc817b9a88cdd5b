"""Labelled images in folders named like their classes, with or without sets above them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deepfake_core.datasets.names import CLASSES, SPLIT_WORDS, set_called, split_in
from deepfake_core.datasets.reading import Reading
from deepfake_core.errors import SourceError
from deepfake_core.images.formats import TGA_FOOTER, has_image_signature

LABELS_FILE = "manifest.csv"
# Names that are believed; what other files are is told by their first bytes.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".bmp", ".tif", ".tiff"}
)
FIRST_BYTES = 64
NAMED = 5

# Class folders by set and label.
Classes = dict[tuple[str, str], list[Path]]


@dataclass(slots=True)
class Found:
    """The files of class folders.

    Attributes:
        files: each with its label and the name of its set.
        ignored: how many files are not images by their name and their first bytes.
        notes: how names were read, and what was left out; one line each.
    """

    files: list[tuple[Path, str, str]] = field(default_factory=list)
    ignored: int = 0
    notes: list[str] = field(default_factory=list)


def find_files(root: Path, within: str, reading: Reading) -> Found:
    """Find the images of class folders.

    Args:
        root: a folder with class folders, or with sets such as ``train`` that have them.
        within: only images of this set, or below this folder of `root`.
        reading: which folders are the classes, where their names do not say it.

    Raises:
        SourceError: a class is missing, or it is not clear which folder it is.
    """
    listing = Found()
    inside = root / within
    classes = _classes(inside, reading, listing) if within and inside.is_dir() else {}
    if classes:
        classes = {(set_called(within), label): place for (_, label), place in classes.items()}
        _refuse_one_class(classes, inside, reading)
    else:
        classes = _in_sets(root, reading, listing)
        wanted = {key: place for key, place in classes.items() if key[0] == set_called(within)}
        classes = wanted if within else classes
    if not classes:
        raise SourceError(_expected(inside, CLASSES, reading))
    _refuse_unused(classes, root, reading)
    for (set_name, label), places in sorted(classes.items()):
        for place in places:
            _take(place, label, set_name, listing)
    listing.notes += _told(classes, root)
    if listing.ignored:
        files = "1 file is" if listing.ignored == 1 else f"{listing.ignored} files are"
        listing.notes.append(f"{files} left out: not an image by name or content")
    return listing


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name, or by how it begins and ends."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            first = file.read(FIRST_BYTES)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(TGA_FOOTER)))
            return has_image_signature(first + file.read())
    except OSError:
        return False


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; names that begin with a dot are left out."""
    try:
        return sorted(
            place for place in folder.iterdir() if place.name[0] != "." and place.is_dir()
        )
    except OSError as error:
        raise SourceError(f"{folder} cannot be listed: {error.strerror}") from error


def _in_sets(root: Path, reading: Reading, files: Found) -> Classes:
    """The class folders of a folder, or of the sets in it."""
    classes = _classes(root, reading, files)
    if classes:
        _refuse_one_class(classes, root, reading)
        return classes
    files.notes.clear()
    left_out: list[str] = []
    for place in folders_in(root):
        inside = _classes(place, reading, files)
        if not inside:
            left_out.append(f"{place.name}/")
        for (_, label), places in inside.items():
            classes.setdefault((set_called(place.name), label), []).extend(places)
    if classes and left_out:
        files.notes.append(_left_out(left_out, "hold no folders of the classes"))
    return classes


def _classes(folder: Path, reading: Reading, files: Found) -> Classes:
    """The class folders of one folder; those that are called like the class come first."""
    classes: Classes = {}
    left_out: list[str] = []
    for place in folders_in(folder):
        label = reading.label_of(place.name)
        if label:
            classes.setdefault((split_in(place.name), label), []).append(place)
        else:
            left_out.append(f"{place.name}/")
    for (set_name, label), places in classes.items():
        exact = [place for place in places if place.name.casefold() == label]
        if len(places) == 1 or label in reading.classes:
            continue
        if not exact:
            names = " and ".join(place.name for place in places[:2])
            raise SourceError(
                f"{folder}: {names} could both be the {label} images; say which are, such as "
                f"--classes {label}={places[0].name}"
            )
        left_out += [f"{place.name}/" for place in places if place not in exact]
        classes[set_name, label] = exact
    if classes and left_out:
        files.notes.append(_left_out(left_out, "are not a class by their name"))
    return classes


def _left_out(names: list[str], why: str) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"left out: {', '.join(names[:NAMED])}{more}, which {why}; where they are, name them "
        "with --classes real=NAME,fake=NAME"
    )


def _refuse_one_class(classes: Classes, folder: Path, reading: Reading) -> None:
    sets = {set_name for set_name, _ in classes}
    if any(all((name, label) in classes for label in CLASSES) for name in sets):
        return
    there = {label for _, label in classes}
    missing = [label for label in CLASSES if label not in there]
    raise SourceError(_expected(folder, missing or CLASSES, reading))


def _refuse_unused(classes: Classes, root: Path, reading: Reading) -> None:
    used = {place.name.casefold() for places in classes.values() for place in places}
    for label, names in reading.classes.items():
        unused = [name for name in names if name.casefold() not in used]
        if unused:
            raise SourceError(
                f"{root} has no folder {unused[0]} of images, which --classes names as {label}"
            )


def _expected(folder: Path, missing: Iterable[str], reading: Reading) -> str:
    there = [place.name for place in folders_in(folder)] if folder.is_dir() else []
    return (
        f"{folder} should have the folders real/ and fake/, or train/ and valid/ that have "
        f"them, or a {LABELS_FILE}; missing: {', '.join(missing)}"
        f"{_advice(folder, there, reading)}"
    )


def _advice(folder: Path, there: list[str], reading: Reading) -> str:
    """Names a folder below that has the layout, as the archive of a data set often has."""
    for name in there:
        place = folder / name
        if (place / LABELS_FILE).is_file():
            return f". {place} has them: name that"
        inside = folders_in(place)
        if any(reading.label_of(deeper.name) for below in inside for deeper in folders_in(below)):
            return f". {place} has them: name that"
    tables = sorted(path.name for path in folder.glob("*.csv")) if folder.is_dir() else []
    if tables:
        return f". There is {tables[0]}: name it {LABELS_FILE} if it says path and label"
    other = [name for name in there if not reading.label_of(name)]
    if not other:
        return ""
    say = f"--classes real={other[-1]},fake={other[0]} or the reverse"
    if len(other) < len(there):
        known = {reading.label_of(name) for name in there}
        say = next(f"--classes {label}={other[0]}" for label in CLASSES if label not in known)
    return f". It has {', '.join(other[:NAMED])}: if these are classes, say which with {say}"


def _told(classes: Mapping[tuple[str, str], list[Path]], root: Path) -> Iterator[str]:
    """How names were read that are not those that the folders of a data set have here."""
    read: dict[str, str] = {}
    for (set_name, label), places in classes.items():
        for place in places:
            if place.name.casefold() != label or split_in(place.name):
                read[place.name] = f"{set_name}/{label}" if split_in(place.name) else label
            above = place.parent.name
            if place.parent != root and set_name in SPLIT_WORDS.values() and above != set_name:
                read[above] = set_name
    if read:
        yield "read " + ", ".join(f"{name}/ as {meaning}" for name, meaning in read.items())


def _take(place: Path, label: str, set_name: str, files: Found) -> None:
    """Take the images of a class folder; sets may lie below it, too."""

    def complain(error: OSError) -> None:
        files.notes.append(f"left out: {error.filename} cannot be listed ({error.strerror})")

    for folder, below, names in os.walk(place, onerror=complain):
        below[:] = sorted(name for name in below if name[0] != ".")
        parts = Path(folder).relative_to(place).parts
        inner = set_called(parts[0]) if parts and not set_name else ""
        its_set = inner if inner in SPLIT_WORDS.values() else set_name
        for name in names:
            path = Path(folder, name)
            if name[0] == "." or not path.is_file():
                continue
            if is_image(path):
                files.files.append((path, label, its_set))
            else:
                files.ignored += 1
