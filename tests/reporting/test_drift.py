"""When a run is called unlike the last ones, and where it says so."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepfake_core.models.registry import find_model
from deepfake_core.records import Json
from deepfake_core.reporting.drift import (
    LIMITS,
    DriftLimits,
    drift_warnings,
    earlier_summaries,
    population_stability_index,
    two_proportion_z,
)
from deepfake_core.reporting.markdown import markdown
from deepfake_core.reporting.report import render
from deepfake_core.reporting.run_report import report_again
from deepfake_core.reporting.summary import BINS, summarise
from deepfake_core.reporting.summary_record import Summary
from deepfake_core.results.run_record import RunWarning
from deepfake_core.results.schema import VERDICTS
from deepfake_core.results.store import Results
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from deepfake_core.storage.opening import open_storage
from tests.support.runs import a_run


def a_summary(
    *, fakes: int = 20, judged: int = 1000, failed: int = 10, mean: float = 0.3, **facts: object
) -> Summary:
    rng = np.random.default_rng(judged)
    scores = rng.beta(4 * mean, 4 * (1 - mean), judged)
    counts, edges = np.histogram(scores, BINS, (0, 1))
    summary = {
        "run_id": "now",
        "source": "s3://bucket",
        "model_id": "tiny@1",
        "finished": "2026-11-25T02:00:00+00:00",
        "judged": judged,
        "failed": failed,
        "labels": {"fake": fakes, "real": judged - fakes, "uncertain": 0},
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    } | facts
    return Summary.model_validate(summary)


def measures(warnings: list[RunWarning]) -> list[str]:
    return [warning.measure for warning in warnings]


def test_runs_alike_give_no_warning():
    earlier = [a_summary(judged=1000 + index, fakes=18 + index) for index in range(5)]
    assert drift_warnings(a_summary(), earlier) == []
    assert drift_warnings(a_summary(), []) == []


def test_a_jump_of_fakes_is_named_with_its_figures():
    (warning,) = drift_warnings(a_summary(fakes=150), [a_summary(), a_summary(fakes=30)])
    assert warning.measure == "fakes"
    assert (warning.now, warning.before) == (0.15, 0.025)
    assert warning.statistic > warning.limit == 4
    assert warning.words == "the share of fakes is 15 %, and was 2.5 % in the last runs"


def test_a_fall_counts_as_much_as_a_rise():
    (warning,) = drift_warnings(a_summary(fakes=0), [a_summary(fakes=200)])
    assert warning.measure == "fakes"
    assert warning.statistic < -4


def test_a_jump_of_failures():
    (warning,) = drift_warnings(a_summary(failed=200), [a_summary()])
    assert warning.measure == "failures"
    assert warning.now == pytest.approx(200 / 1200, abs=1e-6)


def test_failures_are_seen_where_nothing_at_all_was_judged():
    nothing = a_summary(judged=0, fakes=0, failed=500)
    assert measures(drift_warnings(nothing, [a_summary()])) == ["failures"]


def test_scores_that_moved_without_a_label_that_changed():
    warnings = drift_warnings(a_summary(mean=0.55), [a_summary()])
    assert measures(warnings) == ["scores"]
    assert warnings[0].now == pytest.approx(0.55, abs=0.03)
    assert warnings[0].before == pytest.approx(0.3, abs=0.03)


def test_few_images_prove_nothing():
    small = {"judged": 30, "failed": 0}
    assert drift_warnings(a_summary(fakes=30, **small), [a_summary()]) == []
    assert drift_warnings(a_summary(fakes=500), [a_summary(fakes=0, **small)]) == []
    # Large enough a difference, but by chance: 20 of 200 against 10 of 200 is under 2 errors.
    few = {"judged": 200, "failed": 0}
    assert drift_warnings(a_summary(fakes=20, **few), [a_summary(fakes=10, **few)]) == []


def test_limits_are_taken_from_the_configuration():
    now, before = a_summary(fakes=60), [a_summary(judged=10_000, fakes=200)]
    assert drift_warnings(now, before) == []
    assert measures(drift_warnings(now, before, DriftLimits(fakes=0.02))) == ["fakes"]
    loose = DriftLimits(fakes=0.9, failures=0.9, scores=9, times=1000)
    assert drift_warnings(a_summary(fakes=500, failed=500, mean=0.6), before, loose) == []


def test_two_proportion_z_is_the_textbook_one():
    # 120 of 400 and 90 of 500: pooled 0.2333, standard error 0.02837.
    assert two_proportion_z((120, 90), (400, 500)) == pytest.approx(0.12 / 0.028372, rel=1e-3)
    assert two_proportion_z((0, 0), (10, 10)) == 0
    assert two_proportion_z((10, 10), (10, 10)) == 0


def test_population_stability_index():
    assert population_stability_index([5, 10, 5], [50, 100, 50]) == pytest.approx(0, abs=0.01)
    by_hand = (0.9 - 0.5) * math.log(0.9 / 0.5) + (0.1 - 0.5) * math.log(0.1 / 0.5)
    found = population_stability_index([90_000, 10_000], [50_000, 50_000])
    assert found == pytest.approx(by_hand, rel=1e-3)
    assert population_stability_index([0, 100], [100, 0]) < math.inf


@pytest.mark.parametrize("seed", range(5))
def test_chance_alone_stays_far_below_the_limit(seed: int):
    rng = np.random.default_rng(seed)
    now, before = (rng.multinomial(count, [0.1] * 10) for count in (200, 1400))
    assert population_stability_index(now, before) < DriftLimits().scores / 2


REDECIDED = {
    "scan": "20261105T020000Z-aaaa", "scan_started": "2026-11-05T02:00:00+00:00",
    "from": "20261105T020000Z-aaaa", "at": "2026-11-09T02:00:00+00:00",
    "thresholds_before": {"real_below": 0.3, "fake_from": 0.8},
}  # fmt: skip


def test_earlier_summaries_are_those_of_the_same_source_and_model(tmp_path: Path):
    def put(name: str, **facts: object) -> None:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(a_summary(run_id=name, **facts).as_json()))

    for day in range(1, 6):
        put(f"2026110{day}T020000Z-aaaa", finished=f"2026-11-0{day}T03:00:00+00:00")
    put("20261106T020000Z-bbbb", source="elsewhere")
    put("20261107T020000Z-cccc", model_id="tiny@2")
    put("20261108T020000Z-dddd", judged=0, fakes=0)
    put("20261105T020000Z-aaaa.20261109T020000Z", redecided=REDECIDED)
    put("20261226T020000Z-eeee", finished="2026-12-26T03:00:00+00:00")
    put("now")
    (tmp_path / "runs" / "20261110T020000Z-ffff").mkdir()
    (tmp_path / "runs" / "20261111T020000Z-gggg").mkdir()
    (tmp_path / "runs" / "20261111T020000Z-gggg" / "summary.json").write_text("{")

    results = Results(open_storage(str(tmp_path)))
    found = earlier_summaries(results, a_summary(), count=3)
    assert [past.run_id[:8] for past in found] == ["20261105", "20261104", "20261103"]
    assert earlier_summaries(results, a_summary(), count=0) == []
    empty = Results(open_storage(str(tmp_path / "none")))
    assert earlier_summaries(empty, a_summary(), count=3) == []


PAST = "20261101T020000Z-past"


@pytest.fixture
def night(tmp_path: Path, tiny_registry: Path) -> Callable[..., Json]:
    """Scans 210 files that are not images, after a run without a failure."""
    source, output = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    for index in range(210):
        (source / f"{index}.txt").write_text("no image")
    past = a_summary(
        run_id=PAST, source=str(source), model_id=find_model("tiny", tiny_registry).model_id,
        judged=3000, failed=0, fakes=0, finished="2026-11-01T03:00:00+00:00",
    )  # fmt: skip
    (output / "runs" / PAST).mkdir(parents=True)
    (output / "runs" / PAST / "summary.json").write_text(json.dumps(past.as_json()))

    def run(run_id: str, drift: DriftLimits = LIMITS) -> Json:
        config = ScanConfig(
            source=str(source), output=str(output), model="tiny", run_id=run_id, full=True
        )
        return scan(config, registry=tiny_registry, drift=drift)

    return run


def test_a_scan_warns_in_its_result_and_in_all_of_its_reports(
    night: Callable[..., Json], tmp_path: Path
):
    result = night("now")
    (warning,) = result["warnings"]
    assert (warning["measure"], warning["now"], warning["before"]) == ("failures", 1, 0)
    folder = tmp_path / "out" / "runs" / "now"
    assert json.loads((folder / "summary.json").read_text())["warnings"] == [warning]
    sentence = "The share of failures is 100 %, and was 0 % in the last runs."
    for name in ("summary.md", "report.html"):
        text = (folder / name).read_text()
        assert sentence in text
        assert "Unlike the last runs" in text
    # Once found it stays, also when what it was compared with is gone.
    (tmp_path / "out" / "runs" / PAST / "summary.json").unlink()
    report_again("now", str(tmp_path / "out"), thumbnails=False)
    assert sentence in (folder / "report.html").read_text()
    # For the next night nothing is left to compare it with.
    assert night("next")["warnings"] == []
    assert "Unlike" not in (tmp_path / "out" / "runs" / "next" / "report.html").read_text()


def test_a_run_is_compared_by_other_limits(night: Callable[..., Json], tmp_path: Path):
    assert night("now", DriftLimits(min_images=1000))["warnings"] == []
    folder = tmp_path / "out" / "runs" / "now"
    assert "Unlike" not in (folder / "report.html").read_text()
    stored = json.loads((folder / "run.json").read_text())
    assert (stored["warnings"], stored["drift"]["min_images"]) == ([], 1000)
    assert night("now")["warnings"] == []


def test_words_of_a_warning_are_escaped():
    forged = "<script>x</script>\n# more"
    warning = RunWarning(measure="fakes", now=1, before=0, statistic=9, limit=4, words=forged)
    summary = summarise(VERDICTS.empty_table(), run=a_run(warnings=[warning]))
    page, text = render(summary, thumbnails={}), markdown(summary)
    assert "&lt;script&gt;x&lt;/script&gt;\\n# more." in page
    assert "<script>" not in page + text
    assert "\n# more" not in text
