"""Write files of finished runs so that their lists of hashes tell of it."""

from __future__ import annotations

from collections.abc import Mapping

from deepfake_core.results.file_hashes import (
    FileHash,
    add_link,
    hash_bytes,
    hash_file,
    read_links,
)
from deepfake_core.results.layout import (
    MANIFEST_FILE,
    MARKDOWN_FILE,
    REPORT_FILE,
    RUN_FILE,
    SUMMARY_FILE,
    part_name,
    published_name,
    run_file,
)
from deepfake_core.results.run_record import RunRecord
from deepfake_core.results.store import Results, json_bytes

# What a run has beside its parts and its published file.
OWN_FILES = (MANIFEST_FILE, SUMMARY_FILE, MARKDOWN_FILE, REPORT_FILE)


def close_run(results: Results, run: RunRecord, why: str) -> None:
    """Store a run's ``run.json`` after the hashes of all its files, the new ``run.json`` included.

    Args:
        results: where it is.
        run: its last state.
        why: such as ``scan``.
    """
    paths = [run_file(run.run_id, name) for name in OWN_FILES]
    parts = sorted(results.committed(run.run_id))
    paths += [run_file(run.run_id, f"parts/{part_name(index)}") for index in parts]
    if run.has_rows:
        paths.append(published_name(run.run_date, run.run_id))
    hashes: dict[str, FileHash | None] = {}
    for path in paths:
        known = results.hashes.get(path)
        if known is not None:
            hashes[path] = known
        elif results.storage.exists(path):
            hashes[path] = hash_file(results.storage, path)
    hashes[run_file(run.run_id, RUN_FILE)] = hash_bytes(json_bytes(run.as_json()))
    add_link(results.storage, run.run_id, why, hashes, signer=results.signer)
    results.put_run(run)


def rewrite(results: Results, run_id: str, why: str, contents: Mapping[str, bytes | None]) -> None:
    """Replace or remove files of a run, in their order; what is known of them is told first.

    Args:
        results: where it is.
        run_id: the run; one that has no list of hashes, as it is not finished, gets none.
        why: such as ``erase``.
        contents: by their paths below the output; None removes a file.
    """
    if contents and read_links(results.storage, run_id) is not None:
        files = {
            path: None if data is None else hash_bytes(data) for path, data in contents.items()
        }
        add_link(results.storage, run_id, why, files, signer=results.signer)
    write_all(results, contents)


def write_all(results: Results, contents: Mapping[str, bytes | None]) -> None:
    """Replace or remove files, in their order."""
    for path, data in contents.items():
        if data is None:
            results.storage.delete(path)
        else:
            results.put(path, data)
