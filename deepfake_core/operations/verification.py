"""Whether a run's files are those that it was published with; from the files alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from deepfake_core.errors import DamagedFile, UsageError
from deepfake_core.results.file_hashes import (
    FILES_FILE,
    Link,
    chain_bytes,
    hash_file,
    newest_hashes,
    read_links,
    read_newest,
)
from deepfake_core.results.layout import PART, run_file
from deepfake_core.results.signing import is_signed
from deepfake_core.results.store import Results


@dataclass(slots=True)
class Verified:
    """What was found of a run's files.

    Attributes:
        run_id: the run.
        files: how many files were compared with their hashes.
        links: how many links the chain of hashes has.
        signed_by: the public keys that signed all of it, in hex.
        problems: what is wrong, for people; none where all is as it was published.
        notes: what could not be checked, or was changed and told.
    """

    run_id: str
    files: int = 0
    links: int = 0
    signed_by: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify_files(results: Results, run_id: str, *, key: str | None = None) -> Verified:
    """Compare a run's files with its chain of hashes.

    Args:
        results: where they are, such as a copy.
        run_id: the run.
        key: the public key, in hex, by which all must be signed.

    Raises:
        OutputError: the files cannot be read at all.
    """
    verified = Verified(run_id)
    try:
        links = read_links(results.storage, run_id)
    except DamagedFile as error:
        verified.problems.append(str(error))
        return verified
    if not links:
        verified.problems.append(
            f"run {run_id} has no {FILES_FILE}: it is not finished, is of an earlier version, or "
            "the file was removed"
        )
        return verified
    verified.links = len(links)
    _check_chain(results, verified, links)
    _check_signatures(verified, links, key)
    _check_contents(results, verified, links)
    _check_for_more(results, verified, links)
    return verified


def _check_chain(results: Results, verified: Verified, links: list[Link]) -> None:
    storage, run_id = results.storage, verified.run_id
    path = run_file(run_id, FILES_FILE)
    if storage.read(path) != chain_bytes(links):
        verified.problems.append(f"{path} is not as it was written")
    before = None
    for number, link in enumerate(links, 1):
        name = f"link {number} of {path} ({link.content['why']})"
        if not link.is_whole:
            verified.problems.append(f"{name}: its hash is not that of its content")
        if link.content["before"] != before or link.content.get("run_id") != run_id:
            verified.problems.append(f"{name}: it does not follow the link before it")
        before = link.sha256
        _check_previous(results, verified, link, name)
    newest = read_newest(storage)
    if newest and newest["run_id"] == run_id and newest["link"] != links[-1].sha256:
        verified.problems.append(f"{path}: the newest link of the output is missing in it")
    changed = [str(link.content["why"]) for link in links[1:]]
    if changed:
        verified.notes.append(f"its files were rewritten since, as the chain tells: {changed}")


def _check_previous(results: Results, verified: Verified, link: Link, name: str) -> None:
    """The link of another run that was the newest must still be there, if that run is."""
    previous = link.content["previous"]
    if previous is None or previous["run_id"] == verified.run_id:
        return
    try:
        links = read_links(results.storage, previous["run_id"])
    except DamagedFile as error:
        verified.problems.append(f"{name}: {error}")
        return
    if links is None:
        verified.notes.append(f"{name}: run {previous['run_id']} before it is not here to compare")
    elif previous["link"] not in [known.sha256 for known in links]:
        verified.problems.append(
            f"{name}: run {previous['run_id']} before it has another chain than when this one was "
            "added"
        )


def _check_signatures(verified: Verified, links: list[Link], key: str | None) -> None:
    signers: set[str] = set()
    for number, link in enumerate(links, 1):
        name = f"link {number} of {FILES_FILE}"
        if link.signature is None:
            if key is not None:
                verified.problems.append(f"{name} is not signed")
            continue
        signer = str(link.signature.get("public_key"))
        signers.add(signer)
        try:
            good = is_signed(link.message, link.signature)
        except UsageError as error:
            verified.notes.append(f"{name} is signed, which was not checked: {error}")
            continue
        if not good:
            verified.problems.append(f"{name}: the signature is not that of its content")
        elif key is not None and signer != key:
            verified.problems.append(f"{name} is signed with another key, {signer}")
    verified.signed_by = sorted(signers)
    if signers and key is None:
        verified.notes.append(
            "it is signed; give the signer's public key with --key, to know by whom"
        )
    if not signers:
        verified.notes.append("it is not signed, so whoever could write here could make it again")


def _check_contents(results: Results, verified: Verified, links: list[Link]) -> None:
    last = links[-1].content
    for path, expected in newest_hashes(links).items():
        verified.files += 1
        try:
            now = hash_file(results.storage, path)
        except (FileNotFoundError, NotADirectoryError):
            verified.problems.append(f"{path} is missing")
            continue
        if now == expected:
            continue
        if now.sha256 == last["files"].get(path, {}).get("old"):
            verified.problems.append(
                f"{path} is as it was before the last change ({last['why']}), which was cut off: "
                "do that again"
            )
        else:
            verified.problems.append(
                f"{path} is not as it was published: it has {now.bytes} bytes with sha256 "
                f"{now.sha256}, expected {expected.bytes} with {expected.sha256}"
            )


def _check_for_more(results: Results, verified: Verified, links: list[Link]) -> None:
    """Parts and published files that the chain does not tell of."""
    storage, run_id = results.storage, verified.run_id
    known = set(newest_hashes(links))
    folder = run_file(run_id, "parts")
    paths = [f"{folder}/{name}" for name in storage.names(folder) if PART.fullmatch(name)]
    paths += [path for path in results.published() if path.endswith(f"/{run_id}.parquet")]
    verified.problems += [f"{path} was not published" for path in paths if path not in known]
