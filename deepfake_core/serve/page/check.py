"""The page that judges pictures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Protocol

import streamlit as st

from deepfake_core.inference.explanation import explain
from deepfake_core.provenance.origin import Origin
from deepfake_core.records import Failure, FailureCode, Label, Reason
from deepfake_core.rendering.text import one_line, percent, score_text
from deepfake_core.serve.page import answer, examples, style, threshold
from deepfake_core.serve.page.model import the_classifier, the_networks
from deepfake_core.serve.page.pictures import JudgedPicture, judge_files
from deepfake_core.serve.page.settings import MAX_PICTURES, MAX_UPLOAD_MEGABYTES, Settings
from deepfake_core.serve.page.words import (
    DECLARED,
    DISAGREES,
    FAILURES,
    FORGEABLE,
    MEANS_NOT,
    NEXT_STEPS,
    NOT_PROOF,
    REASONS,
    SENTENCES,
    title,
)

if TYPE_CHECKING:
    from deepfake_core.inference.classifier import Classifier
    from deepfake_core.inference.explanation import Explanation


class Given(Protocol):
    """A picture that was uploaded, or an example."""

    @property
    def name(self) -> str:
        """Of the file, as its owner called it."""
        ...

    @property
    def file_id(self) -> str:
        """By which its verdict is remembered while it is shown."""
        ...

    def getvalue(self) -> bytes:
        """Its bytes."""
        ...


def show(settings: Settings) -> None:
    """Take pictures, and say of each what is known."""
    st.title("Check a picture", anchor=False)
    st.html(style.note(NOT_PROOF))
    uploads = st.file_uploader(
        f"Pictures of a face: up to {MAX_PICTURES} at once, {MAX_UPLOAD_MEGABYTES} MB each",
        accept_multiple_files=True,
        key="pictures",
        help="JPEG, PNG, GIF, WebP, HEIC, AVIF, TIFF, BMP. They stay on this machine, in memory.",
    )
    if len(uploads) > MAX_PICTURES:
        st.warning(
            f"{len(uploads)} pictures were chosen; the first {MAX_PICTURES} are judged. "
            "For more, scan a folder with `deepfake scan`."
        )
        uploads = uploads[:MAX_PICTURES]
    given: Sequence[Given] = uploads or examples.offer()
    classifier = the_classifier(settings)
    judged = _judged(classifier, given)
    for upload, picture in zip(given, judged, strict=True):
        with st.container(border=True):
            _one(settings, classifier, upload, picture)
    if judged:
        st.caption(
            f"Judged by `{classifier.bundle.model_id}`, the same model and code as a scan. "
            "Name it, the score and the fingerprint when you pass a verdict on."
        )
    networks = the_networks(settings)
    threshold.show(networks.told, networks.thresholds, judged)


def _judged(classifier: Classifier, uploads: Sequence[Given]) -> list[JudgedPicture]:
    """The verdicts, in order; only those of new uploads are computed."""
    known: dict[str, JudgedPicture] = st.session_state.get("judged", {})
    new = [upload for upload in uploads if upload.file_id not in known]
    if new:
        with st.spinner("The pictures are being judged …"):
            fresh = judge_files(classifier, [(one_line(u.name), u.getvalue()) for u in new])
        known = known | {u.file_id: picture for u, picture in zip(new, fresh, strict=True)}
    # What was removed from the page is forgotten.
    st.session_state["judged"] = {u.file_id: known[u.file_id] for u in uploads}
    return list(st.session_state["judged"].values())


def _one(settings: Settings, classifier: Classifier, upload: Given, judged: JudgedPicture) -> None:
    """All that is known of one picture."""
    if judged.label is None:
        show_failure(judged.name, judged.failure, judged.verdict["detail"])
        return
    score = judged.verdict["score"]
    if score is None:
        show_not_applicable(judged)
    else:
        show_verdict(judged, score, classifier)
    with st.expander("What to do next"):
        st.markdown(bullets(NEXT_STEPS[judged.label]))
    if score is not None:
        _offer_explanation(classifier, upload, judged)
    with st.expander("What the file itself says"):
        show_origin(judged)
    with st.expander("Say whether the verdict is right"):
        answer.ask(settings, judged.verdict, image=upload.getvalue(), key=upload.file_id)


def _offer_explanation(classifier: Classifier, upload: Given, judged: JudgedPicture) -> None:
    """The explanation, computed when it is asked for."""
    explanation = st.expander(
        "Which areas the score depends on",
        key=f"explain-{upload.file_id}",
        on_change="rerun",
    )
    with explanation:
        if explanation.open:
            show_explanation(_explained(classifier, upload), judged.name)


def show_verdict(judged: JudgedPicture, score: float, classifier: Classifier) -> None:
    """The picture, the verdict in words, the bar, and what it does not mean."""
    # The words come first where the columns are stacked, on a telephone.
    left, right = st.columns([2, 1], gap="medium")
    if judged.picture is not None:
        right.image(judged.picture, alt=f"The picture {judged.name}", width="stretch")
    label = judged.label or Label.UNCERTAIN
    words = title(label, score, prior=classifier.bundle.description.prior)
    left.html(
        f'<p class="df-name">{escape(judged.name)}</p>'
        + _declared(judged, label)
        + f'<p class="df-verdict df-{label}" role="heading" aria-level="2">{words}</p>'
        f'<p class="df-line">Score {score_text(score)}. {SENTENCES[label]}{_weaker(judged)}</p>'
        + style.score_bar(score, label, classifier.curve.thresholds)
    )
    st.markdown("**What this does not mean**\n\n" + bullets(MEANS_NOT[label]))


def show_not_applicable(judged: JudgedPicture) -> None:
    """The picture, and why the model says nothing of it."""
    left, right = st.columns([2, 1], gap="medium")
    if judged.picture is not None:
        right.image(judged.picture, alt=f"The picture {judged.name}", width="stretch")
    what, advice = REASONS[Reason(judged.verdict["reason"] or "")]
    left.html(
        f'<p class="df-name">{escape(judged.name)}</p>'
        + _declared(judged, Label.NOT_APPLICABLE)
        + '<p class="df-verdict" role="heading" aria-level="2">Not applicable</p>'
        f'<p class="df-line"><b>{what}</b> {advice}</p>'
    )
    meanings = bullets(MEANS_NOT[Label.NOT_APPLICABLE])
    st.markdown("**What this does not mean**\n\n" + meanings)


def _declared(judged: JudgedPicture, label: Label) -> str:
    """That the file declares itself generated, which outranks any score; else nothing."""
    if judged.origin is None or not judged.origin.generator:
        return ""
    name = escape(one_line(judged.origin.generator))
    against = "" if label is Label.FAKE else f" {DISAGREES}"
    against += "".join(f" Content credentials: {escape(said)}" for said in judged.credentials)
    return (
        f'<p class="df-verdict df-fake" role="heading" aria-level="2">{DECLARED} {name}</p>'
        f'<p class="df-line">{FORGEABLE}{against}</p>'
    )


def show_failure(name: str, code: FailureCode | None, detail: str | None) -> None:
    """Why there is no verdict, and what to do about it."""
    what, advice = FAILURES[code or FailureCode.READ_FAILED]
    more = f'<p class="df-quiet">{escape(detail)}</p>' if detail else ""
    st.html(
        f'<p class="df-name">{escape(name)}</p>'
        '<p class="df-verdict" role="heading" aria-level="2">Not judged</p>'
        f'<p class="df-line"><b>{what}</b> {advice}</p>{more}'
        f'<p class="df-quiet">Failure code <code>{code}</code></p>'
    )


def _explained(classifier: Classifier, upload: Given) -> Explanation | Failure | None:
    """The explanation, computed once per picture and forgotten with it."""
    known = st.session_state.get("explained", {})
    if upload.file_id not in known:
        with st.spinner("Parts of the picture are being hidden, one after another …"):
            known = known | {upload.file_id: explain(classifier, upload.getvalue())}
    present = st.session_state["judged"]
    st.session_state["explained"] = {k: value for k, value in known.items() if k in present}
    result: Explanation | Failure | None = known[upload.file_id]
    return result


def show_explanation(explanation: Explanation | Failure | None, name: str) -> None:
    """The heat map with the measurement behind it, or why there is none."""
    if explanation is None:
        st.info("No face was judged, so there is no score to explain.")
        return
    if isinstance(explanation, Failure):
        st.info(f"There is no explanation of this picture: {FAILURES[explanation.code][0]}")
        return
    compared = tested(explanation)
    if not explanation.faithful:
        st.info(
            f"No picture is shown, because it would mislead. {compared} That is not a clear "
            "difference: where this score comes from is not known."
        )
        return
    marked = f"{name} in grey, with the areas marked that the score depends on"
    st.image(explanation.overlay, alt=marked, width=384)
    st.markdown(
        f"Orange are the areas that speak for **{explanation.towards}** to the model; the white "
        f"line surrounds those that were tested. {compared}\n\n"
        "It does not show where a picture was edited, and a marked area need not look odd to you."
    )


def tested(explanation: Explanation) -> str:
    """What hiding the area did, against hiding others of its size."""
    others = explanation.random_drops
    usual = sum(others) / max(1, len(others))
    beaten = sum(explanation.drop > other for other in others)
    return (
        f"As a test, the area found most important ({percent(explanation.share)} of the picture) "
        f"was hidden: the model's raw number moved {explanation.drop:.2f} away from "
        f"{explanation.towards}. With areas of the same size elsewhere it was {usual:.2f} on "
        f"average. The area counted for more than {beaten} of the {len(others)} others."
    )


def show_origin(judged: JudgedPicture) -> None:
    """What the file says of itself, which may be forged or stripped."""
    origin = judged.origin
    if origin is None:
        return
    rows = origin_rows(origin, judged.verdict["sha256"] or "")
    rows += [("Content credentials", said) for said in judged.credentials]
    st.html(style.table(rows))
    st.caption(
        "These notes are written by programs and can be changed by anybody. A note of a generator "
        "is strong evidence; that there is none means nothing, since most platforms strip notes."
    )


def origin_rows(origin: Origin, sha256: str) -> list[tuple[str, str]]:
    """The facts of a file by name, for people."""
    nothing = "not named"
    size = f"{origin.width:,} by {origin.height:,} pixels, " if origin.width else ""
    return [
        ("Format", origin.format or "unknown"),
        ("Size", f"{size}{origin.bytes:,} bytes"),
        ("Camera", origin.camera or nothing),
        ("Software", origin.software or nothing),
        ("Generator", origin.generator or nothing),
        *(("Found", evidence) for evidence in origin.evidence),
        ("Fingerprint (SHA-256)", sha256),
    ]


def _weaker(judged: JudgedPicture) -> str:
    """Why a label is weaker than its score, such as a flag that did not last."""
    reason = judged.verdict.get("reason")
    return " " + " ".join(REASONS[Reason(reason)]) if reason else ""


def bullets(lines: Sequence[str]) -> str:
    """A markdown list."""
    return "\n".join(f"- {line}" for line in lines)
