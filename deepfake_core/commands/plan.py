"""``deepfake plan``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.plain_words import count, number
from deepfake_core.commands.terminal import DONE, FAILED, add_json, complain, tell
from deepfake_core.errors import UsageError
from deepfake_core.operations.capacity import Capacity, machines_for, simulate
from deepfake_core.operations.capacity_figures import PRICES_FILE, Figure, read_figures

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands


def add(commands: Commands) -> None:
    """Add ``plan``."""
    parser = commands.add_parser("plan", help="say what a large scan on many machines takes")
    parser.add_argument("--images", type=count, default=100_000_000, help="images of the scan")
    parser.add_argument(
        "--machines", type=count, help="machines that judge; by default as many as --hours needs"
    )
    parser.add_argument(
        "--hours", type=number, default=8.0, help="hours that the scan may take (8)"
    )
    parser.add_argument(
        "--bench", type=Path, metavar="FILE", help="measured figures, such as reports/bench.json"
    )
    parser.add_argument(
        "--prices",
        type=Path,
        default=PRICES_FILE,
        metavar="FILE",
        help="what your store and machines cost, as JSON; by default the dated prices of AWS that "
        "come with the program",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="another figure than the one shown, such as image_kb=80; may be repeated",
    )
    add_json(parser)
    parser.set_defaults(command=_plan)


def _plan(parsed: argparse.Namespace) -> int:
    given = dict(_given(text) for text in parsed.set)
    figures = read_figures(parsed.bench, given, prices=parsed.prices)
    machines = parsed.machines or machines_for(parsed.images, parsed.hours, figures)
    if machines is None:
        return complain(
            f"no number of machines judges {parsed.images:,} images in {parsed.hours:g} h, as one "
            "process lists, plans and publishes, and the store has its limits; see what breaks "
            "first with --machines, or give more --hours",
            FAILED,
        )
    capacity = simulate(parsed.images, machines, figures)
    tell(_as_json(capacity, figures) if parsed.json else None, in_words(capacity, figures))
    return DONE


def _given(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError as error:
        raise UsageError(f"--set {text}: NAME=NUMBER is expected") from error


def _as_json(capacity: Capacity, figures: dict[str, Figure]) -> dict[str, object]:
    named = {name: asdict(figure) for name, figure in figures.items()}
    return {**asdict(capacity), "hours": capacity.hours, "figures": named}


def in_words(capacity: Capacity, figures: dict[str, Figure]) -> str:
    """The plan as tables of Markdown, which are read well on a terminal, too."""
    dollars = sum(capacity.dollars.values())
    lines = [
        f"{capacity.images:,} images, {capacity.machines:,} machines and a coordinator: "
        f"{capacity.hours:.1f} h, ${dollars:,.0f}; the coordinator needs "
        f"{capacity.memory_bytes / 2**30:,.0f} GiB. More than {capacity.useful_machines:,} "
        "machines wait for the store or the scheduler.",
        "",
        "| phase | hours | pace is set by |",
        "|---|--:|---|",
        *(
            f"| {phase.name} | {phase.seconds / 3600:.2f} | {phase.limit} |"
            for phase in capacity.phases
        ),
        "",
        "| limit of judging | images/s |",
        "|---|--:|",
        *(f"| {name} | {rate:,.0f} |" for name, rate in capacity.rates.items()),
        "",
        "| cost | $ |",
        "|---|--:|",
        *(f"| {name} | {value:,.2f} |" for name, value in capacity.dollars.items()),
        "",
        "| what breaks first, in one run | from images |",
        "|---|--:|",
        *(f"| {limit.what} | {limit.images:,.0f} |" for limit in capacity.breaks),
        "",
        "| figure | value | from |",
        "|---|--:|---|",
        *(
            f"| {name} | {figure.value:,.4g} {figure.unit} | {figure.origin} |"
            for name, figure in figures.items()
        ),
    ]
    return "\n".join(lines)
