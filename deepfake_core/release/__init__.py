"""From a network to the current model."""
