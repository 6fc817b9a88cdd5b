"""Ctrl-C ends a scan soon, whatever is being decoded."""

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = """
import signal, sys
from deepfake_core import cli

# It is ignored in what a shell runs in the background, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(cli.main())
"""


def slow_picture() -> bytes:
    """Seven million pixels in a format that is decoded in Python."""
    side = 2700
    pixels = (b"\x01\x00\x02\x03" * (side * side // 4 + 1))[: side * side]
    return b"qoif" + struct.pack(">II", side, side) + b"\3\0" + pixels + bytes(7) + b"\1"


def test_a_scan_of_slow_pictures_ends_soon(tiny_registry: Path, tmp_path: Path):
    source = tmp_path / "images"
    source.mkdir()
    for number in range(20):
        (source / f"{number}.qoi").write_bytes(slow_picture())
    arguments = [sys.executable, "-c", COMMAND, "scan", str(source), "--model", "tiny"]
    arguments += ["--registry", str(tiny_registry), "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*arguments, "--run-id", "r"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    started = time.monotonic()
    while process.poll() is None and time.monotonic() < started + 60:
        if any(decoding(child) for child in all_children(process.pid)):
            break
        time.sleep(0.05)
    time.sleep(0.5)
    interrupted = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)

    assert process.returncode == 130
    assert time.monotonic() - interrupted < 5
    assert "Traceback" not in messages


def all_children(process: int) -> list[int]:
    """Of all its threads."""
    found = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def decoding(process: int) -> bool:
    return b"images.worker" in Path(f"/proc/{process}/cmdline").read_bytes()
