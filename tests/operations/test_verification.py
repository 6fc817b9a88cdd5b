"""A run can be checked from its files alone, every changed byte is found, and images are judged
again."""

import contextlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_core import cli
from deepfake_core.operations.verification import verify_files
from deepfake_core.records import Json
from deepfake_core.results.file_hashes import newest_hashes, read_links
from deepfake_core.results.store import Results
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from deepfake_core.storage.local import LocalStorage

Verify = Callable[..., tuple[int, Json]]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private key, and the public one of another."""
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization as how
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    folder = tmp_path_factory.mktemp("keys")
    private, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate().public_key()
    plain = how.NoEncryption()
    (folder / "key.pem").write_bytes(
        private.private_bytes(how.Encoding.PEM, how.PrivateFormat.PKCS8, plain)
    )
    form = how.PublicFormat.SubjectPublicKeyInfo
    (folder / "other.pem").write_bytes(other.public_bytes(how.Encoding.PEM, form))
    return folder / "key.pem", folder / "other.pem"


@pytest.fixture(scope="module")
def scanned(
    image_folder: Callable[..., Path],
    tiny_registry: Path,
    tmp_path_factory: pytest.TempPathFactory,
    keys: tuple[Path, Path],
) -> Path:
    """An output with the runs first and second; the second is signed."""
    output = tmp_path_factory.mktemp("out")
    source = image_folder(8, broken=True)
    more = {"output": str(output), "model": "tiny", "shard_size": 4, "source": str(source)}
    scan(ScanConfig(**more, run_id="first"), registry=tiny_registry)
    second = ScanConfig(**more, run_id="second", full=True, sign_with=str(keys[0]))
    scan(second, registry=tiny_registry)
    return output


@pytest.fixture
def output(scanned: Path, tmp_path: Path) -> Path:
    return shutil.copytree(scanned, tmp_path / "copy")


@pytest.fixture
def verify(output: Path, tiny_registry: Path, capsys: pytest.CaptureFixture[str]) -> Verify:
    def run(run_id: str, *options: str) -> tuple[int, Json]:
        capsys.readouterr()
        place = ["--output", str(output), "--registry", str(tiny_registry), "--json"]
        status = cli.main(["verify-run", run_id, *place, *options])
        return status, json.loads(capsys.readouterr().out)

    return run


def files_of(output: Path, run_id: str) -> list[Path]:
    return [
        *(path for path in (output / "runs" / run_id).rglob("*") if path.is_file()),
        *output.glob(f"verdicts/*/{run_id}.parquet"),
    ]


def problems(output: Path, run_id: str) -> list[str]:
    return verify_files(Results(LocalStorage(output)), run_id).problems


def test_a_run_is_as_it_was_published(verify: Verify):
    status, found = verify("first", "--sample", "100")
    assert (status, found["problems"]) == (0, [])
    # Three parts, manifest, verdicts, run.json, summary.json and .md, report.
    assert (found["files"], found["links"]) == (9, 1)
    assert (found["judged_again"], found["same"], found["gone"]) == (8, 8, 0)


def test_every_changed_byte_is_found(output: Path):
    chance = random.Random(0)
    for file in files_of(output, "first"):
        data = file.read_bytes()
        for place in {0, len(data) - 1, *(chance.randrange(len(data)) for _ in range(12))}:
            other = bytearray(data)
            other[place] ^= 1 << chance.randrange(8)
            file.write_bytes(other)
            assert problems(output, "first"), (file.name, place)
        file.write_bytes(data)
    assert problems(output, "first") == []


def test_files_that_are_missing_cut_or_added_are_found(output: Path):
    for file in files_of(output, "first"):
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 2])
        assert problems(output, "first"), file
        file.unlink()
        assert problems(output, "first"), file
        file.write_bytes(data)
    part = output / "runs/first/parts/part-00000.parquet"
    shutil.copy(part, part.with_name("part-00007.parquet"))
    assert ["part-00007.parquet was not published" in one for one in problems(output, "first")]
    day = output / "verdicts/run_date=2020-01-01"
    day.mkdir()
    shutil.copy(next(output.glob("verdicts/*/first.parquet")), day)
    assert len(problems(output, "first")) == 2


def test_a_run_put_in_the_place_of_another_is_found(output: Path):
    shutil.rmtree(output / "runs/first")
    shutil.copytree(output / "runs/second", output / "runs/first")
    assert any("does not follow" in one for one in problems(output, "first"))
    # The second names the first one's link as the one before it.
    assert any("another chain" in one for one in problems(output, "second"))


def test_a_copy_without_source_and_model_is_checked_by_its_files(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], image_folder: Callable
):
    away = tmp_path / "away"
    shutil.copytree(output / "runs/second", away / "runs/second")
    for file in output.glob("verdicts/*/second.parquet"):
        (away / file.relative_to(output)).parent.mkdir(parents=True)
        shutil.copy(file, away / file.relative_to(output))
    arguments = ["--output", str(away), "--registry", str(tmp_path / "none")]
    assert cli.main(["verify-run", "second", *arguments]) == 0
    told = capsys.readouterr().out
    assert "nothing was judged again" in told
    assert "run first before it is not here" in told
    assert told.endswith("all as published\n")


def test_images_that_are_gone_or_others(
    image_folder: Callable[..., Path], tiny_registry: Path, tmp_path: Path, picture: Callable
):
    source, output = image_folder(3), tmp_path / "out"
    config = ScanConfig(source=str(source), output=str(output), model="tiny", run_id="r")
    scan(config, registry=tiny_registry)
    arguments = ["verify-run", "r", "--output", str(output), "--registry", str(tiny_registry)]
    (source / "0000.jpg").unlink()
    assert cli.main(arguments) == 0
    (source / "0001.jpg").write_bytes(picture(77))
    assert cli.main(arguments) == 1
    shutil.rmtree(source)
    assert cli.main(arguments) == 0


def test_another_score_is_found(
    image_folder: Callable[..., Path], tiny_registry: Path, tmp_path: Path
):
    """Whoever could make the list of hashes again is still found by judging again."""
    output = tmp_path / "out"
    config = ScanConfig(source=str(image_folder(3)), output=str(output), model="tiny", run_id="r")
    scan(config, registry=tiny_registry)
    from deepfake_core.results.recording import rewrite
    from deepfake_core.results.verdict_files import parquet_bytes, read_verdicts

    results = Results(LocalStorage(output))
    (path,) = results.published()
    rows = read_verdicts(results.storage, path)
    at = rows.schema.get_field_index("logit")
    forged = rows.set_column(at, rows.schema.field(at), pa.array([0.123] * 3, pa.float32()))
    rewrite(results, "r", "erase", {path: parquet_bytes(forged)})
    assert problems(output, "r") == []
    arguments = ["verify-run", "r", "--output", str(output), "--registry", str(tiny_registry)]
    assert cli.main(arguments) == 1


def test_signatures(output: Path, verify: Verify, keys: tuple[Path, Path], tmp_path: Path):
    assert verify("second", "--key", str(keys[0]), "--sample", "0")[0] == 0
    status, found = verify("second", "--key", str(keys[1]), "--sample", "0")
    assert status == 1
    assert "another key" in found["problems"][0]
    status, found = verify("first", "--key", str(keys[0]), "--sample", "0")
    assert status == 1
    assert "not signed" in found["problems"][0]
    # Who changes a link and computes its hash again cannot sign it.
    chain = output / "runs/second/files.json"
    stored = json.loads(chain.read_text())
    stored["links"][0]["link"]["why"] = "other"
    import hashlib

    message = json.dumps(stored["links"][0]["link"], sort_keys=True, separators=(",", ":"))
    stored["links"][0]["sha256"] = hashlib.sha256(message.encode()).hexdigest()
    chain.write_text(json.dumps(stored, indent=1) + "\n")
    status, found = verify("second", "--sample", "0")
    assert status == 1
    assert any("signature is not that" in one for one in found["problems"])


@pytest.mark.parametrize("content", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_key_that_is_none_is_wrong_usage(
    content: str, tmp_path: Path, keys: tuple[Path, Path], output: Path
):
    key = tmp_path / "key.pem"
    key.write_text(content)
    place = ["--output", str(output)]
    assert cli.main(["verify-run", "first", *place, "--key", str(key)]) == 2
    assert cli.main(["erase", "0" * 64, *place, "--sign-with", str(key)]) == 2
    assert cli.main(["verify-run", "first", *place, "--key", str(tmp_path / "none")]) == 2


def test_what_is_rewritten_is_told_in_the_chain_and_nothing_of_what_was_erased(
    output: Path, verify: Verify
):
    rows = pq.read_table(next(output.glob("verdicts/*/first.parquet"))).to_pylist()
    row = next(row for row in rows if row["sha256"])
    place = ["--output", str(output)]
    assert cli.main(["erase", row["sha256"], *place]) == 0
    assert cli.main(["report", "first", *place, "--no-thumbnails"]) == 0
    assert cli.main(["redecide", "first", "--thresholds", "0.1,0.9", *place]) == 0
    links = read_links(LocalStorage(output), "first")
    assert [link.content["why"] for link in links] == ["scan", "erase", "report"]
    erased = links[1].content["files"]
    (published,) = (path for path in erased if path.startswith("verdicts/"))
    before = newest_hashes(links[:1])[published].sha256
    assert erased[published]["old"] == before != erased[published]["sha256"]
    chain = (output / "runs/first/files.json").read_text()
    assert row["sha256"] not in chain
    assert row["image"] not in chain
    (again,) = (path.name for path in output.glob("runs/first.*"))
    for run_id in ("first", "second", again):
        status, found = verify(run_id)
        assert (status, found["problems"]) == (0, []), run_id


def test_an_erasure_that_was_cut_off_is_named(output: Path, monkeypatch: pytest.MonkeyPatch):
    rows = pq.read_table(next(output.glob("verdicts/*/first.parquet"))).to_pylist()
    digest = next(row["sha256"] for row in rows if row["sha256"])
    put = LocalStorage.put

    def cut(self: LocalStorage, path: str, data: object) -> None:
        if path.startswith("verdicts/"):
            raise KeyboardInterrupt
        put(self, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "put", cut)
        assert cli.main(["erase", digest, "--output", str(output)]) == 130
    (problem,) = problems(output, "first")
    assert "verdicts/" in problem
    assert "cut off: do that again" in problem
    assert cli.main(["erase", digest, "--output", str(output)]) == 0
    assert problems(output, "first") == []


@pytest.mark.processes
def test_openssl_makes_the_key_that_the_message_names(tmp_path: Path):
    from deepfake_core.results.signing import is_signed, open_signer

    pytest.importorskip("cryptography")
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key = tmp_path / "key.pem"
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    signature = open_signer(str(key)).sign(b"a message")
    assert is_signed(b"a message", signature)
    assert not is_signed(b"another", signature)


@pytest.mark.parametrize("arguments", [["none"], ["first", "--sample", "-1"], ["../first"]])
def test_wrong_usage(arguments: list[str], output: Path):
    assert cli.main(["verify-run", *arguments, "--output", str(output)]) == 2
