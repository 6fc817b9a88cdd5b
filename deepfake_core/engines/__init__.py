"""Compile a network and run it at a precision; no word of faces or verdicts."""
