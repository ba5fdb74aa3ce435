"""Products of matrices and vectors."""

from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from banach.ir.dims import Size
from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.primitive import (
    NONNEGATIVE,
    REALS,
    Cotangents,
    Known,
    Primitive,
    Regions,
    Sample,
    Types,
    Values,
    draw,
    unbroadcast,
)
from banach.ir.tensor_type import TensorType, TypeMismatch, broadcast, same_dtype


def swap(matrix: Value) -> Value:
    """The transpose in the last two axes."""
    return matrix.builder.op("transpose", matrix, permutation=(-1, -2))


def _of_products(operands: Sequence[Known]) -> Interval:
    """Where sums of as many products lie as the first operand has columns."""
    left, right = operands
    terms = left.type.shape[-1]
    return left.range * right.range * terms if isinstance(terms, int) and terms else REALS


@final
class Matvec(Primitive):
    """A matrix applied to the last axis.

    Maths    y = A x
    Types    A: [m, n], x: [*s, n] -> y: [*s, m]
    Reverse  R(A, x, dy) = (Σ_s dy xᵀ, Aᵀ dy)
    Facts    bilinear; gain in x is ‖A‖₂
    Source   textbook
    """

    core = (2, 1)
    linear_in = ((0,), (1,))

    def types(self, operands: Types, regions: Regions) -> Types:
        matrix, x = operands
        if matrix.rank != 2 or not x.rank or matrix.shape[1] != x.shape[-1]:
            raise TypeMismatch(f"a matrix {matrix} cannot be applied to {x}")
        return (TensorType(same_dtype(operands), (*x.shape[:-1], matrix.shape[0]), x.space),)

    def evaluate(self, matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.matmul(x, matrix.T)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (matrix, x), (dy,) = operands, cotangents
        rows = build.op("reshape", dy, shape=(_product(dy.type.shape[:-1]), dy.type.shape[-1]))
        columns = build.op("reshape", x, shape=(_product(x.type.shape[:-1]), x.type.shape[-1]))
        return build.op("matmul", swap(rows), columns), build.op("matvec", swap(matrix), dy)

    def range(self, operands: Sequence[Known]) -> Interval:
        return _of_products(operands)

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return operands[0].norm() if index == 1 else NONNEGATIVE

    def vectorise(self, build: Builder, operands: Values, lanes: Sequence[bool], **attributes: Any) -> Value:
        matrix, x = operands
        if not lanes[0]:
            return build.op("matvec", matrix, x)
        lane, m, n = matrix.type.shape
        if not lanes[1]:
            x = build.op("broadcast", x, shape=(lane, *x.type.shape))
        middle = x.type.shape[1:-1]
        flat = build.op("reshape", x, shape=(lane, _product(middle), n))
        return build.op("reshape", build.op("matmul", flat, swap(matrix)), shape=(lane, *middle, m))

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3), (3,)))
        yield Sample(draw((2, 3), (4, 3)))


@final
class Matmul(Primitive):
    """The product of matrices; leading axes broadcast.

    Maths    C = A B
    Types    A: [*s, m, k], B: [*t, k, n] -> C: [*s|t, m, n]
    Reverse  R(A, B, dC) = (dC Bᵀ, Aᵀ dC), each summed over the leading axes where it was stretched
    Facts    bilinear; gain in either factor is the other's ‖·‖₂
    Source   textbook
    """

    core = (2, 2)
    linear_in = ((0,), (1,))
    lowerings = {"onnx": "MatMul", "fx": "matmul"}

    def types(self, operands: Types, regions: Regions) -> Types:
        a, b = operands
        if a.rank < 2 or b.rank < 2 or a.shape[-1] != b.shape[-2]:
            raise TypeMismatch(f"{a} and {b} have no product")
        leading = broadcast(a.shape[:-2], b.shape[:-2])
        return (TensorType(same_dtype(operands), (*leading, a.shape[-2], b.shape[-1]), a.space),)

    def evaluate(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.matmul(a, b)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (a, b), (dc,) = operands, cotangents
        da = build.op("matmul", dc, swap(b))
        db = build.op("matmul", swap(a), dc)
        return unbroadcast(da, a.type), unbroadcast(db, b.type)

    def range(self, operands: Sequence[Known]) -> Interval:
        return _of_products(operands)

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        stretched = any(known.type.rank > 2 for known in operands)
        return NONNEGATIVE if stretched else operands[1 - index].norm()

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3), (3, 4)))
        yield Sample(draw((5, 2, 3), (3, 4)))


@final
class Transpose(Primitive):
    """The last axes in another order: axis i of the result is axis permutation[i] of the operand.

    Maths    y[..., i] = x[..., π(i)]
    Types    x: [*s, *t] -> y: [*s, *t permuted]
    Reverse  R(x, dy) = dy in the inverse order
    Facts    linear, an isometry
    Source   textbook
    """

    core = None
    linear = True

    def types(self, operands: Types, regions: Regions, *, permutation: tuple[int, ...]) -> Types:
        (x,) = operands
        if sorted(permutation) != list(range(-len(permutation), 0)) or len(permutation) > x.rank:
            raise TypeMismatch(f"{permutation} is no order of the last axes of {x}")
        leading = x.shape[: x.rank - len(permutation)]
        return (x.with_shape((*leading, *(x.shape[axis] for axis in permutation))),)

    def evaluate(self, x: np.ndarray, *, permutation: tuple[int, ...]) -> np.ndarray:
        leading = range(x.ndim - len(permutation))
        return np.transpose(x, (*leading, *(axis + x.ndim for axis in permutation)))

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        permutation: tuple[int, ...],
    ) -> Cotangents:
        rank = len(permutation)
        inverse = tuple(permutation.index(axis - rank) - rank for axis in range(rank))
        return (build.op("transpose", cotangents[0], permutation=inverse),)

    def range(self, operands: Sequence[Known], *, permutation: tuple[int, ...]) -> Interval:
        return operands[0].range

    def gain(self, index: int, operands: Sequence[Known], *, permutation: tuple[int, ...]) -> Interval:
        return Interval.of(1)

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3)), {"permutation": (-1, -2)})
        yield Sample(draw((2, 3, 4)), {"permutation": (-1, -3, -2)})


def _product(shape: tuple[Size, ...]) -> Size:
    total: Size = 1
    for size in shape:
        total = total * size
    return total
