"""The review log: nothing is lost, nothing is changed, damage is passed over."""

import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core.errors import UsageError
from deepfake_core.results.review_log import (
    DISPUTED,
    REVIEW_FILE,
    ReviewLine,
    ReviewLog,
    decided,
    last_of,
    parse_lines,
    standings,
    undone,
)
from deepfake_core.storage.local import LocalStorage


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture
def log(tmp_path: Path) -> ReviewLog:
    return ReviewLog(LocalStorage(tmp_path))


def test_decisions_are_there_after_a_reload(log: ReviewLog, tmp_path: Path):
    first = decided(digest(1), "fake", reviewer=" Ana  B ", reason="hands\nmelt", run_id="run-1")
    log.add([first])
    log.add(
        [decided(digest(2), "unsure", reviewer="Ana B"), decided(digest(3), "real", reviewer="C")]
    )
    again = ReviewLog(LocalStorage(tmp_path))
    assert again.lines()[0] == first
    assert (first.reviewer, first.reason) == ("Ana B", "hands melt")
    assert {sha: one.decision for sha, one in standings(again.lines()).items()} == {
        digest(1): "fake", digest(2): "unsure", digest(3): "real",
    }  # fmt: skip
    assert (tmp_path / REVIEW_FILE).read_bytes().count(b"\n") == 3


def test_what_was_decided_together_is_the_last_decision_however_fast_another_followed(log):
    log.add([decided(digest(number), "fake", reviewer="A") for number in (1, 2)])
    log.add([decided(digest(3), "real", reviewer="A")])
    log.add([decided(digest(4), "real", reviewer="B")])
    assert [line.sha256 for line in last_of(log.lines(), " A ")] == [digest(3)]
    log.add([undone(line, reviewer="A") for line in last_of(log.lines(), "A")])
    assert [line.sha256 for line in last_of(log.lines(), "A")] == [digest(1), digest(2)]
    log.add([undone(line, reviewer="A") for line in last_of(log.lines(), "A")])
    assert last_of(log.lines(), "A") == []


def test_undo_is_a_line_and_an_earlier_decision_stands_again(log: ReviewLog):
    fake = decided(digest(1), "fake", reviewer="A")
    real = decided(digest(1), "real", reviewer="A")
    log.add([fake])
    log.add([real])
    assert standings(log.lines())[digest(1)].decision == "real"
    log.add([undone(real, reviewer="A")])
    assert standings(log.lines())[digest(1)].decision == "fake"
    log.add([undone(fake, reviewer="A")])
    assert standings(log.lines()) == {}
    assert len(log.lines()) == 4


@pytest.mark.parametrize(
    ("said", "together"),
    [
        (("fake", "fake"), "fake"),
        (("fake", "real"), DISPUTED),
        (("fake", "unsure"), "fake"),
        (("unsure", "unsure"), "unsure"),
        (("real", "unsure", "fake"), DISPUTED),
    ],
)
def test_two_reviewers_of_one_picture(log: ReviewLog, said: tuple[str, ...], together: str):
    for number, decision in enumerate(said):
        log.add([decided(digest(1), decision, reviewer=f"reviewer {number}")])  # type: ignore[arg-type]
    standing = standings(log.lines())[digest(1)]
    assert standing.decision == together
    assert [line.decision for line in standing.lines] == list(said)


def test_a_log_that_was_cut_off_loses_its_last_line_only(log: ReviewLog, tmp_path: Path):
    whole = [decided(digest(number), "fake", reviewer="A") for number in range(3)]
    for line in whole:
        log.add([line])
    data = (tmp_path / REVIEW_FILE).read_bytes()
    (tmp_path / REVIEW_FILE).write_bytes(data[:-30])
    assert log.read() == (whole[:2], 1)
    more = decided(digest(9), "real", reviewer="B")
    log.add([more])
    assert log.read() == ([*whole[:2], more], 1)


@given(data=st.binary(max_size=200), cut=st.integers(0, 600))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_damage_anywhere_takes_no_whole_line_with_it(data: bytes, cut: int):
    line = ReviewLine(
        id="0" * 16, at="2026-11-24T00:00:00Z", reviewer="A", sha256=digest(1), decision="fake"
    )
    text = line.model_dump_json(exclude_none=True).encode() + b"\n"
    assert parse_lines(text[:cut] + b"\n" + data + b"\n" + text)[0][-1] == line


def test_two_that_write_at_once_lose_nothing(tmp_path: Path):
    def write(name: str) -> None:
        for number in range(10):
            line = decided(digest(number), "fake", reviewer=name)
            ReviewLog(LocalStorage(tmp_path)).add([line])

    threads = [threading.Thread(target=write, args=(name,)) for name in ("A", "B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines, damaged = ReviewLog(LocalStorage(tmp_path)).read()
    assert (len(lines), damaged) == (20, 0)


def test_an_erasure_takes_out_all_that_names_a_picture(log: ReviewLog, tmp_path: Path):
    log.add([decided(digest(1), "fake", reviewer="A"), decided(digest(2), "real", reviewer="A")])
    log.add([undone(log.lines()[0], reviewer="B")])
    with (tmp_path / REVIEW_FILE).open("ab") as stream:
        stream.write(b'{"sha256": "' + digest(1).encode())
    assert log.erase(digest(1)) == 3
    assert digest(1) not in (tmp_path / REVIEW_FILE).read_text()
    assert [line.sha256 for line in log.lines()] == [digest(2)]
    assert log.erase(digest(1)) == 0
    assert ReviewLog(LocalStorage(tmp_path / "none")).erase(digest(1)) == 0


@pytest.mark.parametrize(
    "fields",
    [{"reviewer": "  "}, {"reviewer": "x" * 81}, {"reason": "x" * 501}, {"sha256": "no"}],
)
def test_a_decision_without_a_name_or_a_picture_is_refused(fields: dict[str, str]):
    given = {"sha256": digest(1), "reviewer": "A"} | fields
    with pytest.raises(UsageError, match="cannot be kept"):
        decided(given.pop("sha256"), "fake", **given)  # type: ignore[arg-type]
