"""A signer of the tests, and checks by a list on which it is, or is not."""

import pytest

from deepfake_core.provenance.c2pa_signature import SignatureChecker
from deepfake_core.provenance.trust_list import parse_trust_list, shipped_list
from tests.support.credentials import Signer, make_signer


@pytest.fixture(scope="session")
def signer() -> Signer:
    return make_signer()


@pytest.fixture(scope="session")
def own(signer: Signer) -> SignatureChecker:
    """Checks by a list on which the signer of the tests is."""
    return SignatureChecker(parse_trust_list(signer.root, "the test's"))


@pytest.fixture(scope="session")
def shipped() -> SignatureChecker:
    return SignatureChecker(shipped_list())
