"""From bytes to judgements."""
