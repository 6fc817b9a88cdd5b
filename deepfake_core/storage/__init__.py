"""A folder, local or remote, behind one protocol."""
