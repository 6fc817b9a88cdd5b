"""By which list a run checks the signatures of content credentials."""

from __future__ import annotations

from deepfake_core.errors import UsageError
from deepfake_core.provenance.c2pa_signature import MISSING, SignatureChecker, can_check
from deepfake_core.provenance.trust_list import SHIPPED, TrustList, shipped_list
from deepfake_core.results.run_record import RowFacts
from deepfake_core.scanning.given_files import read_trust_list


def choose_trust(location: str | None) -> TrustList | None:
    """The list that a new run checks by; None where nothing can be checked.

    Args:
        location: path or URL of a list in place of the one that ships.

    Raises:
        UsageError: the list cannot be read, or the optional library is missing for it.
    """
    if not can_check():
        if location:
            raise UsageError(f"--trust-list: {MISSING}")
        return None
    return read_trust_list(location) if location else shipped_list()


def choose_checker(location: str | None = None) -> SignatureChecker | None:
    """What checks by the list of `choose_trust`; None where nothing can be checked."""
    trust = choose_trust(location)
    return SignatureChecker(trust) if trust else None


def checker_of(run: RowFacts) -> SignatureChecker | None:
    """What checks signatures for a run, as it was planned; None where it checks none.

    Raises:
        UsageError: what the run was planned with is not here.
    """
    if run.trust_list is None:
        return None
    if not can_check():
        raise UsageError(f"run {run.run_id} checks signatures of content credentials; {MISSING}")
    if run.trust_signers is not None:
        return SignatureChecker(TrustList(run.trust_list, run.trust_signers))
    if run.trust_list != SHIPPED:
        raise UsageError(
            f"run {run.run_id} was planned with the trust list {run.trust_list}, here is {SHIPPED};"
            " install the version of this program that planned it"
        )
    return SignatureChecker(shipped_list())
