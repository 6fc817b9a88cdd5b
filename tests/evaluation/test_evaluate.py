"""Evaluation: what it measures, what it refuses to say, and its report."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from deepfake_core.cli import main
from deepfake_core.datasets.balancing import MAX_WEIGHT, group_weights
from deepfake_core.datasets.labelled import Labelled, read_labelled, read_pixels
from deepfake_core.engines.engine import open_engine
from deepfake_core.errors import SourceError, UsageError
from deepfake_core.evaluation.config import EvaluateConfig
from deepfake_core.evaluation.curves import reliability, roc
from deepfake_core.evaluation.fairness import fairness
from deepfake_core.evaluation.leave_one_out import Features, leave_one_out, read_features
from deepfake_core.evaluation.measurement import evaluate
from deepfake_core.evaluation.report import render, render_html
from deepfake_core.evaluation.score_cache import ScoreCache
from deepfake_core.evaluation.scored_set import ScoredSet
from deepfake_core.evaluation.scoring import PART, score_readable, score_tiers
from deepfake_core.evaluation.set_figures import Known
from deepfake_core.evaluation.training_list import list_training
from deepfake_core.images.degradations import TIERS
from deepfake_core.images.picture import Loaded
from deepfake_core.inference.cropping import open_cropper
from deepfake_core.models.bundle import write_description
from deepfake_core.models.card import card
from deepfake_core.models.decision import Thresholds
from deepfake_core.models.registry import find_model
from deepfake_core.records import FailureCode

pytestmark = pytest.mark.slow

BAND = Thresholds(real_below=0.4, fake_from=0.6)
SOURCES = ("GAN A", "GAN B", "diffusion")
Rows = Sequence[dict[str, str]]


def write_manifest(folder: Path, rows: Rows) -> None:
    names = sorted({name for row in rows for name in row})
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, picture: Callable[..., bytes]) -> Path:
    """Sets train, valid and test; three sources of fakes, and groups of people in test."""
    folder = tmp_path_factory.mktemp("labelled")
    rows = []
    for index in range(210):
        kind = "fake" if index % 2 else "real"
        set_name = ("train", "valid", "test")[index * 3 // 210]
        path = f"{set_name}/{kind}/{index:03d}.jpg"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(picture(index))
        source = SOURCES[index // 2 % (2 if set_name == "train" else 3)]
        rows.append(
            {
                "path": path,
                "label": kind,
                "group_id": f"g{index // 4}-{set_name}",
                "generator": source if kind == "fake" else "",
                "people_age": "old" if index % 3 else "young",
            }
        )
    write_manifest(folder, rows)
    return folder


@pytest.fixture(scope="module")
def evaluation(tiny_registry: Path, data: Path) -> dict:
    return evaluate(find_model("tiny", tiny_registry), data)


def test_each_tier_scores_what_reading_it_alone_would(tiny_registry: Path, data: Path):
    bundle = find_model("tiny", tiny_registry)
    engine = open_engine(bundle, kind="openvino", precision="fp32")
    images = read_labelled(data)
    assert len(images) > 2 * PART
    cropper = open_cropper(bundle.description.preprocessing)
    found = score_tiers(engine, images, cropper=cropper).logits
    assert list(found) == list(TIERS)
    for tier in ("clean", "jpeg30", "quarter"):
        alone = engine.logits(read_pixels(images, size=32, change=TIERS[tier]))
        np.testing.assert_allclose(found[tier], alone, atol=1e-4)
    assert not np.allclose(found["clean"], found["jpeg30"])


def test_the_tiers_are_those_that_are_promised():
    assert set(TIERS) == {
        "clean", "jpeg90", "jpeg75", "jpeg50", "jpeg30", "half", "quarter", "blur", "webp80",
        "screenshot",
    }  # fmt: skip


class Counting:
    """An engine that counts the images it is given."""

    def __init__(self, engine):
        self.engine, self.lanes, self.seen = engine, engine.lanes, 0

    def logits(self, pixels):
        self.seen += len(pixels)
        return self.engine.logits(pixels)


def test_what_is_remembered_is_not_scored_again(tiny_registry: Path, data: Path, tmp_path: Path):
    bundle = find_model("tiny", tiny_registry)
    engine = Counting(open_engine(bundle, kind="openvino", precision="fp32"))
    (tmp_path / "text.jpg").write_text("no image")
    bad = Labelled(path=tmp_path / "text.jpg", fake=True, group_id="bad")
    images, memory = [*read_labelled(data, "test")[:7], bad], ScoreCache()
    two = {tier: TIERS[tier] for tier in ("clean", "half")}
    settings = {"cropper": open_cropper(bundle.description.preprocessing), "memory": memory}
    score_readable(engine, images[:4], **settings, tiers=two)
    assert engine.seen == 2 * 4
    found = score_readable(engine, images, **settings)
    assert engine.seen == 2 * 4 + len(TIERS) * 7 - 2 * 4
    again = score_readable(engine, images[::-1], **settings)
    assert engine.seen == len(TIERS) * 7
    alone = score_readable(engine.engine, images, cropper=settings["cropper"])
    for tier in TIERS:
        np.testing.assert_array_equal(found.logits[tier], again.logits[tier][::-1])
        np.testing.assert_allclose(found.logits[tier], alone.logits[tier], atol=1e-4)
    assert set(found.failures) == {7}
    assert set(again.failures) == {0}
    np.testing.assert_array_equal(found.sizes, alone.sizes)


def test_a_set_of_one_class_or_judged_by_class_is_not_degraded(
    tiny_registry: Path, data: Path, tmp_path: Path
):
    bundle, said = find_model("tiny", tiny_registry), []
    config = EvaluateConfig(one_class=("test",))
    found = evaluate(bundle, data, config=config, say=said.append)["sets"]
    assert set(found["test_fake"]["tiers"]) == {"clean"}
    assert set(found["valid"]["tiers"]) == set(TIERS)
    assert "test has no figure of both classes, so it is not degraded" in said
    asked = config.model_copy(update={"one_class_tiers": True, "sets": ("test",)})
    assert set(evaluate(bundle, data, config=asked)["sets"]["test_real"]["tiers"]) == set(TIERS)


def test_an_unreadable_image_is_named_and_stops_nothing(
    tiny_registry: Path, data: Path, tmp_path: Path
):
    bundle = find_model("tiny", tiny_registry)
    engine = open_engine(bundle, kind="openvino", precision="fp32")
    (tmp_path / "text.jpg").write_text("no image")
    whole = read_labelled(data)[:3]
    bad = [
        Labelled(path=tmp_path / name, fake=True, group_id=name)
        for name in ("text.jpg", "gone.jpg")
    ]
    images = [whole[0], bad[0], whole[1], bad[1], whole[2]]
    settings = {"cropper": open_cropper(bundle.description.preprocessing)}
    found = score_readable(engine, images, **settings)
    assert {row: failure.code for row, failure in found.failures.items()} == {
        1: FailureCode.DECODE_UNSUPPORTED,
        3: FailureCode.READ_NOT_FOUND,
    }
    alone = score_tiers(engine, whole, **settings).logits
    np.testing.assert_allclose(found.logits["clean"][[0, 2, 4]], alone["clean"], atol=1e-4)
    assert np.isnan(found.logits["clean"][[1, 3]]).all()
    with pytest.raises(SourceError, match=r"2 images cannot be judged.*text\.jpg"):
        score_tiers(engine, images, **settings)


def test_halves_and_sets_stay_apart(evaluation: dict, data: Path):
    assert set(evaluation["sets"]) == {"valid", "test"}
    assert evaluation["headline"] == "test"
    assert json.loads(json.dumps(evaluation)) == evaluation
    found = evaluation["sets"]["test"]
    assert found["figures"]["images"] == 70
    assert set(found["tiers"]) == set(TIERS)
    assert found["tiers"]["clean"] == found["figures"]


def test_the_report_half_is_the_headline_of_a_calibrated_model(tiny_registry: Path, data: Path):
    bundle = find_model("tiny", tiny_registry)
    known = bundle.description.model_copy(update={"figures": {"report": {"auc": 0.5}}})
    bundle = type(bundle)(bundle.folder, known, bundle.digest)
    found = evaluate(bundle, data, config=EvaluateConfig(tiers=False))
    assert found["headline"] == "valid_report"
    reported = [one for one in read_labelled(data, "valid") if one.reported]
    assert found["sets"]["valid_report"]["figures"]["images"] == len(reported)
    assert found["sets"]["valid_chosen"]["figures"]["images"] == 70 - len(reported)


def test_images_that_the_bundle_lists_as_learnt_are_told_apart(
    tiny_registry: Path, data: Path, tmp_path: Path, picture: Callable[..., bytes]
):
    bundle = find_model("tiny", tiny_registry)
    for name in bundle.description.files:
        (tmp_path / name).write_bytes((bundle.folder / name).read_bytes())
    test = read_labelled(data, "test")
    list_training([one for one in test if not one.reported]).write(tmp_path)
    bundle = write_description(tmp_path, bundle.description)
    found = evaluate(bundle, data, config=EvaluateConfig(sets=("test",), tiers=False))
    assert set(found["sets"]) == {"test_report", "test_chosen"}
    assert found["headline"] == "test_report"
    assert not [warning for warning in found["warnings"] if "share a group" in warning]
    both = EvaluateConfig(sets=("test", "valid"), tiers=False)
    warnings = evaluate(bundle, data, config=both)["warnings"]
    chosen = sum(not one.reported for one in test)
    assert [warning for warning in warnings if warning.startswith(f"test: {chosen} of 70 images")]


def test_figures_agree_with_the_scores(evaluation: dict, tiny_registry: Path, data: Path):
    bundle = find_model("tiny", tiny_registry)
    images = read_labelled(data, "test")
    engine = open_engine(bundle, kind="openvino", precision="fp32")
    logits = engine.logits(read_pixels(images, size=32))
    fake = np.array([one.fake for one in images])
    pairs = logits[fake][:, None] - logits[~fake][None, :]
    expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert evaluation["sets"]["test"]["figures"]["auc"] == pytest.approx(expected, abs=1e-3)
    counts = evaluation["sets"]["test"]["histogram"]["counts"]
    assert {name: sum(bars) for name, bars in counts.items()} == {"real": 35, "fake": 35}
    for kind, rows in evaluation["sets"]["test"]["mistakes"].items():
        scores = [row["score"] for row in rows]
        assert scores == sorted(scores, reverse=kind == "real")
        assert all(row["image"].startswith(f"test/{kind}/") for row in rows)


def test_sources_that_were_trained_on_stay_apart(evaluation: dict, tiny_registry: Path, data: Path):
    assert evaluation["trained_sources"] == ["GAN A", "GAN B"]
    assert "assumed" in evaluation["trained_sources_said_by"]
    found = evaluation["sets"]["test"]
    seen = {row["source"]: row["seen"] for row in found["sources"] if row["class"] == "fake"}
    assert seen == {"GAN A": True, "GAN B": True, "diffusion": False}
    assert set(found["novelty"]) == {"trained on", "never seen"}
    fakes = {name: one["fake"] for name, one in found["novelty"].items()}
    assert sum(fakes.values()) == 35
    assert all(one["real"] == 35 for one in found["novelty"].values())
    bundle = find_model("tiny", tiny_registry)
    config = EvaluateConfig(sets=("test",), tiers=False, trained_sources=("diffusion",))
    again = evaluate(bundle, data, config=config)["sets"]["test"]["novelty"]
    assert again["trained on"]["fake"] == fakes["never seen"]


def coded_folder(folder: Path, picture: Callable[..., bytes]) -> Path:
    """Two classes that differ in their format: JPEG and PNG."""
    for kind, form, suffix in (("real", "JPEG", "jpg"), ("fake", "PNG", "png")):
        (folder / "trap" / kind).mkdir(parents=True)
        for index in range(15):
            path = folder / "trap" / kind / f"{index}.{suffix}"
            path.write_bytes(picture(index + 100 * len(kind + form), kind=form))
    write_manifest(
        folder,
        [
            {"path": path.relative_to(folder).as_posix(), "label": path.parent.name}
            for path in sorted(folder.glob("trap/*/*"))
        ],
    )
    return folder


def test_classes_that_differ_by_codec_have_no_auc(
    tiny_registry: Path, tmp_path: Path, picture: Callable[..., bytes]
):
    folder = coded_folder(tmp_path, picture)
    config = EvaluateConfig(tiers=False)
    found = evaluate(find_model("tiny", tiny_registry), folder, config=config)
    assert set(found["sets"]) == {"trap_real", "trap_fake"}
    assert not [one for one in found["sets"].values() if "auc" in one["figures"]]
    assert re.search(r"trap is measured class by class.*format PNG", found["warnings"][0])
    html = render_html(found)
    assert "measured class by class" in html
    assert ">AUC<" not in html


def test_a_set_can_be_measured_class_by_class(tiny_registry: Path, data: Path):
    config = EvaluateConfig(sets=("test",), one_class=("test",), tiers=False)
    found = evaluate(find_model("tiny", tiny_registry), data, config=config)
    assert set(found["sets"]) == {"test_real", "test_fake"}
    shares = found["sets"]["test_real"]["figures"]
    assert shares["fpr_at_fake"] + shares["reals_uncertain"] + shares[
        "reals_called_real"
    ] == pytest.approx(1, abs=1e-3)


def features_of_sources(rng: np.random.Generator, *, alike: bool) -> Features:
    """Photographs and three sources; the third has another trace unless they are alike."""
    images, values = [], []
    for number, source in enumerate(("", "one", "two", "three")):
        for index in range(120):
            row = rng.normal(0, 1, 12)
            if source:
                row[0 if alike or source != "three" else 5] += 4
            images.append(
                Labelled(
                    path=Path(f"{number}-{index}.png"),
                    fake=bool(source),
                    group_id=f"{number}-{index}",
                    source=source,
                )
            )
            values.append(row)
    return Features(tuple(images), np.array(values, np.float32))


def test_a_source_with_a_trace_of_its_own_is_not_expected_to_be_found():
    found = leave_one_out(
        features_of_sources(np.random.default_rng(1), alike=False),
        Known(frozenset({"one"}), "a test"),
    )
    rows = {row["source"]: row for row in found["sources"]}
    assert [rows[name]["seen"] for name in ("one", "two", "three")] == [True, False, False]
    assert rows["one"]["without"]["balanced_accuracy"] > 0.9
    assert rows["three"]["with"]["balanced_accuracy"] > 0.85
    assert rows["three"]["without"]["balanced_accuracy"] < 0.65
    expected = found["expected"]["balanced_accuracy"]
    assert expected["worst"] == rows["three"]["without"]["balanced_accuracy"]
    assert expected["lost"] > 0.05


def test_sources_that_are_alike_lose_nothing_by_being_left_out():
    found = leave_one_out(
        features_of_sources(np.random.default_rng(2), alike=True), Known(None, "a test")
    )
    assert found["expected"]["balanced_accuracy"]["worst"] > 0.93
    assert abs(found["expected"]["balanced_accuracy"]["lost"]) < 0.02


def test_two_sources_are_too_few_to_leave_one_out():
    features = features_of_sources(np.random.default_rng(3), alike=True)
    some = [row for row, image in enumerate(features.images) if image.source != "three"]
    fewer = Features(tuple(features.images[row] for row in some), features.values[some])
    with pytest.raises(UsageError, match=r"needs 3 sources.*one \(120\), two \(120\)"):
        leave_one_out(fewer, Known(None, "a test"))


def test_features_are_those_before_the_head(tiny_registry: Path, data: Path):
    bundle = find_model("tiny", tiny_registry)
    images = read_labelled(data, "test")
    found = read_features(bundle, images, say=lambda line: None)
    assert found.values.shape == (70, bundle.description.architecture.plain_filters[-1])
    assert found.images == tuple(images)
    assert found.values.std(axis=0).min() > 0


def people(rng: np.random.Generator, *, extra: float, count: int = 1200) -> ScoredSet:
    """Real and fake images of two groups; of the second, `extra` more reals are called fake."""
    fake = np.arange(count) % 2 == 0
    group = np.where(rng.random(count) < 0.4, "b", "a")
    called_fake = rng.random(count) < np.where(fake, 0.9, 0.05 + extra * (group == "b"))
    images = tuple(
        Labelled(
            path=Path(f"{row}.png"),
            fake=bool(fake[row]),
            group_id=f"{row // 4}-{group[row]}",
            people={"people_skin": str(group[row])},
        )
        for row in range(count)
    )
    scores = np.where(called_fake, 0.9, 0.1).astype(np.float32)
    return ScoredSet(images, {"clean": scores}, np.full((count, 2), 256), BAND)


def test_an_injected_gap_between_groups_is_found():
    found = fairness(people(np.random.default_rng(4), extra=0.12))["people_skin"]
    gap = found["gaps"]["fpr_at_fake"]
    assert (gap["highest"], gap["lowest"], gap["found"]) == ("b", "a", True)
    assert gap["interval"][0] < 0.12 < gap["interval"][1]
    assert not found["gaps"]["tpr_at_fake"]["found"]
    low, high = found["groups"]["b"]["intervals"]["fpr_at_fake"]
    assert low < 0.17 < high


def test_without_a_gap_none_is_reported():
    found = [
        gap["found"]
        for seed in range(5)
        for gap in fairness(people(np.random.default_rng(seed), extra=0.0))["people_skin"][
            "gaps"
        ].values()
    ]
    assert found == [False] * 10


def test_many_pictures_of_one_person_are_one_witness():
    one = people(np.random.default_rng(5), extra=0.0, count=400)
    images = tuple(
        Labelled(
            path=image.path,
            fake=image.fake,
            # All of a hundred reals of group b are of two persons, and one is always called fake.
            group_id=f"person{row % 4}" if row < 200 else image.group_id,
            people={"people_skin": "b" if row < 200 else "a"},
        )
        for row, image in enumerate(one.images)
    )
    scores = np.where((np.arange(400) < 200) & (np.arange(400) % 4 == 1), 0.9, one.clean)
    gap = fairness(ScoredSet(images, {"clean": scores.astype(np.float32)}, one.sizes, BAND))[
        "people_skin"
    ]["gaps"]["fpr_at_fake"]
    assert gap["gap"] > 0.4
    assert not gap["found"]


def test_weights_make_groups_count_alike_within_a_class():
    images = [
        Labelled(Path(f"{row}"), fake=row % 2 == 0, group_id="", people={"people_age": group})
        for row, group in enumerate(["old"] * 160 + ["young"] * 40)
    ]
    weights = group_weights(images)
    assert weights.dtype == np.float32
    fake = np.array([image.fake for image in images])
    old = np.arange(200) < 160
    for kind in (True, False):
        assert weights[(fake == kind) & old].sum() == pytest.approx(50, rel=1e-4)
        assert weights[(fake == kind) & ~old].sum() == pytest.approx(50, rel=1e-4)
    rare = [
        Labelled(Path("x"), fake=True, group_id="", people={"people_age": group})
        for group in ["old"] * 999 + ["young"]
    ]
    limited = group_weights(rare)
    assert limited.max() / limited.min() == pytest.approx(MAX_WEIGHT, rel=1e-4)
    assert (group_weights([Labelled(Path("x"), fake=True, group_id="")] * 3) == 1).all()


def test_curves_hold_the_ends_and_the_ideal():
    rng = np.random.default_rng(6)
    fake = rng.random(5000) < 0.3
    curve = roc(rng.random(5000).astype(np.float32), fake)
    assert (curve["fpr"][0], curve["tpr"][0], curve["fpr"][-1], curve["tpr"][-1]) == (0, 0, 1, 1)
    assert len(curve["fpr"]) < 500
    truth = rng.random(50_000).astype(np.float32)
    found = reliability(truth, rng.random(50_000) < truth)
    np.testing.assert_allclose(found["score"], found["fake"], atol=0.03)


def test_the_report_needs_nothing_else(evaluation: dict, tiny_registry: Path, tmp_path: Path):
    paths = render(evaluation, find_model("tiny", tiny_registry), tmp_path)
    html = paths["report"].read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)
    assert "<script" not in html
    assert html.count("data:image/svg+xml") == 4
    mistakes = {
        row["image"]
        for one in evaluation["sets"].values()
        for kind in one["mistakes"].values()
        for row in kind
    }
    assert 0 < html.count("data:image/jpeg") <= len(mistakes)
    assert "people_age in test" in html
    assert json.loads(paths["numbers"].read_text()) == evaluation
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "card.md", "evaluation.json", "report.html",
    ]  # fmt: skip


def test_the_card_has_its_front_matter_and_the_groups(
    evaluation: dict, tiny_registry: Path, tmp_path: Path, data: Path
):
    bundle = find_model("tiny", tiny_registry)
    text = render(evaluation, bundle, tmp_path)["card"].read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    results = front["model-index"][0]["results"]
    names = [one["dataset"]["name"] for one in results]
    assert f"{data.name}/test" in names
    metrics = {
        one["type"]: one["value"] for one in results[names.index(f"{data.name}/test")]["metrics"]
    }
    assert metrics["roc_auc"] == evaluation["sets"]["test"]["figures"]["auc"]
    assert text.index("What it gets wrong") < text.index("What it was trained on")
    assert "Differences between groups of people" in text
    assert "Fairness was not measured" in card(bundle.description)


def test_the_command_tells_what_is_wrong_first(
    tiny_registry: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    common = ["--data", str(data), "--registry", str(tiny_registry), "--output", str(tmp_path)]
    few = ["--set", "test", "--no-tiers"]
    assert main(["evaluate", "tiny@1", *common, *few]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("On test, of 35 photographs")
    assert told[1].startswith("all 70 images: ")
    assert "of 35 real" in told[1]
    assert told[2].startswith("may be quoted: test, if none of its images was used")
    assert told[-1] == f"report: {tmp_path / 'report.html'}"
    assert main(["evaluate", "tiny", *common, *few, "--explanations", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sets"]["test"]["figures"]["images"] == 70
    counts = found["all"]
    assert counts["right"] + counts["wrong"] + counts["uncertain"] == counts["images"] == 70
    assert counts["right_share"] == pytest.approx(counts["right"] / 70)
    labels = found["sets"]["test"]["figures"]
    assert counts["wrong"] == round(35 * (labels["fpr_at_fake"] + labels["fakes_called_real"]))
    explained = found["explanations"]
    assert explained["all"]["images"] == 3
    assert 0 <= explained["all"]["shown"] <= 1
    assert explained["shown_by_chance"] == pytest.approx(3 / 14)
    html = (tmp_path / "report.html").read_text()
    assert f"In <b>{100 * explained['all']['shown']:.1f} %</b> the named area" in html
    assert main(["evaluate", "tiny", *common, *few, "--explanations", "-1"]) == 2
    assert "--explanations" in capsys.readouterr().err
    assert Path(found["card"]).is_file()


def test_leaving_out_sources_by_the_command(
    tiny_registry: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    common = ["--data", str(data), "--registry", str(tiny_registry), "--output", str(tmp_path)]
    every = ["--no-tiers", "--leave-one-out", "--json"]
    assert main(["evaluate", "tiny", *common, "--set", "test", *every]) == 2
    assert "needs 3 sources of fakes" in capsys.readouterr().err
    assert main(["evaluate", "tiny", *common, *every]) == 0
    found = json.loads(capsys.readouterr().out)["leave_one_out"]
    assert [(row["source"], row["seen"]) for row in found["sources"]] == [
        ("GAN A", True), ("GAN B", True), ("diffusion", False),
    ]  # fmt: skip
    # These sources differ in nothing but their names.
    assert 0.25 < found["expected"]["balanced_accuracy"]["mean"] < 0.75
    html = (tmp_path / "report.html").read_text()
    assert "source left out" in html
    assert "The network itself was not trained again" in html


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("nothing", None, None), "no model named 'nothing'"),
        (("tiny@9", None, None), "there are: tiny@1"),
        ((None, "missing", None), "there is no folder"),
        ((None, None, "wrong"), "has no set wrong; there are: test, train, valid"),
    ],
)
def test_what_is_missing_is_named(
    tiny_registry: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    change: tuple,
    expected: str,
):
    model, folder, set_name = change
    arguments = ["evaluate", model or "tiny", "--registry", str(tiny_registry)]
    arguments += ["--data", str(data / folder if folder else data)]
    assert main(arguments + (["--set", set_name] if set_name else [])) == 2
    assert expected in capsys.readouterr().err


def test_folders_with_bad_files_one_class_or_none(
    tiny_registry: Path, tmp_path: Path, picture: Callable[..., bytes]
):
    bundle = find_model("tiny", tiny_registry)
    write_manifest(
        tmp_path, [{"path": "a.jpg", "label": "fake"}, {"path": "b.jpg", "label": "fake"}]
    )
    (tmp_path / "a.jpg").write_bytes(picture(1))
    (tmp_path / "b.jpg").write_bytes(picture(2)[:-400])
    found = evaluate(bundle, tmp_path, config=EvaluateConfig(tiers=False))
    assert [(one["image"], one["code"]) for one in found["failures"]] == [
        ("b.jpg", "decode.corrupt")
    ]
    assert found["sets"][tmp_path.name]["figures"]["images"] == 1
    assert any("one class only" in warning for warning in found["warnings"])
    html = render_html(found)
    assert "1 images could not be judged" in html
    assert "decode.corrupt" in html
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match="none of the images"):
        evaluate(bundle, tmp_path)
    write_manifest(tmp_path, [{"path": "train/real/x.jpg", "label": "real"}])
    (tmp_path / "train" / "real").mkdir(parents=True)
    (tmp_path / "train" / "real" / "x.jpg").write_bytes(picture(3))
    with pytest.raises(UsageError, match="only the set train"):
        evaluate(bundle, tmp_path)
    (tmp_path / "empty" / "real").mkdir(parents=True)
    (tmp_path / "empty" / "fake").mkdir()
    with pytest.raises(SourceError, match="holds no labelled images"):
        evaluate(bundle, tmp_path / "empty")


def test_the_shipped_model_is_as_its_bundle_says(shared: Path):
    bundle, quarter = find_model("resnet50"), TIERS["quarter"]
    engine = open_engine(bundle, kind="openvino", precision="fp32")
    cropper = open_cropper(bundle.description.preprocessing)
    images = [one for one in read_labelled(shared / "faces", "valid") if one.reported][:16]
    found = score_tiers(engine, images, cropper=cropper, tiers={"quarter": quarter})
    loaded = [cropper.load(one.path.read_bytes()) for one in images]
    crops = [cropper.crop(quarter(one.image)) for one in loaded if isinstance(one, Loaded)]
    alone = engine.logits(np.stack([crop.pixels for crop in crops if crop is not None]))
    np.testing.assert_allclose(found.logits["quarter"], alone, atol=1e-3)
