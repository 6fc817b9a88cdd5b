"""Faces in pictures: found, aligned, chosen."""
