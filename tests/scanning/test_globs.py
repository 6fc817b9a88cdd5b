"""Patterns of a scan's scope: several, with braces, in any case, and those that take nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deepfake_core import cli
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.globs import alternatives, match_any, match_names, unmatched

NAMES = ["IMG_1.JPG", "b.jpg", "c.png", "d.jpeg", "below/e.jpg", "a,b.jpg", "{x}.jpg"]


def taken(*globs: str) -> list[str]:
    return [name for name, hit in zip(NAMES, match_any(NAMES, globs), strict=True) if hit]


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        (["*.png", "*.jpeg"], ["c.png", "d.jpeg"]),
        (["*.{png,jpeg}"], ["c.png", "d.jpeg"]),
        (["{b,c}.{jpg,png}"], ["b.jpg", "c.png"]),
        (["{c.png,below/*}"], ["c.png", "below/e.jpg"]),
        (["*.jp{,e}g"], ["IMG_1.JPG", "b.jpg", "d.jpeg", "below/e.jpg", "a,b.jpg", "{x}.jpg"]),
        (["{b,{c,d}}.*"], ["b.jpg", "c.png", "d.jpeg"]),
        (["a,b.jpg"], ["a,b.jpg"]),
        (["{x}.jpg"], ["{x}.jpg"]),
        (["[{]x[}].jpg"], ["{x}.jpg"]),
        (["[a{,]*.jpg"], ["a,b.jpg", "{x}.jpg"]),
        (["img_*"], ["IMG_1.JPG"]),
        (["*.JPG"], ["IMG_1.JPG"]),
        (["IMG_1.jpg"], []),
        ([], []),
    ],
)
def test_what_patterns_take(globs: list[str], expected: list[str]):
    assert taken(*globs) == expected


@given(st.lists(st.text("ab*?.{},[]!/", max_size=6), max_size=4))
def test_several_patterns_take_what_each_takes(globs: list[str]):
    names = ["a", "b.a", "a/b", "ab/{a}", "[a],b"]
    each = [{n for n, hit in zip(names, match_names(names, g), strict=True) if hit} for g in globs]
    together = {n for n, hit in zip(names, match_any(names, globs), strict=True) if hit}
    assert together == set().union(*each)


@given(st.lists(st.text("ab.", max_size=3), min_size=2, max_size=5), st.text("ab", max_size=2))
def test_braces_take_what_their_parts_take(parts: list[str], tail: str):
    names = ["a", "b", "ab", "a.b", "aa", "b.a"]
    found = match_names(names, "{" + ",".join(parts) + "}" + tail)
    assert (found == match_any(names, [part + tail for part in parts])).all()


def test_combinations_are_limited():
    assert len(alternatives("{a,b}{c,d}{e,f}")) == 8
    with pytest.raises(ValueError, match="combinations"):
        alternatives("{a,b}" * 60)
    with pytest.raises(ValidationError, match="combinations"):
        ScanConfig(source="images", include="{a,b}" * 60)


def test_one_glob_or_none_are_what_older_configurations_hold():
    assert ScanConfig(source="images", include="*.jpg", exclude=None).include == ("*.jpg",)
    several = ScanConfig(source="images", include=["*.jpg", "*.png"])
    assert several.include == ("*.jpg", "*.png")
    assert ScanConfig.model_validate_json(several.model_dump_json()) == several
    kinds = ScanConfig.model_json_schema()["properties"]["include"]["anyOf"]
    assert [kind["type"] for kind in kinds] == ["array", "string", "null"]


@pytest.mark.parametrize(
    ("glob", "words"),
    [
        ("*.jpg", ""),
        ("*.gif", "takes none of the 7 names"),
        ("*.gif,*.png", "takes none of the 7 names; for several patterns give the option again"),
        ("B.JPG", "takes none of the 7 names; written in lower case"),
        ("below\\*", "takes none of the 7 names; paths have forward slashes"),
    ],
)
def test_a_pattern_that_takes_nothing_says_why(glob: str, words: str):
    assert unmatched(NAMES, glob).startswith(words)
    assert bool(unmatched(NAMES, glob)) == bool(words)


def test_a_scan_warns_of_a_pattern_that_takes_nothing(
    image_folder: Callable[..., Path],
    tiny_registry: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    scan = ["scan", str(image_folder(4)), "--output", str(tmp_path / "out"), "--model", "tiny"]
    scan += ["--registry", str(tiny_registry), "--include", "*.gif", "--json"]
    assert cli.main([*scan, "--include", "*.png"]) == 0
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert result["judged"] == 1
    assert "warning: --include '*.gif' takes none of the 4 names" in told.err
    (warning,) = result["warnings"]
    assert (warning["measure"], warning["now"]) == ("include", None)
    folder = Path(result["report"]).parent
    for name in ("run.json", "summary.json"):
        assert json.loads((folder / name).read_text())["warnings"] == [warning]
    for name in ("summary.md", "report.html"):
        page = (folder / name).read_text()
        assert "A pattern took no image" in page
        assert "Unlike the last runs" not in page
    assert cli.main(scan[:-1]) == 0
    told = capsys.readouterr().out
    assert told.startswith("nothing to judge: 4 left out by --include or --exclude")


def test_nothing_new_says_what_is_known(
    image_folder: Callable[..., Path],
    tiny_registry: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    scan = ["scan", str(image_folder(6)), "--output", str(tmp_path / "out"), "--model", "tiny"]
    scan += ["--registry", str(tiny_registry)]
    assert cli.main([*scan, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    flagged = first["labels"]["fake"]
    assert flagged > 0
    assert cli.main([*scan, "--exclude", "below/*"]) == 0
    again = capsys.readouterr().out.splitlines()[0]
    assert again.startswith("nothing new: ")
    assert "known" in again
    assert "left out by --include or --exclude" in again
    assert cli.main([*scan, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known_flagged"] == flagged
