"""What a run found, as numbers, words and pages."""
