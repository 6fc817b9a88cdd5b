"""The model of the page, loaded once for all who use it."""

from __future__ import annotations

import streamlit as st

from deepfake_core.inference.classifier import Classifier
from deepfake_core.models.bundle import Bundle
from deepfake_core.serve.page.settings import Settings


def the_classifier(settings: Settings) -> Classifier:
    """The page's classifier; the first call loads it."""
    return _classifier(settings.model, settings.registry)


def the_bundle(settings: Settings) -> Bundle:
    """The description of the page's model, without its weights."""
    return _bundle(settings.model, settings.registry)


@st.cache_resource(show_spinner=False)
def _bundle(model: str, registry: str) -> Bundle:
    from pathlib import Path

    from deepfake_core.models.registry import find_model

    return find_model(model, Path(registry))


@st.cache_resource(show_spinner="The model is being loaded …")
def _classifier(model: str, registry: str) -> Classifier:
    """As a scan does it, so that both give the same score."""
    from pathlib import Path

    from deepfake_core.inference.opening import choose_networks, open_classifier
    from deepfake_core.scanning.credentials import choose_checker

    networks = choose_networks(_bundle(model, registry), registry=Path(registry))
    classifier = open_classifier(networks)
    classifier.checker = choose_checker()
    return classifier
