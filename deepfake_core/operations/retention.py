"""What is removed after some time: working files of finished runs, old verdicts if asked."""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from deepfake_core.errors import DamagedFile
from deepfake_core.results.layout import LATEST, published_name
from deepfake_core.results.recording import rewrite, write_all
from deepfake_core.results.run_record import RunRecord
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.output_lock import rewriting

# A finished run needs its parts and its manifest no more; what it counted and its report stay.
_WORKING = re.compile(r"runs/(?P<run>[^/]+)/(parts/part-\d+|manifest)\.parquet")
_PUBLISHED = re.compile(r"verdicts/run_date=(\d{4}-\d\d-\d\d)/(?P<run>[^/]+)\.parquet")


@dataclass(slots=True)
class Removed:
    """What was removed, or would be.

    Attributes:
        before: runs that started on an earlier day are old.
        runs: old finished runs whose working files went.
        parts: their parts.
        manifests: their manifests.
        verdicts: old published files that went.
        forgotten: images that no verdict is left of; a scan that finds them judges them again.
        bytes: what all that took.
        kept_runs: old runs that have parts and are not finished, or miss their verdicts.
        damaged: what is said of files that were found damaged.
    """

    before: dt.date
    runs: int = 0
    parts: int = 0
    manifests: int = 0
    verdicts: int = 0
    forgotten: int = 0
    bytes: int = 0
    kept_runs: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def note(self, error: DamagedFile) -> None:
        """Remember a damaged file."""
        self.damaged.append(str(error))

    def as_json(self) -> dict[str, object]:
        """The same for ``--json``."""
        return asdict(self)


def days_ago(days: int) -> dt.date:
    """The UTC date so many days ago."""
    return dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days)


def retain(
    output: str | Results,
    *,
    before: dt.date,
    verdicts: bool = False,
    dry_run: bool = False,
    wait_seconds: float = 0.0,
) -> Removed:
    """Remove the working files of old finished runs, and old verdicts if asked.

    It can be broken off and done again at any time.

    Args:
        output: folder of the results.
        before: runs that started on an earlier day are old.
        verdicts: whether published files go, too; ``latest.parquet`` is then made again from
            what is left.
        dry_run: tell what would be removed, and leave it.
        wait_seconds: how long to wait for scans of the output to end.

    Returns:
        What went.

    Raises:
        OutputBusy: a scan uses the output.
    """
    results = output if isinstance(output, Results) else Results(open_storage(output))
    if dry_run:
        return _retain(results, Removed(before), verdicts, dry_run)
    with rewriting(results.storage, "a retention", wait_seconds=wait_seconds):
        return _retain(results, Removed(before), verdicts, dry_run)


def _retain(results: Results, removed: Removed, verdicts: bool, dry_run: bool) -> Removed:  # noqa: FBT001
    listing = results.storage.list_files()
    pairs = zip(listing.paths, listing.sizes, strict=True)
    sizes = {path: size or 0 for path, size in pairs}
    going = _working_files(results, sizes, removed)
    old = [path for path in sizes if _is_old(path, removed)] if verdicts else []
    removed.verdicts, removed.bytes = len(old), sum(sizes[path] for path in (*going, *old))
    if verdicts:
        removed.forgotten = _forgotten(results, set(results.published()) - set(old), removed)
    if not dry_run:
        for run_id, paths in _by_run((*going, *old)).items():
            _remove(results, run_id, paths)
        if removed.forgotten or old:
            results.rebuild_latest(removed.note)
    return removed


def _by_run(paths: Iterable[str]) -> dict[str, list[str]]:
    """Paths by the run that they belong to."""
    paths_of: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        match = _WORKING.fullmatch(path) or _PUBLISHED.fullmatch(path)
        if match is not None:
            paths_of[match["run"]].append(path)
    return paths_of


def _remove(results: Results, run_id: str, paths: list[str]) -> None:
    contents = dict.fromkeys(paths)
    try:
        rewrite(results, run_id, "retention", contents)
    except DamagedFile:
        # Its list of hashes alone is damaged; `verify-run` says so.
        write_all(results, contents)


def _working_files(results: Results, sizes: dict[str, int], removed: Removed) -> list[str]:
    """Count and name the working files of old runs that are finished."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(sizes):
        if match := _WORKING.fullmatch(path):
            files[match[1]].append(path)
    going: list[str] = []
    for run_id, paths in files.items():
        try:
            run = results.get_run(run_id)
        except DamagedFile as error:
            removed.kept_runs.append(run_id)
            removed.note(error)
            continue
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
    match = _PUBLISHED.fullmatch(path)
    if match is None or match[2] in removed.kept_runs:
        return False
    return dt.date.fromisoformat(match[1]) < removed.before


def _forgotten(results: Results, left: set[str], removed: Removed) -> int:
    """How many rows of ``latest.parquet`` come from runs of which no verdicts are left."""
    if not results.storage.exists(LATEST):
        return 0
    try:
        rows = read_verdicts(results.storage, LATEST, ["run_id"])
    except DamagedFile as error:
        removed.note(error)
        return 0
    runs = rows["run_id"].value_counts().to_pylist()
    names = {path.rpartition("/")[2].removesuffix(".parquet") for path in left}
    return sum(int(row["counts"]) for row in runs if row["values"] not in names)
