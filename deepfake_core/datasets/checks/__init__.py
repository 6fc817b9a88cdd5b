"""The data checks of a labelled folder, and their report."""
