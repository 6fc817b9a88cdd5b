"""What c2pa-python finds in a file, as it comes from the process that it runs in."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Findings(BaseModel):
    """The newest content credentials of a file, in the words of the library.

    Attributes:
        error: the kind of error, where the library understood nothing.
        state: ``Trusted``, ``Valid`` or ``Invalid``.
        success: codes of what holds.
        failure: codes of what does not.
        issuer: the signer's name in its certificate, which may say anything.
        label: the name of the manifest; what it says is in the four that follow.
        tool: see `deepfake_core.provenance.c2pa.Credential`; likewise the rest.
        agents: likewise.
        source_types: likewise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    error: str | None = None
    state: str | None = None
    success: frozenset[str] = frozenset()
    failure: frozenset[str] = frozenset()
    issuer: str | None = None
    label: str = ""
    tool: str = ""
    agents: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
