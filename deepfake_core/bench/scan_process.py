"""A scan in a process of its own, which ends by printing its peak memory in MB."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan


def main(registry: str, config: str) -> None:
    """Scan as the command does.

    Args:
        registry: folder of bundles.
        config: a `ScanConfig` as JSON.
    """
    scan(ScanConfig.model_validate_json(config), registry=Path(registry))
    print(peak_bytes() / 1e6)


def peak_bytes() -> int:
    """The largest resident memory of this process so far.

    The kernel's own mark is preferred where there is one: ``ru_maxrss`` starts from that of
    the process which started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
