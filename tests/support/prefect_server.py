"""A Prefect server for the tests of flows, which forgets everything afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_SECONDS = 120
ENVIRONMENT = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(START_SECONDS),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


@contextmanager
def server_of(home: Path) -> Iterator[pytest.MonkeyPatch]:
    """Prefect with its data in a folder; what is patched meanwhile is put back in the end."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("PREFECT_HOME", str(home))
        # Imported here: Prefect reads the environment when it is imported, and takes seconds.
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=START_SECONDS):
            yield patch
