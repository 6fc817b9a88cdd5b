"""What files claim of their origin is in the table, beside a score that it does not change."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from deepfake_core.errors import PlanMismatch, UsageError
from deepfake_core.provenance.claims import BROKEN, FOREIGN, INTACT
from deepfake_core.provenance.trust_list import parse_trust_list
from deepfake_core.results.store import Results
from deepfake_core.scanning import credentials
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.executor import open_judge
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.repair import repair
from deepfake_core.scanning.scan import begin, scan
from deepfake_core.storage.local import LocalStorage
from tests.support.credentials import Signer, make_signer, photograph


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    image = Image.open(io.BytesIO(picture(3, kind="PNG")))
    notes = PngInfo()
    notes.add_text("parameters", "a portrait\nSteps: 20, Sampler: Euler a")
    image.save(folder / "plain.png")
    image.save(folder / "says.png", pnginfo=notes)
    # Not an image, and says so all the same.
    (folder / "cut.png").write_bytes((folder / "says.png").read_bytes()[:-40])
    return folder


def test_claims_are_a_column_and_no_part_of_the_score(
    source: Path, tiny_registry: Path, tmp_path: Path
):
    config = ScanConfig(source=str(source), model="tiny", output=str(tmp_path / "out"))
    result = scan(config, registry=tiny_registry)
    rows = {row["image"]: row for row in pq.read_table(result["verdicts"]).to_pylist()}
    claim = {"kind": "generator", "value": "Stable Diffusion", "verified": None}
    assert rows["says.png"]["provenance"] == [claim]
    assert rows["plain.png"]["provenance"] is None
    assert rows["says.png"]["score"] == rows["plain.png"]["score"]
    assert rows["cut.png"]["status"] == "failed"
    assert rows["cut.png"]["provenance"] == [claim]


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path, Signer]:
    """Pictures with content credentials, the certificate of their signer, and the signer."""
    folder, signer = tmp_path / "signed", make_signer()
    folder.mkdir()
    whole = signer.sign(photograph())
    (folder / "whole.jpg").write_bytes(whole)
    (folder / "changed.jpg").write_bytes(whole[:-30] + bytes([whole[-30] ^ 1]) + whole[-29:])
    (folder / "claim.jpg").write_bytes(whole.replace(b"Maker", b"Canon"))
    (folder / "other.jpg").write_bytes(make_signer("Adobe Inc.").sign(photograph()))
    (folder / "none.jpg").write_bytes(photograph())
    (tmp_path / "list.pem").write_bytes(signer.root)
    return folder, tmp_path / "list.pem", signer


def provenance_in(published: str | None) -> dict[str, list[tuple[str, bool | None]]]:
    rows = pq.read_table(published).to_pylist()
    return {
        row["image"]: [(one["value"], one["verified"]) for one in row["provenance"] or ()]
        for row in rows
    }


@pytest.mark.processes
def test_signatures_are_checked_by_the_list_that_is_given(
    signed: tuple[Path, Path, Signer], tiny_registry: Path, tmp_path: Path
):
    folder, certificates, _ = signed
    out = tmp_path / "out"
    asked = {"source": str(folder), "model": "tiny", "output": str(out)}
    config = ScanConfig(**asked, trust_list=str(certificates), run_id="one")
    result = scan(config, registry=tiny_registry)
    says = "trainedAlgorithmicMedia: Maker"
    assert provenance_in(result["verdicts"]) == {
        "whole.jpg": [(f"{says}; signed by Test Press", True)],
        "changed.jpg": [(FOREIGN + says, False)],
        "claim.jpg": [(f"{BROKEN}trainedAlgorithmicMedia: Canon", False)],
        "other.jpg": [(says + INTACT, None)],
        "none.jpg": [],
    }
    run = json.loads((out / "runs/one/run.json").read_text())
    assert run["trust_list"] == parse_trust_list(certificates.read_bytes(), "").name
    footer = pq.read_metadata(result["verdicts"]).metadata
    assert footer[b"deepfake.trust_list"].decode() == run["trust_list"]
    report = (out / "runs/one/report.html").read_text()
    assert "4 files carry content credentials: 1 whose signature holds and whose signer" in report
    assert "2 broken" in report
    assert run["trust_list"] in report
    part = report.partition('id="credentials"')[2].partition("</section>")[0]
    assert "changed.jpg" in part
    assert "claim.jpg" in part
    assert "whole.jpg" not in part
    assert "2 broken" in (out / "runs/one/summary.md").read_text()
    # Another list is no reason to judge everything again: what is known stays known.
    again = scan(ScanConfig(**asked), registry=tiny_registry)
    assert (again["skipped"], again["judged"]) == (5, 0)


@pytest.mark.processes
def test_a_run_goes_on_by_the_list_that_it_was_planned_with(
    signed: tuple[Path, Path, Signer], tiny_registry: Path, tmp_path: Path
):
    folder, certificates, _ = signed
    asked = {"source": str(folder), "model": "tiny", "output": str(tmp_path / "out")}
    config = ScanConfig(**asked, run_id="cut", trust_list=str(certificates))
    plan = make_plan(config, registry=tiny_registry)
    begin(plan)
    other = tmp_path / "other.pem"
    other.write_bytes(make_signer().root)
    with pytest.raises(PlanMismatch, match="was started with trust_list sha256:"):
        scan(config.model_copy(update={"trust_list": str(other)}), registry=tiny_registry)
    # Not named again, it is that of the plan, from the plan alone.
    certificates.unlink()
    result = scan(ScanConfig(**asked, run_id="cut"), registry=tiny_registry)
    assert provenance_in(result["verdicts"])["whole.jpg"][0][1] is True


def test_without_the_library_nothing_is_verified_and_what_is_broken_is_said(
    signed: tuple[Path, Path, Signer],
    tiny_registry: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(credentials, "can_check", lambda: False)
    folder, certificates, _ = signed
    asked = {"source": str(folder), "model": "tiny", "output": str(tmp_path / "out")}
    result = scan(ScanConfig(**asked, run_id="bare"), registry=tiny_registry)
    found = provenance_in(result["verdicts"])
    assert found["whole.jpg"] == [("trainedAlgorithmicMedia: Maker", None)]
    assert found["changed.jpg"] == [(f"{FOREIGN}trainedAlgorithmicMedia: Maker", False)]
    run = json.loads((tmp_path / "out/runs/bare/run.json").read_text())
    assert run["trust_list"] is None
    assert "Signatures were not checked" in (tmp_path / "out/runs/bare/report.html").read_text()
    with pytest.raises(UsageError, match=r"deepfake-verification\[c2pa\]"):
        scan(ScanConfig(**asked, trust_list=str(certificates)), registry=tiny_registry)


def test_a_list_that_cannot_be_read_is_wrong_usage(
    source: Path, tiny_registry: Path, tmp_path: Path
):
    asked = {"source": str(source), "model": "tiny", "output": str(tmp_path / "out")}
    for name, words in (("missing.pem", "cannot read"), ("words.pem", "holds no certificates")):
        (tmp_path / "words.pem").write_text("no certificate")
        config = ScanConfig(**asked, trust_list=str(tmp_path / name))
        with pytest.raises(UsageError, match=f"--trust-list.*{words}"):
            scan(config, registry=tiny_registry)
    assert not (tmp_path / "out").exists()


@pytest.mark.processes
def test_a_damaged_part_is_judged_again_by_the_list_that_it_was_judged_by(
    signed: tuple[Path, Path, Signer], tiny_registry: Path, tmp_path: Path
):
    folder, certificates, _ = signed
    out = tmp_path / "out"
    config = ScanConfig(
        source=str(folder), model="tiny", output=str(out), run_id="cut", shard_size=2,
        trust_list=str(certificates),
    )  # fmt: skip
    plan = make_plan(config, registry=tiny_registry)
    begin(plan)
    with open_judge(plan) as judge:
        for index in range(plan.shards):
            judge.commit(plan, index)
    parts = sorted((out / "runs/cut/parts").iterdir())
    whole = [pq.read_table(part) for part in parts]
    for part in parts:
        part.write_bytes(b"")
    certificates.unlink()
    done = repair(Results(LocalStorage(out)), registry=tiny_registry)
    assert not done.lost
    assert [pq.read_table(part) for part in parts] == whole
