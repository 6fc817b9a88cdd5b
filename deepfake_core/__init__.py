"""Tell camera photographs of faces from machine-generated ones, in batches."""

__version__ = "0.1.0"
