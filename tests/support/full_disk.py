"""A full disk, as far as it can be had without one."""

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let this process write no file above so many bytes, its own output included.

    Within a test only, never for a whole fixture: pytest reports a test before its fixtures end,
    and dies if that goes to a file which is larger.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
