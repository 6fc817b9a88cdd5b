"""Faces in pictures: found, brought to one geometry, chosen, and their quality measured."""
