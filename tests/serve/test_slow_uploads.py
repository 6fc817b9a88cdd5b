"""The service stays responsive and small whatever is uploaded."""

import struct
import threading
import time
from pathlib import Path

import httpx
import psutil

from deepfake_core.bench.service import started
from tests.images.test_cost import qoi, webp_header

MOST_BYTES = 10**9


def plain_pgm(side: int) -> bytes:
    return b"P2\n%d %d\n255\n" % (side, side) + b"9 " * (side * side)


def test_health_is_told_at_once_while_slow_pictures_are_decoded(tiny_registry: Path):
    bombs = {
        "a.qoi": qoi(2700),
        "b.pgm": plain_pgm(2000),
        "c.webp": webp_header(4990, 4990),
        "d.webp": webp_header(16_383, 16_383),
        "e.psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 6000, 6000, 8, 3) + bytes(12),
    }
    with started(tiny_registry, {"port": 0, "model": "tiny"}) as (port, process):
        url = f"http://127.0.0.1:{port}"
        answers: dict[str, int] = {}

        def upload(name: str) -> None:
            files = {"img": (name, bombs[name])}
            answers[name] = httpx.post(f"{url}/verdicts", files=files, timeout=60).status_code

        uploads = [threading.Thread(target=upload, args=(name,)) for name in bombs]
        for thread in uploads:
            thread.start()
        slowest = largest = 0.0
        while any(thread.is_alive() for thread in uploads):
            asked = time.perf_counter()
            httpx.get(f"{url}/healthz", timeout=30).raise_for_status()
            slowest = max(slowest, time.perf_counter() - asked)
            largest = max(largest, memory(process.pid))
            time.sleep(0.05)

    assert answers == dict.fromkeys(bombs, 200)
    print(f"healthz at most {slowest:.2f} s, at most {largest / 1e6:.0f} MB")
    assert slowest < 1
    assert largest < MOST_BYTES


def memory(process: int) -> int:
    """Bytes that a process and its children hold."""
    parent = psutil.Process(process)
    held = 0
    for one in (parent, *parent.children(recursive=True)):
        try:
            held += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return held
