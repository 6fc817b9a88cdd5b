"""The slider that shows what another threshold would do."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from deepfake_core.inference.told import Told
from deepfake_core.models.decision import Thresholds
from deepfake_core.rendering.text import as_markdown, line_text, percent, score_text
from deepfake_core.serve.page.operating import Expected, Measured, Range, expect, measured_points
from deepfake_core.serve.page.pictures import JudgedPicture
from deepfake_core.serve.page.style import table

PICTURES = 1000
SHARES = (0.001, 0.01, 0.1, 0.5)
UNKNOWN = (
    "This model's bundle does not say how many photographs and fakes it got wrong, "
    "so nothing can be said about other lines."
)
TWO_POINTS = (
    "This model was measured at its own two lines only, so the slider has two stops. "
    "What happens between them is not known here, and nothing is guessed."
)


@st.fragment
def show(told: Told, thresholds: Thresholds, judged: Sequence[JudgedPicture]) -> None:
    """The slider, and what it does to a thousand pictures and to those on the page."""
    st.subheader("What if the line were elsewhere?", anchor=False)
    measured = measured_points(told.figures, thresholds)
    if measured is None:
        st.info(UNKNOWN)
        return
    st.markdown(
        "Move the line from which a picture is called fake. A lower line finds more fakes and "
        "flags more photographs. The verdicts above stay as they are."
    )
    by_threshold = {point.threshold: point for point in measured.points}
    nearest = min(by_threshold, key=lambda at: abs(at - thresholds.fake_from))
    chosen = st.select_slider(
        "Call a picture fake from this score on",
        list(by_threshold),
        value=nearest,
        format_func=line_text,
        key="line",
    )
    share = st.radio(
        "How many of your pictures are fake, do you think?",
        SHARES,
        index=1,
        format_func=lambda value: f"1 in {round(1 / value):,}",
        horizontal=True,
        key="share",
    )
    if not measured.whole_curve:
        st.caption(TWO_POINTS)
    expected = expect(measured, by_threshold[chosen], pictures=PICTURES, share_of_fakes=share)
    st.html(expected_table(expected))
    st.caption(basis(measured))
    _say_of_each(chosen, judged)


def expected_table(expected: Expected) -> str:
    """What becomes of a thousand pictures, as HTML."""
    right = expected.flagged - expected.false_alarms.best
    rows = [
        ("False alarms: photographs called fake", _count(expected.false_alarms)),
        ("Misses: fakes not called fake", _count(expected.missed)),
        ("Fakes found", _round(right)),
        ("Called fake in all", _round(expected.flagged)),
    ]
    words = f"Of {PICTURES:,} pictures, {_round(expected.fakes)} of them fake"
    return table(rows, head=(words, "expected")) + f"<p><b>{_share_wrong(expected)}</b></p>"


def _share_wrong(expected: Expected) -> str:
    """How much a flag is worth, in one sentence."""
    alarms = expected.false_alarms
    if not expected.flagged:
        return "Nothing would be called fake."
    hits = expected.flagged - alarms.best
    if not alarms.best:
        worst = alarms.high / (alarms.high + hits)
        return (
            "No photograph of the test was called fake here, but of the pictures called fake up "
            f"to {percent(worst)} may still be photographs."
        )
    low, best, high = (
        percent(value / (value + hits)) for value in (alarms.low, alarms.best, alarms.high)
    )
    return f"Of the pictures called fake, about {best} would be photographs [{low} to {high}]."


def basis(measured: Measured) -> str:
    """Where the numbers come from, and how far they carry."""
    return (
        f"Measured on {measured.photographs:,} photographs and {measured.fakes:,} generated faces "
        "on which the lines were not chosen. In brackets the range in which the true value lies "
        "with 95 % confidence, if your pictures resemble those of the test. Other generators, "
        "small or strongly compressed pictures do worse: see the model card."
    )


def _say_of_each(chosen: float, judged: Sequence[JudgedPicture]) -> None:
    """What the line would do to the pictures on the page."""
    lines = []
    for picture in judged:
        if (score := picture.verdict["score"]) is not None:
            called = "called fake" if score >= chosen else "not called fake"
            lines.append(f"- {as_markdown(picture.name)}, score {score_text(score)}: **{called}**")
    if lines:
        st.markdown(f"With the line at {line_text(chosen)}:\n\n" + "\n".join(lines))


def _count(value: Range) -> str:
    return f"{_round(value.best)}  [{_round(value.low)} to {_round(value.high)}]"


def _round(value: float) -> str:
    """Pictures are whole, but less than ten are worth a decimal."""
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"
