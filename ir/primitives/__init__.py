"""The primitives, one page each."""
