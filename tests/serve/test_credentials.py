"""The service and the page say whether content credentials hold."""

from pathlib import Path

import httpx
import pytest

from deepfake_core.engines.engine import open_engine
from deepfake_core.errors import UsageError
from deepfake_core.inference.classifier import Classifier
from deepfake_core.models.registry import find_model
from deepfake_core.provenance.c2pa_signature import SignatureChecker
from deepfake_core.provenance.claims import FOREIGN, INTACT
from deepfake_core.provenance.trust_list import parse_trust_list
from deepfake_core.serve.config import ServeConfig
from deepfake_core.serve.page.pictures import judge_files
from deepfake_core.serve.server import Serving
from tests.support.credentials import Signer, make_signer, photograph
from tests.support.serving import address, running

pytestmark = pytest.mark.processes

SAYS = "trainedAlgorithmicMedia: Maker"


@pytest.fixture(scope="module")
def signer() -> Signer:
    return make_signer()


@pytest.fixture(scope="module")
def pictures(signer: Signer) -> dict[str, bytes]:
    whole = signer.sign(photograph())
    return {
        "whole": whole,
        "changed": whole[:-30] + bytes([whole[-30] ^ 1]) + whole[-29:],
        "other": make_signer("Adobe Inc.").sign(photograph()),
    }


def test_verdicts_say_what_holds_and_what_is_broken(
    signer: Signer, pictures: dict[str, bytes], tiny_registry: Path, tmp_path: Path
):
    (tmp_path / "list.pem").write_bytes(signer.root)
    files = [("img", (f"{name}.jpg", data)) for name, data in pictures.items()]
    with running(tiny_registry, trust_list=str(tmp_path / "list.pem")) as serving:
        verdicts = httpx.post(f"{address(serving)}/verdicts", files=files, timeout=60).json()
    found = [(one["value"], one["verified"]) for row in verdicts for one in row["provenance"]]
    assert found == [
        (f"{SAYS}; signed by Test Press", True),
        (FOREIGN + SAYS, False),
        (SAYS + INTACT, None),
    ]


def test_a_service_with_no_such_list_does_not_start(tiny_registry: Path, tmp_path: Path):
    config = ServeConfig(port=0, model="tiny", trust_list=str(tmp_path / "missing.pem"))
    with pytest.raises(UsageError, match="--trust-list: cannot read"):
        Serving(config, registry=tiny_registry)


@pytest.fixture
def classifier(tiny_registry: Path, signer: Signer) -> Classifier:
    bundle = find_model("tiny", tiny_registry)
    classifier = Classifier(bundle, open_engine(bundle, kind="openvino", precision="fp32"))
    classifier.checker = SignatureChecker(parse_trust_list(signer.root, "the test's"))
    return classifier


def test_the_page_says_it_in_words(classifier: Classifier, pictures: dict[str, bytes]):
    judged = judge_files(classifier, list(pictures.items()))
    whole, changed, other = (one.credentials for one in judged)
    assert "signed by Test Press" in whole[0]
    assert changed[0].startswith("Broken: they are not this file's.")
    assert other == ("Their signature holds, for this very file; who signed is not verified.",)
    (plain,) = judge_files(classifier, [("plain", photograph())])
    assert plain.credentials == ()


def test_a_score_knows_nothing_of_credentials(
    classifier: Classifier, pictures: dict[str, bytes], signer: Signer
):
    signed, plain = classifier.judge([pictures["whole"], photograph()]).judgements
    assert signed.score == plain.score
    assert signed.label == plain.label
