"""The process that checks signatures of content credentials, with the optional c2pa-python.

That library is Rust that reads whatever a file holds and brings a network client. It runs here,
where its memory is bounded, where nothing else breaks when it does, and where no further file or
socket can be opened once it is loaded.
"""

from __future__ import annotations

import functools
import io
import json
import resource
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepfake_core.children import Message, answer_all
from deepfake_core.provenance.c2pa import read_steps
from deepfake_core.provenance.c2pa_findings import Findings
from deepfake_core.records import Json

if TYPE_CHECKING:
    from c2pa import Context

# Of a file of 100 MB the library makes some copies, 0.5 GB in all.
MAX_EXTRA_BYTES = 800 * 2**20


@functools.cache
def context(signers: str, timestamps: str) -> Context:
    """How files are checked: by these certificates and without the network."""
    from c2pa import Context

    return Context.from_dict(
        {
            "trust": {
                "anchors": [
                    {"trust_uri": "signers", "trust_kind": "manifest", "trust_anchors": signers},
                    {"trust_uri": "times", "trust_kind": "tsa", "trust_anchors": timestamps},
                ]
            },
            # An identity assertion may name a document in the web, which would be fetched.
            "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
            "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
        }
    )


@functools.cache
def close_off() -> None:
    """Have the system refuse every further file and socket to this process."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def check_one(told: Json, data: bytes) -> Message:
    """What the library finds in a file, see `Findings`."""
    from c2pa import C2paError, Reader

    checked_by = context(told["signers"], told["timestamps"])
    close_off()
    try:
        with Reader(told["format"], io.BytesIO(data), context=checked_by) as reader:
            findings = read_report(json.loads(reader.json()))
    except C2paError as error:
        findings = Findings(error=str(error).partition(":")[0])
    return findings.model_dump(mode="json"), b""


def read_report(store: Mapping[str, Any]) -> Findings:
    """What is needed of the library's report: codes, the signer's name, what was signed."""
    label = store.get("active_manifest", "")
    manifest = store.get("manifests", {}).get(label, {})
    results = store.get("validation_results", {}).get("activeManifest", {})
    credential = read_steps(label, manifest, _actions(manifest))
    return Findings(
        state=store.get("validation_state"),
        success=frozenset(result["code"] for result in results.get("success", ())),
        failure=frozenset(result["code"] for result in results.get("failure", ())),
        issuer=(manifest.get("signature_info") or {}).get("issuer"),
        label=label,
        tool=credential.tool,
        agents=tuple(credential.agents),
        source_types=tuple(credential.source_types),
    )


def _actions(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        assertion["data"]
        for assertion in manifest.get("assertions", ())
        if assertion["label"].startswith("c2pa.actions") and isinstance(assertion.get("data"), dict)
    ]


if __name__ == "__main__":
    answer_all(check_one, max_extra_bytes=MAX_EXTRA_BYTES)
