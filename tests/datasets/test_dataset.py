"""Labelled folders: what is read, what is refused, what is put right, and the shortcut audit."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from deepfake_core.cli import main
from deepfake_core.datasets.checks.duplicates import find_duplicates, find_near_pairs
from deepfake_core.datasets.checks.inspection import inspect
from deepfake_core.datasets.checks.measures import Measured, measure
from deepfake_core.datasets.checks.report import page as render_page
from deepfake_core.datasets.checks.report import render
from deepfake_core.datasets.labelled import Labelled, list_labelled, read_labelled
from deepfake_core.errors import SourceError

CHROMIUM = Path("/usr/bin/chromium")


def picture(seed: int, *, side: int = 64) -> Image.Image:
    """Coarse random colours, smoothed: no two seeds look alike, as with photographs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **({"quality": 90} if kind == "JPEG" else {}) | options)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a labelled folder: `count` pictures of each class in each of `sets`."""

    def make(
        count: int = 12,
        *,
        sets: tuple[str, ...] = ("train", "valid"),
        real: dict[str, Any] | None = None,
        fake: dict[str, Any] | None = None,
    ) -> Path:
        root = tmp_path / "faces"
        seed = 0
        for name in sets:
            for label, options in (("real", real or {}), ("fake", fake or {})):
                place = root / name / label
                place.mkdir(parents=True)
                for index in range(count):
                    seed += 1
                    (place / f"{index:03d}.jpg").write_bytes(encoded(picture(seed), **options))
        return root

    return make


def write_manifest(root: Path, rows: list[dict[str, str]]) -> None:
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def rows_of(root: Path) -> list[dict[str, str]]:
    return [
        {
            "path": one.path.relative_to(root).as_posix(),
            "label": "fake" if one.fake else "real",
            "group_id": one.group_id,
        }
        for one in read_labelled(root)
    ]


# Reading


def test_class_folders_are_read_with_and_without_sets(folder: Callable[..., Path]) -> None:
    root = folder(3)
    images = read_labelled(root)
    assert {(one.set_name, one.fake) for one in images} == {
        ("train", True), ("train", False), ("valid", True), ("valid", False),
    }  # fmt: skip
    assert [one for one in images if one.set_name == "valid"] == read_labelled(root, "valid")
    alone = read_labelled(root / "train")
    assert {(one.set_name, one.fake) for one in alone} == {("", True), ("", False)}
    assert [one.path for one in images] == sorted(one.path for one in images)


def test_hidden_files_and_other_files_are_no_images(folder: Callable[..., Path]) -> None:
    root = folder(2)
    (root / "train/real/._001.jpg").write_bytes(b"a Mac left this here")
    (root / "train/real/notes.txt").write_text("notes")
    assert list_labelled(root).ignored == 1
    assert len(read_labelled(root)) == 8


def test_a_manifest_says_groups_splits_sources_and_people(folder: Callable[..., Path]) -> None:
    root = folder(1, sets=("",))
    write_manifest(
        root,
        [
            {"path": "real/000.jpg", "label": "Real", "group_id": "a", "split": "valid",
             "generator": "", "people_age": "old", "people_skin": ""},
            {"path": "fake/000.jpg", "label": "fake", "group_id": "", "split": "train",
             "generator": "StyleGAN", "people_age": "", "people_skin": "4"},
        ],
    )  # fmt: skip
    fake, real = read_labelled(root)
    assert fake == Labelled(
        root / "fake/000.jpg", True, "fake/000.jpg", "train", "StyleGAN", {"people_skin": "4"}
    )
    assert real == Labelled(root / "real/000.jpg", False, "a", "valid", "", {"people_age": "old"})
    assert read_labelled(root, "train") == [fake]
    assert len({fake, real}) == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label": "maybe"}, "label 'maybe'; expected real or fake"),
        ({"label": ""}, "label ''; expected real or fake"),
        ({"path": ""}, "there is no path"),
        ({"path": "train/real/gone.jpg"}, "train/real/gone.jpg does not exist"),
        ({"path": "../secret.jpg"}, "lies outside the folder"),
        ({"path": "/etc/passwd"}, "lies outside the folder"),
    ],
)
def test_a_wrong_line_of_a_manifest_is_named(
    folder: Callable[..., Path], changed: dict[str, str], message: str
) -> None:
    root = folder(2)
    rows = rows_of(root)
    rows[2] |= changed
    write_manifest(root, rows)
    with pytest.raises(SourceError, match=r"line 4 of manifest\.csv") as told:
        read_labelled(root)
    assert message in str(told.value)
    assert any(message in problem for problem in inspect(root).problems)


def test_a_line_that_is_there_twice_is_named(folder: Callable[..., Path]) -> None:
    root = folder(2)
    rows = rows_of(root)
    write_manifest(root, [*rows, rows[0]])
    with pytest.raises(SourceError, match=r"line 10 .* is listed twice"):
        read_labelled(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "missing: label, path"),
        (b"path,class\na.jpg,real\n", "missing: label"),
        (b"path,label\n\xff\xfe.jpg,real\n", "cannot be read as CSV in UTF-8"),
        (b"path,label\n", "holds no labelled images"),
    ],
)
def test_a_manifest_that_is_none_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        inspect(tmp_path)


def test_a_spreadsheets_byte_order_mark_does_no_harm(folder: Callable[..., Path]) -> None:
    root = folder(1)
    write_manifest(root, rows_of(root))
    manifest = root / "manifest.csv"
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes())
    assert len(read_labelled(root)) == 4


# What is measured


@pytest.mark.parametrize("quality", [10, 50, 75, 90, 95, 100])
def test_the_jpeg_quality_is_found_in_the_tables(quality: int) -> None:
    measured = measure(encoded(picture(1), quality=quality, subsampling=0, progressive=True))
    assert isinstance(measured, Measured)
    assert (measured.quality, measured.subsampling) == (quality, "4:4:4")
    assert measured.progressive
    assert not measured.metadata


def test_other_formats_have_no_jpeg_quality() -> None:
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    measured = measure(encoded(picture(1), "WEBP", exif=exif))
    assert isinstance(measured, Measured)
    assert (measured.format, measured.quality, measured.subsampling) == ("WEBP", 0, "none")
    assert measured.metadata


def test_near_duplicates_survive_coding_and_scaling_and_different_pictures_are_apart() -> None:
    files = [encoded(picture(seed)) for seed in range(60)]
    again = [
        encoded(picture(3), quality=50),
        encoded(picture(4).resize((40, 40))),
        encoded(picture(5), "PNG"),
        files[6],
    ]
    measured = [measure(data) for data in [*files, *again]]
    found = find_duplicates([one for one in measured if isinstance(one, Measured)])
    assert [(one.members, one.exact) for one in found] == [
        ((3, 60), False), ((4, 61), False), ((5, 62), False), ((6, 63), True),
    ]  # fmt: skip


def test_mirrored_copies_are_found_and_told_apart() -> None:
    files = [encoded(picture(seed)) for seed in range(60)]
    flip = Image.Transpose.FLIP_LEFT_RIGHT
    again = [
        encoded(picture(3).transpose(flip), quality=60),
        encoded(picture(4).transpose(flip).resize((40, 40))),
        encoded(picture(5), quality=60),
    ]
    measured = [measure(data) for data in [*files, *again]]
    found = find_duplicates([one for one in measured if isinstance(one, Measured)])
    assert [(one.members, one.exact, one.mirrored) for one in found] == [
        ((3, 60), False, True), ((4, 61), False, True), ((5, 62), False, False),
    ]  # fmt: skip


def test_a_mirrored_copy_in_another_split_is_regrouped(folder: Callable[..., Path]) -> None:
    root = folder()
    flipped = picture(13).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    (root / "valid/fake/flipped.jpg").write_bytes(encoded(flipped, quality=80))
    found = inspect(root)
    assert any("valid/fake/flipped.jpg (valid to train)" in line for line in found.warnings)
    (pair,) = found.facts["duplicates"]
    assert (pair["exact"], pair["mirrored"], pair["across"]) == (False, True, True)
    assert "nearly the same, or mirrored" in render_page(found)


def test_all_pairs_are_compared_whatever_the_block() -> None:
    one = measure(encoded(picture(1)))
    assert isinstance(one, Measured)
    pairs = find_near_pairs([one] * 600)
    assert len(pairs) == 600 * 599 // 2
    assert (pairs[:, 0] < pairs[:, 1]).all()


# What is put right, and what is refused


def test_the_folder_inside_an_archive_is_named(folder: Callable[..., Path]) -> None:
    root = folder()
    with pytest.raises(SourceError, match=rf"missing: fake, real\. {root} has them: name that"):
        inspect(root.parent)


def test_a_sound_folder_passes(folder: Callable[..., Path]) -> None:
    root = folder()
    found = inspect(root)
    assert found.problems == found.warnings == found.reasons() == ()
    assert found.shortcut_passed
    assert max(found.shortcuts.values()) < 0.9
    assert list(found.images) == read_labelled(root)
    assert found.facts["classes"] == {"fake": 24, "real": 24}
    assert found.facts["regrouped"] == {}


def test_near_duplicates_across_splits_are_regrouped(folder: Callable[..., Path]) -> None:
    root = folder()
    (root / "valid/fake/again.jpg").write_bytes(encoded(picture(13), quality=60))
    found = inspect(root)
    assert found.problems == ()
    assert any("valid/fake/again.jpg (valid to train)" in line for line in found.warnings)
    both = [
        one
        for one in found.images
        if one.path.name == "again.jpg" or one.path.match("train/fake/000.jpg")
    ]
    assert {(one.group_id, one.set_name) for one in both} == {("train/fake/000.jpg", "train")}
    assert len(both) == 2


def test_a_variant_of_a_set_is_no_other_split(folder: Callable[..., Path]) -> None:
    root = folder(sets=("train", "valid", "valid_q75"))
    for label in ("real", "fake"):
        for path in (root / "valid" / label).iterdir():
            with Image.open(path) as image:
                (root / "valid_q75" / label / path.name).write_bytes(encoded(image, quality=75))
    found = inspect(root)
    assert found.problems == ()
    assert all(one.set_name == one.path.parent.parent.name for one in found.images)
    assert len({one.group_id for one in found.images if one.split == "valid"}) == 24


def test_declared_groups_across_splits_are_refused(folder: Callable[..., Path]) -> None:
    root = folder()
    rows = rows_of(root)
    for row in rows:
        if row["path"].endswith("real/003.jpg"):
            row["group_id"] = "person-7"
    write_manifest(root, rows)
    found = inspect(root)
    assert found.problems == (
        "1 group lies in several splits: person-7 (train, valid); move each into one split",
    )
    assert not any("another split" in line for line in found.warnings)


def test_the_same_bytes_in_both_classes_are_refused(folder: Callable[..., Path]) -> None:
    root = folder()
    shutil.copy(root / "train/real/001.jpg", root / "train/fake/copy.jpg")
    (problem,) = inspect(root).problems
    assert "train/fake/copy.jpg = train/real/001.jpg" in problem


def test_unreadable_files_are_named_and_left_out(folder: Callable[..., Path]) -> None:
    root = folder()
    (root / "train/real/000.jpg").write_bytes(b"")
    cut = root / "train/fake/000.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    found = inspect(root)
    assert found.problems == ()
    assert set(found.facts["excluded"]) == {"train/real/000.jpg", "train/fake/000.jpg"}
    assert "2 files are left out" in found.warnings[0]
    assert "decode.corrupt" in found.warnings[0]
    assert len(found.images) == 46


def test_a_class_that_is_left_with_one_image_is_refused(folder: Callable[..., Path]) -> None:
    root = folder(2)
    (root / "train/real/000.jpg").write_bytes(b"no image")
    found = inspect(root)
    assert "train has 1 usable real image; at least 2 of each class are needed" in found.problems
    assert found.shortcuts == {}
    assert any("train has 2 usable fake images: too few" in line for line in found.warnings)


def test_a_folder_of_unreadable_files_is_refused(folder: Callable[..., Path]) -> None:
    root = folder(2, sets=("",))
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"no image")
    assert inspect(root).reasons() == (
        "the folder has no usable fake images; at least 2 of each class are needed",
        "the folder has no usable real images; at least 2 of each class are needed",
    )


def test_a_folder_without_classes_or_with_one_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing: fake, real"):
        inspect(tmp_path)
    (tmp_path / "real").mkdir()
    with pytest.raises(SourceError, match=r"missing: fake$"):
        inspect(tmp_path)
    with pytest.raises(SourceError, match="cannot be listed"):
        inspect(tmp_path / "nowhere")


def test_a_set_to_learn_from_needs_both_classes(folder: Callable[..., Path]) -> None:
    root = folder(sets=("train", "valid", "test"))
    shutil.rmtree(root / "test/real")
    assert inspect(root).problems == ()
    shutil.rmtree(root / "train/fake")
    assert inspect(root).problems == (
        "train has no usable fake images; at least 2 of each class are needed",
    )


# Shortcuts


@pytest.mark.parametrize(
    ("fake", "feature"),
    [
        ({"quality": 75}, "jpeg_quality"),
        ({"subsampling": 0}, "chroma_subsampling"),
        ({"progressive": True}, "progressive"),
        ({"comment": b"made by a tool"}, "metadata"),
        ({"kind": "PNG"}, "format"),
    ],
)
def test_a_class_that_is_coded_otherwise_trips_the_audit(
    folder: Callable[..., Path], fake: dict[str, Any], feature: str
) -> None:
    found = inspect(folder(sets=("",), fake=fake))
    assert found.shortcuts[feature] == 1
    assert found.shortcuts["all_together"] > 0.95
    assert not found.shortcut_passed
    assert found.problems == ()
    assert len(found.reasons()) == 1
    assert found.reasons(allow_shortcuts=True) == ()


def test_both_classes_coded_alike_do_not_trip_it(folder: Callable[..., Path]) -> None:
    other = {"quality": 60, "subsampling": 0, "progressive": True}
    found = inspect(folder(30, sets=("",), real=other, fake=other))
    assert found.shortcut_passed
    assert found.shortcuts["jpeg_quality"] == 0.5


def test_a_mixture_that_no_feature_alone_shows_is_found_by_all_together(tmp_path: Path) -> None:
    for seed in range(160):
        large, fine, fake = bool(seed & 1), bool(seed & 2), (seed & 1) ^ (seed >> 1 & 1)
        place = tmp_path / ("fake" if fake else "real")
        place.mkdir(exist_ok=True)
        image = picture(seed, side=80 if large else 64)
        (place / f"{seed}.jpg").write_bytes(encoded(image, quality=90 if fine else 80))
    found = inspect(tmp_path)
    assert found.shortcuts["width"] == found.shortcuts["jpeg_quality"] == 0.5
    assert found.shortcuts["all_together"] > 0.95
    assert not found.shortcut_passed


def test_a_set_that_is_only_evaluated_is_a_warning(folder: Callable[..., Path]) -> None:
    root = folder(sets=("train", "valid", "other"))
    for path in (root / "other/fake").iterdir():
        with Image.open(path) as image:
            path.write_bytes(encoded(image, quality=40))
    found = inspect(root)
    assert found.shortcut_passed
    assert any(line.startswith("other: the files tell") for line in found.warnings)
    assert not inspect(root, within="other").shortcut_passed


def test_sets_of_one_class_each_are_audited_together(folder: Callable[..., Path]) -> None:
    root = folder(sets=("celeb", "made"))
    shutil.rmtree(root / "celeb/fake")
    shutil.rmtree(root / "made/real")
    for path in (root / "made/fake").iterdir():
        with Image.open(path) as image:
            path.write_bytes(encoded(image, quality=40))
    found = inspect(root)
    assert found.problems == ()
    assert found.shortcuts["jpeg_quality"] == 1
    assert not found.shortcut_passed


def test_chance_in_a_small_folder_is_no_shortcut(folder: Callable[..., Path]) -> None:
    """The limit is compared with the lower end of the interval."""
    found = inspect(folder(10, sets=("a", "b", "c", "d", "e", "f")))
    assert max(found.shortcuts.values()) > 0.6
    assert found.shortcut_passed


def test_the_laid_trap_trips_and_the_training_data_does_not(shared: Path, tmp_path: Path) -> None:
    """A part of the real data: all of it takes a minute, see the command."""
    trap = inspect(shared / "faces", within="valid_q75")
    assert trap.shortcut_passed
    assert max(trap.shortcuts.values()) < 0.65
    for label, count in (("real", 120), ("fake", 120)):
        (tmp_path / label).mkdir()
        for path in sorted((shared / "faces/other_family" / label).iterdir())[:count]:
            shutil.copy(path, tmp_path / label)
    trap = inspect(tmp_path)
    assert {trap.shortcuts[name] for name in ("jpeg_quality", "width", "file_size")} == {1.0}
    assert not trap.shortcut_passed


# The command and its report


def test_the_command_tells_counts_and_writes_the_report(
    folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, output = folder(), tmp_path / "report"
    assert main(["dataset", str(root), "--output", str(output), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["shortcut_passed"] is True
    assert Path(told["report"]) == output / "dataset.html"
    assert json.loads((output / "dataset.json").read_text())["sets"]["train"]["counts"] == {
        "fake": 12, "real": 12,
    }  # fmt: skip
    assert main(["dataset", str(root), "--output", str(output)]) == 0
    assert "train: 12 real, 12 fake, 24 groups" in capsys.readouterr().out


def test_the_command_stops_at_a_shortcut_unless_told_otherwise(
    folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["dataset", str(folder(fake={"quality": 60})), "--output", str(tmp_path / "report")]
    assert main(command) == 1
    complaint = capsys.readouterr().err
    assert "JPEG quality 1.00" in complaint
    assert main([*command, "--allow-shortcuts"]) == 0
    assert main([*command, "--max-shortcut-auc", "1"]) == 0
    assert (
        "A model would learn the files here" not in (tmp_path / "report/dataset.html").read_text()
    )


def test_a_folder_that_is_none_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", str(tmp_path), "--output", str(tmp_path / "report")]) == 2
    assert "missing: fake, real" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_the_report_escapes_names_and_loads_nothing(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    root = folder()
    bad = root / "train/fake/<img src=x onerror=alert(1)>&\n.jpg"
    bad.write_bytes(encoded(picture(2)))
    (root / "train/real/<script>alert(2)<!--.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    address = render(inspect(root), tmp_path / "report")
    html = Path(address).read_text()
    assert "<img src=x" not in html
    assert "<script" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;\\n.jpg" in html
    assert "http" not in html.replace("http-equiv", "")


@pytest.mark.processes
@pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium here")
def test_a_browser_shows_the_report(folder: Callable[..., Path], tmp_path: Path) -> None:
    root = folder(sets=("train", "valid"), fake={"quality": 60})
    shutil.copy(root / "train/fake/000.jpg", root / "valid/fake/copy.jpg")
    address = render(inspect(root), tmp_path / "report")
    told: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 420, "height": 900})
        page.on("console", lambda message: told.append(message.text))
        page.goto(f"file://{address}")
        assert page.title() == "Data checks: A model would learn the files here, not the faces"
        assert page.locator("#shortcuts svg").count() == 2
        assert page.locator("#files svg").count() == 6
        assert page.locator("#duplicates").get_by_text("across splits").first.is_visible()
        broken = "[...document.images].filter(one => !one.naturalWidth).length"
        assert page.evaluate("document.images.length") > 40
        assert page.evaluate(broken) == 0
        assert page.evaluate("document.documentElement.scrollWidth") == 420
        browser.close()
    assert told == []
