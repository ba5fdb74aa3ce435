"""Optimisation passes, one file each."""
