"""Every path below an output, in one place."""

from __future__ import annotations

import re

LATEST = "latest.parquet"
# Where damaged files are kept that could not be mended; an erasure empties it.
ASIDE = "damaged"
PART = re.compile(r"part-(?P<index>\d{5,})\.parquet")
KEY_OF_CONFIG = b"deepfake.config_fingerprint"


def run_file(run_id: str, name: str) -> str:
    """The path of one of a run's files below the output."""
    return f"runs/{run_id}/{name}"


def part_name(index: int) -> str:
    """The file name of a shard's part."""
    return f"part-{index:05d}.parquet"


def published_name(run_date: str, run_id: str) -> str:
    """The path of a run's published file below the output."""
    return f"verdicts/run_date={run_date}/{run_id}.parquet"


def is_published(path: str) -> bool:
    """Whether a path below the output is that of a published file."""
    return path.startswith("verdicts/") and path.endswith(".parquet")


RUN_FILE = "run.json"
MANIFEST_FILE = "manifest.parquet"


# The state of a redecision that was cut off; see `deepfake_core.operations.redecision`.
REDECIDING = "redeciding"
SUMMARY_FILE, MARKDOWN_FILE, REPORT_FILE = "summary.json", "summary.md", "report.html"
