"""How each family of primitives is written in ONNX: a file with its RULES for each."""
