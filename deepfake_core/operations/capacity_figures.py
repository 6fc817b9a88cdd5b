"""The figures that a capacity plan is computed from, each with where it comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepfake_core.errors import UsageError
from deepfake_core.records import Json
from deepfake_core.storage.s3_multipart import MAX_PARTS, PART_BYTES

PRICES_FILE = Path(__file__).parent / "prices.json"
PRICED = ("machine_dollars_per_hour", "get_dollars_per_1000", "put_dollars_per_1000")
AWS_RATES = (
    "AWS, docs.aws.amazon.com/AmazonS3/latest/dev/request-rate-perf-considerations.html: at least "
    "5,500 GET per second and prefix"
)
AWS_LATENCY = "assumed: 100 ms a page, one page names 1,000 keys"
AWS_MACHINE = (
    "AWS, c5.4xlarge with 16 vCPU on demand in us-east-1 (an example price of its guide "
    "docs.aws.amazon.com/autoscaling/ec2/userguide/weights-spot-price-per-unit-hour-example.html)"
)
DEVELOPMENT = "measured in development on 2 cores of an AMD EPYC; measure yours"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, its unit, and where it comes from."""

    value: float
    unit: str
    origin: str


ASSUMED: dict[str, Figure] = {
    "shard_size": Figure(4096, "images", "the default of --shard-size"),
    "images_per_s_per_core": Figure(36.0, "images/s", f"{DEVELOPMENT}; fp32"),
    "from_store_share": Figure(0.9, "of the rate from disk", "the target for S3 with 20 ms"),
    "cluster_share": Figure(1.0, "of the rate of one process", "assumed"),
    "send_ms": Figure(11.0, "ms per shard", DEVELOPMENT),
    "start_s": Figure(30.0, "s", "assumed: a worker starts and loads the model"),
    "plan_us": Figure(4.0, "µs per image", DEVELOPMENT),
    "finish_us": Figure(8.3, "µs per image", DEVELOPMENT),
    "coordinator_bytes": Figure(1350.0, "bytes per image", DEVELOPMENT),
    "row_bytes": Figure(42.0, "bytes per image", DEVELOPMENT),
    "page_s": Figure(0.1, "s per page", AWS_LATENCY),
    "image_kb": Figure(200.0, "kB", "assumed: the mean size of an image"),
    "prefixes": Figure(1, "prefixes", "assumed: images lie under so many"),
    "gets_per_s_per_prefix": Figure(5500, "per second", AWS_RATES),
    "machine_cores": Figure(16, "cores", AWS_MACHINE),
    "machine_gib": Figure(32, "GiB", AWS_MACHINE),
    "machine_gbit_per_s": Figure(5, "Gbit/s", "assumed: sustained, half of its up to 10 Gbit/s"),
    "largest_object_gb": Figure(
        MAX_PARTS * PART_BYTES / 1e9, "GB", "10,000 parts of the size used here"
    ),
    "sequential_hours": Figure(4, "h", "assumed: what one process may take of a night"),
}
# The benchmark's names of figures that it measures in the unit used here.
MEASURED = {
    "from_store_share": "s3_20ms_over_disk",
    "cluster_share": "cluster_over_one_process",
    "send_ms": "cluster_tiny_shard_ms",
    "start_s": "first_verdict_s",
    "plan_us": "coordinator_plan_us",
    "finish_us": "coordinator_finish_us",
    "coordinator_bytes": "coordinator_image_bytes",
    "row_bytes": "coordinator_row_bytes",
}


class Price(BaseModel):
    """What something costs, and where that was read."""

    model_config = ConfigDict(extra="forbid")

    value: float = Field(gt=0)
    origin: str


class Prices(BaseModel):
    """The content of a file of prices, all in dollars, and when they were read."""

    model_config = ConfigDict(extra="forbid")

    as_of: str = Field(min_length=4)
    machine_dollars_per_hour: Price
    get_dollars_per_1000: Price
    put_dollars_per_1000: Price


def read_prices(path: Path = PRICES_FILE) -> dict[str, Figure]:
    """The prices of a file, as figures of a plan.

    Raises:
        UsageError: the file cannot be read, or lacks a price.
    """
    try:
        content = Prices.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise UsageError(
            f"{path} cannot be read as prices: {why}; expected is JSON like {PRICES_FILE}, with "
            f"as_of, {', '.join(PRICED)}"
        ) from error
    prices: dict[str, Price] = {name: getattr(content, name) for name in PRICED}
    return {
        name: Figure(price.value, "$", f"{price.origin}, as of {content.as_of}")
        for name, price in prices.items()
    }


def read_figures(
    bench: Path | None, given: Mapping[str, float], *, prices: Path = PRICES_FILE
) -> dict[str, Figure]:
    """All figures: those given, else those measured, else those assumed.

    Args:
        bench: what the benchmark wrote; None where nothing was measured.
        given: by name, from whoever asks.
        prices: a file of prices; by default the dated one that comes with the program.

    Raises:
        UsageError: a name is unknown, a number is not positive, or the file cannot be read.
    """
    figures = ASSUMED | read_prices(prices)
    if bench is not None:
        figures |= _measured(_read(bench), str(bench))
    for name, value in given.items():
        if name not in figures:
            raise UsageError(f"there is no figure {name}; there are: {', '.join(figures)}")
        figures[name] = Figure(value, figures[name].unit, "given")
    wrong = [name for name, figure in figures.items() if not figure.value > 0]
    if wrong:
        raise UsageError(f"{wrong[0]} is {figures[wrong[0]].value:g}; a number above 0 is expected")
    return figures


def _measured(bench: Json, name: str) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    cores = re.search(r"(\d+) cores", str(bench.get("machine", "")))
    if cores and "end_to_end_per_s" in bench:
        rate = bench["end_to_end_per_s"] / int(cores[1])
        origin = f"{name}: end_to_end_per_s over {cores[1]} cores, {bench.get('precision')}"
        figures["images_per_s_per_core"] = Figure(rate, "images/s", origin)
    for here, there in MEASURED.items():
        if there in bench:
            figures[here] = Figure(bench[there], ASSUMED[here].unit, f"{name}: {there}")
    return figures


def _read(path: Path) -> dict[str, object]:
    try:
        content: dict[str, object] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as figures of a benchmark: {error}") from error
    return content
