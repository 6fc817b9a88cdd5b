"""The controls of the review console, and what the decisions say of the scan so far."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from deepfake_core.records import DECIDED
from deepfake_core.rendering.evidence import label_words
from deepfake_core.rendering.text import one_line, percent
from deepfake_core.reporting.review_estimates import Share, estimate
from deepfake_core.results.review_log import Standing
from deepfake_core.results.store import Results
from deepfake_core.serve.page import scans
from deepfake_core.serve.page.review_queue import CLAIMS, ORDERS, Reviewable, Wanted
from deepfake_core.serve.page.settings import Settings
from deepfake_core.serve.page.style import table
from deepfake_core.storage.opening import open_storage

REASONS = (
    "known source", "original was found", "content credentials", "hands, teeth or hair",
    "background or writing", "lighting or reflections", "drawing or screenshot", "poor quality",
)  # fmt: skip
SCANS_OFFERED = 100


def choose_scan(settings: Settings) -> tuple[str | None, str | None]:
    """The scan that a person chose, and the path of its rows; None where there is none."""
    published = scans.finished_scans(settings.reports)
    if not published:
        st.info(
            f"There is no finished scan in `{settings.reports}`. Scan a folder with "
            "`deepfake scan FOLDER`, or start the page with `--reports` and another folder."
        )
        return None, None
    offered = list(published)[:SCANS_OFFERED]
    asked = st.query_params.get("run")
    first = offered.index(asked) if asked in offered else 0
    run_id = st.selectbox(
        "Scan",
        offered,
        index=first,
        key="run",
        format_func=lambda scan_id: _name(settings.reports, scan_id),
    )
    st.query_params["run"] = run_id
    return run_id, published[run_id]


@st.cache_data(show_spinner=False, max_entries=1000)
def _name(reports: str, run_id: str) -> str:
    """A scan by its source and its date; people know those."""
    run = Results(open_storage(reports)).get_run(run_id)
    if run is None:
        return run_id
    return f"{one_line(run.source)}, {run.run_date} ({run.counts.judged:,} judged; {run_id})"


def ask_wanted(scan: Reviewable) -> Wanted:
    """The filters and the order that the controls say."""
    order = st.selectbox("Order", ORDERS, key="order")
    with st.expander("Filters"):
        counted = {label: len(those) for label, those in scan.ordered.items()}
        labels = st.pills(
            "Verdicts", [str(label) for label in DECIDED], selection_mode="multi", key="labels",
            format_func=lambda label: f"{label_words(label)} ({counted[label]:,})",
        )  # fmt: skip
        claims = st.pills("What files say", CLAIMS, selection_mode="multi", key="claims")
        reasons = sorted(pc.unique(scan.judged["reason"].drop_null()).to_pylist())
        chosen = (
            st.pills("Reasons", reasons, selection_mode="multi", key="reasons") if reasons else []
        )
        folder = st.text_input("Path begins with", key="folder", placeholder="such as 2026/11/")
    return Wanted(tuple(labels), folder, tuple(chosen), tuple(claims), order or ORDERS[0])


def show_estimates(scan: Reviewable, decisions: Mapping[str, Standing]) -> None:
    """What the decisions on the random share say of the whole scan."""
    known = pc.is_in(pa.array(list(decisions), pa.string()), scan.judged["sha256"].combine_chunks())
    st.markdown(
        f"**{pc.sum(known).as_py() or 0:,}** of {scan.judged.num_rows:,} pictures are decided."
    )
    with st.expander("What the decisions say of this scan"):
        say = estimate(scan.ordered, decisions)
        rows = [
            ("Of the flagged, so many are generated", _share(say.precision)),
            ("Of those in which nothing was found, so many are generated", _share(say.missed)),
            ("Of all judged, so many are generated", _share(say.prevalence)),
        ]
        st.html(table(rows))
        st.caption(
            "From the random share alone, in its order and without a gap, with exact 95 % "
            "intervals; what is chosen by its score says nothing of the rest. A picture on which "
            "reviewers are unsure or disagree counts as either."
        )


def _share(share: Share) -> str:
    if not share.reviewed:
        return "unknown yet"
    best = "" if share.best is None else f"about {percent(share.best)}, "
    between = f"{percent(share.low)} to {percent(share.high)}"
    return f"{best}{between} ({share.reviewed:,} reviewed)"
