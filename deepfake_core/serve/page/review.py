"""The review console: a person decides, picture by picture, what a scan's labels are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pyarrow as pa
import streamlit as st

from deepfake_core.errors import DeepfakeError
from deepfake_core.rendering.evidence import label_words, strength
from deepfake_core.rendering.text import as_markdown, one_line, score_text
from deepfake_core.results.review_log import (
    Decision,
    ReviewLine,
    ReviewLog,
    Standing,
    decided,
    last_of,
    standings,
    undone,
)
from deepfake_core.results.verdict_row import DecidedRow
from deepfake_core.serve.page import answer, review_panel, style
from deepfake_core.serve.page.review_loading import file_of, group_of, loaded_scan, shown_picture
from deepfake_core.serve.page.review_queue import Reviewable, queue
from deepfake_core.serve.page.settings import Settings
from deepfake_core.storage.opening import open_storage

CHOICES: Mapping[Decision, tuple[str, str]] = {
    "fake": ("Generated", "g"),
    "real": ("A photograph", "p"),
    "unsure": ("Cannot tell", "u"),
}
SAID: Mapping[str, str] = {
    "fake": "generated", "real": "a photograph", "unsure": "cannot tell", "disputed": "disputed",
}  # fmt: skip
GRID_COLUMNS, GRID_ROWS = 6, 4
NO_NAME = "Write your name first: each decision is kept with the name of who made it."


def show(settings: Settings) -> None:
    """Choose a scan, and decide on its pictures."""
    st.title("Review a scan", anchor=False)
    try:
        run_id, path = review_panel.choose_scan(settings)
        if run_id is None or path is None:
            return
        scan = loaded_scan(settings.reports, path, run_id)
        order = queue(scan, review_panel.ask_wanted(scan))
        _console(settings, _Shown(scan, order), ReviewLog(open_storage(settings.reports)))
    except (DeepfakeError, OSError) as error:
        st.error(f"The scan cannot be read: {as_markdown(error)}")


@dataclass(frozen=True, slots=True)
class _Shown:
    """A scan, and the positions of the pictures that a reviewer is shown, in their order."""

    scan: Reviewable
    order: list[int]

    @property
    def judged(self) -> pa.Table:
        return self.scan.judged

    def row(self, position: int) -> DecidedRow:
        row: DecidedRow = self.judged.slice(position, 1).to_pylist()[0]
        return row


@st.fragment
def _console(settings: Settings, scan: _Shown, log: ReviewLog) -> None:
    """What runs again at each decision: nothing of the scan is read again."""
    lines, damaged = log.read()
    decisions = standings(lines)
    if damaged:
        st.caption(f"{damaged} damaged lines of the review log are passed over.")
    review_panel.show_estimates(scan.scan, decisions)
    if not scan.order:
        st.info("No picture passes these filters.")
        return
    view = st.segmented_control(
        "View",
        ["One by one", "Grid"],
        default="One by one",
        key="view",
        label_visibility="collapsed",
    )
    if view == "Grid":
        _grid(scan, decisions)
        return
    reviewer = st.text_input("Your name", key="reviewer", max_chars=80)
    position = _current(scan, decisions)
    if position is None:
        st.success("All pictures of this choice are decided.")
        _undo_button(log, lines, reviewer)
        return
    _one(settings, scan, position, decisions)
    _decide(log, scan, position, lines, reviewer)


def _current(scan: _Shown, decisions: Mapping[str, Standing]) -> int | None:
    """The picture that was opened, or the first that nobody has decided on."""
    opened = st.session_state.get("opened")
    if opened in scan.order:
        return int(opened)
    digests = scan.judged["sha256"]
    return next((at for at in scan.order if digests[at].as_py() not in decisions), None)


def _one(
    settings: Settings, scan: _Shown, position: int, decisions: Mapping[str, Standing]
) -> None:
    """A picture, what the model and the file say, and what was decided before."""
    row = scan.row(position)
    picture, why = shown_picture(row)
    left, right = st.columns([3, 2], gap="medium")
    if picture is not None:
        left.image(picture, alt=f"The picture {one_line(row['image'])}", width="stretch")
    else:
        left.info(f"The picture cannot be shown: {as_markdown(why)}")
    words = strength(row["score"], row["label"])
    right.html(
        f'<p class="df-name">{escape(one_line(row["image"]))}</p>'
        f'<p class="df-verdict df-{row["label"]}" role="heading" aria-level="2">'
        f"{label_words(row['label'])}</p>"
        f'<p class="df-line">Evidence for generation: {words}. Score '
        f"{score_text(row['score'])}.</p>" + style.table(_facts(row, decisions))
    )
    with right.expander("Give it to test later models"):
        content = file_of(row)
        answer.ask(settings, row, image=content, key=row["image"])


def _facts(row: DecidedRow, decisions: Mapping[str, Standing]) -> list[tuple[str, str]]:
    claims = [f"{claim['kind']}: {claim['value']}" for claim in row["provenance"] or ()]
    standing = decisions.get(row["sha256"])
    said = [_told(line) for line in (standing.lines if standing else ())]
    facts = [("Size", f"{row['width']:,} by {row['height']:,} pixels, {row['format']}")]
    if row["reason"]:
        facts.append(("Reason", row["reason"]))
    facts += [("The file says", one_line(claim)) for claim in claims]
    return facts + [("Decided", one_line(text)) for text in said]


def _told(line: ReviewLine) -> str:
    why = f" ({line.reason})" if line.reason else ""
    return f"{SAID[str(line.decision)]}, by {line.reviewer}{why}"


def _decide(
    log: ReviewLog, scan: _Shown, position: int, lines: Sequence[ReviewLine], reviewer: str
) -> None:
    """The buttons, and what they do."""
    group = group_of(scan.judged, scan.order, position)
    if len(group) > 1:
        together = st.checkbox(
            f"Decide on {len(group)} near-identical pictures together", value=True, key="together"
        )
        with st.expander("Show them"):
            _thumbnails(scan, group)
        group = group if together else [position]
    number = st.session_state.get("decisions", 0)
    reason = st.selectbox(
        "Reason, if you wish", review_panel.REASONS, index=None, accept_new_options=True,
        key=f"reason-{number}",
    )  # fmt: skip
    keys = st.toggle("Keys", key="keys", help="Each button has a key, shown on it.")
    columns = st.columns(len(CHOICES) + 2)
    digests = [scan.judged["sha256"][at].as_py() for at in group]
    for column, (decision, (words, key)) in zip(columns, CHOICES.items(), strict=False):
        column.button(
            words,
            key=f"decide-{decision}",
            shortcut=key if keys else None,
            width="stretch",
            on_click=_keep,
            args=(log, decision, digests, reviewer, reason or "", scan.scan.run_id),
        )
    columns[-2].button(
        "Later",
        shortcut="l" if keys else None,
        width="stretch",
        on_click=_later,
        args=(scan, position),
    )
    with columns[-1]:
        _undo_button(log, lines, reviewer, key="z" if keys else None)
    if st.session_state.pop("nameless", False):
        st.warning(NO_NAME)


def _keep(
    log: ReviewLog,
    decision: Decision,
    digests: Sequence[str],
    reviewer: str,
    *more: Any,  # noqa: ANN401 - reason and run, as Streamlit hands them on
) -> None:
    """Write a decision on some pictures; the next one is shown."""
    reason, run_id = more
    if not reviewer.strip():
        st.session_state["nameless"] = True
        return
    log.add(
        [
            decided(sha256, decision, reviewer=reviewer, reason=reason, run_id=run_id)
            for sha256 in digests
        ]
    )
    st.session_state["decisions"] = st.session_state.get("decisions", 0) + 1
    st.session_state.pop("opened", None)


def _later(scan: _Shown, position: int) -> None:
    """Open the next picture of the order."""
    at = scan.order.index(position) + 1
    st.session_state["opened"] = scan.order[at % len(scan.order)]


def _undo_button(
    log: ReviewLog, lines: Sequence[ReviewLine], reviewer: str, *, key: str | None = None
) -> None:
    """Take back one's own last decision, with all that was decided in the same click."""
    last = last_of(lines, reviewer)
    st.button(
        "Undo", key="undo", shortcut=key, disabled=not last, width="stretch",
        on_click=lambda: log.add([undone(line, reviewer=reviewer) for line in last]),
    )  # fmt: skip


def _grid(scan: _Shown, decisions: Mapping[str, Standing]) -> None:
    """Many pictures at once, with what was decided on each."""
    per_page = GRID_COLUMNS * GRID_ROWS
    pages = -(-len(scan.order) // per_page)
    page = st.number_input(f"Page, 1 to {pages:,}", 1, pages, 1, key=f"grid-page-{pages}")
    shown = scan.order[(int(page) - 1) * per_page : int(page) * per_page]
    columns = st.columns(GRID_COLUMNS, gap="small")
    for at, position in enumerate(shown):
        row = scan.row(position)
        with columns[at % GRID_COLUMNS]:
            _thumbnail(row, decisions.get(row["sha256"]))
            st.button(
                "Open", key=f"open-{position}", on_click=_open, args=(position,), width="stretch"
            )


def _open(position: int) -> None:
    st.session_state["opened"] = position
    st.session_state["view"] = "One by one"


def _thumbnails(scan: _Shown, positions: Sequence[int]) -> None:
    columns = st.columns(GRID_COLUMNS, gap="small")
    for at, position in enumerate(positions[: 2 * GRID_COLUMNS]):
        with columns[at % GRID_COLUMNS]:
            _thumbnail(scan.row(position), None)


def _thumbnail(row: DecidedRow, standing: Standing | None) -> None:
    picture, _ = shown_picture(row, small=True)
    if picture is not None:
        st.image(picture, alt=one_line(row["image"]), width="stretch")
    mark = f"✓ {SAID[standing.decision]}" if standing else f"{label_words(row['label'])}"
    st.caption(f"{score_text(row['score'])} · {mark}")
