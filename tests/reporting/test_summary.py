import datetime as dt
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core.errors import BrokenInvariant
from deepfake_core.models.decision import Thresholds, decide
from deepfake_core.records import FailureCode, Label
from deepfake_core.rendering.text import as_markdown, one_line, percent, score_text
from deepfake_core.reporting.markdown import FAILURE_WORDS, headline, markdown
from deepfake_core.reporting.summary import expectations, summarise
from deepfake_core.reporting.summary_record import Summary
from deepfake_core.results.schema import VERDICTS, validate
from tests.support.runs import a_run

THRESHOLDS = Thresholds(real_below=0.3, fake_from=0.8)
COMMON = {
    "source": "/pictures",
    "bytes": 1,
    "model_id": "tiny@1+00000000",
    "run_id": "run",
    "run_started": dt.datetime(2026, 11, 24, 2, tzinfo=dt.UTC),
}


def table(scores, failures=()):
    """Verdicts: the scored images first, then failed ones."""
    values = np.array(scores, dtype=np.float32)
    rows = [
        {**COMMON, "image": f"{index:04}.jpg", "status": "ok", "sha256": "0", "format": "JPEG"}
        | {"width": 3, "height": 2, "logit": 0.0, "score": value, "label": str(label)}
        for index, (value, label) in enumerate(
            zip(values.tolist(), decide(values, THRESHOLDS), strict=True)
        )
    ]
    rows += [
        {**COMMON, "image": name, "status": "failed", "failure": code, "detail": "why"}
        for name, code in failures
    ]
    verdicts = pa.Table.from_pylist(rows, schema=VERDICTS)
    validate(verdicts)
    return verdicts


def run_of(judged, failed=0, skipped=0, **more):
    counts = {"listed": judged + failed + skipped, "skipped": skipped}
    counts |= {"judged": judged, "failed": failed}
    return a_run(counts=counts, thresholds=THRESHOLDS, **more)


def test_counts_labels_and_failures_add_up():
    failures = [("a.txt", "decode.unsupported"), ("b.jpg", "decode.corrupt"), ("c", "read.denied")]
    failures.append(("d.txt", "decode.unsupported"))
    run = run_of(4, 4, 2, skipped_reasons={"known": 2}, timings={"seconds": 2.0})
    summary = summarise(table([0.1, 0.5, 0.8, 1.0], failures), run=run)
    assert (summary.listed, summary.judged) == (10, 4)
    assert (summary.failed, summary.skipped) == (4, 2)
    assert summary.labels == {"fake": 2, "real": 1, "uncertain": 1, "not_applicable": 0}
    assert summary.failures == {
        "decode.unsupported": 2, "decode.corrupt": 1, "read.denied": 1,
    }  # fmt: skip
    assert summary.not_images == 2
    assert summary.skipped_reasons == {"known": 2}
    assert summary.timings == {"seconds": 2.0, "images_per_s": 4.0}
    assert summary.started == "2026-11-24T02:00:00+00:00"
    assert Summary.model_validate(json.loads(json.dumps(summary.as_json()))) == summary


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), max_size=60))
def test_every_score_is_in_one_bin_and_has_one_label(scores):
    summary = summarise(table(scores), run=run_of(len(scores)))
    edges, counts = summary.histogram.edges, summary.histogram.counts
    assert (len(edges), len(counts)) == (41, 40)
    assert (edges[0], edges[-1]) == (0, 1)
    assert sum(counts) == sum(summary.labels.values()) == len(scores)
    highest = [row.score for row in summary.highest]
    assert highest == sorted(np.float32(scores).tolist(), reverse=True)[:24]
    uncertain = [row.score for row in summary.uncertain]
    assert uncertain == sorted(uncertain, reverse=True)
    assert len(uncertain) == min(24, summary.labels["uncertain"])


def test_bins_end_where_labels_do():
    summary = summarise(table([0.3, 0.8, 0.8]), run=run_of(3))
    counts = summary.histogram.counts
    assert (sum(counts[:12]), counts[12], sum(counts[32:])) == (0, 1, 2)


def test_equal_scores_are_ordered_by_logit_then_by_place():
    verdicts = table([1.0, 1.0, 1.0])
    logits = pa.array([20.0, 30.0, 20.0], pa.float32())
    index = verdicts.schema.get_field_index("logit")
    verdicts = verdicts.set_column(index, VERDICTS.field("logit"), logits)
    images = [row.image for row in summarise(verdicts, run=run_of(3)).highest]
    assert images == ["0001.jpg", "0000.jpg", "0002.jpg"]


def test_files_that_are_no_images_do_not_hide_failed_images():
    failures = [(f"{index}.txt", "decode.unsupported") for index in range(250)]
    failures.append(("z.jpg", "decode.corrupt"))
    summary = summarise(table([], failures), run=run_of(0, 251))
    shown = summary.failed_images
    assert len(shown) == 200
    assert shown[0].as_json() == {"image": "z.jpg", "failure": "decode.corrupt", "detail": "why"}
    assert shown[1].image == "0.txt"


@pytest.mark.parametrize(
    "change", [{"listed": 9}, {"skipped": 1}, {"judged": 1, "failed": 2}, {"judged": 3}]
)
def test_counts_that_do_not_add_up_are_refused(change):
    run = run_of(2, 1)
    run.counts = run.counts.model_copy(update=change)
    with pytest.raises(BrokenInvariant, match="listed = judged"):
        summarise(table([0.1, 0.9], [("a", "read.denied")]), run=run)


def test_a_score_outside_zero_to_one_is_refused():
    with pytest.raises(BrokenInvariant, match="outside 0 to 1"):
        summarise(table([1.5]), run=run_of(1))


def test_an_empty_run_says_why_nothing_was_judged():
    nothing = VERDICTS.empty_table()
    summary = summarise(nothing, run=run_of(0, skipped=7))
    assert summary.labels == dict.fromkeys(map(str, Label), 0)
    assert summary.histogram.counts == [0] * 40
    assert summary.highest == summary.uncertain == summary.failed_images == []
    assert "images_per_s" not in summary.timings
    assert headline(summary) == "Nothing was judged: all 7 listed files were skipped."
    assert "Nothing was found" in headline(summarise(nothing, run=a_run()))
    assert markdown(summary).startswith("# Nothing was judged")
    failed = summarise(table([], [("a", "read.denied")]), run=run_of(0, 1))
    assert headline(failed).startswith("None of the 1 files")


def test_expectations_equal_numbers_computed_by_hand():
    figures = {
        "validation": {"tpr_at_fake": 1.0, "fpr_at_fake": 0.5},
        "report": {"tpr_at_fake": 0.8, "fpr_at_fake": 0.02},
    }
    found = expectations(figures)
    assert [row.share_of_fakes for row in found] == [0.001, 0.01, 0.1, 0.5]
    by_hand = [0.01998 / 0.02078, 0.0198 / 0.0278, 0.018 / 0.098, 0.01 / 0.41]
    assert [row.flagged_real_share for row in found] == pytest.approx(by_hand)
    assert {row.split for row in found} == {"report"}
    assert not any(row.at_most for row in found)


def test_no_flagged_real_image_in_the_test_set_gives_an_upper_bound():
    found = expectations({"test": {"tpr_at_fake": 0.5, "fpr_at_fake": 0.0, "real": 300}})
    assert all(row.at_most and row.fpr == pytest.approx(1 - 0.05 ** (1 / 300)) for row in found)
    alarms = 0.99 * found[1].fpr
    assert found[1].flagged_real_share == pytest.approx(alarms / (alarms + 0.01 * 0.5))
    text = markdown(summarise(table([0.9]), run=run_of(1, card={"figures": {"test": _no_fpr()}})))
    assert "at most 66 %" in text


def _no_fpr():
    return {"tpr_at_fake": 0.5, "fpr_at_fake": 0.0, "real": 300}


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"report": {"auc": 0.9}},
        {"report": None},
        {"report": {"tpr_at_fake": 0.9, "fpr_at_fake": 0.0}},
        {"report": {"tpr_at_fake": None, "fpr_at_fake": 0.1}},
    ],
)
def test_figures_that_say_too_little_give_no_expectations(figures):
    assert expectations(figures) == []


RATES = st.just(0.0) | st.floats(1e-6, 1)


@given(RATES, RATES, st.integers(0, 10_000))
def test_expected_shares_are_shares_and_fall_as_fakes_become_common(tpr, fpr, real):
    found = expectations({"x": {"tpr_at_fake": tpr, "fpr_at_fake": fpr, "real": real}})
    shares = [row.flagged_real_share for row in found]
    assert all(0 <= share <= 1 for share in shares)
    assert shares == sorted(shares, reverse=True)


def test_markdown_shows_file_names_as_they_are():
    name = "<script>alert(1)</script>|a\nb`*_[x](http://y.example)&amp;www.z.example"
    text = markdown(summarise(table([], [(name, "decode.corrupt")]), run=run_of(0, 1)))
    line = next(line for line in text.splitlines() if "alert" in line)
    assert "<" not in line
    assert line.startswith(r"| &lt;script&gt;alert(1)&lt;/script&gt;\|a\\nb\`\*\_\[x\](http\:")
    assert "&amp;amp;www\\.z" in line
    assert line.replace(r"\|", "").count("|") == 4


@given(st.text())
def test_a_name_never_leaves_its_cell(name):
    cell = as_markdown(name)
    assert len(cell.splitlines()) <= 1
    assert "<" not in cell
    assert "|" not in cell.replace(r"\\", "").replace(r"\|", "")


def test_invisible_characters_are_spelled_out():
    assert one_line("a\u202egpj.exe\x00\ud800\x1b") == r"a\u202egpj.exe\x00\ud800\x1b"
    assert one_line("Zoë 李 😀") == "Zoë 李 😀"


def test_markdown_names_folders_that_could_not_be_listed():
    text = markdown(summarise(table([]), run=run_of(0, unlisted_folders=["a|b"])))
    assert r"| a\|b |" in text


def test_every_failure_code_is_explained():
    assert set(FAILURE_WORDS) == {str(code) for code in FailureCode}


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"), (1, "100 %"), (0.001, "0.1 %"), (0.5, "50 %"), (0.01, "1 %"),
        (1e-9, "under 0.1 %"), (0.99999, "over 99.9 %"), (0.999, "99.9 %"), (0.0142, "1.4 %"),
    ],
)  # fmt: skip
def test_shares_are_rounded_but_never_to_none_or_all(share, text):
    assert percent(share) == text


@given(st.floats(0, 1, width=32))
def test_a_score_is_never_shown_higher_than_it_is(score):
    shown = float(score_text(score))
    assert shown <= score + 2e-7
    assert math.isclose(shown, score, abs_tol=0.001001)


def test_scores_are_cut_and_float32_noise_is_not_shown():
    assert score_text(0.79995) == "0.799"
    assert score_text(float(np.float32(0.29))) == "0.290"
