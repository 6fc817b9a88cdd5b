"""The page's own look, and the bar of a score, as HTML without a script or an outside address."""

from __future__ import annotations

from html import escape

from deepfake_core.models.decision import Thresholds
from deepfake_core.records import Label
from deepfake_core.rendering.evidence import label_words
from deepfake_core.rendering.text import line_text, score_text

# Up to this width Streamlit lays its menu over the page.
NARROW_PIXELS = 768


# Each colour by day and by night; Streamlit says in `color-scheme` which it is.
CSS = """
<style>
:root {
  --df-text: light-dark(#1d2126, #e9ebee); --df-quiet: light-dark(#4d5560, #b6bec8);
  --df-fake: light-dark(#b3261e, #ff9a91); --df-uncertain: light-dark(#7a5000, #f1c566);
  --df-real: light-dark(#0b6b5d, #6fd6c5); --df-edge: light-dark(#7d8794, #8d97a4);
  --df-line: light-dark(#dcdfe3, #3a4048); --df-focus: light-dark(#0b5a8a, #86c7f2);
  --df-ground: light-dark(#ffffff, #14171a); --df-note: light-dark(#fbf6ea, #2a2416);
  --df-zone-real: light-dark(#bfe3dc, #1c564c); --df-zone-fake: light-dark(#f2b8b5, #7c2f2a);
  --df-zone-a: light-dark(#fbe7bd, #6a5420); --df-zone-b: light-dark(#f3d28a, #46370f);
}
.block-container, .stMainBlockContainer { max-width: 52rem; padding-top: 3.5rem; }
h1 { font-size: clamp(1.7rem, 6vw, 2.2rem) !important; }
h2 { font-size: 1.4rem !important; } h3 { font-size: 1.25rem !important; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p,
[data-testid="stFileUploaderDropzoneInstructions"] * {
  color: var(--df-quiet) !important; opacity: 1; }
[data-testid="stElementContainer"]:has(script) { position: absolute; }
.stMarkdown table { display: block; max-width: 100%; overflow-x: auto; }
.df-note { background: var(--df-note); border-left: 5px solid #e0a030; border-radius: 6px;
  padding: .7rem 1rem; margin: 0; color: var(--df-text); }
.df-verdict { margin: 0; font-size: 1.35rem; font-weight: 700; line-height: 1.3; }
.df-fake { color: var(--df-fake); } .df-uncertain { color: var(--df-uncertain); }
.df-real { color: var(--df-real); }
.df-name { color: var(--df-quiet); font-size: .875rem; overflow-wrap: anywhere; margin: 0 0 .2rem; }
.df-line { margin: .3rem 0 0; }
.df-bar { position: relative; height: 1.5rem; display: flex; border-radius: 6px;
  border: 1px solid var(--df-edge); overflow: hidden; margin-top: 1.1rem; }
.df-bar span { display: block; height: 100%; box-sizing: border-box; }
.df-bar .z-real { background: var(--df-zone-real); }
.df-bar .z-uncertain { border: solid var(--df-text); border-width: 0 2px;
  background: repeating-linear-gradient(135deg,
    var(--df-zone-a) 0 6px, var(--df-zone-b) 6px 12px); }
.df-bar .z-fake { background: var(--df-zone-fake); }
.df-scale { position: relative; }
.df-marker { position: absolute; top: -.55rem; height: 2.5rem; width: 4px; margin-left: -2px;
  background: var(--df-text); border-radius: 2px; box-shadow: 0 0 0 1px var(--df-ground); }
.df-ends { display: flex; justify-content: space-between; font-size: .8rem; color: var(--df-quiet);
  margin-top: .45rem; }
.df-key { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; color: var(--df-text);
  margin: .2rem 0 0; }
.df-key i { display: inline-block; width: .9em; height: .9em; border: 1px solid var(--df-edge);
  border-radius: 3px; margin-right: .35em; vertical-align: -.08em; }
.df-key .z-real { background: var(--df-zone-real); }
.df-key .z-fake { background: var(--df-zone-fake); }
.df-key .z-uncertain {
  background: repeating-linear-gradient(135deg, var(--df-zone-a) 0 3px, var(--df-zone-b) 3px 6px); }
.df-table { border-collapse: collapse; width: 100%; font-size: .95rem; margin: .4rem 0 .6rem; }
.df-table th, .df-table td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0;
  border-bottom: 1px solid var(--df-line); overflow-wrap: anywhere; }
.df-table thead th { color: var(--df-quiet); font-weight: 600; }
.df-table tbody th { font-weight: 600; min-width: 6.5rem; }
.df-table .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.df-quiet { color: var(--df-quiet); font-size: .875rem; }
:focus-visible { outline: 3px solid var(--df-focus) !important; outline-offset: 2px; }
</style>
"""


def close_menu(page: str) -> str:
    """A script that closes the menu on a narrow screen; it runs again on each other page.

    Args:
        page: the path of a page of this program.
    """
    return f"""<script>
/* {page} */
if (window.innerWidth <= {NARROW_PIXELS}) {{
  document.querySelector(
    '[data-testid="stSidebar"]:not([data-collapsed="true"]) ' +
    '[data-testid="stSidebarCollapseButton"] button'
  )?.click();
}}
</script>"""


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
