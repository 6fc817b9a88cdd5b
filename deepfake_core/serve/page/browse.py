"""The page that shows a finished scan."""

from __future__ import annotations

from html import escape

import pyarrow as pa
import streamlit as st

from deepfake_core.errors import DeepfakeError
from deepfake_core.models.decision import Thresholds
from deepfake_core.records import Failure, FailureCode, Json, Label
from deepfake_core.rendering.evidence import label_words
from deepfake_core.rendering.text import as_markdown, one_line, score_text
from deepfake_core.serve.page import answer, check, scans, style
from deepfake_core.serve.page.pictures import small_picture
from deepfake_core.serve.page.settings import Settings
from deepfake_core.serve.page.words import FAILURES, title

ROWS_PER_PAGE = 10
LABELS = (Label.FAKE.value, Label.UNCERTAIN.value, Label.REAL.value, scans.FAILED)


def show(settings: Settings) -> None:
    """Choose a scan, filter its verdicts, open images, and say which verdicts are right."""
    st.title("Browse a finished scan", anchor=False)
    try:
        published = scans.finished_scans(settings.reports)
        if not published:
            st.info(
                f"There is no finished scan in `{settings.reports}`. Scan a folder with "
                "`deepfake scan FOLDER`, or start the page with `--reports` and another folder."
            )
            return
        run_id = st.selectbox("Scan", list(published), key="run")
        rows = scans.read_scan(settings.reports, published[run_id])
    except (DeepfakeError, OSError) as error:
        st.error(f"The scans cannot be read: {as_markdown(error)}")
        return
    chosen = scans.choose(rows, _ask_filter(rows))
    _show_rows(settings, run_id, chosen, rows.num_rows)


def _ask_filter(rows: pa.Table) -> scans.Filter:
    """The filter that the controls say."""
    counted = scans.counts(rows)
    labels = st.pills(
        "Verdicts",
        LABELS,
        selection_mode="multi",
        format_func=lambda label: f"{label_words(label)} ({counted.get(label, 0):,})",
        key="labels",
        help="Nothing chosen shows all.",
    )
    failures: list[str] = []
    if codes := scans.failure_codes(rows):
        failures = st.multiselect(
            "Reasons of failed files",
            codes,
            format_func=lambda code: f"{code}: {FAILURES[FailureCode(code)][0]}",
            key="failures",
            placeholder="all",
        )
    low, high = st.slider("Score from, to", 0.0, 1.0, (0.0, 1.0), 0.01, key="scores")
    name = st.text_input("Part of the file's path", key="name")
    return scans.Filter(tuple(labels), tuple(failures), (low, high), name)


def _show_rows(settings: Settings, run_id: str, rows: pa.Table, in_all: int) -> None:
    """One page of rows; each can be opened."""
    st.markdown(f"**{rows.num_rows:,}** of {in_all:,} files, highest scores first.")
    pages = max(1, -(-rows.num_rows // ROWS_PER_PAGE))
    number = 1
    if pages > 1:
        number = st.number_input(f"Page, 1 to {pages:,}", 1, pages, 1, key=f"page-{pages}")
    first = (int(number) - 1) * ROWS_PER_PAGE
    thresholds = _thresholds(rows)
    for row in rows.slice(first, ROWS_PER_PAGE).to_pylist():
        opened = st.expander(_heading(row), key=f"row-{run_id}-{row['image']}", on_change="rerun")
        with opened:
            if opened.open:
                _show_row(settings, row, thresholds)


def _heading(row: Json) -> str:
    """One line for a row; names may hold markdown, which is not to be obeyed."""
    name = as_markdown(row["image"])
    if row["label"] is None:
        return f"**not judged** · {name}"
    return f"**{score_text(row['score'])} {label_words(row['label'])}** · {name}"


def _thresholds(rows: pa.Table) -> Thresholds | None:
    """The thresholds by which a scan was decided, from its footer."""
    footer = (rows.schema.metadata or {}).get(b"deepfake.thresholds")
    return Thresholds.model_validate_json(footer) if footer else None


def _show_row(settings: Settings, row: Json, thresholds: Thresholds | None) -> None:
    """All that is known of one image of a scan, and the image if it can be read."""
    content = scans.read_image(row)
    picture = None if isinstance(content, Failure) else small_picture(content)
    if picture is not None:
        st.image(picture, alt=f"The picture {one_line(row['image'])}", width=320)
    elif isinstance(content, Failure) and row["label"] is not None:
        why = content.detail or FAILURES[content.code][0]
        st.info(f"The picture cannot be shown: {as_markdown(why)}.")
    if row["label"] is None:
        check.show_failure(one_line(row["image"]), FailureCode(row["failure"]), row["detail"])
        return
    label = Label(row["label"])
    bar = style.score_bar(row["score"], label, thresholds) if thresholds else ""
    words = title(label, row["score"])
    st.html(
        f'<p class="df-verdict df-{label}" role="heading" aria-level="2">{words}</p>'
        f'<p class="df-line">Score {score_text(row["score"])} by '
        f"<code>{escape(row['model_id'])}</code></p>{bar}" + style.table(_facts(row))
    )
    image = None if isinstance(content, Failure) else content
    answer.ask(settings, row, image=image, key=row["image"])


def _facts(row: Json) -> list[tuple[str, str]]:
    return [
        ("File", one_line(row["image"])),
        ("Source", one_line(row["source"])),
        ("Format", f"{row['format']}, {row['width']:,} by {row['height']:,} pixels"),
        ("SHA-256", row["sha256"]),
    ]
