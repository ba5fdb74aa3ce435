"""Facts about values and maps, as rigorous bounds."""
