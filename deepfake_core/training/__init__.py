"""Fit a network."""
