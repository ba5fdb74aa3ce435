"""From YAML to a certified, optimised graph."""
