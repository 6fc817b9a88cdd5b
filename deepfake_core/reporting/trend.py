"""How what is found changes from week to week."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import UsageError
from deepfake_core.results.schema import REDECIDED_KEY
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import OnDamaged, chunks_of
from deepfake_core.storage.opening import open_storage

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLUMNS = ("status", "label", "run_started")
KINDS = {"fake": "#d1495b", "uncertain": "#e0a030", "real": "#3a9d8f"}
ROWS_AT_ONCE = 200_000
# Bars keep their width where there are fewer weeks than this, and not more are named.
FEW_WEEKS, MOST_NAMED = 6, 8


def weekly(output: str, *, on_damaged: OnDamaged | None = None) -> pd.DataFrame:
    """Count the verdicts of each week.

    Labels that were only decided again are not counted: no image was judged.

    Args:
        output: folder of the results.
        on_damaged: told of files that are left out as they are damaged; without it they raise.

    Returns:
        One row per week, from the first to the last without a gap: ``week`` (its Monday),
        ``judged``, ``failed``, ``fake``, ``uncertain``, ``real`` and ``fake_share`` (of what was
        judged; missing where nothing was).

    Raises:
        UsageError: nothing was published there.
    """
    import pandas as pd

    counts = list(_counts(Results(open_storage(output)), on_damaged))
    if not counts:
        raise UsageError(f"no verdicts are published in {output}; scan first, or give --output")
    rows = pa.concat_tables(counts).group_by(["week", "kind"]).aggregate([("count", "sum")])
    by_week = rows.to_pandas().pivot_table(index="week", columns="kind", values="count_sum")
    weeks = pd.date_range(by_week.index.min(), by_week.index.max(), freq="7D")
    by_week = by_week.reindex(index=weeks, columns=["failed", *KINDS]).fillna(0).astype("int64")
    judged = by_week[list(KINDS)].sum(axis="columns")
    by_week.insert(0, "judged", judged)
    by_week["fake_share"] = by_week["fake"] / judged.where(judged > 0)
    table: pd.DataFrame = by_week.rename_axis("week").reset_index()
    return table


def _counts(results: Results, on_damaged: OnDamaged | None) -> Iterator[pa.Table]:
    """Columns week, kind and count, of some rows after the others."""
    for path in results.published():
        chunks = chunks_of(
            results.storage, [path], COLUMNS, rows=ROWS_AT_ONCE, on_damaged=on_damaged
        )
        for rows in chunks:
            if REDECIDED_KEY in rows.schema.metadata or not rows.num_rows:
                continue
            started = rows["run_started"]
            counted = pa.table(
                {
                    "week": pc.floor_temporal(started, unit="week").cast(pa.timestamp("s")),
                    "kind": pc.fill_null(rows["label"].cast(pa.string()), "failed"),
                }
            )
            counted = counted.group_by(["week", "kind"]).aggregate([([], "count_all")])
            yield counted.rename_columns({"count_all": "count"})


def draw(weeks: pd.DataFrame, *, kind: str) -> bytes:
    """Draw the weeks: the share of fakes above, the number of images below.

    Args:
        weeks: as `weekly` gave them.
        kind: ``png`` or ``svg``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.4), dpi=120, layout="constrained")
    share, images = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    days = weeks["week"].to_numpy()
    share.plot(days, 100 * weeks["fake_share"], color=KINDS["fake"], marker="o", markersize=4)
    share.set(ylabel="labelled fake (%)", title=_title(weeks))
    shown = 100 * weeks["fake_share"].max()
    # A share of nothing, or of one week, has no range of its own.
    share.set_ylim(0, max(1.0, 1.15 * shown if shown == shown else 1.0))
    below = 0 * weeks["judged"]
    for name, colour in {**KINDS, "failed": "#7d8794"}.items():
        images.bar(days, weeks[name], 5.5, bottom=below, color=colour, label=name)
        below = below + weeks[name]
    images.set(ylabel="images per week")
    images.yaxis.set_major_formatter("{x:,.0f}")
    for axes in (share, images):
        axes.grid(axis="y", color="#dcdfe3", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    _mark_weeks(images, weeks)
    figure.legend(*images.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return stream.getvalue()


def _mark_weeks(axes: Axes, weeks: pd.DataFrame) -> None:
    """Name the weeks by their Mondays, and leave room beside a few of them."""
    import pandas as pd

    first, last = weeks["week"].iloc[0], weeks["week"].iloc[-1]
    beside = pd.Timedelta(days=7 * max(1, (FEW_WEEKS - len(weeks)) // 2))
    axes.set_xlim(first - beside, last + beside)
    named = weeks["week"].iloc[:: -(-len(weeks) // MOST_NAMED)]
    axes.set_xticks(named.to_numpy(), [f"{monday:%d %b %Y}" for monday in named])


def _title(weeks: pd.DataFrame) -> str:
    first, last = (f"{weeks['week'].iloc[at]:%d %B %Y}" for at in (0, -1))
    judged, fake = int(weeks["judged"].sum()), int(weeks["fake"].sum())
    span = f"the week of {first}" if first == last else f"the weeks of {first} to {last}"
    return f"{judged:,} images judged, {fake:,} labelled fake, in {span}"
