"""Whether a run is to be believed: how its networks answered the known pictures."""

from __future__ import annotations

from deepfake_core.models.canaries import CanaryCheck
from deepfake_core.results.run_record import RunRecord, RunWarning

# The measure of a warning.
CANARIES = "canaries"
SUSPECT_RUN = "Suspect run: known pictures were answered otherwise than expected."
BEWARE = f"{SUSPECT_RUN} Do not use its labels before you know why."


def suspicions(run: RunRecord) -> list[RunWarning]:
    """A warning for each known picture that was answered otherwise than it should be."""
    drifts = run.canaries.drifts if run.canaries else ()
    return [
        RunWarning(
            measure=CANARIES,
            now=None,
            before=None,
            statistic=drift.apart,
            limit=drift.tolerance,
            words=drift.words,
        )
        for drift in drifts
    ]


def canary_words(check: CanaryCheck | None) -> str:
    """How the known pictures were answered, for people; empty where no network was used."""
    if check is None:
        return ""
    if not check.checked:
        return "no canaries"
    as_it_should = "otherwise than" if check.suspect else "as"
    return f"known pictures were answered {as_it_should} expected by {', '.join(check.checked)}"
