"""Content credentials that want to keep the checker busy, break it, or have it tell others."""

import http.server
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_core.children import Child, Message
from deepfake_core.provenance import c2pa_signature
from deepfake_core.provenance.c2pa_signature import SignatureChecker
from deepfake_core.provenance.claims import INTACT, Claim, read_claims
from deepfake_core.provenance.trust_list import parse_trust_list
from deepfake_core.records import Json
from tests.support.credentials import Signer, make_signer, photograph

pytestmark = pytest.mark.processes

ODD = Path(__file__).parents[3] / "shared" / "odd_images"
odd = pytest.mark.skipif(not ODD.is_dir(), reason="the odd images are not beside this checkout")
SAYS = "trainedAlgorithmicMedia: Maker"


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def jumb(kind: bytes, label: str, *inner: bytes) -> bytes:
    head = kind + bytes.fromhex("00110010800000aa00389b71") + b"\3" + label.encode() + b"\0"
    return box(b"jumb", box(b"jumd", head) + b"".join(inner))


def nested(depth: int) -> bytes:
    """Boxes in boxes, their lengths from the inside out."""
    head = box(b"jumd", bytes(16) + b"\3x\0")
    lengths = [(8 + len(head)) * count for count in range(depth, 0, -1)]
    return b"".join(struct.pack(">I", length) + b"jumb" + head for length in lengths)


def claim_of(cbor: bytes) -> bytes:
    return jumb(b"c2ma", "urn:c2pa:a", jumb(b"c2cl", "c2pa.claim.v2", box(b"cbor", cbor)))


HOSTILE = {
    "nested 10,000 deep": lambda: nested(10_000),
    "a claim 10,000 deep": lambda: claim_of(b"\x81" * 10_000),
    "100 MB": lambda: claim_of(b"\xa0") + box(b"free", bytes(10**8)),
    "a million small boxes": lambda: box(b"free", b"") * 10**6,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_credentials_take_seconds_and_are_never_verified(kind: str, own: SignatureChecker):
    store, plain = jumb(b"c2pa", "c2pa", HOSTILE[kind]()), photograph("PNG")
    checksum = struct.pack(">I", zlib.crc32(b"caBX" + store))
    data = plain[:33] + struct.pack(">I", len(store)) + b"caBX" + store + checksum + plain[33:]
    started = time.monotonic()
    claims = read_claims(data, own)
    # However busy the machine, the process that checks is ended after its time.
    assert time.monotonic() - started < 4 * c2pa_signature.DEADLINE_SECONDS + 60
    assert all(claim.verified is not True for claim in claims)
    assert all("intact" not in claim.value for claim in claims)


def test_what_takes_too_long_is_not_checked_and_the_next_one_is(
    signer: Signer, own: SignatureChecker, monkeypatch: pytest.MonkeyPatch
):
    data = signer.sign(photograph())
    with monkeypatch.context() as hurried:
        hurried.setattr(c2pa_signature, "DEADLINE_SECONDS", 0.0)
        assert read_claims(data, own) == (Claim("c2pa", SAYS),)
    assert read_claims(data, own)[0].verified


def test_a_checker_that_breaks_down_breaks_nothing_else(
    signer: Signer, own: SignatureChecker, monkeypatch: pytest.MonkeyPatch
):
    data, ask = signer.sign(photograph()), Child.ask

    def break_down(self: Child, told: Json, content: bytes, *, seconds: float) -> Message:
        os.kill(self._process.pid, signal.SIGKILL)
        return ask(self, told, content, seconds=seconds)

    with monkeypatch.context() as breaking:
        breaking.setattr(Child, "ask", break_down)
        assert read_claims(data, own) == (Claim("c2pa", SAYS),)
    assert read_claims(data, own)[0].verified


# The network.


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A server that notes what it is asked for."""
    paths: list[str] = []

    class Noting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        do_POST = do_GET  # noqa: N815 - as the library names it

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Noting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", paths
        server.shutdown()
        thread.join()


def test_nothing_is_fetched(asked: tuple[str, list[str]]):
    url, paths = asked
    signer = make_signer(ocsp=f"{url}/ocsp")
    own = SignatureChecker(parse_trust_list(signer.root, "the test's"))
    data = signer.sign(photograph(), url=f"{url}/manifest.c2pa")
    assert url.encode() in data
    assert read_claims(data, own)[0].verified
    assert paths == []


def test_the_process_that_checks_cannot_open_anything():
    """Whatever the library's settings, it has no socket to ask with, and no file to leave."""
    program = """
import socket
from deepfake_core.provenance.c2pa_checker import close_off
close_off()
for attempt in (socket.socket, lambda: open("/etc/hosts")):
    try:
        attempt()
    except OSError as error:
        print(error.errno)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["24", "24"]


@odd
def test_an_identity_that_lies_in_the_web_is_left_alone(shipped: SignatureChecker):
    """Its document would be fetched, and without a socket the library breaks down over it."""
    (path,) = ODD.glob("c2pa_other/*unresolvable_did.jpg")
    assert read_claims(path.read_bytes(), shipped)[0].value.endswith(INTACT)
