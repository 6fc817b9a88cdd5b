"""The form in which a person says whether a verdict is right."""

from __future__ import annotations

import streamlit as st

from deepfake_core.errors import DeepfakeError
from deepfake_core.records import Label
from deepfake_core.rendering.text import as_markdown
from deepfake_core.results.feedback import Feedback
from deepfake_core.results.verdict_row import VerdictRow
from deepfake_core.serve.page.settings import Settings
from deepfake_core.serve.page.words import CONSENT, KEPT, KEPT_OF_SCAN
from deepfake_core.storage.opening import open_storage

KNOWN: dict[Label, str] = {Label.REAL: "A photograph", Label.FAKE: "Machine-generated"}


def ask(settings: Settings, verdict: VerdictRow, *, image: bytes | None, key: str) -> None:
    """Ask what the picture is and keep the answer; the picture too if its owner agrees.

    Args:
        settings: where answers are kept.
        verdict: the verdict row.
        image: the picture's bytes; None where there are none to give.
        key: of the form, unique on the page.
    """

    def described(label: Label) -> str:
        if verdict["label"] not in KNOWN:
            return KNOWN[label]
        return f"{KNOWN[label]}: the verdict is {'right' if verdict['label'] == label else 'wrong'}"

    place = f"{settings.reports.rstrip('/')}/feedback"
    with st.form(f"answer-{key}", border=False):
        correct = st.radio(
            "What do you know this picture to be?", list(KNOWN), index=None, format_func=described
        )
        consent = image is not None and st.checkbox(CONSENT.format(place=f"`{place}`"))
        kept = KEPT_OF_SCAN if verdict["run_id"] else KEPT
        st.caption(kept.format(place=f"`{place}`"))
        sent = st.form_submit_button("Keep my answer")
    if sent and correct is None:
        st.warning("Nothing was kept: choose first what the picture is.")
    elif sent and correct is not None:
        _keep(settings, verdict, correct, image if consent else None)


def _keep(settings: Settings, verdict: VerdictRow, correct: Label, image: bytes | None) -> None:
    """Store an answer, and say so."""
    consent = image is not None
    feedback = Feedback(open_storage(settings.reports))
    try:
        feedback.store(verdict, correct=correct, image=image, consent=consent)
    except DeepfakeError as error:
        st.error(f"Your answer was not kept: {as_markdown(error)}")
        return
    st.success("Your answer was kept, with the picture." if consent else "Your answer was kept.")
