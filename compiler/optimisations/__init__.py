"""The optimisation passes, one page each. The order follows from what each comes `after`."""
