"""Rules that infer convergence from the form of an iteration, one page each; no method is named."""
