"""Banach: a compiler for iterative models. `load`, `check`, `compile`, `run`."""
