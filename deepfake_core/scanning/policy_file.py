"""A policy from wherever it is kept."""

from __future__ import annotations

from deepfake_core.errors import UsageError, reason
from deepfake_core.models.policy import Policy, parse_policy
from deepfake_core.storage.opening import open_storage


def read_policy(location: str) -> Policy:
    """Read a policy from a path or URL.

    Raises:
        UsageError: it cannot be read, or is not a policy.
    """
    folder, _, name = location.rpartition("/")
    try:
        data = open_storage(folder or ("/" if location.startswith("/") else ".")).read(name)
    except OSError as error:
        raise UsageError(f"--policy: cannot read {location}: {reason(error)}") from error
    return parse_policy(data, location)
