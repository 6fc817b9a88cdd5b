"""How things are shown: texts, HTML, names of figures."""
