"""What a run found, as numbers and as plain words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.changes import in_words
from deepfake_core.errors import BrokenInvariant
from deepfake_core.records import FailureCode, Json, Label

ROWS_SHOWN, FAILED_SHOWN, BINS = 24, 200, 40
SHARES_OF_FAKES = (0.001, 0.01, 0.1, 0.5)
COUNTS = ("listed", "skipped", "judged", "failed")
# Facts of run.json that the summary repeats, by their name there.
FACTS = (
    *("run_id", "run_date", "source", "finished", "model_id", "precision", "engine"),
    *("new", "backlog", "left", "gone", "renamed", "redecided"),
)
COLUMNS_SHOWN = ("image", "score", "label", "width", "height", "format", "sha256")

FAILURE_WORDS: Mapping[str, str] = {
    "read.not_found": "the file was gone when its turn came",
    "read.denied": "the store refused access to the file",
    "read.archived": "the file lies in cold storage and must be restored first",
    "read.failed": "reading failed, also when it was tried again; the next scan tries once more",
    "decode.unsupported": "the file is no image in a format that is read here",
    "decode.corrupt": "the image is damaged or incomplete; half an image is not judged",
    "decode.too_large": "the image has more pixels than are decoded safely",
    "score.not_finite": "the network gave no number for the image",
}
SKIP_WORDS: Mapping[str, str] = {
    "known": "judged before by the same model, and unchanged since",
    "excluded": "left out by --include or --exclude",
    "old": "modified before --since",
    "limit": "beyond --limit",
    "time": "no time left within --max-minutes; the next scan goes on",
}
NOT_PROOF = (
    "A score is not proof. Look at the original and at where it comes from before accusing anyone."
)
UNLIKE = "Unlike the last runs: look at the source and at the model before using the labels."
# Control characters, unpaired surrogates, and marks that reverse the direction of writing: in a
# file name they could forge a line of the report or disguise an extension.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$!#:@])")


def summarise(
    verdicts: pa.Table, *, run: Mapping[str, Any], changes: Mapping[str, Any] | None = None
) -> Json:
    """Build the content of ``summary.json``.

    Args:
        verdicts: the run's rows, see `deepfake_core.schema`; may have none.
        run: the content of ``run.json``; what it lacks is left out, null or empty.
        changes: the labels that are not as they were, see `deepfake_core.changes`.

    Raises:
        BrokenInvariant: the rows and the run's counts do not add up.
    """
    counts = _counts(verdicts, run)
    labels = {str(label): 0 for label in Label} | _tally(verdicts["label"])
    failures = _tally(verdicts["failure"])
    scored = verdicts.filter(pc.is_valid(verdicts["score"]))
    edges = np.linspace(0, 1, BINS + 1)
    scores = scored["score"].to_numpy()
    # Compared in float32, as scores are stored and labels decided.
    histogram, _ = np.histogram(scores, edges.astype(np.float32))
    if not counts["judged"] == sum(labels.values()) == histogram.sum():
        raise BrokenInvariant(f"{counts['judged']} judged, but labels {labels} or scores differ")
    thresholds, card = run.get("thresholds"), dict(run.get("card") or {})
    return {
        **{name: run.get(name) for name in FACTS},
        "started": run.get("run_started"),
        "thresholds": thresholds,
        "temperature": run.get("temperature"),
        **counts,
        "labels": labels,
        "failures": failures,
        "skipped_reasons": dict(run.get("skipped_reasons") or {}),
        "unlisted_folders": list(run.get("unlisted_folders") or []),
        "not_images": failures.get(FailureCode.DECODE_UNSUPPORTED, 0),
        "histogram": {"edges": edges.tolist(), "counts": histogram.tolist()},
        "highest": _rows(scored, np.lexsort((-scored["logit"].to_numpy(), -scores))),
        "uncertain": _nearest(scored, thresholds),
        "failed_images": _failed(verdicts),
        "timings": _timings(run, verdicts.num_rows),
        "expectations": expectations(card.get("figures") or {}),
        "card": card,
        "changes": changes,
        "warnings": list(run.get("warnings") or []),
    }


def _counts(verdicts: pa.Table, run: Mapping[str, Any]) -> dict[str, int]:
    """The run's counts, held against its rows."""
    judged = int(pc.sum(pc.equal(verdicts["status"], "ok")).as_py() or 0)
    found = {"judged": judged, "failed": verdicts.num_rows - judged, "skipped": 0}
    counts: dict[str, int] = {"listed": verdicts.num_rows, **found} | dict(run.get("counts") or {})
    parts = counts["judged"] + counts["failed"] + counts["skipped"]
    rows = (counts["judged"], counts["failed"]) == (found["judged"], found["failed"])
    if counts["listed"] != parts or not rows:
        raise BrokenInvariant(
            f"run {run.get('run_id')}: expected listed = judged + failed + skipped, found {counts}"
            f" and rows of {found['judged']} judged and {found['failed']} failed images"
        )
    return {name: counts[name] for name in COUNTS}


def _tally(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs, most frequent first; nulls do not count."""
    counted = pc.value_counts(column.drop_null()).to_pylist()
    ordered = sorted(counted, key=lambda pair: (-pair["counts"], pair["values"]))
    return {pair["values"]: pair["counts"] for pair in ordered}


def _rows(table: pa.Table, order: np.ndarray) -> list[Json]:
    chosen = table.select(COLUMNS_SHOWN).take(pa.array(order[:ROWS_SHOWN]))
    return list(chosen.to_pylist())


def _nearest(scored: pa.Table, thresholds: Mapping[str, float] | None) -> list[Json]:
    """The uncertain images, those that nearly were called fake first."""
    uncertain = scored.filter(pc.equal(scored["label"], Label.UNCERTAIN))
    fake_from = thresholds["fake_from"] if thresholds else 1.0
    distance = np.abs(uncertain["score"].to_numpy() - np.float32(fake_from))
    return _rows(uncertain, np.argsort(distance, kind="stable"))


def _failed(verdicts: pa.Table) -> list[Json]:
    """The first failed images; what is no image at all comes last."""
    failed = verdicts.filter(pc.is_valid(verdicts["failure"]))
    no_image = pc.equal(failed["failure"], FailureCode.DECODE_UNSUPPORTED)
    order = np.argsort(no_image.to_numpy(), kind="stable")[:FAILED_SHOWN]
    rows = failed.select(["image", "failure", "detail"]).take(pa.array(order))
    return list(rows.to_pylist())


def _timings(run: Mapping[str, Any], rows: int) -> dict[str, float]:
    timings = {name: float(value) for name, value in dict(run.get("timings") or {}).items()}
    if rows and timings.get("seconds"):
        timings["images_per_s"] = rows / timings["seconds"]
    return timings


def expectations(figures: Mapping[str, Any]) -> list[Json]:
    """How many flagged images would be real, for stated shares of fakes in the source.

    By Bayes' rule FPR (1 - p) / (FPR (1 - p) + TPR p). Where not one real image was flagged in
    the test, FPR is at most 3 / n with 95 % confidence (the rule of three), and so is the result.

    Args:
        figures: measurements by split; that of ``report`` is used, or else the first usable.

    Returns:
        One entry per share; empty where the figures do not say enough.
    """
    for split in sorted(figures, key=lambda name: name != "report"):
        measured = figures[split] if isinstance(figures[split], Mapping) else {}
        tpr, fpr = measured.get("tpr_at_fake"), measured.get("fpr_at_fake")
        at_most = fpr == 0
        if at_most:
            fpr = min(1.0, 3 / measured["real"]) if measured.get("real") else None
        if tpr is None or fpr is None:
            continue
        shares = np.array(SHARES_OF_FAKES)
        flagged_real = fpr * (1 - shares) / (fpr * (1 - shares) + tpr * shares)
        basis = {"split": split, "tpr": tpr, "fpr": fpr, "at_most": at_most}
        return [
            {"share_of_fakes": share, "flagged_real_share": real, **basis}
            for share, real in zip(shares.tolist(), flagged_real.tolist(), strict=True)
        ]
    return []


def headline(summary: Mapping[str, Any]) -> str:
    """The result in one sentence."""
    judged, failed, labels = summary["judged"], summary["failed"], summary["labels"]
    if judged:
        return (
            f"Of {judged:,} judged images {labels['fake']:,} were flagged as machine-generated, "
            f"{labels['uncertain']:,} are uncertain, and {labels['real']:,} look like photographs."
        )
    if failed:
        return f"None of the {failed:,} files that were tried could be judged."
    if summary["listed"]:
        return f"Nothing was judged: all {summary['listed']:,} listed files were skipped."
    return "Nothing was found: the source holds no files."


def one_line(text: object) -> str:
    """A text with its control characters spelled out, such as a file name with a newline."""
    return _INVISIBLE.sub(lambda found: ascii(found[0])[1:-1], str(text))


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


def expected_text(expectation: Mapping[str, Any]) -> str:
    """The share of flagged images that are real, with what kind of number it is."""
    kind = "at most" if expectation["at_most"] else "about"
    return f"{kind} {percent(expectation['flagged_real_share'])}"


def as_markdown(text: object) -> str:
    """A text, such as a file name, that markdown and HTML show as it is."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?i)www\.", r"www\\.", _MARKDOWN.sub(r"\\\1", plain))


def warned(summary: Mapping[str, Any]) -> list[str]:
    """In what a run is unlike the last ones, a sentence for each."""
    found = [str(warning["words"]) for warning in summary.get("warnings") or ()]
    return [f"{words[:1].upper()}{words[1:]}." for words in found]


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> list[str]:
    """A markdown table between empty lines; nothing where there are no rows."""
    lines = ["| " + " | ".join(as_markdown(cell) for cell in row) + " |" for row in rows]
    return ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|", *lines] if lines else []


def markdown(summary: Mapping[str, Any]) -> str:
    """The content of ``summary.md``."""
    facts = [f"Run {summary['run_id']} of {summary['run_date']}", f"source {summary['source']}"]
    facts += [f"model {summary['model_id']} ({summary['precision']}, {summary['engine']})"]
    lines = [f"# {headline(summary)}", "", as_markdown("; ".join(facts) + "."), "", NOT_PROOF]
    sentences = [f"- {as_markdown(sentence)}" for sentence in warned(summary)]
    lines += ["", f"**{UNLIKE}**", "", *sentences] if sentences else []
    lines += _table(COUNTS, [tuple(summary[name] for name in COUNTS)])
    lines += _table(("label", "images"), summary["labels"].items())
    for title, names, words in (
        ("failed because", summary["failures"], FAILURE_WORDS),
        ("skipped because", summary["skipped_reasons"], SKIP_WORDS),
    ):
        reasons = ((words.get(name, name), name, count) for name, count in names.items())
        lines += _table((title, "code", "files"), reasons)
    lines += [text for sentence in in_words(summary) for text in ("", as_markdown(sentence))]
    folders = ((folder,) for folder in summary["unlisted_folders"])
    lines += _table(("folders that could not be listed; what they hold is unknown",), folders)
    for title, name in (("highest scores", "highest"), ("nearly flagged", "uncertain")):
        images = ((row["image"], score_text(row["score"]), row["label"]) for row in summary[name])
        lines += _table((title, "score", "label"), images)
    changes = summary["changes"] or {"by": [], "images": []}
    changed = ((row["from"], row["to"], row["images"]) for row in changes["by"])
    lines += _table(("label before", "label now", "images"), changed)
    flipped = (
        (row["image"], row["before"], row["after"], score_text(row["score"]))
        for row in changes["images"][:ROWS_SHOWN]
    )
    lines += _table(("another label than before", "before", "now", "score"), flipped)
    failed = (
        (row["image"], row["failure"], row["detail"] or "") for row in summary["failed_images"]
    )
    lines += _table(("failed", "code", "detail"), failed)
    expected = (
        (percent(row["share_of_fakes"]), expected_text(row)) for row in summary["expectations"]
    )
    lines += _table(("if this share of the source is fake", "so many flagged are real"), expected)
    speed = summary["timings"].get("images_per_s")
    lines += ["", f"{speed:,.0f} images per second."] if speed else []
    return "\n".join(lines) + "\n"
