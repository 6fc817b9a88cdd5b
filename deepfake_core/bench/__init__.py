"""The benchmark: each stage alone, all of them together, memory, and named alternatives."""
