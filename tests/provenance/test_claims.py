"""The column of what files claim of their origin: kinds, broken credentials, hostile files."""

import hashlib
import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from deepfake_core.provenance.c2pa_binding import is_bound
from deepfake_core.provenance.claims import (
    FOREIGN,
    MAX_CLAIMS,
    MAX_VALUE_CHARACTERS,
    Claim,
    as_rows,
    declared_generators,
    from_rows,
    read_claims,
)

ODD = Path(__file__).parents[3] / "shared" / "odd_images"
odd = pytest.mark.skipif(not ODD.is_dir(), reason="the odd images are not beside this checkout")
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description Iptc4xmpExt:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/{}"/></x:xmpmeta>'
)


def jpeg(*, exif: dict[int, str] | None = None, xmp: str = "") -> bytes:
    block, stream = Image.Exif(), io.BytesIO()
    block.update(exif or {})
    Image.new("RGB", (8, 6)).save(stream, "JPEG", exif=block, xmp=xmp.encode())
    return stream.getvalue()


def png(**texts: str) -> bytes:
    info, stream = PngInfo(), io.BytesIO()
    for key, text in texts.items():
        info.add_itxt(key, text)
    Image.new("RGB", (8, 6)).save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def test_a_file_that_says_nothing_has_no_claims():
    assert read_claims(jpeg()) == ()
    assert as_rows(()) is None
    assert from_rows(None) == ()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (jpeg(exif={ExifTags.Base.Make: "Canon", ExifTags.Base.Model: "EOS R5"}),
         Claim("camera", "Canon EOS R5")),
        (jpeg(xmp=XMP.format("trainedAlgorithmicMedia")), Claim("iptc", "trainedAlgorithmicMedia")),
        (jpeg(xmp=XMP.format("digitalCapture")), Claim("iptc", "digitalCapture")),
        (png(prompt='{"1": {"class_type": "KSampler"}}'), Claim("generator", "ComfyUI")),
        (png(parameters="a portrait\nSteps: 20, Sampler: Euler a"),
         Claim("generator", "Stable Diffusion")),
        (png(Software="NovelAI"), Claim("generator", "NovelAI")),
        (jpeg(exif={ExifTags.Base.Software: "Midjourney"}), Claim("generator", "Midjourney")),
        (jpeg(exif={ExifTags.Base.ImageDescription: "DALL-E 3"}), Claim("generator", "DALL-E")),
    ],
)  # fmt: skip
def test_each_kind_of_claim_is_found(data: bytes, expected: Claim):
    assert read_claims(data) == (expected,)


def test_what_says_generated_comes_first_and_a_camera_does_not():
    data = jpeg(
        exif={ExifTags.Base.Make: "Canon", ExifTags.Base.Model: "R5"},
        xmp=XMP.format("compositeWithTrainedAlgorithmicMedia"),
    )
    claims = read_claims(data)
    assert [claim.kind for claim in claims] == ["iptc", "camera"]
    assert [claim.says_generated for claim in claims] == [True, False]
    assert declared_generators(claims) == ["compositeWithTrainedAlgorithmicMedia"]
    assert not Claim("iptc", "digitalCapture").says_generated
    assert not Claim("c2pa", "other: trainedAlgorithmicMedia").says_generated


def test_claims_survive_the_table():
    claims = (Claim("c2pa", "trainedAlgorithmicMedia: x", verified=False), Claim("camera", "y"))
    assert from_rows(as_rows(claims)) == claims


# What content credentials look like, made by hand: JUMBF boxes around CBOR.


def cbor(value: Any) -> bytes:
    if isinstance(value, dict):
        return _head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, int):
        return _head(0, value)
    data = value if isinstance(value, bytes) else value.encode()
    return _head(2 if isinstance(value, bytes) else 3, len(data)) + data


def _head(major: int, number: int) -> bytes:
    return bytes([major << 5 | 26]) + struct.pack(">I", number)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def jumb(label: str, *inner: bytes) -> bytes:
    return box(b"jumb", box(b"jumd", bytes(16) + b"\3" + label.encode() + b"\0") + b"".join(inner))


def signed_png(*, spare: bytes = b"", exclude_more: int = 0) -> bytes:
    """A PNG whose manifest says `trainedAlgorithmicMedia` and holds the hash of the file."""
    plain = png()
    kind = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    actions = {"actions": [{"softwareAgent": "Maker", "digitalSourceType": kind}]}

    def with_hash(digest: bytes, length: int) -> bytes:
        binding = {"exclusions": [{"start": 33, "length": length}], "alg": "sha256", "hash": digest}
        store = jumb(
            "c2pa",
            jumb(
                "urn:one",
                jumb(
                    "c2pa.assertions",
                    jumb("c2pa.actions", box(b"cbor", cbor(actions))),
                    jumb("c2pa.hash.data", box(b"cbor", cbor(binding))),
                ),
                jumb("c2pa.claim", box(b"cbor", cbor({"claim_generator": "tool/1"}))),
            ),
        )
        checksum = struct.pack(">I", zlib.crc32(b"caBX" + store))
        chunk = struct.pack(">I", len(store)) + b"caBX" + store + checksum
        return plain[:33] + chunk + plain[33:] + spare

    length = len(with_hash(bytes(32), 0)) - len(plain) - len(spare) + exclude_more
    rest = plain[:33] + (plain[33:] + spare)[exclude_more:]
    return with_hash(hashlib.sha256(rest).digest(), length)


def test_credentials_of_another_file_are_said_to_be_broken():
    data = signed_png()
    (claim,) = read_claims(data)
    assert (claim.kind, claim.verified) == ("c2pa", None)
    assert claim.value == "trainedAlgorithmicMedia: Maker"
    changed = data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]
    (broken,) = read_claims(changed)
    assert (broken.verified, broken.value) == (False, FOREIGN + claim.value)
    assert broken.says_generated


def test_a_hash_that_leaves_out_the_picture_binds_nothing():
    spare = bytes(50_000)
    (claim,) = read_claims(signed_png(spare=spare))
    assert claim.verified is None
    (loose,) = read_claims(signed_png(spare=spare, exclude_more=40_000))
    assert loose.verified is False


@given(
    exclusions=st.one_of(
        st.none(), st.integers(), st.text(),
        st.lists(st.dictionaries(st.sampled_from(["start", "length"]),
                                 st.one_of(st.integers(), st.text(), st.none()))),
    ),
    digest=st.one_of(st.binary(), st.text(), st.none()),
    name=st.one_of(st.sampled_from(["sha256", "sha512", "md5"]), st.integers()),
)  # fmt: skip
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_assertion_binds_a_file_by_chance(exclusions: Any, digest: Any, name: Any):
    assertion = {"exclusions": exclusions, "hash": digest, "alg": name}
    assert is_bound(b"some bytes", assertion, store_bytes=0) is not True


@given(data=st.binary(max_size=300))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_bytes_can_be_read(data: bytes):
    for head in (b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBP", b"....ftyp", b"II*\0"):
        read_claims(head + data)


def test_a_row_stays_small_whatever_a_file_says():
    texts = {f"key {number}": "made by midjourney " + "x" * 200 for number in range(60)}
    texts |= {f"other {number}": f"DALL-E and stylegan{number % 10}" for number in range(60)}
    claims = read_claims(png(**texts))
    assert 0 < len(claims) <= MAX_CLAIMS
    assert all(len(claim.value) <= MAX_VALUE_CHARACTERS for claim in claims)


def test_hostile_credentials_are_read_in_no_time():
    deep = b"\x81" * 10_000
    nested = b""
    for _ in range(3000):
        nested = jumb("x", nested)
    huge = jumb("c2pa", jumb("m", jumb("c2pa.claim", box(b"cbor", deep)), nested)) + bytes(10**8)
    chunk = struct.pack(">I", len(huge)) + b"caBX" + huge + bytes(4)
    plain = png()
    started = time.perf_counter()
    claims = read_claims(plain[:33] + chunk + plain[33:])
    assert time.perf_counter() - started < 2
    assert all(claim.verified is not True for claim in claims)


@odd
def test_real_files_claim_what_made_them():
    found = {
        path.parent.name: read_claims(path.read_bytes())
        for path in sorted(ODD.glob("*/*"))
        if path.name
        in (
            "Truman_AI__61.jpg",
            "ComfyUI_examples__lora__lora.png",
            "exif-samples__jpg__Pentax_K10D.jpg",
        )
    }
    assert ("c2pa", "trainedAlgorithmicMedia: GPT-4o", None) in [
        (claim.kind, claim.value, claim.verified) for claim in found["c2pa_ai"]
    ]
    assert found["sd_metadata"] == (Claim("generator", "ComfyUI"),)
    assert found["camera_exif"] == (Claim("camera", "PENTAX Corporation PENTAX K10D"),)


@odd
def test_credentials_of_real_files_are_bound_to_them_and_break_with_a_byte():
    data = (ODD / "c2pa_ai" / "Truman_AI__61.jpg").read_bytes()
    broken = read_claims(data[:-5000] + bytes([data[-5000] ^ 1]) + data[-4999:])
    assert broken
    assert all(claim.verified is False for claim in broken)
