"""The model of the page, loaded once for all who use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from deepfake_core.inference.classifier import Classifier
from deepfake_core.serve.page.settings import Settings

if TYPE_CHECKING:
    from deepfake_core.inference.opening import Networks


def the_classifier(settings: Settings) -> Classifier:
    """The page's classifier; the first call loads it."""
    return _classifier(settings.model, settings.registry)


def the_networks(settings: Settings) -> Networks:
    """The descriptions of the networks that judge for the page, without their weights."""
    return _networks(settings.model, settings.registry)


@st.cache_resource(show_spinner=False)
def _networks(model: str, registry: str) -> Networks:
    """As a scan chooses them, so that both give the same score."""
    from pathlib import Path

    from deepfake_core.inference.opening import choose_networks
    from deepfake_core.models.registry import find_model

    folder = Path(registry)
    return choose_networks(find_model(model, folder), registry=folder)


@st.cache_resource(show_spinner="The model is being loaded …")
def _classifier(model: str, registry: str) -> Classifier:
    from deepfake_core.inference.opening import open_classifier
    from deepfake_core.scanning.credentials import choose_checker

    return open_classifier(_networks(model, registry), checker=choose_checker())
