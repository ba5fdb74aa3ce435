"""How each family of primitives is said in torch: a file with its TABLE for each."""
