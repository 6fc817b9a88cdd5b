"""What a flow run shows on Prefect's pages; keys are lower-case letters, digits and dashes."""

from typing import cast
from urllib.parse import quote
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from deepfake_core.events import Facts
from deepfake_core.rendering.evidence import label_words
from deepfake_core.rendering.text import as_markdown, one_line
from deepfake_core.reporting.markdown import headline, warned, warning_title
from deepfake_core.reporting.summary_record import Summary

SUMMARY_KEY, HIGHEST_KEY = "scan-summary", "scan-highest-scores"
REPORT_KEY, PROGRESS_KEY, WARNINGS_KEY = "scan-report", "scan-progress", "scan-warnings"


def show_result(summary: Summary, markdown: str, report: str) -> None:
    """Show a finished run.

    Args:
        summary: its summary.
        markdown: the content of its ``summary.md``.
        report: the address of its report, a local path or a URL.
    """
    create_markdown_artifact(markdown, key=SUMMARY_KEY, description=headline(summary))
    rows = highest_rows(summary)
    if rows:
        description = f"The highest scores of run {summary.run_id}; a score is not proof."
        create_table_artifact(rows, key=HIGHEST_KEY, description=description)
    create_markdown_artifact(
        place_of(f"Report of run {summary.run_id}", report),
        key=REPORT_KEY,
        description=f"The report lies at {one_line(report)}",
    )


def show_warnings(summary: Summary) -> None:
    """Show what the run warns of, if it does."""
    sentences = [f"- {as_markdown(sentence)}" for sentence in warned(summary)]
    if sentences:
        title = warning_title(summary)
        create_markdown_artifact("\n".join(sentences), key=WARNINGS_KEY, description=title)


def highest_rows(summary: Summary) -> list[dict[str, str | float]]:
    """The most suspicious images as rows for people."""
    return [
        {
            "image": one_line(row.image),
            "score": round(row.score, 4),
            "found": label_words(row.label),
        }
        for row in summary.highest
    ]


def place_of(name: str, address: str) -> str:
    """Where something lies, in markdown: a link only where a browser opens it from here.

    A page of Prefect's cannot open a path of the machine that the flow ran on, nor an s3:// URL.
    """
    if address.startswith(("https://", "http://")):
        return f"[{as_markdown(name)}]({quote(address, safe=':/')})"
    return f"{as_markdown(name)}: {as_markdown(address)}"


class ShownProgress:
    """A progress bar on the run's page, for runs of more than one shard."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._wanted = self._done = 0
        self._bar: UUID | None = None

    def __call__(self, event: str, facts: Facts) -> None:
        """Take one event of a scan."""
        if event == "planned" and facts["shards"] > 1:
            self._wanted = facts["wanted"]
            text = f"Images of run {facts['run_id']} that are judged and committed."
            bar = create_progress_artifact(0.0, key=PROGRESS_KEY, description=text)
            # Its type allows for a coroutine, which only asynchronous flows are given.
            self._bar = cast(UUID, bar)
        elif self._bar is not None and event in ("resumed", "committed"):
            self._done += facts["done"] if event == "resumed" else facts["images"]
            try:
                update_progress_artifact(self._bar, 100 * self._done / self._wanted)
            except httpx.HTTPError:
                # A shard that was judged must not fail because its bar could not be moved.
                self._bar = None
