"""The page's own look, and the bar of a score, as HTML without a script or an outside address."""

from __future__ import annotations

from html import escape

from deepfake_core.models.decision import Thresholds
from deepfake_core.records import Label
from deepfake_core.rendering.evidence import label_words
from deepfake_core.rendering.text import line_text, score_text

CSS = """
<style>
.block-container, .stMainBlockContainer { max-width: 52rem; padding-top: 3.5rem; }
h1 { font-size: clamp(1.7rem, 6vw, 2.2rem) !important; }
h2 { font-size: 1.4rem !important; } h3 { font-size: 1.25rem !important; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p,
[data-testid="stFileUploaderDropzoneInstructions"] * { color: #4d5560 !important; opacity: 1; }
.stMarkdown table { display: block; max-width: 100%; overflow-x: auto; }
.df-note { background: #fbf6ea; border-left: 5px solid #e0a030; border-radius: 6px;
  padding: .7rem 1rem; margin: 0; color: #1d2126; }
.df-verdict { margin: 0; font-size: 1.35rem; font-weight: 700; line-height: 1.3; }
.df-fake { color: #b3261e; } .df-uncertain { color: #7a5000; } .df-real { color: #0b6b5d; }
.df-name { color: #4d5560; font-size: .875rem; overflow-wrap: anywhere; margin: 0 0 .2rem; }
.df-line { margin: .3rem 0 0; }
.df-bar { position: relative; height: 1.5rem; display: flex; border-radius: 6px;
  border: 1px solid #7d8794; overflow: hidden; margin-top: 1.1rem; }
.df-bar span { display: block; height: 100%; box-sizing: border-box; }
.df-bar .z-real { background: #bfe3dc; }
.df-bar .z-uncertain { border-left: 2px solid #1d2126; border-right: 2px solid #1d2126;
  background: repeating-linear-gradient(135deg, #fbe7bd 0 6px, #f3d28a 6px 12px); }
.df-bar .z-fake { background: #f2b8b5; }
.df-scale { position: relative; }
.df-marker { position: absolute; top: -.55rem; height: 2.5rem; width: 4px; margin-left: -2px;
  background: #1d2126; border-radius: 2px; box-shadow: 0 0 0 1px #fff; }
.df-ends { display: flex; justify-content: space-between; font-size: .8rem; color: #4d5560;
  margin-top: .45rem; }
.df-key { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; color: #1d2126;
  margin: .2rem 0 0; }
.df-key i { display: inline-block; width: .9em; height: .9em; border: 1px solid #7d8794;
  border-radius: 3px; margin-right: .35em; vertical-align: -.08em; }
.df-key .z-real { background: #bfe3dc; } .df-key .z-fake { background: #f2b8b5; }
.df-key .z-uncertain {
  background: repeating-linear-gradient(135deg, #fbe7bd 0 3px, #f3d28a 3px 6px); }
.df-table { border-collapse: collapse; width: 100%; font-size: .95rem; margin: .4rem 0 .6rem; }
.df-table th, .df-table td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0;
  border-bottom: 1px solid #dcdfe3; overflow-wrap: anywhere; }
.df-table thead th { color: #4d5560; font-weight: 600; }
.df-table tbody th { font-weight: 600; min-width: 6.5rem; }
.df-table .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.df-quiet { color: #4d5560; font-size: .875rem; }
:focus-visible { outline: 3px solid #0b5a8a !important; outline-offset: 2px; }
</style>
"""


def note(text: str) -> str:
    """A remark that is meant to be seen."""
    return f'<p class="df-note" role="note">{escape(text)}</p>'


def score_bar(score: float, label: Label, thresholds: Thresholds) -> str:
    """The scale from 0 to 1 with the three zones of the labels, and the score on it.

    The uncertain zone is hatched, so that it can be told apart without colours.
    """
    real, fake = thresholds.real_below, thresholds.fake_from
    spoken = (
        f"Score {score_text(score)} on a scale from 0, nothing found, to 1, machine-generated: "
        f"{label_words(label)}. Nothing found below {line_text(real)}, flagged from "
        f"{line_text(fake)}, uncertain between."
    )
    zones = (("real", real), ("uncertain", fake - real), ("fake", 1 - fake))
    spans = "".join(
        f'<span class="z-{name}" style="width:{100 * w:.2f}%"></span>' for name, w in zones
    )
    return (
        f'<div class="df-scale" role="img" aria-label="{spoken}">'
        f'<div class="df-bar">{spans}</div>'
        f'<div class="df-marker" style="left:{100 * score:.2f}%"></div></div>'
        '<div class="df-ends" aria-hidden="true"><span>0 nothing found</span>'
        "<span>machine-generated 1</span></div>"
        '<p class="df-key"><span><i class="z-real"></i>nothing found: below '
        f"{line_text(real)}</span>"
        '<span><i class="z-uncertain"></i>uncertain: between</span>'
        f'<span><i class="z-fake"></i>flagged: from {line_text(fake)}</span></p>'
    )


def table(rows: list[tuple[str, str]], *, head: tuple[str, str] | None = None) -> str:
    """Two columns; with a head the second holds numbers."""
    kind = ' class="n"' if head else ""
    top = f'<thead><tr><th scope="col">{escape(head[0])}</th><th scope="col"{kind}>' if head else ""
    top += f"{escape(head[1])}</th></tr></thead>" if head else ""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td{kind}>{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table class="df-table">{top}<tbody>{body}</tbody></table>'
