import io
import itertools
import math
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from deepfake_core.images.thumbnails import thumbnail
from deepfake_core.reporting.markdown import FAILURE_WORDS
from deepfake_core.reporting.report import HEIGHT, TICK_GAP, _ticks, render
from deepfake_core.reporting.summary import summarise
from deepfake_core.results.schema import VERDICTS
from tests.support.runs import a_run

EVIL = "<script>alert('x')</script>\n\"onerror=1\u202e.jpg"
FIGURES = {
    "validation": {"auc": 0.9},
    "report": {
        "auc": 0.96, "tpr_at_fake": 0.8, "fpr_at_fake": 0.02, "images": 1200, "real": 600,
        "intervals": {"auc": [0.95, 0.97]}, "curve": [[0, 1]],
    },
    "generated": {"images": 50, "fake": 50, "labels": {"fake": 30, "real": 10, "uncertain": 10}},
    "photographs": {"images": 50, "real": 50, "labels": {"fake": 1, "real": 48, "uncertain": 1}},
}  # fmt: skip
TIMINGS = {"seconds": 4.0, "read_seconds": 1.0, "decode_seconds": 2.0, "infer_seconds": 5.0}


def verdicts(images, failed=()):
    rows = [
        {"image": name, "status": "ok", "score": score, "logit": 0.0, "label": label}
        | {"width": 30, "height": 20, "format": "PNG", "sha256": "0"}
        for name, score, label in images
    ]
    rows += [
        {"image": name, "status": "failed", "failure": code, "detail": "<b>no</b>"}
        for name, code in failed
    ]
    table = pa.Table.from_pylist(rows, schema=pa.schema([f.with_nullable(True) for f in VERDICTS]))
    run = a_run(
        table,
        source="s3://bucket/<b>",
        thresholds={"real_below": 0.3, "fake_from": 0.8},
        timings=TIMINGS,
        card={"figures": FIGURES, "trained_on": "faces & masks", "limits": ["Only <faces>."]},
    )
    return summarise(table, run=run)


@pytest.fixture
def summary():
    images = [("a.png", 0.95, "fake"), (EVIL, 0.9, "fake"), ("b.png", 0.5, "uncertain")]
    images += [(f"real/{index}.png", 0.01, "real") for index in range(1500)]
    return verdicts(images, [(code, code) for code in FAILURE_WORDS])


@pytest.fixture
def picture():
    return thumbnail(encoded(Image.new("RGB", (300, 200), "teal"), "PNG"))


def encoded(image, name, **options):
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


class Page(HTMLParser):
    """What a browser would see: elements, addresses, and whether the tags are balanced."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.ids, self._open = [], [], set(), []
        self.handlers = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [value for name, value in attrs if name in ("href", "src")]
        self.ids |= {value for name, value in attrs if name == "id"}
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag


def words_of(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html.partition("<body>")[2]).split())


def test_the_report_is_one_file_that_asks_nobody(summary, picture):
    html = render(summary, thumbnails={"a.png": picture})
    page = Page(html)
    assert not set(page.tags) & {"script", "link", "iframe", "object", "form", "base"}
    assert page.handlers == []
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address[0] == "#"} <= page.ids
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert f'http-equiv="Content-Security-Policy" content="{policy}"' in html


def test_text_from_outside_is_escaped(summary):
    html = render(summary, thumbnails={})
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;\\n&#34;onerror=1\\u202e.jpg" in html
    assert "\u202e" not in html
    assert "s3://bucket/&lt;b&gt;" in html
    assert "&lt;b&gt;no&lt;/b&gt;" in html
    assert "Only &lt;faces&gt;." in html
    html.encode()


def test_it_says_what_was_found_and_what_was_not_judged(summary):
    words = words_of(render(summary, thumbnails={}))
    assert "Of 1,503 judged images 2 were flagged as machine-generated, 1 is uncertain" in words
    failed = len(FAILURE_WORDS)
    counts = f"{1_503 + failed:,} listed = 1,503 judged + {failed} failed + 0 skipped"
    assert counts in words
    assert "1 file is not an image" in words
    assert "A score is not proof." in words
    for code, explanation in FAILURE_WORDS.items():
        assert f"{explanation} {code}" in words


@pytest.mark.parametrize(
    ("mode", "words"),
    [("auto", "for faces that the model cannot clear"), ("all", "for every face")],
)
def test_it_says_which_faces_were_looked_at_twice_and_whose_the_figures_are(summary, mode, words):
    told = summary.model_copy(update={"second_model_id": "clip@1+0", "second_look": mode})
    said = f"clip@1+0, {words}"
    figures = "; the figures below are of both"
    assert said + figures in words_of(render(told, thumbnails={}))
    bare = told.model_copy(update={"card": told.card.model_copy(update={"figures": {}})})
    assert said in (shown := words_of(render(bare, thumbnails={})))
    assert figures not in shown


def test_it_shows_the_model_and_its_figures(summary):
    words = words_of(render(summary, thumbnails={}))
    assert "faces &amp; masks" in words
    assert "images of them photographs of them fake validation 0.900" in words
    assert "all test images 80 % 2 % 0.960 0.950 to 0.970 1,200 600" in words
    # Sets of one class bring the counts of their labels.
    assert "generated 60 % 20 % 80 % 50 50" in words
    assert "photographs 2 % 98 % 50 50" in words
    assert "0.1 % about 96 % about 2" in words
    assert "where 80 % of the fakes and 2 % of the photographs were flagged" in words
    rate = (1_503 + len(FAILURE_WORDS)) / 4
    assert f"4.0 s in all, {rate:.1f} images per second" in words
    assert "the network 5.0 s 62 %" in words


def test_the_histogram_draws_all_bins_that_hold_something(summary):
    html = render(summary, thumbnails={})
    drawn = re.findall(r'<rect class="(\w+)" [^>]*height="([\d.]+)"><title>(.*?)</title>', html)
    assert [(zone, text) for zone, _, text in drawn] == [
        ("real", "0.000 to 0.025: 1,500"),
        ("uncertain", "0.500 to 0.525: 1"),
        ("fake", "0.900 to 0.925: 1"),
        ("fake", "0.950 to 0.975: 1"),
    ]
    assert float(drawn[0][1]) == 190
    assert all(float(height) > 10 for _, height, _ in drawn)
    assert ">nothing found below 0.300</text>" in html
    assert ">flagged from 0.800</text>" in html
    assert 'aria-labelledby="histogram-title histogram-words"' in html


def test_an_image_without_a_thumbnail_gets_a_placeholder(summary, picture):
    html = render(summary, thumbnails={"a.png": picture})
    shown = len(summary.highest) + len(summary.uncertain)
    assert html.count("<img ") == 1
    assert html.count('class="placeholder"') == shown - 1
    assert "Thumbnails were left out" not in html


def test_without_thumbnails_the_galleries_are_tables(summary):
    html = render(summary, thumbnails={})
    Page(html)
    assert html.count("Thumbnails were left out of this report.") == 2
    assert "<img" not in html
    assert '<div class="placeholder"' not in html
    assert '<b class="fake">0.950</b>' in html


def test_no_real_image_flagged_in_the_test_set_is_not_called_never():
    summary = verdicts([("a.png", 0.95, "fake")])
    figures = {"report": {"tpr_at_fake": 0.5, "fpr_at_fake": 0.0, "real": 300}}
    run = a_run(card={"figures": figures})
    summary.expectations = summarise(VERDICTS.empty_table(), run=run).expectations
    words = words_of(render(summary, thumbnails={}))
    assert "not one photograph were flagged. None in so many can still mean up to 1 %" in words
    assert "1 % at most 66 % at most 1" in words


def test_an_empty_run_has_a_report():
    html = render(summarise(VERDICTS.empty_table(), run=a_run()), thumbnails={})
    Page(html)
    words = words_of(html)
    assert "Nothing was found: the source holds no files." in words
    assert "0 listed = 0 judged + 0 failed + 0 skipped" in words
    assert "how often it is right is unknown" in words
    assert 'id="scores"' not in html


def test_rendering_twice_is_the_same(summary, picture):
    once, twice = (render(summary, thumbnails={"a.png": picture}) for _ in range(2))
    assert once == twice


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.2, "3.2 s"), (125, "2 min 5 s"), (7260, "2 h 1 min")]
)
def test_durations_are_for_people(seconds, text):
    summary = summarise(VERDICTS.empty_table(), run=a_run(timings={"seconds": seconds}))
    assert f"{text} in all" in render(summary, thumbnails={})


def test_a_thumbnail_is_small_upright_and_bare():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "private words"
    data = encoded(Image.fromarray(pixels), "JPEG", exif=exif, comment=b"private words")
    small = thumbnail(data)
    image = Image.open(io.BytesIO(small))
    assert (image.format, image.size, image.mode) == ("JPEG", (96, 144), "RGB")
    assert not image.getexif()
    assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert b"private" not in small


def test_a_small_image_is_not_enlarged_and_transparency_is_flattened():
    small = thumbnail(encoded(Image.new("RGBA", (10, 4), (0, 0, 0, 0)), "PNG"), side=64)
    image = Image.open(io.BytesIO(small))
    assert image.size == (10, 4)
    assert min(image.getpixel((5, 2))) > 250


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff\xe0broken"])
def test_what_is_no_image_has_no_thumbnail(data):
    assert thumbnail(data) is None


@pytest.mark.parametrize("highest", [1, 2, 3, 7, 12, 60, 99, 1000, 123_456, 9_000_000])
def test_the_axis_of_the_histogram_can_be_read(highest: int):
    def height(count: int) -> float:
        return HEIGHT * math.log10(1 + count) / math.log10(1 + highest)

    ticks = _ticks([0, highest, 1], height)
    assert ticks[0] == 0
    assert all(tick <= highest for tick in ticks)
    gaps = [height(high) - height(low) for low, high in itertools.pairwise(ticks)]
    assert all(gap >= TICK_GAP for gap in gaps)
    assert len(ticks) >= min(highest + 1, 4)
    # The highest bar is not far above the last number.
    assert height(ticks[-1]) >= HEIGHT / 2
