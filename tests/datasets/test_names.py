"""What the names of folders, labels and columns say, and what is refused as it is not clear."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake_core import cli
from deepfake_core.datasets.labelled import list_labelled, read_labelled
from deepfake_core.datasets.names import class_of, set_called, split_in
from deepfake_core.datasets.reading import Reading, parse_reading
from deepfake_core.datasets.splits import arrange, split_labelled
from deepfake_core.errors import SourceError, UsageError

Make = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path, picture: Callable[..., bytes]) -> Make:
    """Makes a folder with a picture for each name."""

    def make(*names: str) -> Path:
        for seed, name in enumerate(names):
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(seed))
        return tmp_path / "data"

    return make


def read(root: Path, within: str = "", reading: Reading | None = None) -> set[tuple[str, str, str]]:
    found = read_labelled(root, within, reading=reading or Reading())
    return {
        (one.path.relative_to(root).as_posix(), one.set_name, "fake" if one.fake else "real")
        for one in found
    }


def table(root: Path, rows: list[dict[str, str]], delimiter: str = ",") -> Path:
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("real", "real"), ("REAL", "real"), ("0_real", "real"), ("training_real", "real"),
        ("human", "real"), ("human_faces", "real"), ("real-images", "real"), ("nature", "real"),
        ("fake", "fake"), ("1_fake", "fake"), ("ai", "fake"), ("AI-generated", "fake"),
        ("AIGenerated", "fake"), ("fake_human_photos", "fake"), ("DeepFake", "fake"),
        ("real_vs_fake", ""), ("not_real", ""), ("non-fake", ""), ("unreal", ""), ("0", ""),
        ("1", ""), ("stylegan", ""), ("real_esrgan", ""), ("train", ""), ("", ""), ("faces", ""),
    ],
)  # fmt: skip
def test_classes_are_told_from_names_or_not_at_all(name: str, label: str):
    assert class_of(name) == label


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val", "valid"), ("Validation", "valid"), ("VALID", "valid"), ("valid_q75", "valid_q75"),
        ("Train", "train"), ("training_set", "train"), ("testing", "test"), ("test-images", "test"),
        ("train2", "train2"), ("stylegan", "stylegan"), ("latest", "latest"),
        ("a/train", "a/train"),
    ],
)  # fmt: skip
def test_sets_are_called_by_their_split(name: str, expected: str):
    assert set_called(name) == expected


def test_a_class_folder_may_name_its_split():
    assert [split_in(name) for name in ("training_real", "fake", "val fake")] == [
        "train",
        "",
        "valid",
    ]


@pytest.mark.parametrize("validation", ["val", "Validation", "valid", "validation_images"])
def test_validation_is_valid_whatever_it_is_called(tree: Make, validation: str):
    names = [
        f"{name}/{label}/a.jpg" for name in ("Train", validation) for label in ("real", "fake")
    ]
    root = tree(*names)
    assert {(name, label) for _, name, label in read(root)} == {
        (name, label) for name in ("train", "valid") for label in ("real", "fake")
    }
    assert {path.split("/")[0] for path, *_ in read(root, "valid")} == {validation}
    assert read(root, validation) == read(root, "valid")
    notes = " ".join(list_labelled(root).notes)
    assert "Train/ as train" in notes
    assert (f"{validation}/ as valid" in notes) == (validation != "valid")


def test_val_is_halved_and_test_is_not(tree: Make):
    names = [f"{part}/{label}/{at}.jpg" for part, count in (("train", 4), ("val", 24), ("test", 8))
             for label in ("real", "fake") for at in range(count)]  # fmt: skip
    root = tree(*names)
    split = split_labelled(root)
    assert len(split.train) == 8
    assert len(split.chosen) + len(split.report) == 48
    assert set(split.others) == {"test"}
    # Nothing has to be explained, so what is trained on is the folder itself.
    assert arrange(root, read_labelled(root), root.parent / "view") == root


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["training_real/a.jpg", "training_fake/b.jpg"],
         {("training_real/a.jpg", "train", "real"), ("training_fake/b.jpg", "train", "fake")}),
        (["0_real/a.jpg", "1_fake/b.jpg"],
         {("0_real/a.jpg", "", "real"), ("1_fake/b.jpg", "", "fake")}),
        (["human/a.jpg", "ai/b.jpg"],
         {("human/a.jpg", "", "real"), ("ai/b.jpg", "", "fake")}),
        (["ADM/val/nature/a.jpg", "ADM/val/ai/b.jpg"], "ADM has them: name that"),
        (["dog/0_real/a.jpg", "dog/1_fake/b.jpg"],
         {("dog/0_real/a.jpg", "dog", "real"), ("dog/1_fake/b.jpg", "dog", "fake")}),
        (["real/train/a.jpg", "real/val/b.jpg", "fake/train/c.jpg"],
         {("real/train/a.jpg", "train", "real"), ("real/val/b.jpg", "valid", "real"),
          ("fake/train/c.jpg", "train", "fake")}),
        (["real/a.jpg", "stylegan/b.jpg"], "missing: fake.*--classes fake=stylegan"),
        (["photos/a.jpg", "stylegan/b.jpg"], "missing: fake.*--classes fake=stylegan"),
        (["a/a.jpg", "b/b.jpg"], "missing: fake, real.*say which with --classes"),
        (["real_x/a.jpg", "fake/b.jpg"], "missing: real.*--classes real=real_x"),
        (["human/a.jpg", "photos/b.jpg", "ai/c.jpg"], "human and photos could both be the real"),
    ],
)  # fmt: skip
def test_folders_are_understood_or_refused(tree: Make, names: list[str], expected: object):
    root = tree(*names)
    if isinstance(expected, str):
        with pytest.raises(SourceError, match=expected):
            read(root)
    else:
        assert read(root) == expected


def test_what_is_beside_the_classes_is_told(tree: Make):
    root = tree("real/a.jpg", "fake/b.jpg", "stylegan3/c.jpg", "fake_new/d.jpg", "human/e.jpg")
    assert {path for path, *_ in read(root)} == {"real/a.jpg", "fake/b.jpg"}
    (note,) = list_labelled(root).notes
    assert all(f"{name}/" in note for name in ("stylegan3", "fake_new", "human"))
    sets = tree("train/real/f.jpg", "train/fake/g.jpg", "raw/h.jpg")
    for name in ("real", "fake", "stylegan3", "fake_new", "human"):
        (sets / name).rename(sets / f".{name}")
    assert "raw/" in " ".join(list_labelled(sets).notes)


def test_a_mapping_says_which_folders_are_the_classes(tree: Make):
    root = tree("ffhq/a.jpg", "celeb/b.jpg", "sg2/c.jpg", "real/d.jpg")
    reading = parse_reading(["real=ffhq,celeb,fake=sg2"], [])
    assert read(root, reading=reading) == {
        ("ffhq/a.jpg", "", "real"), ("celeb/b.jpg", "", "real"), ("sg2/c.jpg", "", "fake"),
    }  # fmt: skip
    with pytest.raises(SourceError, match="no folder gone"):
        read(root, reading=parse_reading(["real=ffhq", "fake=sg2,gone"], []))


@pytest.mark.parametrize(
    "options", [(["real"], []), (["real="], []), ([], ["=path"]), (["=a"], [])]
)
def test_a_mapping_of_another_form_is_refused(options: tuple[list[str], list[str]]):
    with pytest.raises(UsageError, match="NAME=NAME"):
        parse_reading(*options)


@pytest.mark.parametrize(
    ("option", "words"),
    [("--classes=genuine=a", "genuine is none of"), ("--classes=real=a,fake=A", "a is named twice"),
     ("--columns=file=a", "file is none of")],
)  # fmt: skip
def test_an_unknown_name_in_a_mapping_is_wrong_usage(
    tree: Make, capsys: pytest.CaptureFixture[str], option: str, words: str
):
    root = tree("real/a.jpg", "fake/b.jpg")
    assert cli.main(["dataset", str(root), option]) == 2
    assert words in capsys.readouterr().err


def test_columns_are_recognised_or_named(tree: Make):
    root = tree("a.jpg", "b.jpg")
    for path, label in (("filename", "label"), ("File Name", "Label"), ("image_path", "label")):
        table(root, [{path: "a.jpg", label: "real"}, {path: "b.jpg", label: "AI"}])
        assert read(root) == {("a.jpg", "", "real"), ("b.jpg", "", "fake")}
    table(root, [{"pic": "a.jpg", "target": "1"}, {"pic": "b.jpg", "target": "0"}], delimiter=";")
    reading = parse_reading(["real=1,fake=0"], ["path=pic,label=target"])
    assert read(root, reading=reading) == {("a.jpg", "", "real"), ("b.jpg", "", "fake")}
    with pytest.raises(SourceError, match=r"missing: label, path.*--columns path=NAME"):
        read(root)
    with pytest.raises(SourceError, match="no column other"):
        read(root, reading=parse_reading([], ["path=other"]))
    table(root, [{"file": "a.jpg", "image": "b.jpg", "label": "real"}])
    with pytest.raises(SourceError, match="file or image could be the path"):
        read(root)


def test_a_column_that_says_what_a_one_is_is_read_and_told(tree: Make):
    root = tree("a.jpg", "b.jpg")
    for column, ones in (("is_fake", "fake"), ("is real", "real")):
        table(root, [{"path": "a.jpg", column: "1"}, {"path": "b.jpg", column: "False"}])
        other = "real" if ones == "fake" else "fake"
        assert read(root) == {("a.jpg", "", ones), ("b.jpg", "", other)}
        assert f"1 as {ones}" in list_labelled(root).notes[0]


def test_numbers_are_never_guessed(tree: Make):
    root = tree("real/a.jpg", "fake/b.jpg", "c.jpg")
    rows = [{"path": "real/a.jpg", "label": "1"}, {"path": "fake/b.jpg", "label": "0"}]
    (problem,) = list_labelled(table(root, rows)).problems
    assert "2 labels are 0 or 1; expected real or fake: --classes fake=0,real=1 is what" in problem
    rows = [{"path": "c.jpg", "label": "1", "label_str": "fake"}]
    assert "--classes fake=1 is" in list_labelled(table(root, rows)).problems[0]
    rows = [{"path": "c.jpg", "label": "1"}]
    assert "say which is which" in list_labelled(table(root, rows)).problems[0]
    assert read(root, reading=parse_reading(["real=0,fake=1"], [])) == {("c.jpg", "", "fake")}


def test_one_line_for_each_kind_of_problem(tree: Make, capsys: pytest.CaptureFixture[str]):
    root = tree("real/a.jpg", "fake/b.jpg", "train/real/c.jpg")
    rows = [{"path": f"real/{at}.jpg", "label": "0"} for at in range(3000)]
    rows += [{"path": "real\\a.jpg", "label": "real"}] * 40
    rows += [{"path": str(root / "fake" / "b.jpg"), "label": "fake"}] * 30
    rows += [{"path": "/etc/passwd", "label": "fake"}] * 20
    rows += [{"path": "fake/b.jpg", "label": "dubious"}] * 10
    assert cli.main(["dataset", str(table(root, rows)), "--output", str(root / ".out")]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if "manifest.csv" in line]
    assert len(told) == 6
    for words in (
        "3000 labels are 0 or 1; expected real or fake",
        "3000 paths do not exist, such as real/0.jpg",
        "40 paths have backslashes; write real/a.jpg",
        "30 paths are absolute, though they lie inside the folder; write fake/b.jpg",
        "20 paths lie outside the folder",
        "10 labels are 'dubious'",
    ):
        assert sum(words in line for line in told) == 1
    table(root, [{"path": "real/c.jpg", "label": "real"}])
    assert "it is in train/" in list_labelled(root).problems[0]


def test_hidden_names_are_not_learnt_from(tree: Make):
    names = ["real/a.jpg", "fake/b.jpg", "real/.trash/c.jpg", "fake/x/.ipynb_checkpoints/d.jpg",
             ".old/real/e.jpg", ".old/fake/f.jpg", "real/.g.jpg"]  # fmt: skip
    root = tree(*names)
    expected = {("real/a.jpg", "", "real"), ("fake/b.jpg", "", "fake")}
    assert read(root) == expected
    rows = [{"path": name, "label": name.split("/")[0].strip(".")} for name in names[:4]]
    assert read(table(root, rows)) == expected
    assert (
        "2 lines of manifest.csv with a name that begins with a dot" in list_labelled(root).notes[0]
    )


def test_files_are_images_by_their_content(
    tree: Make, picture: Callable[..., bytes], tmp_path: Path
):
    root = tree("real/0000", "real/a.jpg", "fake/b.gif", "fake/c.jpg.partial", "fake/d.JPG")
    (root / "fake" / "notes.txt").write_text("no image")
    (root / "fake" / "empty").touch()
    assert len(read(root)) == 5
    listing = list_labelled(root)
    assert listing.ignored == 2
    assert "2 files are left out: not an image by name or content" in listing.notes
    output = tmp_path / "out"
    cli.main(["dataset", str(root), "--output", str(output)])
    assert "2 files are left out" in " ".join(
        json.loads((output / "dataset.json").read_text())["warnings"]
    )


def test_a_folder_that_cannot_be_listed_is_told(tree: Make, monkeypatch: pytest.MonkeyPatch):
    root = tree("real/a.jpg", "real/locked/b.jpg", "fake/c.jpg")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = list_labelled(root)
    assert len(listing.images) == 2
    assert any("locked cannot be listed (Permission denied)" in note for note in listing.notes)


@pytest.mark.parametrize("case", ["lower", "kaggle"])
def test_the_reported_folders_have_a_validation_set(shared: Path, case: str):
    (folder,) = shared.glob("cases/05-*")
    sets = {one.set_name for one in read_labelled(folder / case)}
    assert sets == {"train", "valid", "test"}


@pytest.mark.parametrize(("case", "count"), [("15", 12), ("16", 24)])
def test_the_reported_folders_are_read_whole(shared: Path, case: str, count: int):
    (folder,) = shared.glob(f"cases/{case}-*")
    images = read_labelled(folder / "data")
    assert [sum(one.fake is kind for one in images) for kind in (True, False)] == [count, count]
