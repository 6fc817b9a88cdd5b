"""What a run found of content credentials: which hold, and which are broken."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.provenance.c2pa_signature import Standing
from deepfake_core.provenance.claims import from_rows, standing
from deepfake_core.reporting.summary_record import BrokenImage, CredentialCounts

BROKEN_SHOWN = 200
# An image counts once, by the first of these that one of its claims has.
ORDER = (
    Standing.UNBOUND,
    Standing.BROKEN,
    Standing.VERIFIED,
    Standing.INTACT,
    Standing.UNCHECKED,
)


def count_credentials(verdicts: pa.Table, trust_list: str | None) -> CredentialCounts | None:
    """How many images have content credentials, by what is known of them.

    Args:
        verdicts: rows with their columns `image` and `provenance`.
        trust_list: by which signatures were checked; None where none was.

    Returns:
        None where no image has any.
    """
    with_some = _with_credentials(verdicts)
    if not with_some.num_rows:
        return None
    counts = dict.fromkeys(Standing, 0)
    broken = []
    for row in with_some.to_pylist():
        claims = [claim for claim in from_rows(row["provenance"]) if claim.kind == "c2pa"]
        best = min((standing(claim) for claim in claims), key=ORDER.index)
        counts[best] += 1
        if claims and best in (Standing.UNBOUND, Standing.BROKEN):
            broken.append(BrokenImage(image=row["image"], says=claims[0].value))
    return CredentialCounts(
        images=with_some.num_rows,
        verified=counts[Standing.VERIFIED],
        intact=counts[Standing.INTACT],
        broken=len(broken),
        unchecked=counts[Standing.UNCHECKED],
        trust_list=trust_list,
        broken_images=broken[:BROKEN_SHOWN],
    )


def credential_words(counts: CredentialCounts) -> str:
    """What was found, and by which list, in sentences."""
    parts = [
        (counts.verified, "whose signature holds and whose signer is on the trust list"),
        (counts.intact, "whose signature holds, by a signer that is not verified"),
        (counts.broken, "broken"),
        (counts.unchecked, "not checked"),
    ]
    said = "; ".join(f"{count:,} {what}" for count, what in parts if count)
    how = (
        f"Signatures were checked by the trust list {counts.trust_list}, without a network: "
        "whether a certificate was revoked is not known."
        if counts.trust_list
        else "Signatures were not checked, which needs the optional package c2pa-python; whether "
        "the credentials belong to their file was."
    )
    carry = "file carries" if counts.images == 1 else "files carry"
    return f"{counts.images:,} {carry} content credentials: {said}. {how}"


def _with_credentials(verdicts: pa.Table) -> pa.Table:
    """The rows of images with claims of that kind."""
    claims = verdicts["provenance"].combine_chunks()
    rows = pc.list_parent_indices(claims)
    kinds = pc.struct_field(pc.list_flatten(claims), "kind")
    places = pc.unique(rows.filter(pc.equal(kinds, "c2pa")))
    return verdicts.select(["image", "provenance"]).take(places)
