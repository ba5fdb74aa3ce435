"""What the operators of ONNX mean in our primitives: a file with its RULES for each family.

A rule takes the trace, the node and what the node reads (None for what is left out), and returns what the
node makes. It raises Uncovered, with the reason, for a node that it does not cover.
"""
