"""Networks made elsewhere: read, wrapped, checked, calibrated, registered, and then run."""

import io
import json
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from deepfake_core.cli import main
from deepfake_core.datasets.labelled import read_labelled, read_pixels
from deepfake_core.engines.engine import OpenVinoEngine, open_engine, processor_precisions
from deepfake_core.engines.onnx_graph import foreign_graph, graph_size
from deepfake_core.engines.openvino_graph import save_graph
from deepfake_core.errors import ForeignModelError, ModelError, OutputError, UsageError
from deepfake_core.inference.classifier import Classifier
from deepfake_core.models.bundle import Bundle, Description
from deepfake_core.models.decision import calibrate
from deepfake_core.models.onnx_spec import OnnxSpec
from deepfake_core.models.registry import find_model
from deepfake_core.records import Label
from deepfake_core.release.onnx_import import Foreign, check_scores, import_model
from deepfake_core.release.quantisation import quantise
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from tests.support.full_disk import files_up_to
from tests.support.onnx_files import BIAS, SIZE, WEIGHTS, expected, write_graph, write_onnx

PIXELS = np.random.default_rng(5).integers(0, 256, (20, SIZE, SIZE, 3)).astype(np.uint8)
PIXELS //= np.linspace(1, 3, 20).astype(np.uint8)[:, None, None, None]
OUTPUTS = expected(PIXELS)
GAP = OUTPUTS[:, 1] - OUTPUTS[:, 0]


def logits(path: Path, **given: object) -> np.ndarray:
    """What the wrapped network gives for `PIXELS`."""
    graph = foreign_graph(path, OnnxSpec.model_validate(given))
    engine = OpenVinoEngine(graph, size=graph_size(graph), precision="fp32")
    return engine.logits(PIXELS)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_both_layouts_are_found_and_scored_alike(tmp_path: Path, layout: str) -> None:
    path = write_onnx(tmp_path / "net.onnx", layout=layout)
    np.testing.assert_allclose(logits(path, fake_output=1), GAP, atol=1e-4)
    np.testing.assert_allclose(logits(path, fake_output=0), -GAP, atol=1e-4)
    np.testing.assert_allclose(logits(path, layout=layout), -GAP, atol=1e-4)


def test_colours_and_scaling_are_folded_into_the_graph(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "net.onnx")
    swapped = expected(PIXELS[..., ::-1])
    np.testing.assert_allclose(logits(path, colours="BGR"), -swapped[:, 1], atol=1e-4)
    scaled = logits(path, mean=(10, 20, 30), scale=(2, 4, 8), fake_output=1)
    means = (PIXELS.mean(axis=(1, 2)) - [10, 20, 30]) / [2, 4, 8]
    np.testing.assert_allclose(scaled, (means @ WEIGHTS + BIAS)[:, 1], atol=1e-4)


@pytest.mark.parametrize("end", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_squashed_outputs_are_taken_before_they_were_squashed(tmp_path: Path, end: str) -> None:
    path = write_onnx(tmp_path / "net.onnx", end=end)
    np.testing.assert_allclose(logits(path, fake_output=1), GAP, atol=1e-4)


@pytest.mark.parametrize("end", [None, "Sigmoid"])
def test_one_output_is_a_logit_or_becomes_one(tmp_path: Path, end: str | None) -> None:
    path = write_onnx(tmp_path / "net.onnx", weights=WEIGHTS[:, 1:], bias=BIAS[1:], end=end)
    np.testing.assert_allclose(logits(path), GAP, atol=1e-4)
    np.testing.assert_allclose(logits(path, positive="real"), -GAP, atol=1e-4)


def write_probabilities(path: Path, *, outputs: int) -> Path:
    """Probabilities of one or two classes that come out of no softmax or sigmoid."""
    small = (WEIGHTS[:, 1:] / 10).astype(np.float32)
    constants = {"axes": np.array([1, 2]), "kernel": small, "one": np.ones(1, np.float32)}
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "kernel"], ["odds"]),
        helper.make_node("Add", ["odds", "one"], ["sum"]),
        helper.make_node("Div", ["odds", "sum"], ["fake" if outputs == 2 else "outputs"]),
    ]
    if outputs == 2:
        nodes.append(helper.make_node("Sub", ["one", "fake"], ["real"]))
        nodes.append(helper.make_node("Concat", ["fake", "real"], ["outputs"], axis=1))
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    return write_graph(path, nodes, stored, ["N", SIZE, SIZE, 3])


def test_probabilities_become_log_odds(tmp_path: Path) -> None:
    odds = np.log(PIXELS.mean(axis=(1, 2)) @ WEIGHTS[:, 1] / 10)
    two = write_probabilities(tmp_path / "two.onnx", outputs=2)
    np.testing.assert_allclose(logits(two), odds, atol=1e-4)
    one = write_probabilities(tmp_path / "one.onnx", outputs=1)
    np.testing.assert_allclose(logits(one, output_kind="probability"), odds, atol=1e-4)
    assert (logits(one, output_kind="logit") < 1).all()
    with pytest.raises(ForeignModelError, match="say with --output-kind"):
        foreign_graph(one, OnnxSpec())


def test_an_input_of_any_size_needs_a_size(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "net.onnx", shape=["N", "H", "W", 3])
    assert graph_size(foreign_graph(path, OnnxSpec(size=SIZE))) == SIZE
    with pytest.raises(ForeignModelError, match="say which with --size"):
        foreign_graph(path, OnnxSpec())


def test_a_batch_of_one_is_freed(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "net.onnx", shape=[1, SIZE, SIZE, 3])
    np.testing.assert_allclose(logits(path, fake_output=1), GAP, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        (["N", SIZE, SIZE, 1], {}, "expected three channels"),
        (["N", 3 * SIZE * SIZE], {}, "expected four axes"),
        (["N", SIZE, 48, 3], {}, "expected a square"),
        (["N", SIZE, SIZE, 3], {"size": 64}, "expected 64 x 64"),
        (["N", SIZE, SIZE, 3], {"layout": "NCHW"}, "the layout was given as NCHW"),
        (["N", "C", "H", "W"], {"size": 32}, "say which with --layout"),
    ],
)
def test_wrong_inputs_are_named(
    tmp_path: Path, shape: list[object], given: dict[str, object], message: str
) -> None:
    node = helper.make_node("Identity", ["pixels"], ["outputs"])
    path = write_graph(tmp_path / "net.onnx", [node], [], shape)
    with pytest.raises(ForeignModelError, match=message):
        foreign_graph(path, OnnxSpec.model_validate(given))


def test_wrong_outputs_are_named(tmp_path: Path) -> None:
    wide = np.repeat(WEIGHTS, 5, axis=1)
    path = write_onnx(tmp_path / "wide.onnx", weights=wide, bias=np.zeros(10, np.float32))
    with pytest.raises(ForeignModelError, match=r"gives 10 values .* expected one or two"):
        foreign_graph(path, OnnxSpec())
    nodes = [helper.make_node("Identity", ["pixels"], [f"outputs{at or ''}"]) for at in (0, 1)]
    path = write_graph(tmp_path / "two.onnx", nodes, [], ["N", SIZE, SIZE, 3], outputs=2)
    with pytest.raises(ForeignModelError, match="has 2 outputs; expected one"):
        foreign_graph(path, OnnxSpec())
    shape = numpy_helper.from_array(np.array([1, -1]), "shape")
    node = helper.make_node("Reshape", ["pixels", "shape"], ["outputs"])
    path = write_graph(tmp_path / "fixed.onnx", [node], [shape], ["N", SIZE, SIZE, 3])
    with pytest.raises(ForeignModelError, match="batch"):
        foreign_graph(path, OnnxSpec())


def test_files_that_hold_no_network_are_named(tmp_path: Path) -> None:
    with pytest.raises(ForeignModelError, match="there is no ONNX file"):
        foreign_graph(tmp_path / "none.onnx", OnnxSpec())
    whole = write_onnx(tmp_path / "whole.onnx").read_bytes()
    for name, content in (("text", b"no network\n" * 20), ("half", whole[:150]), ("empty", b"")):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(ForeignModelError, match=r"not an ONNX file|holds no network"):
            foreign_graph(path, OnnxSpec())
    node = helper.make_node("Fancy", ["pixels"], ["outputs"], domain="elsewhere")
    path = write_graph(tmp_path / "fancy.onnx", [node], [], ["N", SIZE, SIZE, 3])
    with pytest.raises(ForeignModelError, match=r"operations that OpenVINO does not know.*Fancy"):
        foreign_graph(path, OnnxSpec())


def test_weights_beside_the_file_are_taken_or_missed(tmp_path: Path) -> None:
    model = onnx.load(write_onnx(tmp_path / "net.onnx"))
    options = {"save_as_external_data": True, "size_threshold": 0, "location": "net.bin"}
    onnx.save_model(model, tmp_path / "net.onnx", **options)
    np.testing.assert_allclose(logits(tmp_path / "net.onnx", fake_output=1), GAP, atol=1e-4)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ForeignModelError, match="another file that is missing"):
        foreign_graph(tmp_path / "net.onnx", OnnxSpec())


def save_face(path: Path, *, fake: bool, seed: int) -> None:
    """A picture of noise, bright where it is fake; as large a file as one that is real."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(rng.normal(150 if fake else 105, 20, (40, 40, 3)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces")
    for index in range(60):
        for kind in ("real", "fake"):
            seed = 2 * index + (kind == "fake")
            save_face(root / kind / f"{kind}{index}.png", fake=kind == "fake", seed=seed)
    return root


def test_scores_that_say_nothing_are_named(tmp_path: Path, faces: Path) -> None:
    path = write_onnx(tmp_path / "net.onnx")
    images = read_labelled(faces)
    half = images[:20] + images[-20:]

    def check(path: Path, **given: object) -> None:
        graph = foreign_graph(path, OnnxSpec.model_validate(given))
        check_scores(OpenVinoEngine(graph, size=SIZE, precision="fp32"), half, size=SIZE)

    check(path, fake_output=1)
    with pytest.raises(ForeignModelError, match=r"reversed: AUC 0.000.*other --fake-output"):
        check(path, fake_output=0)
    with pytest.raises(ForeignModelError, match="same score"):
        check(write_onnx(tmp_path / "constant.onnx", weights=0 * WEIGHTS))
    with pytest.raises(ForeignModelError, match="no finite number for 40 of 40"):
        check(write_onnx(tmp_path / "nan.onnx", weights=np.nan * WEIGHTS))


def test_a_score_that_depends_on_its_batch_is_named(tmp_path: Path, faces: Path) -> None:
    constants = {"axes": np.array([1, 2]), "first": np.array([0]), "kernel": WEIGHTS}
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "first"], ["mean"]),
        helper.make_node("Add", ["pixels", "mean"], ["centred"]),
        helper.make_node("ReduceMean", ["centred", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "kernel"], ["outputs"]),
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    path = write_graph(tmp_path / "net.onnx", nodes, stored, ["N", SIZE, SIZE, 3])
    images = read_labelled(faces)
    graph = foreign_graph(path, OnnxSpec(fake_output=1))
    engine = OpenVinoEngine(graph, size=SIZE, precision="fp32")
    with pytest.raises(ForeignModelError, match="other images in its batch"):
        check_scores(engine, images[:23] + images[-20:], size=SIZE)


def given(path: Path, data: Path, registry: Path) -> list[str]:
    """The command up to what differs from test to test."""
    return ["models", "import", str(path), "--data", str(data), "--registry", str(registry)]


@pytest.fixture(scope="module")
def imported(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry into which the command put ``bright@1``."""
    folder = tmp_path_factory.mktemp("imported")
    path = write_onnx(folder / "bright.onnx", layout="NCHW", end="Softmax")
    (folder / "models").mkdir()
    status = main(
        [*given(path, faces, folder / "models"), "--name", "bright", "--fake-output", "1"]
    )
    assert status == 0
    return folder / "models"


@pytest.fixture
def bright(imported: Path) -> Bundle:
    return find_model("bright", imported)


def test_an_imported_network_is_current_and_measured(bright: Bundle) -> None:
    assert bright.model_id.startswith("bright@1+")
    description = bright.description
    assert description.figures["report"]["auc"] == 1.0
    assert description.figures["report_jpeg75"]["images"] == description.figures["report"]["images"]
    assert description.foreign is not None
    assert description.foreign.size == SIZE
    assert description.training["imported"] == "bright.onnx"
    assert (bright.folder / "card.md").is_file()
    assert not list(bright.folder.glob("*.onnx"))


def test_every_qualified_precision_runs(bright: Bundle, faces: Path) -> None:
    images = read_labelled(faces)
    pixels = read_pixels([*images[:20], *images[-20:]], size=SIZE)
    outputs = expected(pixels)
    exact = (outputs[:, 1] - outputs[:, 0]).astype(np.float32)
    curve = bright.description.calibration
    for precision in set(bright.description.precisions) & processor_precisions():
        found = open_engine(bright, kind="openvino", precision=precision).logits(pixels)
        if precision == "fp32":
            np.testing.assert_allclose(found, exact, atol=1e-4)
        own = bright.description.curve(precision).calibration
        assert np.abs(calibrate(found, own) - calibrate(exact, curve)).mean() < 0.03, precision


def test_it_judges_as_any_other_model(bright: Bundle, faces: Path) -> None:
    engine = open_engine(bright, kind="openvino", precision="fp32")
    contents = [(faces / kind / f"{kind}0.png").read_bytes() for kind in ("real", "fake")]
    judged = Classifier(bright, engine).judge(contents).judgements
    assert [one.label for one in judged] == [Label.REAL, Label.FAKE]


def test_it_scans_a_folder(imported: Path, faces: Path, tmp_path: Path) -> None:
    config = ScanConfig(source=str(faces), output=str(tmp_path), model="bright", limit=10)
    result = scan(config, registry=imported)
    assert result["model_id"].startswith("bright@1+")
    assert result["judged"] == 10


def test_a_scan_asks_it_about_known_pictures(imported: Path, faces: Path, tmp_path: Path) -> None:
    config = ScanConfig(source=str(faces), output=str(tmp_path / "out"), model="bright")
    result = scan(config, registry=imported)
    run = json.loads((tmp_path / "out" / "runs" / result["run_id"] / "run.json").read_text())
    assert run["canaries"] == {"checked": [result["model_id"]], "drifts": []}


def test_keras_refuses_it_in_words(bright: Bundle) -> None:
    with pytest.raises(ModelError, match=r"imported from ONNX.*openvino engine"):
        open_engine(bright, kind="keras", precision="fp32")


def test_a_damaged_network_is_refused(bright: Bundle, tmp_path: Path) -> None:
    for path in bright.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "network.bin").open("r+b") as stream:
        stream.write(b"\x01\x02")
    damaged = Bundle(tmp_path, bright.description, bright.digest)
    with pytest.raises(ModelError, match="changed or damaged"):
        open_engine(damaged, kind="openvino", precision="fp32")


def test_a_refused_network_is_kept_and_not_current(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It looks at red against green, which say little here."""
    weights = np.array([[0, 5.015], [0, -4.985], [0, 0.015]], np.float32)
    path = write_onnx(tmp_path / "red.onnx", weights=weights, bias=np.zeros(2, np.float32))
    command = [*given(path, faces, tmp_path), "--name", "red", "--fake-output", "1", "--json"]
    assert main([*command, "--no-int8"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["gate"]["reasons"]
    red = find_model("red@1", tmp_path)
    assert red.model_id == told["model_id"]
    assert red.description.qualification["int8"] == {}
    with pytest.raises(ModelError, match="no version of red is current"):
        find_model("red", tmp_path)


def test_wrong_usage_is_named(faces: Path, tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="names no model"):
        import_model(Foreign(path, OnnxSpec(), "Not A Name"), faces, registry=tmp_path)
    with pytest.raises(ValueError, match="scale not 0"):
        OnnxSpec(scale=(1, 0, 1))
    assert main([*given(path, faces, tmp_path / "none"), "--name", "a"]) == 2


def test_a_bundle_is_made_here_or_elsewhere(bright: Bundle) -> None:
    both = bright.description.model_dump() | {"foreign": None}
    with pytest.raises(ValueError, match="either an architecture or a foreign network"):
        Description.model_validate(both)


def test_quantising_leaves_standard_output_to_the_result(tmp_path: Path, capfd):
    graph = foreign_graph(write_onnx(tmp_path / "tiny.onnx"), OnnxSpec())
    # Its remarks on layers that are kept as they are come through a handler made at its import.
    from deepfake_core.engines.libraries import nncf

    handlers = nncf.common.logging.logger.nncf_logger.handlers
    assert quantise(graph, PIXELS[:2], keep_ends=True)
    assert capfd.readouterr().out == ""
    assert handlers
    assert all(handler.level >= logging.ERROR for handler in handlers)


def test_a_full_disk_at_export_is_named(tmp_path: Path, faces: Path) -> None:
    path = write_onnx(tmp_path / "net.onnx")
    graph = foreign_graph(path, OnnxSpec(fake_output=1))
    words = r"int8\.xml .* MB are free .* registry did not change"
    with pytest.raises(OutputError, match=words), files_up_to(1000):
        save_graph(graph, tmp_path / "int8.xml")
    foreign = Foreign(path, OnnxSpec(fake_output=1), "bright", int8=False)
    with pytest.raises(OutputError, match="registry did not change"), files_up_to(1000):
        import_model(foreign, faces, registry=tmp_path / "models")
    assert not (tmp_path / "models").exists()
