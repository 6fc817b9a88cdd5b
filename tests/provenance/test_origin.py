"""What a file says of itself: generators, cameras, content credentials; hostile files."""

import csv
import io
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from deepfake_core.images.decoding import load
from deepfake_core.provenance.blocks import MAX_TEXT_BYTES, read_blocks
from deepfake_core.provenance.c2pa import decode_cbor, read_credentials
from deepfake_core.provenance.origin import read_origin
from deepfake_core.records import Failure

GENERATED = {
    "c2pa_ai/Truman_AI__61.jpg": "ChatGPT",
    "c2pa_ai/c2pa-rs__sdk__tests__fixtures__ocsp.jpg": "Adobe Firefly",
    "sd_metadata/ComfyUI_examples__lora__lora.png": "ComfyUI",
    "sd_metadata/sd-parsers__tests__resources__parsers__AUTOMATIC1111__"
    "automatic1111_cropped.png": "Stable Diffusion",
    "sd_metadata/sd-parsers__tests__resources__parsers__InvokeAI__invokeai_dream1.png": "InvokeAI",
    "sd_metadata/sd-parsers__tests__resources__parsers__NovelAI__novelai1_cropped.png": "NovelAI",
}


def png(**texts: str) -> bytes:
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text, zip=True)
    stream = io.BytesIO()
    Image.new("RGB", (8, 6)).save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def png_with_chunk(kind: bytes, body: bytes, count: int = 1) -> bytes:
    plain = png()
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return plain[:33] + chunk * count + plain[33:]


def jpeg(exif: dict[int, object] | None = None, xmp: bytes = b"") -> bytes:
    block = Image.Exif()
    block.update(exif or {})
    stream = io.BytesIO()
    Image.new("RGB", (8, 6)).save(stream, "JPEG", exif=block, xmp=xmp)
    return stream.getvalue()


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def superbox(label: str, *content: bytes) -> bytes:
    description = box(b"jumd", bytes(16) + b"\x03" + label.encode() + b"\0")
    return box(b"jumb", description + b"".join(content))


def text(value: str) -> bytes:
    head = bytes([0x60 + len(value)]) if len(value) < 24 else bytes([0x78, len(value)])
    return head + value.encode()


def credentials(tool: str, kind: str) -> bytes:
    """A C2PA store of one manifest that was created as `kind` by `tool`."""
    claim = b"\xa1" + text("claim_generator") + text(tool)
    source = f"http://cv.iptc.org/newscodes/digitalsourcetype/{kind}"
    action = b"\xa2" + text("action") + text("c2pa.created")
    action += text("digitalSourceType") + text(source)
    actions = b"\xa1" + text("actions") + b"\x81" + action
    manifest = superbox(
        "urn:c2pa:1",
        superbox("c2pa.assertions", superbox("c2pa.actions.v2", box(b"cbor", actions))),
        superbox("c2pa.claim.v2", box(b"cbor", claim)),
    )
    return superbox("c2pa", manifest)


def test_the_shared_files_name_their_generators(shared: Path):
    for path, generator in GENERATED.items():
        origin = read_origin((shared / "odd_images" / path).read_bytes())
        assert origin.generator == generator, path
        assert generator in " ".join(origin.evidence)


def test_other_shared_files_name_none(shared: Path):
    for folder in ("camera_exif", "c2pa_other", "c2pa_repo_plain", "webp", "truncated_corrupt"):
        for path in (shared / "odd_images" / folder).iterdir():
            origin = read_origin(path.read_bytes())
            assert origin.generator is None, path
            found = any("C2PA" in line for line in origin.evidence)
            assert found == (folder == "c2pa_other"), path


def test_every_shared_file_is_read_with_the_size_that_a_verdict_gives(shared: Path):
    with (shared / "odd_images" / "odd_images.csv").open(newline="") as lines:
        paths = [row["path"] for row in csv.DictReader(lines)]
    assert len(paths) > 90
    for path in paths:
        data = (shared / "odd_images" / path).read_bytes()
        origin, loaded = read_origin(data), load(data, size=16)
        assert origin.bytes == len(data)
        if not isinstance(loaded, Failure) and origin.format != "HEIF":
            expected = (loaded.format, loaded.width, loaded.height)
            assert (origin.format, origin.width, origin.height) == expected, path


def test_a_position_is_told_of_and_not_given(shared: Path):
    data = (shared / "odd_images/camera_exif/exif-samples__jpg__gps__DSCN0010.jpg").read_bytes()
    origin = read_origin(data)
    assert (origin.camera, origin.has_position) == ("NIKON COOLPIX P6000", True)
    latitude = Image.open(io.BytesIO(data)).getexif().get_ifd(ExifTags.IFD.GPSInfo)[2]
    assert int(latitude[0]) == 43
    assert "43" not in str(origin)


@pytest.mark.parametrize("make", ["jpeg", "png", "webp", "heif"])
def test_content_credentials_of_a_camera_and_of_a_generator(make: str):
    def wrapped(store: bytes) -> bytes:
        if make == "png":
            return png_with_chunk(b"caBX", store)
        if make == "webp":
            stream = io.BytesIO()
            Image.new("RGB", (8, 6)).save(stream, "WEBP")
            return stream.getvalue() + b"C2PA" + struct.pack("<I", len(store)) + store
        if make == "heif":
            name = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
            body = name + bytes(4) + b"manifest\0" + bytes(8) + store
            return box(b"ftyp", b"heic" + bytes(4) + b"heic") + box(b"uuid", body)
        # Two segments; the second repeats the eight bytes of the box's head.
        pieces = (store[:100], store[:8] + store[100:])
        segments = [
            b"\xff\xeb" + struct.pack(">H", len(piece) + 10) + b"JP\0\1" + bytes(3) + bytes([n])
            + piece
            for n, piece in enumerate(pieces, start=1)
        ]  # fmt: skip
        plain = jpeg()
        return plain[:2] + b"".join(segments) + plain[2:]

    camera = read_origin(wrapped(credentials("Camera_X 1.0", "digitalCapture")))
    assert camera.generator is None
    assert camera.evidence == (
        "content credentials (C2PA), written by Camera X, say digitalCapture: made by a camera",
    )
    made = read_origin(wrapped(credentials("Painter 2", "trainedAlgorithmicMedia")))
    assert made.generator == "Painter"
    assert "made by a generator" in made.evidence[0]


def test_exif_and_xmp_that_name_a_generator():
    software = read_origin(jpeg({ExifTags.Base.Software: "Midjourney v6"}))
    assert (software.generator, software.software) == ("Midjourney", "Midjourney v6")
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description Iptc4xmpExt:DigitalSourceType='
        b'"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia" '
        b'photoshop:Credit="Made with Google AI"/></x:xmpmeta>'
    )
    assert read_origin(jpeg(xmp=xmp)).generator == "Made with Google AI"
    element = (
        b"<x:xmpmeta><Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/"
        b"digitalsourcetype/trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType></x:xmpmeta>"
    )
    assert "not named" in str(read_origin(jpeg(xmp=element)).generator)
    comment = b"UNICODE\0" + "a face\nSteps: 20, Sampler: Euler a, CFG scale: 7".encode("utf-16-be")
    block = Image.Exif()
    block.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    stream = io.BytesIO()
    Image.new("RGB", (8, 6)).save(stream, "WEBP", exif=block)
    assert read_origin(stream.getvalue()).generator == "Stable Diffusion"


def test_a_camera_and_an_orientation():
    exif = {
        ExifTags.Base.Make: "Acme",
        ExifTags.Base.Model: "Acme One",
        ExifTags.Base.Orientation: 6,
    }
    origin = read_origin(jpeg(exif))
    assert (origin.camera, origin.width, origin.height) == ("Acme One", 6, 8)
    assert origin.generator is None


def test_a_prompt_is_not_repeated_and_a_mention_is_no_name():
    settings_text = "portrait of Jane Roe\nSteps: 20, Sampler: Euler a"
    origin = read_origin(png(parameters=settings_text))
    assert origin.generator == "Stable Diffusion"
    assert "Jane" not in str(origin)
    assert read_origin(png(Description="An essay on Midjourney. " * 20)).generator is None


def test_texts_are_shown_on_one_line_and_cut():
    exif = {ExifTags.Base.Software: "x" * 5_000, ExifTags.Base.Model: "a\nforged line\u202e"}
    origin = read_origin(jpeg(exif))
    assert len(str(origin.software)) == 80
    assert not set(str(origin.camera)) & {"\n", "\u202e"}


def test_a_compressed_text_that_grows_is_cut_short():
    bomb = zlib.compress(bytes(100_000_000), 9)
    data = png_with_chunk(b"zTXt", b"parameters\0\0" + bomb)
    started = time.process_time()
    blocks = read_blocks(data)
    origin = read_origin(data)
    assert len(blocks.texts["parameters"]) == MAX_TEXT_BYTES
    assert origin.generator is None
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "data",
    [
        png_with_chunk(b"tEXt", b"a\0b", 300_000),
        png_with_chunk(b"caBX", superbox("c2pa", *[superbox("x")] * 50_000)),
        png_with_chunk(b"caBX", superbox("c2pa") * 50_000),
        b"\xff\xd8" + b"\xff\xe1\x00\x02" * 200_000,
        b"\0\0\0\x08ftyp" + b"\0\0\0\x08free" * 500_000,
        jpeg(xmp=b"<x:xmpmeta " + b"CreatorTool" * 5_000),
        b"RIFF\0\0\0\0WEBP" + b"XMP \0\0\0\0" * 500_000,
    ],
    ids=["texts", "boxes", "stores", "segments", "isobmff", "xmp", "webp"],
)
def test_many_blocks_take_bounded_time(data: bytes):
    started = time.process_time()
    assert read_origin(data).generator is None
    assert time.process_time() - started < 10


def test_deep_and_endless_cbor_is_given_up():
    assert decode_cbor(b"\x81" * 100_000) is None
    assert decode_cbor(b"\x9f" + b"\0" * 100_000) is None
    assert decode_cbor(b"\x9b" + b"\xff" * 8) is None
    assert decode_cbor(b"\xbf\x61a\x01\x61b\x9f\x02\xff\xff") == {"a": 1, "b": [2]}
    assert decode_cbor(b"\x83\xf5\xf6\xfb\x3f\xf8\0\0\0\0\0\0") == [True, None, 1.5]
    assert decode_cbor(b"\x7f\x61a\x61b\xff") == "ab"
    deep = superbox("c2pa")
    for _ in range(200):
        deep = superbox("x", deep)
    assert read_credentials(deep) == []


def test_tags_of_cbor_make_no_objects():
    assert decode_cbor(b"\xd8\x23\x63(a)") == "(a)"
    assert decode_cbor(b"\xc4\x82\x1a\x7f\xff\xff\xff\x01") == [0x7FFFFFFF, 1]
    assert decode_cbor(b"\xd8\x1c\x81\xd8\x1d\x00") == [0]
    assert decode_cbor(b"\xd9\xff\xfe\x61a") == "a"
    # Keys whose hashes can be chosen, and more than is ever written.
    assert decode_cbor(b"\xa1\x01\x02") is None
    assert decode_cbor(b"\x9a\x00\x0f\xff\xff" + b"\xa0" * 0xFFFFF) is None


@given(st.binary(max_size=400), st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_allowed(tail: bytes, start: int):
    heads = (
        b"", b"\xff\xd8\xff\xe1\x00\x40Exif\0\0", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP",
        b"\0\0\0\x18ftypheic", b"II*\0", b"\xff\xd8\xff\xeb\x01\x00JP\0\1\0\0\0\1", b"MM\0*",
    )  # fmt: skip
    origin = read_origin(heads[start] + tail)
    assert origin.bytes == len(heads[start]) + len(tail)
    read_credentials(tail)
    decode_cbor(tail)


def test_damaged_copies_of_real_files_do_not_raise(shared: Path, picture: Callable[..., bytes]):
    folder = shared / "odd_images"
    names = ("c2pa_ai/Truman_AI__61.jpg", "camera_exif/exif-samples__jpg__gps__DSCN0010.jpg")
    for name in names:
        data = bytearray((folder / name).read_bytes())
        for position in range(3, 4_000, 37):
            data[position] ^= 0x5A
            read_origin(bytes(data))
            read_origin(bytes(data[:position]))
    assert read_origin(picture(1)).evidence == ()
