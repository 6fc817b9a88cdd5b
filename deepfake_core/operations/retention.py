"""What is removed after some time: working files of finished runs, old verdicts if asked."""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from dataclasses import asdict, dataclass, field

from deepfake_core.records import Json
from deepfake_core.results.layout import LATEST, published_name
from deepfake_core.results.run_record import RunRecord
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.storage.opening import open_storage

# A finished run needs its parts and its manifest no more; what it counted and its report stay.
_WORKING = re.compile(r"runs/([^/]+)/(parts/part-\d+|manifest)\.parquet")
_PUBLISHED = re.compile(r"verdicts/run_date=(\d{4}-\d\d-\d\d)/([^/]+)\.parquet")


@dataclass(slots=True)
class Removed:
    """What was removed, or would be.

    Attributes:
        before: runs that started on an earlier day are old.
        runs: old finished runs whose working files went.
        parts: their parts.
        manifests: their manifests.
        verdicts: old published files that went.
        forgotten: images that no verdict is left of; a scan that finds them judges them anew.
        bytes: what all that took.
        kept_runs: old runs that have parts and are not finished, or miss their verdicts.
    """

    before: dt.date
    runs: int = 0
    parts: int = 0
    manifests: int = 0
    verdicts: int = 0
    forgotten: int = 0
    bytes: int = 0
    kept_runs: list[str] = field(default_factory=list)

    def as_json(self) -> Json:
        """The same for ``--json``."""
        return asdict(self)


def days_ago(days: int) -> dt.date:
    """The UTC date so many days ago."""
    return dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days)


def retain(output: str, *, before: dt.date, verdicts: bool = False, dry_run: bool = False) -> Json:
    """Remove the working files of old finished runs, and old verdicts if asked.

    It can be broken off and done again at any time.

    Args:
        output: folder of the results.
        before: runs that started on an earlier day are old.
        verdicts: whether published files go, too; ``latest.parquet`` is then made again from
            what is left.
        dry_run: tell what would be removed, and leave it.

    Returns:
        What `Removed` holds.
    """
    results = Results(open_storage(output))
    listing = results.storage.list_files()
    pairs = zip(listing.paths, listing.sizes, strict=True)
    sizes = {path: size or 0 for path, size in pairs}
    removed = Removed(before)
    going = _working_files(results, sizes, removed)
    old = [path for path in sizes if _is_old(path, removed)] if verdicts else []
    removed.verdicts, removed.bytes = len(old), sum(sizes[path] for path in (*going, *old))
    if verdicts:
        removed.forgotten = _forgotten(results, set(results.published()) - set(old))
    if not dry_run:
        for path in (*going, *old):
            results.storage.delete(path)
        if removed.forgotten or old:
            results.rebuild_latest()
    return removed.as_json()


def _working_files(results: Results, sizes: dict[str, int], removed: Removed) -> list[str]:
    """Count and name the working files of old runs that are finished."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(sizes):
        if found := _WORKING.fullmatch(path):
            files[found[1]].append(path)
    going: list[str] = []
    for run_id, paths in files.items():
        run = results.get_run(run_id)
        if run is None or dt.date.fromisoformat(run.run_date) >= removed.before:
            continue
        if not _is_safe(run, sizes):
            removed.kept_runs.append(run_id)
            continue
        parts = sum("/parts/" in path for path in paths)
        removed.runs, removed.parts = removed.runs + 1, removed.parts + parts
        removed.manifests += len(paths) - parts
        going += paths
    return going


def _is_safe(run: RunRecord, sizes: dict[str, int]) -> bool:
    """Whether a run is finished and its verdicts are where they belong."""
    if run.state != "done":
        return False
    return published_name(run.run_date, run.run_id) in sizes or not run.has_rows


def _is_old(path: str, removed: Removed) -> bool:
    found = _PUBLISHED.fullmatch(path)
    if found is None or found[2] in removed.kept_runs:
        return False
    return dt.date.fromisoformat(found[1]) < removed.before


def _forgotten(results: Results, left: set[str]) -> int:
    """How many rows of ``latest.parquet`` come from runs of which no verdicts are left."""
    if not results.storage.exists(LATEST):
        return 0
    runs = read_verdicts(results.storage, LATEST, ["run_id"])["run_id"].value_counts().to_pylist()
    names = {path.rpartition("/")[2].removesuffix(".parquet") for path in left}
    return sum(int(row["counts"]) for row in runs if row["values"] not in names)
