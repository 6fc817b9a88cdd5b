"""An output is rewritten by one alone; scans go on beside each other; the dead hold nothing."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_core.errors import OutputBusy, OutputLost
from deepfake_core.storage import output_lock, store_lock
from deepfake_core.storage.base import Storage
from deepfake_core.storage.holders import Holder, read_holder
from deepfake_core.storage.local import LocalStorage
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.output_lock import beside_others, rewriting
from deepfake_core.storage.store_lock import ALONE
from tests.support.children import process
from tests.support.s3_server import Bucket, bucket, environment, server, without_pauses

pytestmark = pytest.mark.processes

__all__ = ["bucket", "environment", "server", "without_pauses"]

HOLD = """
import sys, time
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.output_lock import beside_others, rewriting
storage, alone = open_storage(sys.argv[1]), sys.argv[2] == "alone"
with rewriting(storage, "a test") if alone else beside_others(storage, "a test", lasting=True):
    print("held", flush=True)
    sys.stdin.read()
"""
ADD = """
import sys, time
from pathlib import Path
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.output_lock import rewriting
storage = open_storage(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with rewriting(storage, "adding"):
        count = int(storage.read("count"))
        time.sleep(0.01)
        storage.put("count", str(count + 1).encode())
"""


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return LocalStorage(tmp_path / "out")
    request.getfixturevalue("without_pauses")
    return open_storage(f"{request.getfixturevalue('bucket').url}/out")


@contextlib.contextmanager
def held_elsewhere(storage: Storage, kind: str) -> Iterator[subprocess.Popen[str]]:
    with process("-c", HOLD, storage.name, kind) as holder:
        assert holder.stdout.readline() == "held\n"
        yield holder


def test_scans_go_on_beside_each_other_and_exclude_rewriting(storage: Storage):
    with held_elsewhere(storage, "beside") as holder, beside_others(storage, "another scan"):
        named = rf"a test \(process {holder.pid} of .*since 20"
        with pytest.raises(OutputBusy, match=named), rewriting(storage, "an erasure"):
            pass
    with rewriting(storage, "an erasure"):
        pass


def test_one_rewrites_at_a_time(storage: Storage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(output_lock, "REWRITING_SECONDS", 0.2)
    with held_elsewhere(storage, "alone") as holder:
        for hold in (rewriting, beside_others):
            named = f"process {holder.pid} of"
            with pytest.raises(OutputBusy, match=named), hold(storage, "second"):
                pass


def test_whoever_waits_is_told_for_whom_and_comes_next(storage: Storage):
    said: list[str] = []
    with held_elsewhere(storage, "beside") as holder:
        timer = threading.Timer(3, holder.terminate)
        timer.start()
        with rewriting(storage, "an erasure", wait_seconds=60, say=said.append):
            pass
        timer.join()
    (line,) = said
    assert line.startswith("waiting for a test (process")


@pytest.mark.parametrize("kind", ["alone", "beside"])
def test_a_killed_holder_holds_nothing(storage: Storage, kind: str):
    with held_elsewhere(storage, kind) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with rewriting(storage, "an erasure"), pytest.raises(OutputBusy):
            output_lock_now(storage)
        with beside_others(storage, "a scan"):
            pass


def output_lock_now(storage: Storage) -> None:
    """Try once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_lock, "REWRITING_SECONDS", 0)
        with rewriting(storage, "second"):
            pass


def test_no_work_of_several_processes_is_lost(storage: Storage):
    storage.put("count", b"0")
    with contextlib.ExitStack() as stack:
        adding = [stack.enter_context(process("-c", ADD, storage.name, "5")) for _ in range(4)]
        assert [one.wait(timeout=120) for one in adding] == [0] * 4
    assert storage.read("count") == b"20"


def test_what_is_held_is_let_go_when_the_work_fails(storage: Storage):
    for _ in range(2):
        with pytest.raises(ValueError, match="the work"), rewriting(storage, "an erasure"):
            raise ValueError("the work")


def test_a_forked_child_keeps_no_lock(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    ready, done = os.pipe(), os.pipe()
    with rewriting(storage, "the parent"):
        child = os.fork()
        if child == 0:
            os.write(ready[1], b"x")
            os.read(done[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
    # The child lives on, and the parent has let go.
    with rewriting(storage, "the parent again"):
        pass
    os.write(done[1], b"x")
    os.waitpid(child, 0)


def far_away(**other: str) -> Holder:
    """A holder on another machine, of which nobody here can say whether it lives."""
    return Holder("a scan far away", True, here="elsewhere", **other)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_lock, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(store_lock, "SILENT_SECONDS", 20.0)
    monkeypatch.setattr(output_lock, "REWRITING_SECONDS", 0.3)


def test_a_silent_holder_of_another_machine_is_taken_for_dead(
    bucket: Bucket, without_pauses: None, quick: None
):
    storage = open_storage(f"{bucket.url}/out")
    storage.put(ALONE, far_away().to_bytes())
    with pytest.raises(OutputBusy, match="a scan far away"), rewriting(storage, "an erasure"):
        pass
    storage.put(ALONE, far_away(alive="2020-01-01T00:00:00+00:00").to_bytes())
    with rewriting(storage, "an erasure"):
        assert read_holder(storage.read(ALONE)).what == "an erasure"


def test_whose_clock_is_wrong_lives_as_long_as_it_gives_signs(
    bucket: Bucket, without_pauses: None, quick: None
):
    storage = open_storage(f"{bucket.url}/out")
    storage.put(ALONE, far_away(alive="2020-01-01T00:00:00+00:00").to_bytes())
    ended = threading.Event()

    def beat() -> None:
        count = 0
        while not ended.wait(0.05):
            count += 1
            alive = f"2020-01-01T00:00:00.{count:06d}+00:00"
            storage.put(ALONE, far_away(alive=alive, token="t").to_bytes())

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(OutputBusy, match="far away"), rewriting(storage, "an erasure"):
            pass
    finally:
        ended.set()
        thread.join()


def test_a_holder_gives_signs_of_life_and_notices_that_it_was_replaced(
    bucket: Bucket, without_pauses: None, quick: None
):
    storage = open_storage(f"{bucket.url}/out")
    with pytest.raises(OutputLost, match="took over"), rewriting(storage, "an erasure"):
        be_replaced(storage)
    assert read_holder(storage.read(ALONE)).what == "a scan far away"


def be_replaced(storage: Storage) -> None:
    first = storage.read(ALONE)
    until = time.monotonic() + 30
    # Signs are told to the second.
    while storage.read(ALONE) == first and time.monotonic() < until:
        time.sleep(0.05)
    assert read_holder(storage.read(ALONE)).token == json.loads(first)["token"]
    assert storage.read(ALONE) != first
    storage.put(ALONE, far_away().to_bytes())
    time.sleep(0.5)


def test_an_id_that_was_given_again_is_another_process():
    assert not Holder("a test", True).is_dead
    assert Holder("a test", True, started="1").is_dead
    assert Holder("a test", True, pid=2**22 + 1).is_dead
    assert not Holder("a test", True, pid=2**22 + 1, here="elsewhere").is_dead
