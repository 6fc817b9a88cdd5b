"""What an operator does with results and plans."""
