"""Files that a scan is given by path or URL: a policy, a list of certificates."""

from __future__ import annotations

from deepfake_core.errors import UsageError, reason
from deepfake_core.models.policy import Policy, parse_policy
from deepfake_core.provenance.trust_list import TrustList, parse_trust_list
from deepfake_core.storage.opening import open_storage


def read_policy(location: str) -> Policy:
    """Read a policy from a path or URL.

    Raises:
        UsageError: it cannot be read, or is not a policy.
    """
    return parse_policy(_read("--policy", location), location)


def read_trust_list(location: str) -> TrustList:
    """Read certificates from a path or URL.

    Raises:
        UsageError: they cannot be read, or are none.
    """
    return parse_trust_list(_read("--trust-list", location), location)


def _read(option: str, location: str) -> bytes:
    folder, _, name = location.rpartition("/")
    try:
        return open_storage(folder or ("/" if location.startswith("/") else ".")).read(name)
    except OSError as error:
        raise UsageError(
            f"{option}: cannot read {location}: {error.strerror or reason(error)}"
        ) from error
