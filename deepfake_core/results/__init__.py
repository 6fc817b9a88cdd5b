"""The output folder: its files, their columns and laws."""
