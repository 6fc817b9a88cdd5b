"""Labelled images in a table: ``manifest.csv``, whose columns may have other names."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from deepfake_core.datasets.class_folders import LABELS_FILE
from deepfake_core.datasets.label_problems import NO, YES, Complaints
from deepfake_core.datasets.names import (
    CLASSES,
    FAKE,
    REAL,
    SPLITS,
    class_of,
    set_called,
    split_in,
    split_of,
)
from deepfake_core.datasets.reading import COLUMNS, Reading
from deepfake_core.errors import SourceError

PATH_NAMES = (
    "filename", "file_name", "file", "filepath", "file_path", "image", "image_path", "image_name",
    "img", "img_path",
)  # fmt: skip
# Columns whose name says which class a one is.
SWITCHES = {"is_fake": FAKE, "is_real": REAL}


@dataclass(frozen=True, slots=True)
class Row:
    """A usable line of a table.

    Attributes:
        path: relative to the table's folder, forward slashes.
        label: ``real`` or ``fake``.
        set_name: the set, or empty.
        group_id: the declared group, or empty.
        source: what made the image, or empty.
        people: the group of people by the name of the column.
    """

    path: str
    label: str
    set_name: str
    group_id: str
    source: str
    people: Mapping[str, str]


@dataclass(slots=True)
class Table:
    """What a table says.

    Attributes:
        rows: its usable lines, in their order.
        problems: what is wrong, one line for each kind of problem.
        notes: how it was read, and what was left out.
    """

    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_table(manifest: Path, within: str, reading: Reading) -> Table:
    """Read a table of labels.

    Args:
        manifest: a CSV file with the columns ``path`` and ``label``, and perhaps ``group_id``,
            ``split``, ``generator`` or ``source``, ``people_...``.
        within: only images below this folder, or of this set.
        reading: what its columns are called, and its labels mean.

    Raises:
        SourceError: it is not such a CSV in UTF-8.
    """
    table = Table()
    lines, hidden = Complaints(manifest.parent, reading), 0
    prefix = f"{within.rstrip('/')}/" if within else ""
    taken: set[str] = set()
    for number, row in _rows(manifest, reading, table.notes):
        path = row.get("path") or ""
        set_name = set_called(row["split"]) if row.get("split") else _set_of(path)
        if within and not path.startswith(prefix) and set_name != set_called(within):
            continue
        if any(part[0] == "." != part for part in PurePosixPath(path).parts) and ".." not in path:
            hidden += 1
            continue
        wrong = lines.look(number, row)
        if path in taken and not wrong:
            lines.complain("twice", number, path)
        elif not wrong:
            taken.add(path)
            table.rows.append(_row(row, set_name, lines.label_of(row)))
    table.problems += lines.in_words()
    if hidden:
        table.notes.append(
            f"left out: {hidden} lines of {LABELS_FILE} with a name that begins with a dot"
        )
    return table


def _row(row: Mapping[str, str], set_name: str, label: str) -> Row:
    return Row(
        path=row["path"],
        label=label,
        set_name=set_name,
        group_id=row.get("group_id") or "",
        source=row.get("generator") or row.get("source") or "",
        people={name: row[name] for name in row if name.startswith("people_") and row[name]},
    )


def _rows(
    manifest: Path, reading: Reading, notes: list[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a table with their numbers, by the names that the columns have here."""
    try:
        # Spreadsheets put a byte order mark in front of the first column's name.
        with manifest.open(newline="", encoding="utf-8-sig") as lines:
            header = lines.readline()
            lines.seek(0)
            # Where the comma is a decimal sign, spreadsheets part columns by semicolons.
            delimiter = max(",;\t", key=header.count)
            reader = csv.DictReader(lines, restkey="", delimiter=delimiter)
            names = _columns(manifest, reader.fieldnames or (), reading)
            switch = next(
                (SWITCHES[_plain(name)] for name in names if _plain(name) in SWITCHES), ""
            )
            told = [f"{name} as the {here}" for name, here in names.items() if name != here]
            told += [f"1 as {switch}"] if switch else []
            if told:
                notes.append(f"{LABELS_FILE}: read {', '.join(told)}")
            for line in reader:
                row = {names.get(name, name): line[name] or "" for name in line}
                row |= {"label": _switched(row["label"], switch)} if switch else {}
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{manifest} cannot be read as CSV in UTF-8: {error}") from error


def _columns(manifest: Path, header: Sequence[str], reading: Reading) -> dict[str, str]:
    """Which column is meant by each name, by the column's name in the file."""
    plain = {_plain(name): name for name in header}
    names: dict[str, str] = {}
    for here in COLUMNS:
        asked = reading.columns.get(here)
        if asked is not None and asked not in header:
            raise SourceError(
                f"{manifest} has no column {asked}, which --columns names as {here}; "
                f"it has: {', '.join(header)}"
            )
        column = asked or plain.get(here)
        if column is not None:
            names[column] = here
    for here, others in (("path", PATH_NAMES), ("label", tuple(SWITCHES))):
        if here in names.values():
            continue
        candidates = [plain[name] for name in others if name in plain]
        if len(candidates) > 1:
            raise SourceError(
                f"{manifest}: {' or '.join(candidates)} could be the {here}; say which with "
                f"--columns {here}={candidates[0]}"
            )
        names |= dict.fromkeys(candidates, here)
    missing = [here for here in ("label", "path") if here not in names.values()]
    if missing:
        raise SourceError(
            f"{manifest} should have the columns path,label[,group_id]; missing: "
            f"{', '.join(missing)}"
            + (
                f". Of {', '.join(header)}, name them: --columns path=NAME,label=NAME"
                * bool(header)
            )
        )
    return names


def _plain(column: str) -> str:
    """A column's name in small letters, its words joined by underscores."""
    return re.sub(r"[\s-]+", "_", column.strip().casefold())


def _switched(value: str, switch: str) -> str:
    """The class that a yes or no means in a column such as ``is_fake``."""
    plain = value.strip().casefold()
    other = REAL if switch == FAKE else FAKE
    return switch if plain in YES else other if plain in NO else value


def _set_of(path: str) -> str:
    """The folders above the class folder, or the first folder where it is named like a split."""
    folders = PurePosixPath(path).parts[:-1]
    for say in (lambda name: name.casefold() in CLASSES, class_of):
        for place, folder in enumerate(folders):
            if say(folder):
                return set_called("/".join(folders[:place])) or split_in(folder)
    first = set_called(folders[0]) if folders else ""
    return first if split_of(first) in SPLITS.values() else ""
