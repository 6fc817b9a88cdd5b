"""The page's script; Streamlit runs it again at each click."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import streamlit as st

from deepfake_core.models.bundle import CARD_FILE
from deepfake_core.rendering.evidence import SCALE
from deepfake_core.rendering.text import line_text, without_pictures
from deepfake_core.serve.page import check, guide, review, style
from deepfake_core.serve.page.model import the_networks
from deepfake_core.serve.page.settings import Settings, read_settings


def main(arguments: Sequence[str]) -> None:
    """Show the page that the address names.

    Args:
        arguments: of the script; the first holds the settings.
    """
    settings = read_settings(arguments)
    st.set_page_config(page_title="Deepfake verification", layout="centered")
    st.html(style.CSS)
    page = st.navigation(
        {
            "Verify": [
                _page("Check a picture", "check", lambda: check.show(settings), default=True),
                _page("Review a scan", "review", lambda: review.show(settings)),
            ],
            "Understand": [
                _page("How it works", "how-it-works", lambda: _how_it_works(settings)),
                _page("How to read a result", "how-to-read", lambda: _text(guide.HOW_TO_READ)),
                _page("Look critically", "look", lambda: _text(guide.LOOK_CRITICALLY)),
                _page("Report responsibly", "report", lambda: _text(guide.REPORT)),
                _page("Privacy", "privacy", lambda: _privacy(settings)),
                _page("Model card", "model-card", lambda: _model_card(settings)),
            ],
        }
    )
    # Streamlit leaves an open menu over the page that was chosen on a telephone. It is closed
    # before the page is there, so that one which is opened meanwhile stays.
    st.html(style.close_menu(page.url_path), unsafe_allow_javascript=True)
    page.run()


def _page(title: str, path: str, show: Callable[[], None], *, default: bool = False) -> st.Page:
    return st.Page(show, title=title, url_path=path, default=default)


def _text(text: str) -> None:
    st.markdown(text)


def _how_it_works(settings: Settings) -> None:
    networks = the_networks(settings)
    finds = networks.faces == "find"
    shown = guide.FACES if finds else guide.FRAME
    st.markdown(
        guide.HOW_IT_WORKS.format(
            shown=shown.format(size=networks.bundle.description.preprocessing.size),
            again=guide.AGAIN if networks.second else "",
            made_for=guide.MADE_FOR_FACES if finds else guide.MADE_FOR_FRAMES,
            real_below=line_text(networks.thresholds.real_below),
            fake_from=line_text(networks.thresholds.fake_from),
            scale=SCALE,
        )
    )


def _privacy(settings: Settings) -> None:
    st.markdown(guide.PRIVACY.format(reports=settings.reports))


def _model_card(settings: Settings) -> None:
    """The bundle's card, without the lines that are meant for programs."""
    bundle = the_networks(settings).bundle
    path = bundle.folder / CARD_FILE
    if not path.is_file():
        st.title("Model card", anchor=False)
        st.info(f"The model {bundle.model_id} came without a card.")
        return
    st.caption(f"Model `{bundle.model_id}`")
    text = path.read_text("utf-8")
    text = text.partition("\n---\n")[2] if text.startswith("---\n") else text
    # A card comes with its bundle, which may be from anywhere.
    st.markdown(without_pictures(text))


if __name__ == "__main__":
    main(sys.argv[1:])
