"""What a run found, image by image: nothing is left out, claims and pixels are both told."""

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from deepfake_core.records import Json
from deepfake_core.reporting.findings import (
    FLAGGED_SHOWN,
    blind_spot,
    by_folder,
    declared_images,
    declares_generated,
    flagged_images,
    link_to_original,
)
from deepfake_core.reporting.gallery import read_thumbnails
from deepfake_core.reporting.markdown import headline, markdown
from deepfake_core.reporting.report import PAGE, render
from deepfake_core.reporting.summary import summarise
from deepfake_core.reporting.summary_record import Summary
from deepfake_core.results.schema import VERDICTS
from deepfake_core.storage.local import LocalStorage
from tests.support.published import row
from tests.support.runs import a_run

LOOSE = pa.schema([field.with_nullable(True) for field in VERDICTS])


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=LOOSE)


def claim(kind: str, value: str, verified: bool | None = None) -> Json:
    return {"kind": kind, "value": value, "verified": verified}


def summary_of(rows: list[dict[str, Any]], **facts: Any) -> Summary:
    found = table(rows)
    return summarise(found, run=a_run(found, **facts))


def test_every_flagged_image_is_listed_the_strongest_first():
    rows = [row(f"{number:04d}.jpg", 0.8 + number / 2000, "fake") for number in range(350)]
    rows += [row("other.jpg", 0.1, "real"), row("maybe.jpg", 0.5, "uncertain")]
    found = flagged_images(table(rows))
    assert {one.image for one in found} == {f"{number:04d}.jpg" for number in range(350)}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert {one.strength for one in found} == {"weak", "moderate"}
    html = render(summary_of(rows), thumbnails={})
    for one in found:
        assert one.image in html
    pages = re.findall(r"<summary>([\d,]+) to ([\d,]+)</summary>", html)
    assert pages == [("1", "100"), ("101", "200"), ("201", "300"), ("301", "350")]
    assert PAGE == 100
    assert FLAGGED_SHOWN >= 10_000


def test_images_are_counted_by_their_topmost_folder():
    rows = [row("a/b/1.jpg", 0.9, "fake"), row("a/2.jpg", 0.9, "fake"), row("3.jpg", 0.1, "real")]
    rows += [row("b/4.jpg", None, None), row("b/5.jpg", 0.5, "uncertain")]
    found = [(one.folder, one.images, one.flagged, one.uncertain) for one in by_folder(table(rows))]
    assert found == [("a", 2, 2, 0), ("b", 2, 0, 1), ("", 1, 0, 0)]
    assert by_folder(VERDICTS.empty_table()) == []
    html = render(summary_of(rows), thumbnails={})
    assert "(no folder)" in html
    assert "| a | 2 | 2 |" in markdown(summary_of(rows))


CLAIMS = [
    ([claim("generator", "ComfyUI")], True),
    ([claim("camera", "Canon"), claim("iptc", "trainedAlgorithmicMedia")], True),
    ([claim("c2pa", "broken, not this file's: trainedAlgorithmicMedia: X", verified=False)], True),
    ([claim("c2pa", "namesGenerator: ChatGPT")], True),
    ([claim("iptc", "digitalCapture")], False),
    ([claim("c2pa", "other: trainedAlgorithmicMedia")], False),
    ([claim("camera", "generator")], False),
    (None, False),
    ([], False),
]


def test_files_that_declare_themselves_generated_are_told_apart_from_all_others():
    rows = [
        row(f"{number}.jpg", 0.1, "real", provenance=claims)
        for number, (claims, _) in enumerate(CLAIMS)
    ]
    expected = [declares for _, declares in CLAIMS]
    assert declares_generated(table(rows)).tolist() == expected
    # The same in several chunks, and in a slice.
    several = pa.concat_tables([table(rows[:2]), table(rows[2:])])
    assert declares_generated(several).tolist() == expected
    assert declares_generated(several.slice(3)).tolist() == expected[3:]
    assert declared_images(table(rows))[0] == sum(expected)
    assert declared_images(VERDICTS.empty_table()) == (0, [])


def test_where_claim_and_pixels_disagree_both_are_said():
    rows = [
        row("agrees.png", 0.95, "fake", provenance=[claim("generator", "ComfyUI")]),
        row("differs.png", 0.01, "real", provenance=[claim("generator", "<b>Evil</b>")]),
        row("broken.png", None, None, provenance=[
            claim("c2pa", "broken, not this file's: trainedAlgorithmicMedia: X", verified=False)]),
    ]  # fmt: skip
    summary = summary_of(rows)
    assert [one.image for one in summary.declared_images] == [
        "differs.png", "broken.png", "agrees.png",
    ]  # fmt: skip
    html = render(summary, thumbnails={})
    part = html.partition('id="declared"')[2].partition("</section>")[0]
    assert "3 files say" in part
    assert "<b>Evil" not in html
    first = part.partition("differs.png")[2].partition("</tr>")[0]
    assert "nothing found" in first
    assert "&lt;b&gt;Evil" in first
    assert "credentials are broken" in part.partition("broken.png")[2].partition("</tr>")[0]
    assert "declares itself generated" in markdown(summary)
    # The score is what it was.
    assert summary.labels["fake"] == 1


def test_nobody_reads_that_a_picture_is_real():
    rows = [row("a.jpg", 0.01, "real"), row("b.jpg", 0.5, "uncertain"), row("c.jpg", 0.9, "fake")]
    summary = summary_of(rows, thresholds={"real_below": 0.30729, "fake_from": 0.92879})
    html = re.sub(
        r"<style>.*?</style>|class=\"[^\"]*\"", "", render(summary, thumbnails={}), flags=re.S
    )
    # It is named once, as the label in data that it is.
    assert re.findall(r"\breal\b", html) == ["real"]
    assert "looks real" not in html
    assert "photographs" not in headline(summary)
    assert not re.search(r"\breal\b", markdown(summary))
    assert "0.308" in html
    assert "0.929" in html
    assert "0.30729" not in html


def test_the_headline_remembers_what_is_known():
    known = a_run(counts={"listed": 400, "skipped": 400}, skipped_reasons={"known": 400})
    known.known_flagged = 91
    summary = summarise(VERDICTS.empty_table(), run=known)
    assert headline(summary) == "Nothing new; 91 were flagged earlier."


def test_the_headline_says_what_the_model_does_not_see():
    figures = {
        "report": {"tpr_at_fake": 0.7, "fake": 400, "fpr_at_fake": 0.0, "real": 185},
        "diffusion": {"tpr_at_fake": 0.02, "fake": 500},
        "few": {"tpr_at_fake": 0.0, "fake": 5},
        "photographs": {"fpr_at_fake": 0.0, "real": 100},
        "note": "text",
    }
    told = blind_spot(figures)
    assert told is not None
    assert "“diffusion”, about 98 of 100 were not flagged (96 % to 99 %" in told
    assert blind_spot({"photographs": figures["photographs"]}) is None
    html = render(summary_of([row("a.jpg", 0.9, "fake")], card={"figures": figures}), thumbnails={})
    assert "about 98 of 100" in html.partition("<nav")[0]


def test_originals_are_linked_where_a_browser_can_open_them(tmp_path: Path):
    name = 'a "b" <c>#1?.jpg'
    assert link_to_original(str(tmp_path), name) == (tmp_path / name).as_uri()
    assert link_to_original("https://host/x/", "a b.jpg") == "https://host/x/a%20b.jpg"
    assert link_to_original("s3://bucket/x", "a.jpg") is None
    assert link_to_original(str(tmp_path), "bytes\\xff.jpg") is None
    assert link_to_original(None, "a.jpg") is None
    html = render(summary_of([row(name, 0.9, "fake")], source=str(tmp_path)), thumbnails={})
    assert f'href="{(tmp_path / name).as_uri()}"' in html


@pytest.mark.parametrize("source", ["javascript://x", "data:text/html,x", "file://x"])
def test_no_source_becomes_a_script(source: str):
    link = link_to_original(source, "a.jpg")
    assert link is None or link.startswith("file:///")


def test_what_is_not_applicable_is_counted_apart_and_says_why():
    rows = [row("a.jpg", 0.9, "fake", faces_found=2)]
    rows += [row(f"{n}.jpg", None, "not_applicable", reason="no_face", faces_found=0) for n in "bc"]
    rows += [row("d.jpg", None, "not_applicable", reason="face_too_small", faces_found=1)]
    summary = summary_of(rows)
    assert headline(summary).endswith("3 more show no face that can be judged.")
    html = render(summary, thumbnails={})
    words = re.sub(r"<[^>]*>|\s+", " ", html)
    assert "4 listed = 1 judged + 3 not applicable + 0 failed + 0 skipped" in words
    assert "no face was found in it" in words
    assert "none in 2" in words
    assert "| its faces are too small to be judged | face\\_too\\_small | 1 |" in markdown(summary)
    refused = summary_of(rows[1:])
    assert headline(refused) == "None of 3 images shows a face that can be judged."


def test_a_thumbnail_shows_the_faces_that_were_judged(tmp_path: Path):
    Image.new("RGB", (400, 200), "white").save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    face = {"x": 200.0, "y": 50.0, "width": 100.0, "height": 100.0, "size": 90.0, "roll": 0.0,
            "found": 0.9, "score": 0.9, "label": "fake"}  # fmt: skip
    digest = hashlib.sha256(content).hexdigest()
    summary = summary_of([row("a.png", 0.9, "fake", sha256=digest, faces=[face])])
    shown = read_thumbnails(summary, LocalStorage(tmp_path))["a.png"]
    picture = Image.open(io.BytesIO(shown))
    # At 72 of 144 pixels begins the box, in red.
    red, green, _ = picture.getpixel((72, 36))
    assert red > green + 50
    assert min(picture.getpixel((30, 36))) > 240
