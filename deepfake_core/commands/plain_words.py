"""What is wrong with a setting, and when a day is, in plain words."""

from __future__ import annotations

import argparse
import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

WHOLE, NUMBER, DATE = "a whole number", "a number", "a date such as 2026-11-24"
EXPECTED: Mapping[str, str] = {
    "int_parsing": WHOLE, "int_type": WHOLE, "int_from_float": WHOLE,
    "float_parsing": NUMBER, "float_type": NUMBER, "finite_number": NUMBER,
    "bool_parsing": "true or false", "bool_type": "true or false",
    "datetime_from_date_parsing": DATE, "datetime_parsing": DATE, "datetime_type": DATE,
    "datetime_object_invalid": DATE, "string_type": "text", "tuple_type": "a list",
    "dict_type": "an object", "missing": "a value",
    "greater_than": "more than {gt:g}", "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}", "less_than_equal": "{le:g} or less",
    "literal_error": "{expected}", "string_too_short": "something, not an empty text",
    "extra_forbidden": "no setting of this name",
    "string_pattern_mismatch": "a name of the form {pattern}",
}  # fmt: skip
# Words for a form that people know no pattern of.
FORMS: Mapping[str, str] = {
    r"^[A-Za-z0-9._-]{1,64}$": "at most 64 letters, digits, dots, dashes and underscores",
    r"^[a-z0-9][a-z0-9_-]{0,63}$": "at most 64 small letters, digits, dashes and underscores",
}
UNITS = {"hour": 1, "day": 24, "week": 7 * 24}
AGO = re.compile(r"(\d+|an?)\s+(hour|day|week)s?\s+ago")


def wrong_setting(error: ValidationError) -> str:
    """The first thing that is wrong: which option, what was expected, and what was found."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if not isinstance(part, int)]
    option = "--" + ".".join(place).replace("_", "-") if place else "the options"
    return f"{option}: {_expected(first)}, found {first['input']!r}"


def _expected(complaint: Mapping[str, Any]) -> str:
    facts: Mapping[str, Any] = complaint.get("ctx") or {}
    if complaint["type"] in ("value_error", "assertion_error"):
        return str(facts["error"])
    if complaint["type"] not in EXPECTED:
        return str(complaint["msg"])
    if facts.get("pattern") in FORMS:
        return f"expected {FORMS[facts['pattern']]}"
    known = {name: str(value).replace("'", "") for name, value in facts.items()}
    numbers = {name: value for name, value in facts.items() if isinstance(value, int | float)}
    return f"expected {EXPECTED[complaint['type']].format(**{**known, **numbers})}"


def moment(text: str, now: dt.datetime | None = None) -> str:
    """A date as it stands in a configuration, from words such as ``yesterday`` or ``7 days ago``.

    Args:
        text: what was given; what is no such word is given back as it is.
        now: the present, UTC; the clock's time by default.
    """
    now = now or dt.datetime.now(dt.UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    words = " ".join(text.casefold().split())
    named = {"now": now, "today": midnight, "yesterday": midnight - dt.timedelta(days=1)}
    then = named.get(words)
    ago = AGO.fullmatch(words)
    if ago:
        count = int(ago[1]) if ago[1].isdecimal() else 1
        start = now if ago[2] == "hour" else midnight
        try:
            then = start - count * dt.timedelta(hours=UNITS[ago[2]])
        except OverflowError:
            return text
    return then.isoformat(timespec="seconds") if then else text


def whole_number(text: str) -> int:
    """A whole number, as a type of an option."""
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected {WHOLE}, found {text!r}") from error


def number(text: str) -> float:
    """A number, as a type of an option; no infinite one."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected {NUMBER}, found {text!r}")
    return value


def count(text: str) -> int:
    """A whole number of 1 or more, as a type of an option."""
    try:
        number = int(text.replace(",", "").replace("_", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found {text!r}")
    return number
