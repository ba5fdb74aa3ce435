"""The first stage of the language: formulas become graphs, maps and exact numbers."""
