"""Products of matrices. A weight is applied as a matrix, so that its spectral norm bounds the layer."""

from collections.abc import Mapping

import numpy as np

from banach.backends.onnx.network.node import Node
from banach.backends.onnx.network.operators.elementwise import Rule
from banach.backends.onnx.network.refusal import Uncovered
from banach.backends.onnx.network.tracing import Thing, Trace, rank_of, shape_of


def swap(trace: Trace, matrix: Thing) -> Thing:
    """The transpose in the last two axes."""
    return trace.op("transpose", matrix, permutation=(-1, -2))


def _is_weight(thing: Thing) -> bool:
    return isinstance(thing, np.ndarray) and thing.ndim == 2


def _matmul(trace: Trace, node: Node, a: Thing, b: Thing) -> Thing:
    if not rank_of(a) or not rank_of(b):
        raise Uncovered("it multiplies a number as a matrix")
    if _is_weight(b) and not _is_weight(a):
        return trace.op("matvec", swap(trace, b), a)
    if _is_weight(a) and rank_of(b) == 1:
        return trace.op("matvec", a, b)
    row, column = rank_of(a) == 1, rank_of(b) == 1
    left = trace.op("reshape", a, shape=(1, *shape_of(a))) if row else a
    right = trace.op("reshape", b, shape=(*shape_of(b), 1)) if column else b
    found = trace.op("matmul", left, right)
    shape = shape_of(found)
    kept = (*shape[:-2], *(() if row else shape[-2:-1]), *(() if column else shape[-1:]))
    return trace.op("reshape", found, shape=kept) if row or column else found


def _gemm(trace: Trace, node: Node, a: Thing, b: Thing, c: Thing | None = None) -> Thing:
    """α·A·B + β·C, either factor transposed where it says so."""
    alpha, beta = float(node.get("alpha", 1.0)), float(node.get("beta", 1.0))
    if rank_of(a) != 2 or rank_of(b) != 2:
        raise Uncovered(f"it multiplies tensors with {rank_of(a)} and {rank_of(b)} axes")
    a = swap(trace, a) if node.get("transA", 0) else a
    b = swap(trace, b) if node.get("transB", 0) else b
    if alpha != 1 and _is_weight(b):
        b, alpha = trace.op("multiply", alpha, b), 1.0
    y = _matmul(trace, node, a, b)
    y = y if alpha == 1 else trace.op("multiply", alpha, y)
    if c is None or beta == 0:
        return y
    return trace.op("add", y, c if beta == 1 else trace.op("multiply", beta, c))


RULES: Mapping[str, Rule] = {"Gemm": _gemm, "MatMul": _matmul}
