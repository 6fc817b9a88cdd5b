"""How a labelled folder is to be read where its names do not say it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deepfake_core.datasets.names import CLASSES, class_of
from deepfake_core.errors import UsageError

COLUMNS = ("path", "label", "group_id", "split", "generator", "source")


class Reading(BaseModel):
    """What the names in a labelled folder mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: dict[str, tuple[str, ...]] = Field(
        {},
        description="Folders or labels of the classes, where their names do not say it: "
        "real=NAME,fake=NAME.",
    )
    columns: dict[str, str] = Field(
        {},
        description="Columns of manifest.csv, where they are called otherwise: "
        "path=NAME,label=NAME.",
    )

    @field_validator("classes")
    @classmethod
    def _known_classes(cls, classes: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        _refuse_others(classes, CLASSES)
        names = [name.casefold() for known in classes.values() for name in known]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is named twice")
        return classes

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        _refuse_others(columns, COLUMNS)
        return columns

    @property
    def plain(self) -> bool:
        """Whether names mean what they say."""
        return not (self.classes or self.columns)

    def label_of(self, name: str) -> str:
        """The class of a folder or label; empty where nothing says it."""
        named = name.strip().casefold()
        for label, names in self.classes.items():
            if named in map(str.casefold, names):
                return label
        said = class_of(name)
        # Who names the folders of a class means no others.
        return "" if said in self.classes else said


PLAIN = Reading()


def parse_reading(classes: Sequence[str], columns: Sequence[str]) -> Reading:
    """Read the options ``--classes real=a,b,fake=c`` and ``--columns path=a,label=b``.

    Raises:
        UsageError: they are of another form.
    """
    pairs = {name: tuple(values) for name, values in _pairs("--classes", classes).items()}
    named = {name: ",".join(values) for name, values in _pairs("--columns", columns).items()}
    return Reading(classes=pairs, columns=named)


def _pairs(option: str, texts: Sequence[str]) -> dict[str, list[str]]:
    """What stands behind each name; a part without one belongs to the name before it."""
    pairs: dict[str, list[str]] = {}
    name = ""
    for part in ",".join(texts).split(",") if texts else ():
        before, equals, after = part.partition("=")
        name, value = (before.strip(), after.strip()) if equals else (name, part.strip())
        if not name or not value:
            raise UsageError(f"{option}: NAME=NAME,... is expected, found {','.join(texts)!r}")
        pairs.setdefault(name, []).append(value)
    return pairs


def _refuse_others(given: Iterable[str], known: Sequence[str]) -> None:
    others = [name for name in given if name not in known]
    if others:
        raise ValueError(f"{others[0]} is none of {', '.join(known)}")
