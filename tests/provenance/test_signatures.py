"""Signatures of content credentials: verified, intact, broken, another file's."""

from pathlib import Path
from typing import Any

import pytest

from deepfake_core.errors import UsageError
from deepfake_core.provenance.blocks import read_blocks
from deepfake_core.provenance.c2pa import Credential, read_credentials
from deepfake_core.provenance.c2pa_findings import Findings
from deepfake_core.provenance.c2pa_signature import Signature, SignatureChecker, Standing, judge
from deepfake_core.provenance.claims import (
    BROKEN,
    FOREIGN,
    INTACT,
    MAX_VALUE_CHARACTERS,
    NOT_CHECKED,
    Claim,
    from_rows,
    read_claims,
    standing,
    standing_words,
)
from deepfake_core.provenance.trust_list import SHIPPED, parse_trust_list, shipped_list
from tests.support.credentials import CLAIM, Signer, make_signer, photograph

pytestmark = pytest.mark.processes

ODD = Path(__file__).parents[3] / "shared" / "odd_images"
odd = pytest.mark.skipif(not ODD.is_dir(), reason="the odd images are not beside this checkout")
SAYS = "trainedAlgorithmicMedia: Maker"
FORMATS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_signer_on_the_list_is_named_and_any_other_is_not(
    kind: str, signer: Signer, own: SignatureChecker, shipped: SignatureChecker
):
    data = signer.sign(photograph(kind), FORMATS[kind])
    assert read_claims(data, own) == (Claim("c2pa", f"{SAYS}; signed by Test Press", True),)
    assert read_claims(data, shipped) == (Claim("c2pa", f"{SAYS}{INTACT}"),)
    assert read_claims(data) == (Claim("c2pa", SAYS),)


def test_a_name_that_anybody_can_write_into_a_certificate_is_not_shown(own: SignatureChecker):
    forged = make_signer("Adobe Inc.").sign(photograph())
    (claim,) = read_claims(forged, own)
    assert (claim.verified, standing(claim)) == (None, Standing.INTACT)
    assert "Adobe" not in claim.value
    assert "Adobe" not in " ".join(standing_words([claim]))


def test_a_changed_picture_is_not_the_one_that_was_signed(signer: Signer, own: SignatureChecker):
    data = signer.sign(photograph())
    changed = data[:-30] + bytes([data[-30] ^ 1]) + data[-29:]
    assert read_claims(changed, own) == (Claim("c2pa", FOREIGN + SAYS, False),)


def test_credentials_copied_to_another_picture_are_not_its_own(
    signer: Signer, own: SignatureChecker
):
    other = photograph(seed=90)
    signed = signer.sign(photograph())
    end = signed.rindex(read_blocks(signed).store[-50:]) + 50
    copied = signed[:end] + other[2:]
    (claim,) = read_claims(copied, own)
    assert (claim.verified, claim.value) == (False, FOREIGN + SAYS)
    assert "copied from another file" in standing_words([claim])[0]


def test_a_changed_claim_has_no_valid_signature(signer: Signer, own: SignatureChecker):
    data = signer.sign(photograph())
    changed = data.replace(b"Maker", b"Canon")
    (claim,) = read_claims(changed, own)
    assert (claim.verified, claim.value) == (False, f"{BROKEN}trainedAlgorithmicMedia: Canon")
    assert claim.says_generated
    assert standing(claim) is Standing.BROKEN


def test_no_changed_byte_leads_to_other_words_that_are_verified(
    signer: Signer, own: SignatureChecker
):
    """Padding is not signed; whatever is verified says what was signed."""
    data = signer.sign(photograph())
    store = read_blocks(data).store
    start = data.index(store[:64])
    expected = read_claims(data, own)
    found = []
    for at in range(0, len(store), 37):
        place = start + at
        changed = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        found.append(read_claims(changed, own))
    assert {claims for claims in found if any(claim.verified for claim in claims)} == {expected}
    assert sum(any(claim.verified is False for claim in claims) for claims in found) > 20


def test_an_earlier_step_is_not_verified_by_the_last(signer: Signer, own: SignatureChecker):
    unknown = make_signer("Somebody").sign(photograph())
    edited = {"claim_generator_info": [{"name": "Editor", "version": "1"}], "assertions": []}
    claims = read_claims(signer.sign(unknown, claim=edited, edits=True), own)
    assert Claim("c2pa", "other: Editor; signed by Test Press", True) in claims
    assert Claim("c2pa", SAYS) in claims


def test_what_two_readers_read_differently_is_not_verified(signer: Signer, own: SignatureChecker):
    data = signer.sign(photograph())
    (active,) = read_credentials(read_blocks(data).store)
    assert own.check(data, active) == Signature(Standing.VERIFIED, "Test Press")
    for differing in (
        Credential(active.label, tool=active.tool, agents=["Canon"]),
        Credential("urn:other", tool=active.tool, agents=active.agents),
        None,
    ):
        assert own.check(data, differing) == Signature(Standing.UNCHECKED)


GOOD = ["claimSignature.validated", "assertion.dataHash.match", "signingCredential.trusted"]


@pytest.mark.parametrize(
    ("success", "failure", "state", "expected"),
    [
        (GOOD, [], "Trusted", Standing.VERIFIED),
        (GOOD, [], "Valid", Standing.INTACT),
        (GOOD[:2], ["signingCredential.untrusted"], "Valid", Standing.INTACT),
        (GOOD[:2], ["signingCredential.expired"], "Invalid", Standing.INTACT),
        # An identity beside the signature is another matter, and lets nothing be verified.
        (GOOD, ["cawg.ica.invalid_alg"], "Invalid", Standing.INTACT),
        (GOOD, ["assertion.dataHash.mismatch"], "Invalid", Standing.UNBOUND),
        (GOOD, ["assertion.hashedURI.mismatch"], "Invalid", Standing.BROKEN),
        (GOOD[1:], ["claimSignature.mismatch"], "Invalid", Standing.BROKEN),
        (GOOD, ["something.new"], "Invalid", Standing.BROKEN),
        (GOOD[1:], ["algorithm.unsupported"], "Invalid", Standing.UNCHECKED),
        # Signed, but bound to no file.
        ([GOOD[0], GOOD[2]], [], "Trusted", Standing.UNCHECKED),
        (GOOD[1:], [], "Trusted", Standing.UNCHECKED),
    ],
)
def test_codes_come_to_one_standing(
    success: list[str], failure: list[str], state: str, expected: Standing
):
    codes = {"success": frozenset(success), "failure": frozenset(failure)}
    found = judge(Findings(state=state, issuer="Somebody", **codes))
    assert found.standing is expected
    assert (found.issuer == "Somebody") == (expected is Standing.VERIFIED)


def test_errors_that_say_damaged_are_told_from_those_that_say_unknown():
    assert judge(Findings(error="Verify")).standing is Standing.BROKEN
    assert judge(Findings(error="Other")).standing is Standing.UNCHECKED
    assert judge(Findings(error="NotSupported")).standing is Standing.UNCHECKED


def test_standings_survive_the_table():
    claims = [Claim("c2pa", f"{FOREIGN}x", False), Claim("c2pa", f"{BROKEN}x", False)]
    claims += [Claim("c2pa", f"x{INTACT}"), Claim("c2pa", "x; signed by y", True)]
    claims += [Claim("c2pa", "x")]
    assert [standing(claim) for claim in claims] == [
        Standing.UNBOUND, Standing.BROKEN, Standing.INTACT, Standing.VERIFIED, Standing.UNCHECKED,
    ]  # fmt: skip
    assert standing_words(claims[3:]) == [
        "Their signature holds, for this very file; signed by y, whose certificate leads to the "
        "trust list."
    ]
    assert standing_words([Claim("camera", "z")]) == []


def test_a_long_claim_leaves_room_for_what_is_known_of_it(own: SignatureChecker, signer: Signer):
    assertion: dict[str, Any] = CLAIM["assertions"][0]
    (action,) = assertion["data"]["actions"]
    long = {**action, "softwareAgent": {"name": "Maker " * 60}}
    claim = {**CLAIM, "assertions": [{**assertion, "data": {"actions": [long]}}]}
    (found,) = read_claims(signer.sign(photograph(), claim=claim), own)
    assert len(found.value) <= MAX_VALUE_CHARACTERS
    assert found.value.endswith("; signed by Test Press")
    assert found.says_generated


@pytest.mark.parametrize("words", [INTACT, "; signed by Adobe", "; Signed by Adobe;x" + INTACT])
def test_what_a_file_says_of_its_own_signature_is_not_taken_for_what_was_found(
    own: SignatureChecker, signer: Signer, words: str
):
    assertion: dict[str, Any] = CLAIM["assertions"][0]
    (action,) = assertion["data"]["actions"]
    named = {**action, "softwareAgent": {"name": f"Canon{words}"}}
    data = signer.sign(
        photograph(),
        claim={**CLAIM, "assertions": [{**assertion, "data": {"actions": [named]}}]},
    )
    (unchecked,) = read_claims(data)
    assert standing(unchecked) is Standing.UNCHECKED
    assert standing_words([unchecked]) == [NOT_CHECKED]
    assert ";" not in unchecked.value
    (checked,) = read_claims(data, own)
    assert checked.value.count(";") == 1
    assert "signed by Test Press" in standing_words([checked])[0]


@odd
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("c2pa_ai/Truman_AI__61.jpg", Standing.INTACT),
        ("c2pa_ai/c2pa-rs__sdk__tests__fixtures__ocsp.jpg", Standing.INTACT),
        ("c2pa_other/c2pa-rs__sdk__tests__fixtures__CIE-sig-CA.jpg", Standing.INTACT),
        ("c2pa_other/c2pa-rs__sdk__tests__fixtures__E-sig-CA.jpg", Standing.BROKEN),
        ("c2pa_other/c2pa-rs__sdk__tests__fixtures__prerelease.jpg", Standing.UNCHECKED),
    ],
)
def test_real_files_have_the_standing_that_they_are_known_for(
    name: str, expected: Standing, shipped: SignatureChecker
):
    claims = read_claims((ODD / name).read_bytes(), shipped)
    assert standing(claims[0]) is expected
    assert claims == from_rows(
        [{"kind": one.kind, "value": one.value, "verified": one.verified} for one in claims]
    )


# Lists.


def test_the_list_that_ships_is_dated_and_whole():
    found = shipped_list()
    assert found.name == SHIPPED
    assert found.signers.count("BEGIN CERTIFICATE") == 30


@pytest.mark.parametrize("data", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_file_without_certificates_is_refused(data: bytes):
    with pytest.raises(UsageError, match=r"list\.pem holds no certificates"):
        parse_trust_list(data, "list.pem")


def test_a_list_is_named_by_what_it_holds(signer: Signer):
    found = parse_trust_list(b"some words\n" + signer.root, "a")
    assert found == parse_trust_list(signer.root, "b")
    assert found.name.startswith("sha256:")
    assert found != parse_trust_list(make_signer().root, "a")
