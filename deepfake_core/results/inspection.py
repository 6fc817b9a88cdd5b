"""Which files of a run are damaged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from deepfake_core.errors import DamagedFile
from deepfake_core.results.file_hashes import (
    FILES_FILE,
    FileHash,
    Link,
    hash_file,
    newest_hashes,
    read_links,
)
from deepfake_core.results.layout import (
    MANIFEST_FILE,
    MARKDOWN_FILE,
    REPORT_FILE,
    RUN_FILE,
    SUMMARY_FILE,
    is_published,
    part_name,
    run_file,
)
from deepfake_core.results.run_record import RunRecord
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import parse, read_verdicts

REPORTS = (SUMMARY_FILE, MARKDOWN_FILE, REPORT_FILE)


@dataclass(slots=True)
class Inspected:
    """What a look at a run's files found.

    Attributes:
        run_id: the run.
        published: its published file; None where there is none.
        run: its ``run.json``; None where that is missing or damaged.
        links: its chain of hashes; None where that is missing or damaged.
        damaged: the paths of damaged files, with what is wrong.
        reports_missing: whether a report's file is missing.
        differing: whole files that are not those of the chain.
    """

    run_id: str
    published: str | None
    run: RunRecord | None = None
    links: list[Link] | None = None
    damaged: dict[str, str] = field(default_factory=dict)
    reports_missing: bool = False
    differing: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether it was finished, as far as is known."""
        return self.run.state == "done" if self.run else self.published is not None

    @property
    def published_missing(self) -> bool:
        """Whether its published file is gone, which no retention removed."""
        return self.published is None and any(map(is_published, newest_hashes(self.links or [])))

    @property
    def damaged_parts(self) -> list[str]:
        """The parts among the damaged files."""
        return [path for path in self.damaged if PurePosixPath(path).parent.name == "parts"]

    def is_damaged(self, name: str) -> bool:
        """Whether one of the run's own files is damaged."""
        return run_file(self.run_id, name) in self.damaged


def inspect_run(results: Results, run_id: str, published: str | None) -> Inspected:
    """Look at all files of a run.

    Raises:
        OutputError: a file cannot be read for another reason than damage.
    """
    inspected = Inspected(run_id, published)
    try:
        inspected.links = read_links(results.storage, run_id)
    except DamagedFile as error:
        inspected.damaged[run_file(run_id, FILES_FILE)] = str(error)
    try:
        inspected.run = results.get_run(run_id)
    except DamagedFile as error:
        inspected.damaged[run_file(run_id, RUN_FILE)] = str(error)
    expected = newest_hashes(inspected.links or [])
    indices = sorted(results.committed(run_id))
    parts = [run_file(run_id, f"parts/{part_name(index)}") for index in indices]
    tables = [*parts, *([published] if published else [])]
    manifest = run_file(run_id, MANIFEST_FILE)
    for path in (manifest, *tables):
        if results.storage.exists(path):
            _inspect_table(results, inspected, path, expected.get(path))
    for name in (RUN_FILE, *REPORTS):
        _inspect_text(results, inspected, run_file(run_id, name), expected)
    return inspected


def _inspect_table(
    results: Results, inspected: Inspected, path: str, expected: FileHash | None
) -> None:
    now = hash_file(results.storage, path) if expected else None
    if now is not None and now == expected:
        return
    try:
        if path.endswith(MANIFEST_FILE):
            parse(results.storage.read(path), results.storage.address(path))
        else:
            read_verdicts(results.storage, path)
    except DamagedFile as error:
        inspected.damaged[path] = str(error)
        return
    if now is not None and not _is_before(inspected, path, now):
        inspected.differing.append(path)


def _inspect_text(
    results: Results, inspected: Inspected, path: str, expected: dict[str, FileHash]
) -> None:
    if path in inspected.damaged:
        return
    try:
        now = hash_file(results.storage, path)
    except (FileNotFoundError, NotADirectoryError):
        inspected.reports_missing |= inspected.done and not path.endswith(RUN_FILE)
        return
    if path in expected and now != expected[path] and not _is_before(inspected, path, now):
        inspected.damaged[path] = f"{results.storage.address(path)} is not as it was written"


def _is_before(inspected: Inspected, path: str, now: FileHash) -> bool:
    """Whether a file is as it was before the last change, which was cut off."""
    last = inspected.links[-1].content["files"] if inspected.links else {}
    return bool(last.get(path, {}).get("old") == now.sha256)
