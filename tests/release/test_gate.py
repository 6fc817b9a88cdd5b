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
from deepfake_core.models.registry import current_version, find_model, promote, register
from deepfake_core.models.registry_log import read_log
from deepfake_core.release.engine_parity import check_engines
from deepfake_core.release.gate import Facts, compare_models, examine
from deepfake_core.release.gate_comparison import (
    ALARMS,
    AUC,
    FOUND,
    Answers,
    Row,
    differences,
    draw,
    floors,
)
from deepfake_core.release.gate_config import GateConfig, Margins

EASY = GateConfig(min_auc=0.5, min_tpr_at_1_percent_fpr=0, max_fpr_at_fake=1, resamples=200)
MARGINS = Margins(auc=0.02, found=0.1, alarms=0.05)


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
    assert len(against) == 30
    assert {row.bound for row in against} == {0.0}

    worse = compare_models(make(3, turn=-1), tiny, faces, config=EASY, facts=Facts(True))
    assert not worse.passed
    assert any(reason.startswith("AUC on clean: 0.0") for reason in worse.reasons)
    assert any("AUC on jpeg50" in reason and ": worse" in reason for reason in worse.reasons)


def test_floors_hold_for_the_first_model_too(make: Callable[..., Bundle], faces: list[Labelled]):
    reversed_one = make(2, turn=-1)
    found = compare_models(reversed_one, None, faces, config=GateConfig(), facts=Facts(True))
    assert [row.passed for row in found.table] == [False, False, False]
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


def judged(rng: np.random.Generator, count: int, *, gap: float, shared: np.ndarray) -> Answers:
    fake = np.arange(count) % 2 == 0
    scores = 1 / (1 + np.exp(-(shared + fake * gap + rng.normal(0, 0.1, count))))
    return Answers(scores.astype(np.float32), scores > 0.9, fake)


def test_no_worse_has_to_be_shown():
    """With many images an equal model passes, with few it does not, and a worse one never."""
    outcomes = {}
    for count in (40, 4000):
        rng = np.random.default_rng(1)
        shared = rng.normal(0, 1, count)
        current = judged(rng, count, gap=3, shared=shared)
        equal = judged(rng, count, gap=3, shared=rng.normal(0, 1, count))
        worse = judged(rng, count, gap=2, shared=shared)
        samples = draw([str(at) for at in range(count)], current.fake, EASY)
        for name, candidate in (("equal", equal), ("worse", worse)):
            pair = (candidate, current)
            rows = differences("clean", pair, samples, margins=MARGINS, confidence=0.95)
            outcomes[name, count] = {row.measure: row for row in rows}
    assert all(row.passed for row in outcomes["equal", 4000].values())
    assert not outcomes["equal", 40][FOUND].passed
    close = Row("clean", AUC, candidate=0.97, current=0.975, bound=-0.05, limit=-0.02, passed=False)
    assert "too few to show" in close.words()
    for count in (40, 4000):
        assert not outcomes["worse", count][FOUND].passed
    assert ": worse" in outcomes["worse", 4000][AUC].words()
    assert outcomes["worse", 4000][ALARMS].passed


def test_groups_are_drawn_whole():
    """A hundred copies of one image say no more than that image."""
    fake = np.repeat([True, False, True, False], 100)
    scores = np.repeat(np.array([0.9, 0.1, 0.4, 0.5], np.float32), 100)
    better = Answers(scores, scores > 0.8, fake)
    current = Answers(np.where(fake, 0.9, 0.1).astype(np.float32), fake, fake)
    groups = np.repeat(["a", "b", "c", "d"], 100)
    width = {}
    for name, ids in (("whole", groups), ("single", np.arange(400).astype(str))):
        samples = draw(list(ids), fake, EASY)
        rows = differences("x", (better, current), samples, margins=MARGINS, confidence=0.95)
        width[name] = next(row.bound for row in rows if row.measure == AUC)
    assert width["whole"] < width["single"] < 0


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
    found = {row.measure: row for row in floors(Answers(scores, scores > 0.9, fake), GateConfig())}
    assert found[AUC].passed
    assert not found[ALARMS].passed
    assert found[ALARMS].candidate == pytest.approx(0.03)
    assert not found["fakes found at 1 % false alarms"].passed


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
