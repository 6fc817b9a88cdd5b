"""The short texts of the page: verdicts, failures, what follows from them."""

from __future__ import annotations

from collections.abc import Mapping

from deepfake_core.records import FailureCode, Label, Reason
from deepfake_core.rendering.evidence import BALANCED, strength

DECLARED = "The file declares itself generated:"
FORGEABLE = (
    "That is what its metadata say (see “What the file itself says”); anybody can write or remove "
    "such a note, and few have a reason to add a false one."
)
DISAGREES = "The pixels alone do not show it: both are said here, and neither cancels the other."
UNCERTAIN_TITLE = "The model cannot tell"

SENTENCES: Mapping[Label, str] = {
    Label.FAKE: "The score is above the line from which this model flags a picture.",
    Label.UNCERTAIN: "The score lies between the model's two lines. "
    "It is not half a verdict: treat the picture as not judged.",
    Label.NOT_APPLICABLE: "The model has no business judging this picture.",
    Label.REAL: "The score is below the line under which this model counts nothing as found. "
    "That is not a finding that the picture is authentic.",
}

# Why there is no verdict on a picture that could be read, or a weaker one: what, and what to do.
REASONS: Mapping[Reason, tuple[str, str]] = {
    Reason.NO_FACE: (
        "No face was found in the picture.",
        "Only faces are judged; of all else in a picture this model knows nothing.",
    ),
    Reason.FACE_TOO_SMALL: (
        "The faces in the picture are too small to be judged.",
        "Try to get a larger copy, straight from the device or the first publisher.",
    ),
    Reason.UNFAMILIAR: (
        "The face is unlike those that the model was made and tested with.",
        "Decide by other means: the source, the time and place, other pictures of the scene.",
    ),
    Reason.UNSTABLE: (
        "The model flagged it, but no longer after it was compressed or shrunk a little.",
        "Such a flag is not worth much; try to get the original file.",
    ),
}

MEANS_NOT: Mapping[Label, tuple[str, ...]] = {
    Label.FAKE: (
        "It does not prove that the picture was generated. Real photographs are flagged too.",
        "It does not say who made the picture, with what, or why.",
        "It says nothing about the person who is shown or who sent it.",
    ),
    Label.UNCERTAIN: (
        "It does not mean that the picture is half fake, or probably one or the other.",
        "It does not mean that something is wrong with the file.",
    ),
    Label.NOT_APPLICABLE: (
        "It does not mean that nothing in the picture was generated.",
        "It is no failure of the file, and no finding in its favour.",
    ),
    Label.REAL: (
        "It does not prove that the picture is authentic. Generated pictures are missed, "
        "above all those of generators that the model never saw.",
        "It does not say that the picture shows what its caption claims, "
        "or that nobody retouched, cropped or staged it.",
    ),
}

NEXT_STEPS: Mapping[Label, tuple[str, ...]] = {
    Label.FAKE: (
        "Ask for the original file, straight from the device or the first publisher, "
        "and check that one here too.",
        "Look for the earliest copy. A reverse image search sends the picture to its operator: "
        "do not use one with a confidential picture.",
        "Look at the picture yourself, and ask a colleague who does not know this score.",
        "Accuse nobody on the score alone.",
    ),
    Label.UNCERTAIN: (
        "Try to get a larger or less compressed copy: small and blurred pictures end up here.",
        "Decide by other means: the source, the time and place, other pictures of the scene.",
    ),
    Label.NOT_APPLICABLE: (
        "Decide by other means: the source, the time and place, other pictures of the scene.",
        "Look at what the file itself says, below.",
    ),
    Label.REAL: (
        "Check the source, the time and the place as you would without this page.",
        "If something still seems wrong to you, follow that; the model misses fakes.",
    ),
}


def title(label: str, score: float, *, prior: float = BALANCED) -> str:
    """The verdict on a picture in a few words; nobody reads that a picture is real.

    Args:
        label: of the picture.
        score: likewise.
        prior: the share of fakes that the model's calibration assumed.
    """
    if label == Label.UNCERTAIN:
        return UNCERTAIN_TITLE
    return f"Evidence for generation: {strength(score, label, prior=prior)}"


FAILURES: Mapping[FailureCode, tuple[str, str]] = {
    FailureCode.READ_NOT_FOUND: (
        "The file was gone when its turn came.",
        "Check whether it was moved or deleted, and scan again.",
    ),
    FailureCode.READ_DENIED: (
        "The store refused access to the file.",
        "Ask for the right to read it, and scan again.",
    ),
    FailureCode.READ_ARCHIVED: (
        "The file lies in cold storage.",
        "Have it restored first; that may take hours. Then scan again.",
    ),
    FailureCode.READ_FAILED: (
        "The file could not be read, also when it was tried again.",
        "Scan again; a failed read is always tried again.",
    ),
    FailureCode.DECODE_UNSUPPORTED: (
        "This is not a picture in a format that is read here.",
        "Use JPEG, PNG, GIF, WebP, HEIC, AVIF, TIFF or BMP. The content counts, not the name: "
        "a text called photo.jpg stays a text.",
    ),
    FailureCode.DECODE_CORRUPT: (
        "The picture is damaged or incomplete, so it was not judged.",
        "Fetch the file again. Half a picture gets no verdict, since the missing half "
        "could change it.",
    ),
    FailureCode.DECODE_TOO_LARGE: (
        "The picture has more pixels than are decoded safely.",
        "Make a smaller copy, and keep the original as evidence.",
    ),
    FailureCode.DECODE_TIMEOUT: (
        "Decoding the picture took too long, so it was stopped.",
        "Try again, or save the picture once more as a plain JPEG or PNG.",
    ),
    FailureCode.DECODE_OUT_OF_MEMORY: (
        "There was not enough memory to decode the picture.",
        "Try again when less is going on, or make a smaller copy.",
    ),
    FailureCode.SCORE_NOT_FINITE: (
        "The network gave no number for this picture.",
        "This should not happen. Please report it with the model's name.",
    ),
}

NOT_PROOF = (
    "A score is a hint, not proof. It can be wrong about any single picture. "
    "Use it to decide where to look more closely."
)
CONSENT = (
    "I agree that a copy of this picture is kept in {place} and used to test and to train "
    "later models, and I am allowed to give it. Without this tick the picture is not kept."
)
KEPT = "Your answer, the verdict and the file's fingerprint (SHA-256) are kept in {place}."
KEPT_OF_SCAN = KEPT + (
    " Until it is moved or changed, the picture can be read again where it lies, when a later "
    "model is held against your answers."
)
