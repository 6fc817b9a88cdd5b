"""Judge a model on labelled images: figures, plots, mistakes, and a report."""

from deepfake_core.evaluation.measurement import EvaluateConfig, evaluate
from deepfake_core.evaluation.page import render

__all__ = ["EvaluateConfig", "evaluate", "render"]
