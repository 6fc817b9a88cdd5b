"""``summary.md``, and the words for codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deepfake_core.rendering.evidence import label_words
from deepfake_core.rendering.text import NOT_PROOF, as_markdown, expected_text, percent, score_text
from deepfake_core.reporting.changes import in_words
from deepfake_core.reporting.credentials import credential_words
from deepfake_core.reporting.findings import blind_spot
from deepfake_core.reporting.prior import worth_words
from deepfake_core.reporting.summary import COUNTS, ROWS_SHOWN
from deepfake_core.reporting.summary_record import LabelChanges, Summary
from deepfake_core.reporting.suspicion import BEWARE, CANARIES, SUSPECT_RUN, canary_words
from deepfake_core.results.run_record import RunWarning

FAILURE_WORDS: Mapping[str, str] = {
    "read.not_found": "the file was gone when its turn came",
    "read.denied": "the store refused access to the file",
    "read.archived": "the file lies in cold storage and must be restored first",
    "read.failed": "reading failed, also when it was tried again; the next scan tries once more",
    "decode.unsupported": "the file is not an image in a format that is read here",
    "decode.corrupt": "the image is damaged or incomplete; half an image is not judged",
    "decode.too_large": "the image has more pixels than are decoded safely",
    "decode.timeout": "decoding took too long and was stopped; the next scan tries once more",
    "decode.out_of_memory": "there was not enough memory for it; the next scan tries once more",
    "score.not_finite": "the network gave no number for the image",
}
REASON_WORDS: Mapping[str, str] = {
    "no_face": "no face was found in it; only faces are judged",
    "face_too_small": "its faces are too small to be judged",
    "unfamiliar": "its face is unlike those that the model was made and tested with",
    "unstable": "made uncertain: it was flagged, but not after a cheap re-encoding",
}
SKIP_WORDS: Mapping[str, str] = {
    "known": "judged before by the same model, and unchanged since",
    "excluded": "left out by --include or --exclude",
    "old": "modified before --since",
    "limit": "beyond --limit",
    "time": "no time left within --max-minutes; the next scan goes on",
}
UNLIKE = "Unlike the last runs: look at the source and at the model before using the labels."
IDLE = "A pattern took no image: look at --include and --exclude before using the counts."
BROKEN_NOTE = " (broken content credentials)"
OF_GLOBS = ("include", "exclude")


def headline(summary: Summary) -> str:
    """The result in one sentence, after another one where it is not to be believed."""
    return f"{SUSPECT_RUN} {_found(summary)}" if summary.suspect else _found(summary)


def _found(summary: Summary) -> str:
    judged, failed, labels = summary.judged, summary.failed, summary.labels
    refused = summary.not_applicable
    if judged:
        words = (
            f"Of {_agreeing(judged, 'judged image', 'judged images')} "
            f"{_agreeing(labels['fake'], 'was', 'were')} flagged as machine-generated, "
            f"{_agreeing(labels['uncertain'], 'is', 'are')} uncertain, and in {labels['real']:,} "
            "nothing was found."
        )
        more = _agreeing(refused, "more shows", "more show")
        return f"{words} {more} no face that can be judged." if refused else words
    if refused:
        return f"None of {refused:,} images shows a face that can be judged."
    if failed:
        return f"None of the {failed:,} files that were tried could be judged."
    if summary.skipped_reasons.get("known") and summary.known_flagged is not None:
        return f"Nothing new; {summary.known_flagged:,} were flagged earlier."
    if summary.listed:
        return f"Nothing was judged: all {summary.listed:,} listed files were skipped."
    return "Nothing was found: the source holds no files."


def _agreeing(count: int, one: str, several: str) -> str:
    """A count with the word that agrees with it."""
    return f"{count:,} {one if count == 1 else several}"


def warned(summary: Summary) -> list[str]:
    """What a run warns of, a sentence for each."""
    sentences = [warning.words for warning in summary.warnings]
    return [f"{words[:1].upper()}{words[1:]}." for words in sentences]


def drifted(summary: Summary) -> list[RunWarning]:
    """The warnings of a run that is unlike the last ones."""
    others = (*OF_GLOBS, CANARIES)
    return [warning for warning in summary.warnings if warning.measure not in others]


def warning_title(summary: Summary) -> str:
    """What stands above the warnings of a run."""
    if summary.suspect:
        return BEWARE
    return UNLIKE if drifted(summary) else IDLE


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> list[str]:
    """A markdown table between empty lines; nothing where there are no rows."""
    lines = ["| " + " | ".join(as_markdown(cell) for cell in row) + " |" for row in rows]
    return ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|", *lines] if lines else []


def markdown(summary: Summary) -> str:
    """The content of ``summary.md``."""
    facts = [f"Run {summary.run_id} of {summary.run_date}", f"source {summary.source}"]
    facts += [f"model {summary.model_id} ({summary.precision}, {summary.engine})"]
    if summary.second_model_id:
        facts += [f"second look {summary.second_model_id}"]
    facts += [known] if (known := canary_words(summary.canaries)) else []
    lines = [f"# {headline(summary)}", "", as_markdown("; ".join(facts) + "."), "", NOT_PROOF]
    sentences = [f"- {as_markdown(sentence)}" for sentence in warned(summary)]
    lines += ["", f"**{warning_title(summary)}**", "", *sentences] if sentences else []
    blind = blind_spot(summary.card.figures)
    lines += ["", as_markdown(blind)] if blind else []
    lines += _table(COUNTS, [tuple(getattr(summary, name) for name in COUNTS)])
    lines += _table(
        ("what was found", "images"),
        ((label_words(label), count) for label, count in summary.labels.items()),
    )
    folders = (
        (counted.folder or "(no folder)", counted.images, counted.flagged)
        for counted in summary.folders
    )
    lines += _table(("folder", "images", "flagged"), folders) if len(summary.folders) > 1 else []
    declared = (
        (row.image, row.says + (BROKEN_NOTE if row.broken else ""), label_words(row.label))
        for row in summary.declared_images[:ROWS_SHOWN]
    )
    lines += _table(("declares itself generated", "the file says", "the model says"), declared)
    if summary.credentials:
        lines += ["", as_markdown(credential_words(summary.credentials))]
        broken = ((row.image, row.says) for row in summary.credentials.broken_images[:ROWS_SHOWN])
        lines += _table(("broken content credentials", "what they say"), broken)
    for title, names, words in (
        ("not applicable because", summary.reasons, REASON_WORDS),
        ("failed because", summary.failures, FAILURE_WORDS),
        ("skipped because", summary.skipped_reasons, SKIP_WORDS),
    ):
        reasons = ((words.get(name, name), name, count) for name, count in names.items())
        lines += _table((title, "code", "files"), reasons)
    lines += [text for sentence in in_words(summary) for text in ("", as_markdown(sentence))]
    unlisted = ((folder,) for folder in summary.unlisted_folders)
    lines += _table(("folders that could not be listed; what they hold is unknown",), unlisted)
    for title, shown in (
        ("highest scores", summary.highest),
        ("nearly flagged", summary.uncertain),
    ):
        images = ((row.image, score_text(row.score), label_words(row.label)) for row in shown)
        lines += _table((title, "score", "label"), images)
    lines += _changes(summary.changes) if summary.changes else []
    failed = ((row.image, row.failure, row.detail or "") for row in summary.failed_images)
    lines += _table(("failed", "code", "detail"), failed)
    expected = (
        (percent(row.share_of_fakes), expected_text(row.flagged_real_share, at_most=row.at_most))
        for row in summary.expectations
    )
    lines += ["", as_markdown(worth_words(summary.flag_worth))] if summary.flag_worth else []
    lines += _table(
        ("if this share of the source is fake", "so many flagged are photographs"), expected
    )
    speed = summary.timings.get("images_per_s")
    lines += ["", f"{speed:,.1f} images per second."] if speed else []
    return "\n".join(lines) + "\n"


def _changes(changes: LabelChanges) -> list[str]:
    """The labels that changed, by kind and by image."""
    changed = ((label_words(row.before), label_words(row.after), row.images) for row in changes.by)
    flipped = (
        (row.image, label_words(row.before), label_words(row.after), score_text(row.score))
        for row in changes.images[:ROWS_SHOWN]
    )
    return [
        *_table(("label before", "label now", "images"), changed),
        *_table(("another label than before", "before", "now", "score"), flipped),
    ]
