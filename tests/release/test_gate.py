"""The gate promotes what is shown to be no worse, and says what failed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from deepfake_core.datasets.labelled import Labelled, read_pixels
from deepfake_core.engines.engine import open_engine
from deepfake_core.errors import SourceError
from deepfake_core.evaluation.training_list import list_training
from deepfake_core.models.bundle import Bundle, store_weights, write_description
from deepfake_core.models.decision import Thresholds
from deepfake_core.models.registry import current_version, find_model, promote, register
from deepfake_core.models.registry_log import read_log
from deepfake_core.release.engine_parity import check_engines
from deepfake_core.release.gate import Facts, compare_models, examine
from deepfake_core.release.gate_answers import Answers
from deepfake_core.release.gate_comparison import (
    ALARMS,
    AUC,
    FOUND,
    MISSES,
    OVER_LINE,
    Part,
    Row,
    differences,
    draw,
    floors,
    promises,
)
from deepfake_core.release.gate_config import GateConfig, Limits, Margins
from deepfake_core.release.gate_parts import compare_families, compare_tiers

EASY = GateConfig(
    min_auc=0.5,
    min_tpr_at_1_percent_fpr=0,
    max_fpr_at_fake=1,
    max_fpr_at_fake_degraded=1,
    max_fakes_called_real_in_pictures=1,
    resamples=200,
)
MARGINS = Margins(auc=0.02, found=0.1)
LIMITS = {AUC: -0.02, FOUND: -0.1}
LINES = Thresholds(real_below=0.1, fake_from=0.9)


def whole(count: int, **changes: object) -> Part:
    """All images as a part, on which it must be shown that a candidate is no worse."""
    part = Part("clean", np.ones(count, bool), LIMITS, 0.95)
    return replace(part, **changes)


def each(count: int) -> list[str]:
    """Groups of one image each."""
    return [str(at) for at in range(count)]


@pytest.fixture(scope="module")
def tiny(tiny_registry: Path) -> Bundle:
    return find_model("tiny", tiny_registry)


@pytest.fixture(scope="module")
def faces(tiny: Bundle, image_folder: Callable[..., Path]) -> list[Labelled]:
    """Pictures whose label is what the model ``tiny`` says of them, two in each group."""
    folder = image_folder(60, seed=7)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    images = [Labelled(path, False, f"group {at // 2}", "valid") for at, path in enumerate(paths)]
    engine = open_engine(tiny, kind="openvino", precision="fp32")
    logits = engine.logits(read_pixels(images, size=32))
    labels = logits > np.median(logits)
    return [replace(one, fake=bool(fake)) for one, fake in zip(images, labels, strict=True)]


@pytest.fixture
def make(tiny: Bundle, tmp_path: Path) -> Callable[..., Bundle]:
    """Makes a bundle of ``tiny`` whose outputs are turned by a factor, with what it learnt from."""

    def make_one(version: int, *, turn: float = 1.0, learnt: list[Labelled] = ()) -> Bundle:
        folder = tmp_path / "made" / str(version)
        folder.mkdir(parents=True)
        weights = tiny.weights()
        for name in ("head_out/kernel", "head_out/bias"):
            weights[name] = weights[name] * turn
        store_weights(folder, weights)
        list_training(learnt).write(folder)
        return write_description(folder, tiny.description.model_copy(update={"version": version}))

    return make_one


def test_the_same_model_passes_and_a_reversed_one_is_refused(
    tiny: Bundle, make: Callable[..., Bundle], faces: list[Labelled]
):
    same = compare_models(make(2), tiny, faces, config=EASY, facts=Facts(True))
    assert same.passed
    assert not same.reasons
    against = [row for row in same.table if row.current is not None]
    assert len(against) == 20
    assert {row.bound for row in against} == {0.0}

    worse = compare_models(make(3, turn=-1), tiny, faces, config=EASY, facts=Facts(True))
    assert not worse.passed
    assert any(reason.startswith("AUC on clean: 0.0") for reason in worse.reasons)
    assert any("AUC on jpeg50" in reason and ": worse" in reason for reason in worse.reasons)


def test_floors_hold_for_the_first_model_too(make: Callable[..., Bundle], faces: list[Labelled]):
    reversed_one = make(2, turn=-1)
    found = compare_models(reversed_one, None, faces, config=GateConfig(), facts=Facts(True))
    assert [row.passed for row in found.table if row.images == "clean"] == [False] * 4
    assert "the limit is 0.9" in found.reasons[0]
    assert "no current model" in " ".join(found.notes)


@pytest.mark.parametrize("outcome", [False, None])
def test_the_shortcut_audit_is_required(
    make: Callable[..., Bundle], faces: list[Labelled], outcome: bool | None
):
    candidate = make(2)
    found = compare_models(candidate, None, faces, config=EASY, facts=Facts(outcome))
    assert not found.passed
    assert "shortcut audit" in found.reasons[-1]
    lenient = EASY.model_copy(update={"require_shortcut_audit": False})
    assert compare_models(candidate, None, faces, config=lenient, facts=Facts(outcome)).passed


def test_nobody_is_tested_on_what_it_learnt(
    tiny: Bundle, make: Callable[..., Bundle], faces: list[Labelled], tmp_path: Path
):
    with pytest.raises(SourceError, match=r"was trained or tuned on 2 of the 60"):
        compare_models(make(2, learnt=faces[:1]), tiny, faces, config=EASY)
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(faces[9].path.read_bytes())
    with pytest.raises(SourceError, match="trained or tuned on 1 of the 60"):
        compare_models(make(3, learnt=[Labelled(copy, True, "copy.jpg")]), tiny, faces, config=EASY)
    other = compare_models(make(4), tiny, faces, config=EASY, facts=Facts(True))
    assert other.notes == (f"{tiny.model_id} does not record which images it was trained on",)
    with pytest.raises(SourceError, match="both classes"):
        compare_models(make(5), tiny, [one for one in faces if one.fake], config=EASY)


def answers(rng: np.random.Generator, shared: np.ndarray, *, gap: float) -> Answers:
    """Answers of a model whose fakes score higher by a gap; what is shared repeats in others."""
    fake = np.arange(len(shared)) % 2 == 0
    logits = shared + fake * gap + rng.normal(0, 0.1, len(shared))
    return Answers((1 / (1 + np.exp(-logits))).astype(np.float32), fake, LINES)


def test_no_worse_has_to_be_shown():
    """With many images an equal model passes, with few it does not, and a worse one never."""
    outcomes = {}
    for count in (40, 20_000):
        rng = np.random.default_rng(4)
        shared = rng.normal(0, 1, count)
        current = answers(rng, shared, gap=3)
        equal = answers(rng, rng.normal(0, 1, count), gap=3)
        worse = answers(rng, shared, gap=2)
        samples = draw(each(count), current.fake, EASY)
        for name, candidate in (("equal", equal), ("worse", worse)):
            rows = differences((candidate, current), samples, whole(count))
            outcomes[name, count] = {row.measure: row for row in rows}
    assert all(row.passed for row in outcomes["equal", 20_000].values())
    assert not all(row.passed for row in outcomes["equal", 40].values())
    close = Row("clean", AUC, candidate=0.97, current=0.975, bound=-0.05, limit=-0.02, passed=False)
    assert "too few to show" in close.words()
    for count in (40, 20_000):
        assert not outcomes["worse", count][FOUND].passed
    assert ": worse" in outcomes["worse", 20_000][FOUND].words()
    assert "up to -" in outcomes["worse", 20_000][FOUND].words()


@pytest.mark.parametrize("fake_from", [0.05, 0.5, 0.999])
def test_a_more_careful_line_is_not_a_worse_model(fake_from: float):
    """Where the false alarms are equal, a model's own thresholds change nothing."""
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 1, 2000)
    current, better = answers(rng, shared, gap=3), answers(rng, shared, gap=4)
    careful = replace(better, thresholds=Thresholds(real_below=0.01, fake_from=fake_from))
    samples = draw(each(2000), current.fake, EASY)
    rows = [list(differences((one, current), samples, whole(2000))) for one in (better, careful)]
    assert rows[0] == rows[1]
    assert all(row.passed for row in rows[1])


def test_groups_are_drawn_whole():
    """A hundred copies of one image say no more than that image."""
    fake = np.repeat([True, False, True, False], 100)
    scores = np.repeat(np.array([0.9, 0.1, 0.4, 0.5], np.float32), 100)
    better = Answers(scores, fake, LINES)
    current = Answers(np.where(fake, 0.9, 0.1).astype(np.float32), fake, LINES)
    groups = np.repeat(["a", "b", "c", "d"], 100)
    width = {}
    for name, ids in (("whole", groups), ("single", np.arange(400).astype(str))):
        samples = draw(list(ids), fake, EASY)
        rows = differences((better, current), samples, whole(400))
        width[name] = next(row.bound for row in rows if row.measure == AUC)
    assert width["whole"] < width["single"] < 0


def test_a_family_that_is_lost_is_found_and_chance_is_not():
    """Sixty fakes of a family: an equal model passes, one that is blind to them does not."""
    rng = np.random.default_rng(3)
    count = 1200
    fake = np.arange(count) % 2 == 0
    rare = fake & (np.arange(count) % 20 == 0)
    names = np.where(rare, "diffusion", np.where(fake, "gan", "camera"))
    data = [
        Labelled(Path(f"{at}.png"), bool(is_fake), str(at), source=str(name))
        for at, (is_fake, name) in enumerate(zip(fake, names, strict=True))
    ]
    current = answers(rng, rng.normal(0, 1, count), gap=4)
    equal = answers(rng, rng.normal(0, 1, count), gap=4)
    blind = replace(equal, scores=np.where(rare, rng.uniform(0, 0.5, count), equal.scores))
    rows, notes = compare_families((equal, current), data, EASY)
    assert not notes
    assert {(row.images, row.measure) for row in rows} == {
        ("diffusion", AUC), ("diffusion", FOUND), ("gan", AUC), ("gan", FOUND),
        ("camera", OVER_LINE),
    }  # fmt: skip
    assert all(row.passed for row in rows)
    rows, _ = compare_families((blind, current), data, EASY)
    assert {row.images for row in rows if not row.passed} == {"diffusion"}
    lost = next(row for row in rows if row.images == "diffusion" and row.measure == FOUND)
    assert ": worse" in lost.words()
    assert "at best -" in lost.words()
    few = EASY.model_copy(update={"min_family_images": 61})
    rows, notes = compare_families((blind, current), data, few)
    assert "diffusion has 60 fake images, too few to be judged" in notes
    assert "diffusion" not in {row.images for row in rows}


def test_photographs_of_a_family_must_not_pay_for_the_others():
    rng = np.random.default_rng(4)
    fake = np.arange(2000) % 2 == 0
    old = ~fake & (np.arange(2000) % 10 == 1)
    names = np.where(fake, "gan", np.where(old, "old camera", "camera"))
    data = [
        Labelled(Path(f"{at}.png"), bool(is_fake), str(at), source=str(name))
        for at, (is_fake, name) in enumerate(zip(fake, names, strict=True))
    ]
    current = answers(rng, rng.normal(0, 1, 2000), gap=4)
    # The same scores, dealt out again: the highest are those of the old camera's.
    dealt = current.scores.copy()
    dealt[~fake] = np.sort(current.scores[~fake])
    dealt[old] = np.sort(current.scores[~fake])[-old.sum() :]
    dealt[~fake & ~old] = np.sort(current.scores[~fake])[: -old.sum()]
    rows, _ = compare_families((replace(current, scores=dealt), current), data, EASY)
    (refused,) = [row for row in rows if not row.passed]
    assert (refused.images, refused.measure) == ("old camera", OVER_LINE)
    assert refused.candidate == pytest.approx(0.05)


def test_tiers_leave_out_what_shows_no_face_there():
    rng = np.random.default_rng(5)
    clean = answers(rng, rng.normal(0, 1, 400), gap=4)
    small = replace(clean, scores=np.where(np.arange(400) < 100, np.nan, clean.scores))
    tiers = {"clean": clean, "quarter": small}
    rows = compare_tiers(tiers, tiers, each(400), EASY)
    assert [(row.images, row.bound) for row in rows] == [
        ("clean", 0.0), ("clean", 0.0), ("quarter", 0.0), ("quarter", 0.0)
    ]  # fmt: skip


def test_a_group_of_people_that_fares_worse_is_found(
    tiny: Bundle, make: Callable[..., Bundle], faces: list[Labelled]
):
    config = EASY.model_copy(update={"min_group_images": 5})
    named = [
        replace(one, people={"people_age": "old" if at % 2 else "young"})
        for at, one in enumerate(faces)
    ]
    named[0] = replace(named[0], people={"people_age": "unknown"})
    found = compare_models(make(2, turn=-1), tiny, named, config=config, facts=Facts(True))
    rows = {row.images for row in found.table}
    assert {"people_age old", "people_age young"} <= rows
    assert any(reason.startswith("AUC on people_age old") for reason in found.reasons)
    assert any("people_age unknown has 0 images" in note for note in found.notes)


def test_floors():
    fake = np.arange(200) % 2 == 0
    scores = np.where(fake, 0.99, 0.01).astype(np.float32)
    scores[1:7:2] = 1.0
    found = {row.measure: row for row in floors(Answers(scores, fake, LINES), GateConfig())}
    assert found[AUC].passed
    assert not found[FOUND].passed


def test_what_its_own_labels_promise_is_tested_whatever_the_current_model_does():
    fake = np.arange(200) % 2 == 0
    scores = np.where(fake, 0.5, 0.05).astype(np.float32)
    scores[1:7:2], scores[0:10:2] = 0.95, 0.02
    one = Answers(scores, fake, LINES)
    found = {row.measure: row for row in promises("clean", one, Limits(0.02, 0.05))}
    assert not found[ALARMS].passed
    assert found[ALARMS].candidate == pytest.approx(0.03)
    assert found[MISSES].passed
    assert found[MISSES].candidate == pytest.approx(0.05)
    assert "the limit is 0.02" in found[ALARMS].words()
    assert [row.measure for row in promises("blur", one, Limits(0.03, None))] == [ALARMS]


def test_limits_of_faces_and_of_whole_pictures():
    config = GateConfig()
    assert config.limits("clean", "find") == Limits(0.02, 0.04)
    assert config.limits("jpeg30", "find") == Limits(0.05, 0.04)
    assert config.limits("clean", "frame") == Limits(0.02, 0.16)
    assert config.limits("jpeg30", "frame") == Limits(0.05, None)


def test_margins_of_tiers():
    config = GateConfig(tiers={"blur": MARGINS})
    assert config.margins("blur") == MARGINS
    assert config.margins("half") == config.degraded
    assert config.margins("clean") == config.clean
    with pytest.raises(ValidationError, match="no tier fog"):
        GateConfig(tiers={"fog": MARGINS})


def test_engines_agree_with_keras(tiny: Bundle, make: Callable[..., Bundle], faces: list[Labelled]):
    found = check_engines(tiny, faces)
    assert found.checked
    assert found.passed
    assert found.differences["fp32"]["images"] == 60
    assert 0 <= found.differences["fp32"]["logit"] < 2e-3


def test_an_engine_that_differs_is_refused(
    tiny: Bundle,
    make: Callable[..., Bundle],
    faces: list[Labelled],
    monkeypatch: pytest.MonkeyPatch,
):
    reversed_engine = open_engine(make(2, turn=-1), kind="openvino", precision="fp32")

    def wrong_graph(bundle: Bundle, *, kind: str, precision: str) -> object:
        opened = open_engine(bundle, kind=kind, precision=precision)
        return reversed_engine if kind == "openvino" else opened

    monkeypatch.setattr("deepfake_core.release.engine_parity.open_engine", wrong_graph)
    found = check_engines(tiny, faces)
    assert not found.passed
    assert "fp32 differs from Keras: a logit by" in found.reasons[0]
    assert any("from fake to real" in reason for reason in found.reasons)


def test_without_tensorflow_the_log_says_so(
    make: Callable[..., Bundle],
    faces: list[Labelled],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(
        "deepfake_core.release.engine_parity.importlib.util.find_spec", lambda name: None
    )
    candidate = register(make(1), registry=tmp_path / "models")
    found = examine(candidate, faces, config=EASY, facts=Facts(True), registry=tmp_path / "models")
    assert found.passed
    line = read_log(tmp_path / "models" / "tiny")[-1]
    assert line["what"] == "gate"
    assert "TensorFlow is not installed here" in " ".join(line["notes"])
    promote("tiny", 1, registry=tmp_path / "models")
    assert current_version("tiny", tmp_path / "models") == 1


def test_a_candidate_that_repeats_what_people_corrected_is_refused(
    tiny: Bundle, make: Callable[..., Bundle], faces: list[Labelled]
):
    """The answers agree with ``tiny``; a reversed candidate labels nearly all of them wrongly."""
    facts, config = Facts(True, corrected=faces), EASY.model_copy(update={"min_corrected": 30})
    found = compare_models(make(2, turn=-1), tiny, faces, config=config, facts=facts)
    (row,) = [row for row in found.table if row.images == "what people corrected"]
    assert not row.passed
    assert row.candidate > row.current + 0.3
    assert any(one.startswith("wrongly labelled on what people corrected") for one in found.reasons)
    same = compare_models(make(3), tiny, faces, config=config, facts=facts)
    assert same.passed
    assert any("60 images have an answer of people, 60 of use" in note for note in same.notes)


def test_answers_that_test_nothing_are_counted_and_not_judged(
    tiny: Bundle, make: Callable[..., Bundle], faces: list[Labelled], tmp_path: Path
):
    (tmp_path / "text.jpg").write_text("no image")
    bad = Labelled(tmp_path / "text.jpg", True, "bad")
    candidate = make(2, turn=-1, learnt=faces[:50])
    few, facts = faces[50:], Facts(True, corrected=[*faces, bad])
    found = compare_models(candidate, tiny, few, config=EASY, facts=facts)
    assert not [row for row in found.table if row.images == "what people corrected"]
    assert any("61 images have an answer of people, 10 of use here" in one for one in found.notes)
    assert "at least 20 are needed to compare two models" in found.notes
