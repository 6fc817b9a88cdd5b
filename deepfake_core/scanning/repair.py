"""Mend what a damaged file left, as far as intact files allow; set aside what cannot be saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import BrokenInvariant, DamagedFile, DeepfakeError
from deepfake_core.reporting.run_report import make_report
from deepfake_core.results.file_hashes import FILES_FILE
from deepfake_core.results.inspection import Inspected, inspect_run
from deepfake_core.results.layout import (
    ASIDE,
    LATEST,
    MANIFEST_FILE,
    PART,
    REDECIDING,
    RUN_FILE,
    part_name,
    published_name,
    run_file,
)
from deepfake_core.results.manifest import read_manifest, run_of, turn_order, unskipped
from deepfake_core.results.recording import close_run, rewrite
from deepfake_core.results.run_record import RunRecord
from deepfake_core.results.schema import VERDICTS, validate, with_metadata
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import bare, parquet_bytes, read_verdicts
from deepfake_core.scanning.committed import HOW_JUDGED, TIMINGS_KEY
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.executor import open_judge
from deepfake_core.scanning.plan import Plan, make_plan
from deepfake_core.scanning.scan import finish, missing_shards
from deepfake_core.storage.output_lock import rewriting

PREFIX = "deepfake."
_AGAIN = "its images are judged again by the next scan of their source"


@dataclass(slots=True)
class Repaired:
    """What a repair did.

    Attributes:
        mended: files that were made again.
        set_aside: damaged files that were moved to ``damaged/``.
        lost: what could not be made again, and what follows from it, for people.
        notes: what else was found.
        images: how many ``latest.parquet`` has, where it was made again.
    """

    mended: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    images: int | None = None


def repair(
    results: Results,
    *,
    registry: Path,
    wait_seconds: float = 0.0,
    say: Callable[[str], None] = lambda line: None,
) -> Repaired:
    """Look at every file of an output, and mend what is damaged.

    Args:
        results: the output.
        registry: where bundles are, for parts that must be judged again.
        wait_seconds: how long to wait for scans of the output to end.
        say: told of each damaged file, and who is waited for.

    Raises:
        OutputBusy: a scan uses the output.
        OutputError: a file cannot be read for another reason than damage, or not be written.
    """
    done = Repaired()
    with rewriting(results.storage, "a repair", wait_seconds=wait_seconds, say=say):
        results.storage.sweep()
        published = {PurePosixPath(path).stem: path for path in results.published()}
        for run_id in sorted({*published, *results.storage.names("runs")}):
            inspected = inspect_run(results, run_id, published.get(run_id))
            for message in inspected.damaged.values():
                say(message)
            _RunRepair(results, inspected, registry, done).mend()
        if done.mended or done.set_aside or not _latest_is_whole(results):
            done.images = results.rebuild_latest(lambda error: done.notes.append(str(error)))
    return done


def _latest_is_whole(results: Results) -> bool:
    if not results.storage.exists(LATEST):
        return not results.published()
    try:
        read_verdicts(results.storage, LATEST, ["image"])
    except DamagedFile:
        return False
    return True


class _RunRepair:
    """The files of one run."""

    def __init__(
        self, results: Results, inspected: Inspected, registry: Path, done: Repaired
    ) -> None:
        self._results, self._storage, self._found = results, results.storage, inspected
        self._registry, self._done = registry, done
        self._run_id = inspected.run_id

    def mend(self) -> None:
        """Mend what can be, from what is next to it."""
        inspected = self._found
        self._done.notes += [
            f"{path} is whole, but not what the run's list of hashes tells; `deepfake verify-run "
            f"{self._run_id}` says more"
            for path in inspected.differing
        ]
        gone = inspected.reports_missing or inspected.published_missing
        if not inspected.damaged and not (gone and inspected.run):
            return
        for path in inspected.damaged:
            self._set_aside(path)
        # One that can be read and is not as it was written may tell of anything.
        run = self._planned_run() if inspected.is_damaged(RUN_FILE) else inspected.run
        if run is None:
            self._done.lost.append(f"run {self._run_id} has no {RUN_FILE}: it has no report more")
        elif run.state == "done":
            self._mend_done(run)
        elif run.state != REDECIDING:
            self._mend_unfinished(run)
        else:
            self._done.notes.append(f"run {self._run_id}: redecide its origin again to finish it")

    def _set_aside(self, path: str) -> None:
        name = path.removeprefix("runs/").removeprefix("verdicts/").replace("/", "--")
        taken = set(self._storage.names(ASIDE))
        aside = next(
            free for free in (name, *(f"{name}.{n}" for n in range(1, 1000))) if free not in taken
        )
        self._storage.put(f"{ASIDE}/{aside}", self._storage.read(path))
        self._storage.delete(path)
        self._done.set_aside.append(path)

    def _planned_run(self) -> RunRecord | None:
        """The run as it was planned, which its manifest knows."""
        path = run_file(self._run_id, MANIFEST_FILE)
        if self._found.is_damaged(MANIFEST_FILE) or not self._storage.exists(path):
            return None
        run = run_of(self._storage.read(path), self._storage.address(path))
        if run is not None:
            self._results.put_run(run)
            self._done.mended.append(run_file(self._run_id, RUN_FILE))
        return run

    # A run that was finished

    def _mend_done(self, run: RunRecord) -> None:
        contents: dict[str, bytes | None] = {}
        path = published_name(run.run_date, run.run_id)
        rows = self._published_rows(run, path)
        if rows is None:
            self._done.lost.append(f"the verdicts of run {self._run_id} are lost: {_AGAIN}")
            contents |= dict.fromkeys((path, *self._found.damaged_parts))
        else:
            if run.has_rows and (self._found.published_missing or path in self._found.damaged):
                contents[path] = parquet_bytes(rows)
            contents |= self._parts_again(run, rows)
            contents |= make_report(run, rows, self._results, thumbnails=False)[1]
        if self._found.is_damaged(MANIFEST_FILE):
            contents[run_file(self._run_id, MANIFEST_FILE)] = None
            self._done.lost.append(
                f"the manifest of run {self._run_id} is lost, as after a retention: why it skipped "
                "images"
            )
        if run_file(self._run_id, FILES_FILE) in self._found.damaged:
            for name, data in contents.items():
                if data is not None:
                    self._results.put(name, data)
            close_run(self._results, run, "repair")
        else:
            rewrite(self._results, self._run_id, "repair", contents)
        self._done.mended += [name for name, data in contents.items() if data is not None]

    def _published_rows(self, run: RunRecord, path: str) -> pa.Table | None:
        """The published rows; from the parts where they are damaged, if these are complete."""
        if not run.has_rows:
            return VERDICTS.empty_table()
        if self._found.published and path not in self._found.damaged:
            return read_verdicts(self._storage, path)
        indices = sorted(self._results.committed(self._run_id))
        parts = [self._results.part(self._run_id, index) for index in indices]
        counts = run.counts
        if sum(map(len, parts)) != counts.judged + counts.not_applicable + counts.failed:
            return None
        together = pa.concat_tables([bare(rows) for rows in parts]).sort_by("image")
        validate(together)
        return with_metadata(together, _facts(parts[0]))

    def _parts_again(self, run: RunRecord, rows: pa.Table) -> dict[str, bytes | None]:
        """Damaged parts of a finished run, from its published rows in the manifest's order."""
        paths = self._found.damaged_parts
        if self._found.is_damaged(MANIFEST_FILE) or not paths:
            return dict.fromkeys(paths)
        wanted = unskipped(read_manifest(self._results, self._run_id))
        images = wanted["image"].take(pa.array(turn_order(wanted)))
        facts = {**_facts(rows), TIMINGS_KEY: json.dumps({"seconds": 0.0})}
        made: dict[str, bytes | None] = {}
        for path in paths:
            index = _index(path)
            names = images.slice(index * run.shard_size, run.shard_size)
            at = pc.index_in(names.combine_chunks(), rows["image"].combine_chunks())
            made[path] = parquet_bytes(with_metadata(bare(rows).take(at), facts))
        return made

    # A run that was not

    def _mend_unfinished(self, run: RunRecord) -> None:
        if self._found.is_damaged(MANIFEST_FILE):
            for index in sorted(self._results.committed(self._run_id)):
                self._set_aside(run_file(self._run_id, f"parts/{part_name(index)}"))
            self._storage.delete(run_file(self._run_id, RUN_FILE))
            self._done.lost.append(f"run {self._run_id} cannot be continued: {_AGAIN}")
            return
        again = [_index(path) for path in self._found.damaged_parts]
        try:
            plan = self._plan(run)
            if again:
                self._judge_again(plan, again)
        except (DeepfakeError, OSError) as error:
            self._done.lost.append(
                f"run {self._run_id}: what is damaged was not judged again: {error}. Continue it "
                f"with `deepfake scan {run.source} --output {self._storage.name} --run-id "
                f"{self._run_id}` and its other options"
            )
            return
        if self._found.is_damaged(RUN_FILE) and not missing_shards(plan):
            # It may have been finished before its run.json was damaged.
            finish(plan)

    def _judge_again(self, plan: Plan, indices: list[int]) -> None:
        with open_judge(plan) as judge:
            for index in indices:
                judge.commit(plan, index)
                self._done.mended.append(run_file(self._run_id, f"parts/{part_name(index)}"))

    def _plan(self, run: RunRecord) -> Plan:
        config = ScanConfig.model_validate({**run.config, "run_id": self._run_id})
        # The list that the run was planned with is in its record, wherever the file is now.
        asked = {
            "output": self._storage.name,
            "model": run.model_id.partition("+")[0],
            "trust_list": None,
        }
        plan = make_plan(config.model_copy(update=asked), registry=self._registry)
        plan.results = self._results
        if plan.bundle.model_id != run.model_id:
            raise BrokenInvariant(f"its model {run.model_id} is not here")
        return plan


def _index(path: str) -> int:
    match = PART.fullmatch(PurePosixPath(path).name)
    if match is None:
        raise BrokenInvariant(f"{path} is not a part")
    return int(match["index"])


def _facts(table: pa.Table) -> dict[str, str]:
    """The facts of a file's footer, but for those of how a shard was judged."""
    facts = {
        key.decode().removeprefix(PREFIX): value.decode()
        for key, value in (table.schema.metadata or {}).items()
        if key.decode().startswith(PREFIX)
    }
    return {name: value for name, value in facts.items() if name not in HOW_JUDGED}
