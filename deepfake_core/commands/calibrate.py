"""``deepfake calibrate``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.plain_words import number
from deepfake_core.commands.terminal import DONE, add_json, add_registry, registry_of, say, tell
from deepfake_core.errors import UsageError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.models.policy import Policy
    from deepfake_core.operations.photographs import Photographs

TOLD_EVERY = 200


def add(commands: Commands) -> None:
    """Add ``calibrate``."""
    parser = commands.add_parser(
        "calibrate",
        help="derive a policy from photographs of your own: a line that keeps a promised share "
        "of false alarms",
    )
    parser.add_argument(
        "--real", required=True, metavar="DIR",
        help="folder or URL of pictures that you know to be photographs",
    )  # fmt: skip
    parser.add_argument(
        "--fpr", type=number, required=True, metavar="SHARE",
        help="largest share of photographs that may be flagged, such as 0.01",
    )  # fmt: skip
    parser.add_argument(
        "--confidence", type=number, default=0.95, metavar="SHARE", help="how sure that is (0.95)"
    )
    parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="the policy file")
    parser.add_argument("--model", default="resnet50", help="NAME or NAME@VERSION")
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16 or int8")
    parser.add_argument(
        "--second-look", choices=("auto", "off", "all"), default="auto",
        help="which faces are given a second look, as in the scans (auto)",
    )  # fmt: skip
    parser.add_argument(
        "--faces", choices=("find", "frame"),
        help="judge faces, or whole pictures, as the scans will; as the model says by default",
    )  # fmt: skip
    add_registry(parser)
    add_json(parser)
    parser.set_defaults(command=_calibrate)


def _calibrate(parsed: argparse.Namespace) -> int:
    from deepfake_core.inference.opening import Choice, choose_networks, open_classifier
    from deepfake_core.models.registry import find_model
    from deepfake_core.operations.photographs import judge_photographs
    from deepfake_core.operations.policies import Judges, Promise, derive_policy, outliers
    from deepfake_core.storage.opening import open_storage

    promise = Promise(_share(parsed.fpr, "--fpr"), _share(parsed.confidence, "--confidence"))
    registry = registry_of(parsed)
    bundle = find_model(parsed.model, registry)
    networks = choose_networks(
        bundle,
        Choice(precision=parsed.precision, faces=parsed.faces, second_look=parsed.second_look),
        registry=registry,
    )
    photographs = judge_photographs(
        open_storage(parsed.real), open_classifier(networks), told=_told
    )
    facts = networks.facts
    judges = Judges(
        bundle.model_id,
        second_model_id=facts["second_model_id"],
        second_look=facts["second_look"],
        finder_id=facts["finder_id"],
        precision=networks.precision,
    )
    policy = derive_policy(photographs.scores, photographs.sizes, promise=promise, judges=judges)
    _write(parsed.to, policy)
    look_at = [
        (photographs.images[at], float(photographs.scores[at]))
        for at in outliers(photographs.scores)
    ]
    words = _in_words(policy, photographs, look_at, networks.usual_thresholds.fake_from)
    result: dict[str, object] = {
        **policy.model_dump(mode="json"),
        "policy": str(parsed.to),
        "left_out": photographs.left_out,
        "look_at": [{"image": image, "score": score} for image, score in look_at],
        "declared_generated": photographs.generated,
    }
    tell(result if parsed.json else None, words)
    return DONE


def _share(value: float, option: str) -> float:
    if not 0 < value < 1:
        raise UsageError(f"{option} is a share between 0 and 1, such as 0.01; found {value:g}")
    return value


def _told(done: int, of: int) -> None:
    if done % TOLD_EVERY < 16 or done == of:
        say(f"{done:,} of {of:,} photographs judged")


def _write(path: Path, policy: Policy) -> None:
    from deepfake_core.files import written_beside

    with written_beside(path, "give another file with --to") as stream:
        stream.write(policy.model_dump_json(indent=1).encode() + b"\n")


def _in_words(
    policy: Policy, photographs: Photographs, look_at: list[tuple[str, float]], usual: float
) -> str:
    """The policy, and what a person should look at before trusting it."""
    from deepfake_core.rendering.text import line_text, one_line, percent, score_text, share_text

    lines = [
        f"{policy.photographs:,} photographs: at most {percent(policy.fpr)} of such photographs "
        f"are flagged, with {percent(policy.confidence)} confidence",
        *(
            f"faces {_sizes(tier.from_size, tier.below_size)}: flagged from "
            f"{line_text(tier.fake_from)} on ({share_text(tier.flagged, tier.photographs)} here)"
            for tier in policy.tiers
        ),
        f"the model's own line is {line_text(usual)}",
        *(f"not used: {count} {reason}" for reason, count in sorted(photographs.left_out.items())),
    ]
    if photographs.generated:
        lines.append(
            f"{len(photographs.generated)} declare themselves generated; they are not photographs, "
            f"so take them out and calibrate again: {_names(photographs.generated)}"
        )
    if look_at:
        lines.append("these score unlike the rest; a fake among them pulls the line up, so look:")
        lines += [f"  {score_text(score)}  {one_line(image)}" for image, score in look_at]
    return "\n".join(lines)


def _sizes(start: float, end: float | None) -> str:
    if end is None:
        return f"from {start:g} pixels on" if start else "of all sizes"
    return f"from {start:g} to {end:g} pixels" if start else f"below {end:g} pixels"


def _names(images: list[str], most: int = 5) -> str:
    from deepfake_core.rendering.text import one_line

    shown = ", ".join(one_line(image) for image in images[:most])
    return shown + (f" and {len(images) - most} more" if len(images) > most else "")
