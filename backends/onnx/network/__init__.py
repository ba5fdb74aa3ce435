"""Networks of others: an ONNX file is read with care, and traced into a graph of our primitives."""
