"""Judge a model on labelled images: figures, plots, mistakes, and a report."""
