"""The data checks of a labelled folder, and their report."""

from deepfake_core.audit.duplicates import regroup
from deepfake_core.audit.inspection import DEFAULT_MAX_SHORTCUT_AUC, Inspection, inspect
from deepfake_core.audit.page import render

__all__ = ["DEFAULT_MAX_SHORTCUT_AUC", "Inspection", "inspect", "regroup", "render"]
