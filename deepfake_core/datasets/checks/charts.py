"""Places and sizes of what the report of the data checks draws."""

from __future__ import annotations

from collections.abc import Mapping

from deepfake_core.datasets.checks.document import ShortcutFacts
from deepfake_core.datasets.checks.shortcuts import FEATURES
from deepfake_core.datasets.names import CLASSES

# Drawing areas in units of the view boxes, which the template repeats.
AUDIT_LEFT, AUDIT_WIDTH, AUDIT_TOP, AUDIT_ROW = 176, 230, 22, 21
BARS_LEFT, BARS_WIDTH, BARS_MIDDLE, BARS_HEIGHT = 8, 284, 70, 52

HISTOGRAMS: Mapping[str, tuple[str, str]] = {
    "brightness": ("Brightness", "{:.0f}"),
    "bytes_per_pixel": ("Bytes per pixel", "{:.2f}"),
    "jpeg_quality": ("JPEG quality", "{:.0f}"),
}


def audit_chart(shortcuts: Mapping[str, ShortcutFacts], limit: float) -> dict[str, object]:
    """A row with a dot and its interval for each feature, on a scale from 0.5 to 1."""
    rows = [
        {
            "words": FEATURES[feature],
            "y": AUDIT_TOP + AUDIT_ROW * (place + 0.5),
            "x": _audit_x(shortcut["auc"]),
            "low": _audit_x(shortcut["low"]),
            "high": _audit_x(shortcut["high"]),
            "auc": shortcut["auc"],
            "interval": f"{shortcut['low']:.3f} to {shortcut['high']:.3f}",
            "tripped": shortcut["low"] > limit,
        }
        for place, (feature, shortcut) in enumerate(shortcuts.items())
    ]
    return {
        "rows": rows,
        "left": AUDIT_LEFT,
        "right": AUDIT_LEFT + AUDIT_WIDTH,
        "top": AUDIT_TOP,
        "bottom": AUDIT_TOP + AUDIT_ROW * len(rows),
        "limit": _audit_x(limit),
        "ticks": [{"x": _audit_x(at / 10), "words": f"{at / 10:g}"} for at in range(5, 11)],
    }


def _audit_x(auc: float) -> float:
    share = (min(max(auc, 0.5), 1.0) - 0.5) / 0.5
    return round(AUDIT_LEFT + AUDIT_WIDTH * share, 1)


def histogram_charts(
    histograms: Mapping[str, Mapping[str, list[float]]],
) -> list[dict[str, object]]:
    """Histograms of the real images upwards and of the fakes downwards, each of its own class."""
    return [
        {"name": name, "words": words} | _mirrored(histograms[name], form)
        for name, (words, form) in HISTOGRAMS.items()
        if histograms.get(name)
    ]


def _mirrored(histogram: Mapping[str, list[float]], form: str) -> dict[str, object]:
    edges = histogram["edges"]
    shares = {name: _shares(histogram[name]) for name in CLASSES}
    highest = max(0.0, *(max(heights) for heights in shares.values())) or 1.0
    span = (edges[-1] - edges[0]) or 1.0
    bars = []
    for name, some in shares.items():
        for low, high, share in zip(edges[:-1], edges[1:], some, strict=True):
            if not share:
                continue
            height = round(max(BARS_HEIGHT * share / highest, 1.0), 2)
            bars.append({
                "class": name,
                "x": round(BARS_LEFT + BARS_WIDTH * (low - edges[0]) / span, 2),
                "width": round(max(BARS_WIDTH * (high - low) / span - 1, 0.8), 2),
                "y": BARS_MIDDLE - height if name == "real" else BARS_MIDDLE,
                "height": height,
                "words": f"{form.format(low)} to {form.format(high)}: "
                f"{100 * share:.1f} % of the {name} ones",
            })  # fmt: skip
    middle = (edges[0] + edges[-1]) / 2
    return {
        "bars": bars,
        "left": BARS_LEFT,
        "right": BARS_LEFT + BARS_WIDTH,
        "middle": BARS_MIDDLE,
        "ticks": [form.format(value) for value in (edges[0], middle, edges[-1])],
    }


def _shares(counts: list[float]) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]
