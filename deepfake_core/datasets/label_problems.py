"""What is wrong with the lines of a table of labels: each kind of problem once, with its count."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from deepfake_core.datasets.class_folders import LABELS_FILE, NAMED, folders_in
from deepfake_core.datasets.names import class_of
from deepfake_core.datasets.reading import Reading

YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


class Complaints:
    """Says what is wrong with lines: each kind of problem once, with its count."""

    def __init__(self, folder: Path, reading: Reading) -> None:
        """Take lines of a table in a folder."""
        self._folder = folder
        self._reading = reading
        self._wrong: dict[str, list[tuple[int, str]]] = defaultdict(list)
        # What numbers as labels mean, by the folders in the paths and by other columns.
        self._meanings: dict[str, set[str]] = defaultdict(set)

    def label_of(self, row: Mapping[str, str]) -> str:
        """The class that a line says; empty where it is not understood."""
        label = row.get("label") or ""
        return self._reading.label_of(label)

    def look(self, number: int, row: Mapping[str, str]) -> bool:
        """Whether something is wrong with a line."""
        path, label = row.get("path") or "", (row.get("label") or "").strip()
        before = sum(map(len, self._wrong.values()))
        if not self.label_of(row):
            if label.casefold() in YES + NO:
                self._meanings[label] |= _said_beside(row)
                self.complain("number", number, label)
            else:
                self.complain("label", number, f"{path} has the label {row.get('label')!r}")
        problem = self._path_problem(path)
        if problem:
            self.complain(problem, number, path)
        return sum(map(len, self._wrong.values())) > before

    def complain(self, kind: str, number: int, what: str) -> None:
        """Count a problem of a kind."""
        self._wrong[kind].append((number, what))

    def _path_problem(self, path: str) -> str:
        if not path:
            return "no path"
        if PurePosixPath(path).is_absolute():
            inside = os.path.realpath(path).startswith(os.path.realpath(self._folder) + os.sep)
            return "absolute" if inside else "outside"
        if is_outside(path):
            return "outside"
        if (self._folder / path).is_file():
            return ""
        return "backslash" if "\\" in path else "missing"

    def in_words(self) -> list[str]:
        """One sentence for each kind of problem."""
        return [self._sentence(kind, rows) for kind, rows in self._wrong.items()]

    def _sentence(self, kind: str, rows: list[tuple[int, str]]) -> str:
        count, (number, what) = len(rows), rows[0]
        single = count == 1
        where = f"line {number}" if single else f"lines {', '.join(str(at) for at, _ in rows[:3])}"
        where += ", ..." if count > 3 else ""
        start = f"{where} of {LABELS_FILE}: " + (f"{what} " if single else f"{count} paths ")
        if kind == "number":
            return self._about_numbers(where, rows)
        if kind == "no path":
            return f"{where} of {LABELS_FILE}: there is no path"
        if kind == "label":
            values = sorted({text.rpartition(" the label ")[2] for _, text in rows})
            told = what if single else f"{count} labels are {', '.join(values[:NAMED])}"
            return f"{where} of {LABELS_FILE}: {told}; expected real or fake, or --classes"
        if kind == "outside":
            lie = "lies" if single else "lie"
            return f"{start}{lie} outside the folder; paths are relative to it, without .."
        if kind == "absolute":
            inside = os.path.relpath(os.path.realpath(what), os.path.realpath(self._folder))
            lie = "is absolute, though it lies" if single else "are absolute, though they lie"
            return f"{start}{lie} inside the folder; write {inside}"
        if kind == "backslash":
            better = what.replace("\\", "/")
            return f"{start}{'has' if single else 'have'} backslashes; write {better}, with slashes"
        if kind == "twice":
            return f"{start}{'is listed twice' if single else 'are listed twice or more'}"
        no_files = "does not exist" if single else f"do not exist, such as {what}"
        return f"{start}{no_files}; {self._where(what)}"

    def _about_numbers(self, where: str, rows: list[tuple[int, str]]) -> str:
        values = sorted({value for _, value in rows})
        said = {
            value: next(iter(meant)) for value, meant in self._meanings.items() if len(meant) == 1
        }
        clear = len(said) == len(values) == len(set(said.values()))
        if clear:
            pairs = ",".join(f"{label}={value}" for value, label in sorted(said.items()))
            advice = f"--classes {pairs} is what the folders or other columns say"
        else:
            advice = "say which is which with --classes real=0,fake=1, or the reverse"
        are = "label is" if len(rows) == 1 else "labels are"
        return (
            f"{where} of {LABELS_FILE}: {len(rows)} {are} 0 or 1; expected real or fake: {advice}"
        )

    def _where(self, path: str) -> str:
        """What to do about a file that is not there."""
        for place in folders_in(self._folder):
            if (place / path).is_file():
                return f"it is in {place.name}/: put {LABELS_FILE} there, or that before the paths"
        return "restore the file or remove the line"


def _said_beside(row: Mapping[str, str]) -> set[str]:
    """The classes that the folders of a path, or the line's other columns, say."""
    folders = PurePosixPath(row.get("path") or "").parts[:-1]
    others = [value for name, value in row.items() if name not in ("path", "label") and value]
    return {said for text in (*folders, *others) if (said := class_of(text))}


def is_outside(path: str) -> bool:
    """Whether a path leads out of the folder that it is relative to."""
    place = PurePosixPath(path)
    return place.is_absolute() or ".." in place.parts
