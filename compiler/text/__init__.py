"""From characters to a tree: YAML nodes and formulas, with a place for everything."""
