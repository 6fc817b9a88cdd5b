"""Libraries are loaded so that many threads may use them from the first moment on."""

import subprocess
import sys

import pytest

FIRST_ARRAYS = """
import os, sys, threading
from deepfake_core.engines.libraries import ov

sys.setswitchinterval(1e-6)
together = threading.Barrier(4)

def ask():
    together.wait()
    ov.Type.f32.to_dtype()

threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
# Threads that wait for each other inside of the library cannot be ended in another way.
os._exit(7 if any(thread.is_alive() for thread in threads) else 0)
"""


@pytest.mark.processes
def test_threads_whose_first_arrays_come_at_the_same_moment_do_not_wait_for_each_other():
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", FIRST_ARRAYS], timeout=100).returncode == 0
