"""Which networks judge, and at which precision; and how they are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from deepfake_core.engines.engine import (
    Engine,
    open_engine,
    processor_precisions,
    resolve_precision,
)
from deepfake_core.errors import ModelError
from deepfake_core.faces.bundle import FINDER_FILE, Finder, read_finder
from deepfake_core.faces.finder import FaceFinder, finder_precision
from deepfake_core.inference.classifier import Classifier, Rules
from deepfake_core.inference.face_reading import AlignedFaces
from deepfake_core.inference.second_opening import (
    PairedLook,
    Wanted,
    pair_second,
)
from deepfake_core.inference.told import Told, told_of
from deepfake_core.models.bundle import Bundle, Curve, Precision
from deepfake_core.models.decision import Thresholds
from deepfake_core.models.policy import Policy, SecondLookMode, check_made_for
from deepfake_core.models.registry import DEFAULT_REGISTRY
from deepfake_core.provenance.c2pa_signature import SignatureChecker

Faces = Literal["find", "frame"]
# The finder for models that name none, such as imported ones.
USUAL_FINDER = "centerface@2"


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked for of the networks.

    Attributes:
        precision: ``auto``, or an arithmetic for all networks.
        engine: what runs the first look.
        faces: in place of what the bundle says.
        second_look: which faces are given a second look.
        policy: in place of the models' own line of ``fake``.
    """

    precision: str = "auto"
    engine: str = "openvino"
    faces: Faces | None = None
    second_look: SecondLookMode = "auto"
    policy: Policy | None = None


USUAL_CHOICE = Choice()


class NetworkFacts(TypedDict):
    """What a run's record says of its networks; all of it can change a verdict."""

    model_id: str
    precision: str
    engine: str
    faces: str
    finder_id: str | None
    finder_precision: str | None
    second_look: SecondLookMode
    second_model_id: str | None
    second_precision: str | None
    pair: str | None
    policy: str | None


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks that judge, resolved.

    Attributes:
        bundle: the first look.
        precision: its arithmetic.
        engine: ``openvino`` or ``keras``, what runs it.
        finder: finds the faces; None where the whole picture is judged.
        finder_precision: its arithmetic.
        second: the second look, where there is one.
        policy: in place of the line from which on a face is called fake.
        notes: what was asked for and cannot be had, for people.
    """

    bundle: Bundle
    precision: Precision
    engine: str = "openvino"
    finder: Finder | None = None
    finder_precision: Precision = "fp32"
    second: PairedLook | None = None
    policy: Policy | None = None
    notes: tuple[str, ...] = ()

    @property
    def faces(self) -> Faces:
        """Whether faces or whole pictures are judged."""
        return "frame" if self.finder is None else "find"

    @property
    def curve(self) -> Curve:
        """Calibration and thresholds of the first look at its precision."""
        return self.bundle.description.curve(self.precision)

    @property
    def usual_thresholds(self) -> Thresholds:
        """Where the labels begin without a policy."""
        return self.curve.thresholds if self.second is None else self.second.curve.thresholds

    @property
    def thresholds(self) -> Thresholds:
        """Where the labels begin, unless a policy moves the line by the size of the face."""
        usual = self.usual_thresholds
        if self.policy is None:
            return usual
        line = self.policy.fake_from
        return Thresholds(real_below=min(usual.real_below, line), fake_from=line)

    @property
    def told(self) -> Told:
        """What people are told of those that decide."""
        return told_of(self.bundle, self.second)

    @property
    def facts(self) -> NetworkFacts:
        """What a run's record says of them."""
        finder, second = self.finder, self.second
        return {
            "model_id": self.bundle.model_id,
            "precision": self.precision,
            "engine": self.engine,
            "faces": self.faces,
            "finder_id": finder.model_id if finder else None,
            "finder_precision": self.finder_precision if finder else None,
            "second_look": second.mode if second else "off",
            "second_model_id": second.look.model_id if second else None,
            "second_precision": second.precision if second else None,
            "pair": second.pair.digest if second else None,
            "policy": self.policy.digest if self.policy else None,
        }


def choose_networks(
    bundle: Bundle, choice: Choice = USUAL_CHOICE, *, registry: Path = DEFAULT_REGISTRY
) -> Networks:
    """Resolve what is asked for.

    Args:
        bundle: the first look.
        choice: what is asked for.
        registry: where finder and second look are; else they are those of the project.

    Raises:
        ModelError: a network is missing or damaged, or cannot run at the precision; or all faces
            should be given a second look for which the first one has no pair.
        UsageError: the policy was made for other networks.
    """
    available = _available(bundle, choice.precision, choice.engine)
    resolved = resolve_precision(bundle, choice.precision, available)
    finder = None
    if (choice.faces or bundle.description.preprocessing.faces) == "find":
        finder = find_finder(bundle.description.preprocessing.finder or USUAL_FINDER, registry)
    second, note = None, None
    if choice.second_look != "off":
        finds_faces = finder is not None
        wanted = Wanted(bundle, choice.precision, choice.second_look, finds_faces=finds_faces)
        second, note = pair_second(wanted, registry)
    networks = Networks(
        bundle,
        resolved,
        choice.engine,
        finder,
        finder_precision(finder, resolved, available) if finder else "fp32",
        second=second,
        policy=choice.policy,
        notes=(note,) if note else (),
    )
    if choice.policy is not None:
        looks = (bundle.model_id, second.look.model_id if second else None)
        check_made_for(
            choice.policy,
            looks=looks,
            finder=finder.model_id if finder else None,
            second_look=second.mode if second else "off",
        )
    return networks


def _available(bundle: Bundle, precision: str, engine: str) -> set[Precision]:
    # Asking OpenVINO costs a third of a second; a bundle with one precision leaves no choice.
    only = bundle.description.precisions == ("fp32",) and precision in ("auto", "fp32")
    return {"fp32"} if only or engine == "keras" else processor_precisions()


def find_finder(reference: str, registry: Path = DEFAULT_REGISTRY) -> Finder:
    """The finder that a bundle names, or a later one that replaced it.

    Args:
        reference: ``name@version``, perhaps with ``+hash8``, which must then be its own.
        registry: where it is; else it is looked for in that of the project.

    Raises:
        ModelError: it is missing, another one, or damaged.
    """
    name = reference.partition("@")[0]
    homes = [home / name for home in dict.fromkeys((registry, DEFAULT_REGISTRY))]
    for home in homes:
        finders = [read_finder(file.parent) for file in home.glob(f"*/{FINDER_FILE}")]
        for finder in sorted(
            finders, key=lambda candidate: candidate.description.version, reverse=True
        ):
            if any(_names(reference, candidate) for candidate in _stands_for(finder)):
                return finder
    raise ModelError(
        f"the face finder {reference}, with which the model was made, is not in "
        f"{' nor in '.join(map(str, homes))}; restore its folder"
    )


def _stands_for(finder: Finder) -> tuple[str, ...]:
    return (finder.model_id, *finder.description.replaces)


def _names(reference: str, finder_id: str) -> bool:
    return reference == finder_id or reference == finder_id.partition("+")[0]


def open_classifier(
    networks: Networks,
    *,
    checker: SignatureChecker | None = None,
    on_second: Callable[[Engine], None] = lambda engine: None,
) -> Classifier:
    """Load the networks.

    Args:
        networks: which.
        checker: checks signatures of content credentials; without one none is checked.
        on_second: called with the second look's engine when the first face needs it.
    """
    bundle = networks.bundle
    engine = open_engine(bundle, kind=networks.engine, precision=networks.precision)
    reader = None
    if networks.finder is not None:
        finder = FaceFinder(networks.finder, precision=networks.finder_precision)
        reader = AlignedFaces(finder, bundle.description.preprocessing)
    classifier = Classifier(
        bundle,
        engine,
        reader=reader,
        second=networks.second.open(on_second) if networks.second else None,
        rules=Rules(
            networks.curve.model_copy(update={"thresholds": networks.usual_thresholds}),
            networks.policy,
        ),
    )
    classifier.checker = checker
    return classifier
