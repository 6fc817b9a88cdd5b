"""Texts for people: numbers, durations, names that are safe to show."""

from __future__ import annotations

import re

import numpy as np

from deepfake_core.binomial import interval

NOT_PROOF = (
    "A score is not proof. Look at the original and at where it comes from before accusing anyone."
)


# Control characters, unpaired surrogates, and marks that reverse the direction of writing: in a
# file name they could forge a line of the report or disguise an extension.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$!#:@])")


def one_line(text: object) -> str:
    """A text with its control characters spelled out, such as a file name with a newline."""
    return _INVISIBLE.sub(lambda match: ascii(match[0])[1:-1], str(text))


def percent(share: float) -> str:
    """A share for people; only none is 0 % and only all is 100 %."""
    if 0 < share <= 0.0005:
        return "under 0.1 %"
    if 0.9995 <= share < 1:
        return "over 99.9 %"
    decimals = 0 if 0.1 <= share <= 0.99 else 1
    return f"{100 * share:.{decimals}f}".removesuffix(".0") + " %"


def score_text(value: float) -> str:
    """A score with three decimals, cut off, so that 0.7999 does not pass for 0.8."""
    return f"{np.floor(value * 1000 + 1e-4) / 1000:.3f}"


def line_text(threshold: float) -> str:
    """A threshold with three decimals, rounded up, as scores are cut off to three.

    So a score that is shown as 0.932 does not seem to reach a line at 0.9325.

    Examples:
        >>> line_text(0.3072929382324219), line_text(0.5)
        ('0.308', '0.500')
    """
    return f"{np.ceil(threshold * 1000 - 1e-4) / 1000:.3f}"


def share_text(count: int, trials: int, confidence: float = 0.95) -> str:
    """A counted share with its exact interval, such as ``0 of 185: 0 % (0 % to 2 %)``."""
    if not trials:
        return "0 of 0: unknown"
    low, high = interval(count, trials, confidence)
    return f"{count:,} of {trials:,}: {percent(count / trials)} ({percent(low)} to {percent(high)})"


def expected_text(share: float, *, at_most: bool) -> str:
    """The share of flagged images that are real, with what kind of number it is."""
    return f"{'at most' if at_most else 'about'} {percent(share)}"


def as_markdown(text: object) -> str:
    """A text, such as a file name, that markdown and HTML show as it is."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?i)www\.", r"www\\.", _MARKDOWN.sub(r"\\\1", plain))


def without_pictures(markdown: str) -> str:
    """Markdown in which nothing is fetched from elsewhere: no HTML, and pictures are links.

    Examples:
        >>> print(without_pictures("![a](http://other.example) and <img src=x>, 1 < 2"))
        !&#91;a](http://other.example) and &lt;img src=x>, 1 < 2
    """
    return _TAG.sub("&lt;", markdown).replace("![", "!&#91;")


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
