"""What comes from outside names no other place, runs no code, and forges no report."""

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import httpx
import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest

from deepfake_core import cli
from deepfake_core.datasets.checks.inspection import inspect
from deepfake_core.datasets.checks.report import render as render_inspection
from deepfake_core.datasets.labelled import list_labelled, read_labelled
from deepfake_core.engines.onnx_graph import foreign_graph
from deepfake_core.errors import ForeignModelError, ModelError, SourceError
from deepfake_core.evaluation.config import EvaluateConfig
from deepfake_core.evaluation.measurement import evaluate
from deepfake_core.evaluation.report import render as render_evaluation
from deepfake_core.models.bundle import WEIGHTS_FILE, read_bundle, write_description
from deepfake_core.models.onnx_spec import OnnxSpec
from deepfake_core.models.registry import find_model
from deepfake_core.records import FailureCode, Json
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from deepfake_core.serve.config import ServeConfig
from deepfake_core.serve.server import Serving
from deepfake_core.training.initial_weights import read_initial_weights
from deepfake_core.training.recipe import TrainConfig
from tests.conftest import TINY
from tests.support.onnx_files import write_onnx
from tests.support.serving import address, code_of, running

SCRIPT = "<script>alert(1)</script>"
ODD_NAMES = (
    f"{SCRIPT}.jpg",
    "<img src=x onerror=alert(1)>.jpg",
    "line\n# Of 0 judged images.jpg",
    "\x1b[31mred\x07.jpg",
    "safe\u202egpj.exe",
    "[click](http:||evil.example).jpg",
    "%2e%2e%2fup.jpg",
    "...jpg"[1:],
)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def status_of(*words: object) -> int:
    try:
        return cli.main([str(word) for word in words])
    except SystemExit as ended:
        return int(str(ended.code))


class Mark:
    """Unpickled, it leaves a file: what an attacker's code would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self.path,))


# Labelled folders


@pytest.fixture
def labelled(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    folder = tmp_path / "labelled"
    for index, kind in enumerate(("real", "fake")):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "a.jpg").write_bytes(picture(index))
    (tmp_path / "secret.jpg").write_bytes(picture(9))
    return folder


def write_manifest(folder: Path, path: str) -> None:
    (folder / "manifest.csv").write_text(f'path,label\nreal/a.jpg,real\n"{path}",fake\n')


@pytest.mark.parametrize(
    "path", ["../secret.jpg", "real/../../secret.jpg", "{folder}/../secret.jpg", "/etc/hostname"]
)
def test_a_manifest_names_nothing_outside_of_its_folder(labelled: Path, path: str):
    write_manifest(labelled, path.format(folder=labelled))
    with pytest.raises(SourceError, match="lies outside the folder"):
        read_labelled(labelled)


@pytest.mark.parametrize("path", ["~/secret.jpg", "$HOME/secret.jpg", "file:///etc/hostname"])
def test_a_path_of_a_manifest_is_taken_as_it_is(labelled: Path, path: str):
    write_manifest(labelled, path)
    assert "does not exist" in list_labelled(labelled).problems[0]


def test_linked_folders_of_a_labelled_folder_are_not_entered(labelled: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "secret.jpg", tmp_path / "elsewhere")
    (labelled / "real" / "loop").symlink_to(labelled)
    (labelled / "real" / "away").symlink_to(tmp_path / "elsewhere")
    # Who puts a linked file into a class folder labels the image that it leads to.
    (labelled / "real" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    found = [image.path.relative_to(labelled).as_posix() for image in read_labelled(labelled)]
    assert found == ["fake/a.jpg", "real/a.jpg", "real/link.jpg"]


# Sources of scans


@pytest.fixture
def judge(tiny_registry: Path, tmp_path: Path) -> Callable[..., Json]:
    """Scans a source into ``out``."""

    def run(source: object, **settings: object) -> Json:
        output = str(tmp_path / "out")
        config = ScanConfig(source=str(source), output=output, model="tiny", **settings)
        return scan(config, registry=tiny_registry)

    return run


def test_a_local_source_is_left_by_linked_files_only(
    judge: Callable[..., Json], picture: Callable[..., bytes], tmp_path: Path
):
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    (source / "below").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "a.jpg").write_bytes(picture(1))
    (source / "away").symlink_to(elsewhere)
    (source / "up").symlink_to("..")
    (source / "below" / "loop").symlink_to(source)
    (source / "below" / "knot").symlink_to("knot")
    (source / "link.jpg").symlink_to(elsewhere / "a.jpg")
    (source / "no image.jpg").symlink_to("/etc/hostname")
    result = judge(source)
    rows = pq.read_table(result["verdicts"]).to_pylist()
    assert [row["image"] for row in rows] == ["link.jpg", "no image.jpg"]
    assert rows[0]["status"] == "ok"
    # What a link leads to is judged, and of what is no image nothing is told.
    assert rows[1]["failure"] == FailureCode.DECODE_UNSUPPORTED
    assert Path("/etc/hostname").read_text().strip() not in str(rows[1]["detail"])


def test_odd_names_forge_no_line_and_no_element_of_a_report(
    judge: Callable[..., Json], picture: Callable[..., bytes], tmp_path: Path
):
    source = tmp_path / "source"
    (source / SCRIPT.replace("/", "")).mkdir(parents=True)
    for index, name in enumerate(ODD_NAMES):
        name = name.replace("/", "")
        (source / name).write_bytes(picture(index) if index % 2 else b"no image")
    result = judge(source)
    folder = Path(result["report"]).parent
    page, text = (folder / "report.html").read_text(), (folder / "summary.md").read_text()
    for tag in ("<script", "<img src=x", "\x1b", "\x07", "\u202e"):
        assert tag not in page + text
    assert "&lt;script&gt;" in page
    assert "&lt;script&gt;" in text
    assert not [line for line in text.splitlines()[1:] if line.startswith("#")]
    assert "[click](" not in text
    listed = {row["image"] for row in pq.read_table(result["verdicts"]).to_pylist()}
    assert listed == {name.replace("/", "") for name in ODD_NAMES if name[0] != "."}


@pytest.fixture
def memory(picture: Callable[..., bytes]) -> Iterator[str]:
    """A store whose names are no paths: they hold ``..`` and control characters."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pipe({"/in/a.jpg": picture(0), "/in/line\nbreak.jpg": picture(1)})
    system.store["/in/x/../../up.jpg"] = system.store["/in/a.jpg"]
    yield "memory://in"
    system.store.clear()


def test_names_of_objects_write_nowhere(
    memory: str, judge: Callable[..., Json], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    result = judge(memory, run_id="r")
    assert result["judged"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    written = {name.partition("/")[0] for name in contents(tmp_path / "out")}
    assert {name for name in written if name[0] != "."} == {
        "chain.json",
        "latest.parquet",
        "runs",
        "verdicts",
    }
    images = pq.read_table(result["verdicts"])["image"].to_pylist()
    # A name with a part that begins with a dot is hidden, and ``..`` is one.
    assert images == ["a.jpg", "line\nbreak.jpg"]


# Reports of labelled folders


def test_the_evaluation_and_the_data_report_escape_what_a_manifest_says(
    labelled: Path, picture: Callable[..., bytes], tiny_registry: Path, tmp_path: Path
):
    name = "<img src=x onerror=alert(1)>"
    rows = ["path,label,split,generator,group_id,people_<script>age"]
    for index in range(24):
        kind = ("real", "fake")[index % 2]
        path = f"{kind}/{index}{name}.jpg"
        (labelled / path).write_bytes(picture(index))
        made = f"{SCRIPT}{index % 3}" if index % 2 else ""
        rows.append(f"{path},{kind},<b>valid</b>,{made},{index},<script>{index % 2}")
    (labelled / "manifest.csv").write_text("\n".join(rows) + "\n")
    bundle = find_model("tiny", tiny_registry)
    evaluation = evaluate(bundle, labelled, config=EvaluateConfig(tiers=False))
    pages = [render_evaluation(evaluation, bundle, tmp_path / "evaluation")["report"]]
    pages.append(render_inspection(inspect(labelled), tmp_path / "audit"))
    for page in pages:
        html = Path(page).read_text()
        assert "&lt;" in html
        for tag in ("<script", "<img src=x", "<b>valid"):
            assert tag not in html, page


# Models


@pytest.fixture
def registry(tiny_registry: Path, tmp_path: Path) -> Path:
    """A copy of the registry, beside a model that only a path leads to."""
    shutil.copytree(tiny_registry / "tiny", tmp_path / "outside")
    shutil.copytree(tiny_registry, tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def changed(registry: Path) -> Path:
    """A registry in which one bit of a weight is another."""
    path = registry / "tiny" / "1" / WEIGHTS_FILE
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    return registry


def test_a_changed_bundle_is_refused_by_commands(
    changed: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for words in (
        ("scan", labelled, "--model", "tiny", "--output", tmp_path / "out"),
        ("evaluate", "tiny", "--data", labelled, "--output", tmp_path / "evaluation"),
        ("models", "promote", "tiny@1", "--force", "--why", "a test"),
    ):
        assert status_of(*words, "--registry", changed) == 2, words
        assert "it was changed or damaged" in capsys.readouterr().err
    assert not (tmp_path / "out" / "verdicts").exists()


def test_a_changed_bundle_is_refused_by_the_service(changed: Path):
    service = Serving(ServeConfig(port=0, model="tiny"), registry=changed)
    with ThreadPoolExecutor() as threads, pytest.raises(ModelError, match="changed or damaged"):
        threads.submit(service.run).result(120)


def test_a_bundle_names_no_file_outside_of_its_folder(registry: Path):
    path = registry / "tiny" / "1" / "bundle.json"
    described = json.loads(path.read_text())
    for name in ("../secret", "/etc/passwd", "a/b", "..", ".", ""):
        path.write_text(json.dumps(described | {"files": {name: "0" * 64}}))
        with pytest.raises(ModelError, match="is not a bundle: files"):
            read_bundle(path.parent)


def pickled(mark: Path) -> bytes:
    """An archive of weights, one of which is a pickle."""
    array = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(array, header)
    pickle.dump(Mark(mark), array)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("head_out/bias.npy", array.getvalue())
    return archive.getvalue()


def test_weights_with_a_pickle_run_nothing(registry: Path, tmp_path: Path):
    mark = tmp_path / "mark"
    content = pickled(mark)
    with np.load(io.BytesIO(content), allow_pickle=True) as stored:
        stored["head_out/bias"]
    mark.unlink()  # so it would have been: the file is what it claims to be
    folder = registry / "tiny" / "1"
    (folder / WEIGHTS_FILE).write_bytes(content)
    bundle = write_description(folder, read_bundle(folder).description)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        bundle.weights()
    (folder / WEIGHTS_FILE).write_bytes(pickle.dumps(Mark(mark)))
    with pytest.raises(ModelError, match="cannot be read as weights"):
        write_description(folder, bundle.description).weights()
    start = tmp_path / "start.npz"
    for data in (content, pickle.dumps(Mark(mark))):
        start.write_bytes(data)
        with pytest.raises(ModelError, match="cannot be read as weights"):
            read_initial_weights(TrainConfig(start=str(start)))
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore")  # Keras' own, of its old format
def test_code_in_a_keras_file_is_not_run(tmp_path: Path, suffix: str):
    import keras

    mark = tmp_path / "mark"
    touch = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    layer = keras.layers.Lambda(eval(f"lambda x: ({touch}, x)[1]"), output_shape=(8,))
    network = keras.Sequential([keras.Input((8,)), layer, keras.layers.Dense(2)])
    path = tmp_path / f"lambda{suffix}"
    network.save(path)
    keras.saving.load_model(path, safe_mode=False)(np.zeros((1, 8)))
    assert mark.exists(), "the file holds no code: the test says nothing"
    mark.unlink()
    with pytest.raises(ModelError, match="holds neither the backbone nor the whole network"):
        read_initial_weights(TrainConfig(start=str(path), architecture=TINY))
    assert not mark.exists()


@pytest.mark.parametrize("place", ["../net.bin", "{folder}/net.bin", "link.bin"])
def test_an_onnx_file_reads_no_weights_outside_of_its_folder(tmp_path: Path, place: str):
    folder = tmp_path / "net"
    folder.mkdir()
    path = folder / "net.onnx"
    model = onnx.load(write_onnx(path))
    options = {"save_as_external_data": True, "size_threshold": 0, "location": "net.bin"}
    onnx.save_model(model, path, **options)
    (folder / "net.bin").rename(tmp_path / "net.bin")
    (folder / "link.bin").symlink_to(tmp_path / "net.bin")
    changed = onnx.load(path, load_external_data=False)
    for tensor in changed.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = place.format(folder=tmp_path)
    path.write_bytes(changed.SerializeToString())
    with pytest.raises(ForeignModelError, match="lie outside its folder"):
        foreign_graph(path, OnnxSpec())


# Names of runs and of models


@pytest.fixture
def finished(judge: Callable[..., Json], image_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """The output of a finished run, and two more of the same that only paths lead to."""
    judge(image_folder(4), run_id="r")
    output = tmp_path / "out"
    shutil.copytree(output / "runs" / "r", output / "outside")
    shutil.copytree(output / "runs" / "r", output, dirs_exist_ok=True)
    (published,) = output.glob("verdicts/*/r.parquet")
    for place in ("verdicts/outside.parquet", "verdicts/...parquet"):
        shutil.copy(published, output / place)
    return output


@pytest.mark.parametrize("run_id", ["../outside", "..", ".", "r/../../outside", "r\n", "/etc", ""])
def test_no_command_takes_a_path_for_a_run(
    finished: Path, labelled: Path, tiny_registry: Path, run_id: str
):
    output, before = ("--output", finished), contents(finished)
    model = ("--model", "tiny", "--registry", tiny_registry)
    for words in (
        ("scan", labelled, "--run-id", run_id, *output, *model),
        ("report", run_id, *output),
        ("redecide", run_id, "--thresholds", "0.1,0.2", *output),
        ("changes", run_id, run_id, *output),
        ("retrain", "--data", labelled, "--run-id", run_id, *output),
    ):
        assert status_of(*words) == 2, words
    assert contents(finished) == before


@pytest.mark.parametrize("name", ["../outside", "../outside@1", "tiny/../../outside", "..", "/etc"])
def test_no_command_takes_a_path_for_a_model(
    registry: Path, labelled: Path, tmp_path: Path, name: str
):
    output, before = ("--output", tmp_path / "out"), contents(tmp_path)
    onnx_file = write_onnx(tmp_path / "net.onnx")
    before = contents(tmp_path)
    for words in (
        ("scan", labelled, "--model", name, *output),
        ("evaluate", name, "--data", labelled, *output),
        ("models", "show", name),
        ("models", "promote", name, "--force", "--why", "a test"),
        ("models", "rollback", name, "--why", "a test"),
        ("models", "import", onnx_file, "--name", name, "--data", labelled),
        ("retrain", "--data", labelled, "--name", name, *output),
        ("serve", "--model", name, "--port", 0),
        ("app", "--model", name, "--port", 0),
    ):
        assert status_of(*words, "--registry", registry) == 2, words
    assert contents(tmp_path) == before


def test_the_service_takes_no_path(tiny_registry: Path, picture: Callable[..., bytes]):
    with running(tiny_registry) as serving, httpx.Client(base_url=address(serving)) as client:
        model = client.post("/verdicts", files={"img": picture(1)}).json()[0]["model_id"]
        for place in (
            "/..%2f..%2fetc%2fpasswd",
            "/docs/..%2f..%2fetc/hostname",
            "/models/..%2ftiny",
        ):
            answer = client.get(place)
            assert (answer.status_code, code_of(answer)) == (404, "request.not_found")
        named = {"model": "../outside", "run_id": "../outside", "registry": "/etc"}
        answer = client.post("/verdicts", params=named, files={"img": ("../../x", picture(1))})
        (verdict,) = answer.json()
        assert (verdict["model_id"], verdict["run_id"]) == (model, None)
        assert ".." not in verdict["image"]
        answer = client.post("/verdicts", data=named, files={"img": picture(1)})
        assert answer.is_client_error or answer.json()[0]["model_id"] == model
