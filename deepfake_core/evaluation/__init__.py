"""Judge a model on labelled images: figures, plots, mistakes, and a report."""

from deepfake_core.evaluation.measurement import evaluate
from deepfake_core.evaluation.page import render
from deepfake_core.evaluation.settings import EvaluateConfig

__all__ = ["EvaluateConfig", "evaluate", "render"]
