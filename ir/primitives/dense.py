"""Small dense systems: solving, inverting, Cholesky's factor, the logarithm of the determinant.

The decompositions are for backends without these operations, and for matrices of up to a few dozen rows. They
work in float64 whatever the operands are, as digits are lost by the condition number: at condition 1e5 an
elimination in float32 has three, and in float64 costs five hundredths more. Up to UNROLLED rows the steps
follow one another; above it they are a scan.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

import numpy as np

from banach.ir.dims import Size
from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.primitive import (
    NONNEGATIVE,
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
from banach.ir.primitives.linear import swap
from banach.ir.tensor_type import TensorType, TypeMismatch, broadcast, same_dtype

UNROLLED = 8
WIDE = "float64"
_HAD = -1e300  # added to the entries of rows that had their turn: below all others


def square(type: TensorType) -> int:
    """The number of rows of square matrices of floats. TypeMismatch: they are something else."""
    if type.rank < 2 or type.shape[-1] != type.shape[-2] or not type.is_float:
        raise TypeMismatch(f"{type} holds no square matrices of floats")
    return fixed(type.shape[-1], type)


def fixed(size: Size, type: TensorType) -> int:
    """A size that is a number above 0. TypeMismatch: it is not."""
    if not isinstance(size, int) or not size:
        raise TypeMismatch(f"the size of the matrices in {type} must be a number above 0")
    return size


def matmul(x: Value, y: Value) -> Value:
    return x.builder.op("matmul", x, y)


def symmetric(matrix: Value) -> Value:
    """(A + Aᵀ)/2."""
    return 0.5 * (matrix + swap(matrix))


def cast(x: Value, dtype: str) -> Value:
    return x if x.type.dtype == dtype else x.builder.op("cast", x, dtype=dtype)


def matrix(build: Builder, array: np.ndarray, dtype: str = WIDE) -> Value:
    """A constant."""
    return build.constant(array.astype(np.dtype(dtype)))


def each(function: Callable[..., np.ndarray], shape: tuple[int, ...], *operands: np.ndarray) -> np.ndarray:
    """A function of matrices on every one of them; NaN where it finds none of what it looks for."""
    leading = np.broadcast_shapes(*(x.shape[:-2] for x in operands))
    stretched = [np.broadcast_to(x, (*leading, *x.shape[-2:])) for x in operands]
    found = np.full((*leading, *shape), np.nan)
    for place in np.ndindex(leading):
        try:
            found[place] = function(*(x[place].astype(np.float64) for x in stretched))
        except np.linalg.LinAlgError:
            continue
    return found.astype(operands[0].dtype)


# --- elimination as a graph --------------------------------------------------------------------------------

Step = Callable[[Sequence[Value], Value, Sequence[Value]], tuple[Sequence[Value], Value]]


def repeat(
    states: Sequence[Value], captures: Sequence[Value], order: Sequence[int], step: Step, unroll: bool
) -> tuple[Sequence[Value], Value]:
    """`step(states, k, captures)` for every k of `order`, each a vector of one place; the last states, and
    what the steps gave, stacked along a new first axis."""
    build = states[0].builder
    if unroll:
        rows = []
        for k in order:
            states, row = step(states, build.constant(np.array([k])), captures)
            rows.append(build.op("reshape", row, shape=(1, *row.type.shape)))
        return states, build.op("concatenate", *rows, axis=-rows[0].type.rank)
    inner = Builder("step")
    inside = [inner.input(f"s{i}", v.type) for i, v in enumerate(states)]
    k = inner.input("k", TensorType("int64", (1,)))
    held = [inner.input(f"c{i}", v.type) for i, v in enumerate(captures)]
    fresh, row = step(inside, k, held)
    region = inner.finish({**{f"s{i}": v for i, v in enumerate(fresh)}, "row": row})
    numbers = build.constant(np.asarray(order, np.int64)[:, None])
    shape = {"states": len(states), "sequences": 1, "length": len(order), "reverse": False}
    found = build.emit("scan", [*states, numbers, *captures], shape, [region])
    return found[:-1], found[-1]


def first_axis_to(value: Value, axis: int) -> Value:
    """The first axis moved to the place `axis`, counted from the end."""
    rank = value.type.rank
    order = [*range(1 - rank, 0)]
    order.insert(rank + axis, -rank)
    return value.builder.op("transpose", value, permutation=tuple(order)) if rank + axis else value


def stretched(values: Sequence[Value]) -> list[Value]:
    """Matrices with their leading axes in common."""
    leading = broadcast(*(v.type.shape[:-2] for v in values))
    return [v.builder.op("broadcast", v, shape=(*leading, *v.type.shape[-2:])) for v in values]


def eliminate(a: Value, b: Value) -> Value:
    """A⁻¹B by Gauss-Jordan elimination with partial pivoting.

    No rows are swapped: every step takes, of the rows that had no turn, the one with the largest entry in its
    column, and clears that column in all others. The choices h_k are kept, and put the rows in order at the
    end. Where no row is left to take, the pivot is 0, and infinities and NaNs follow.
    """
    build, n, m = a.builder, a.type.shape[-1], b.type.shape[-1]
    assert isinstance(n, int), "the page asks for a fixed size"
    work = build.op("concatenate", *stretched([a, b]), axis=-1)
    leading = work.type.shape[:-2]
    turn = build.op("broadcast", build.scalar(0, WIDE), shape=(*leading, n, 1))
    places = build.constant(np.arange(n)[:, None])

    def step(states: Sequence[Value], k: Value, captures: Sequence[Value]) -> tuple[Sequence[Value], Value]:
        (work, turn), (places,) = states, captures
        inner = work.builder
        column = inner.op("take", work, k, axis=-1)
        place = inner.op("argmax", inner.op("abs", column) + turn, axis=-2)
        chosen = inner.op("equal", places, inner.op("reshape", place, shape=(*leading, 1, 1)))
        h = inner.op("cast", chosen, dtype=WIDE)
        row = matmul(inner.op("reshape", h, shape=(*leading, 1, n)), work)
        row = row / inner.op("take", row, k, axis=-1)
        turn = inner.op("select", chosen, inner.scalar(_HAD, WIDE), turn)
        return [work - (column - h) * row, turn], h

    (work, _), choices = repeat([work, turn], [places], range(n), step, n <= UNROLLED)
    order = build.op("reshape", first_axis_to(choices, -3), shape=(*leading, n, n))
    return matmul(order, build.op("slice", work, axis=-1, start=n, stop=n + m))


def substitute(t: Value, b: Value, upper: bool) -> Value:
    """T⁻¹B for a triangular T. Step k divides row k of B by T_kk and takes it off the rows that are left."""
    build, n = t.builder, t.type.shape[-1]
    assert isinstance(n, int), "the page asks for a fixed size"
    t, b = stretched([t, b])
    less = t - matrix(build, np.eye(n))  # B_k - (T_kk - 1)·B_k/T_kk is B_k/T_kk itself

    def step(states: Sequence[Value], k: Value, captures: Sequence[Value]) -> tuple[Sequence[Value], Value]:
        (b,), (t, less) = states, captures
        inner = b.builder
        pivot = inner.op("take", inner.op("take", t, k, axis=-1), k, axis=-2)
        row = inner.op("take", b, k, axis=-2) / pivot
        return [b - inner.op("take", less, k, axis=-1) * row], inner.scalar(0, WIDE)

    order = range(n)[::-1] if upper else range(n)
    (solved,), _ = repeat([b], [t, less], order, step, n <= UNROLLED)
    return solved


def factor(a: Value) -> Value:
    """Cholesky's L, column by column; NaN everywhere where a pivot is not positive."""
    build, n = a.builder, a.type.shape[-1]
    assert isinstance(n, int), "the page asks for a fixed size"
    rows = build.constant(np.arange(n)[:, None])

    def step(states: Sequence[Value], k: Value, captures: Sequence[Value]) -> tuple[Sequence[Value], Value]:
        (left,), (rows,) = states, captures
        inner = left.builder
        column = inner.op("take", left, k, axis=-1)
        column = column / inner.op("sqrt", inner.op("take", column, k, axis=-2))
        column = inner.op("select", inner.op("less", rows, k), inner.scalar(0, WIDE), column)
        return [left - matmul(column, swap(column))], column

    _, columns = repeat([a], [rows], range(n), step, n <= UNROLLED)
    # [n, *s, n, 1] -> [*s, n, n]
    lower = build.op("reshape", first_axis_to(columns, -1), shape=a.type.shape)
    return lower + spoil(lower)


def spoil(x: Value) -> Value:
    """0, or NaN where some entry of the matrix is NaN or infinite."""
    total = 0.0 * x.builder.op("sum", x, axes=(-2, -1))
    return x.builder.op("reshape", total, shape=(*total.type.shape, 1, 1))


def lower_part(x: Value, diagonal: float = 1.0) -> Value:
    """The lower triangle, its diagonal multiplied."""
    n = square(x.type)
    mask = np.tril(np.ones((n, n)), -1) + diagonal * np.eye(n)
    return x * matrix(x.builder, mask, x.type.dtype)


# --- pages -------------------------------------------------------------------------------------------------


class _System(Primitive):
    core = (2, 2)

    def types(self, operands: Types, regions: Regions, **attributes: Any) -> Types:
        a, b = operands
        if b.rank < 2 or b.shape[-2] != square(a):
            raise TypeMismatch(f"{a} and {b} make no system of equations")
        leading = broadcast(a.shape[:-2], b.shape[:-2])
        return (TensorType(same_dtype(operands), (*leading, *b.shape[-2:]), b.space),)

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        # ‖A⁻¹‖ >= 1/‖A‖, from which no upper bound follows.
        if index == 0 or any(known.type.rank > 2 for known in operands):
            return NONNEGATIVE
        largest = operands[0].norm().hi
        return Interval((1 / Interval.of(largest)).lo, math.inf) if 0 < largest < math.inf else NONNEGATIVE


@final
class Solve(_System):
    """The solution of linear equations, for a few right-hand sides at once.

    Maths    A X = B
    Types    A: float[*s, n, n] with a fixed n, B: [*t, n, m] -> X: [*s|t, n, m]; not finite if A is singular
    Reverse  R(A, B, dX) = (-V Xᵀ, V) with Aᵀ V = dX, each summed where its operand was stretched
    Facts    linear in B, with gain ‖A⁻¹‖ >= 1/‖A‖
    Source   giles-2008, section 2.2.3; golub-van-loan-2013, section 3.4
    """

    def evaluate(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return each(np.linalg.solve, b.shape[-2:], a, b)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (a, b), (x,), (dx,) = operands, results, cotangents
        v = build.op("solve", swap(a), dx)
        return unbroadcast(-matmul(v, swap(x)), a.type), unbroadcast(v, b.type)

    def decompose(self, build: Builder, a: Value, b: Value) -> Value:
        """Gauss-Jordan elimination with partial pivoting, in float64."""
        return cast(eliminate(cast(a, WIDE), cast(b, WIDE)), a.type.dtype)

    def samples(self) -> Iterable[Sample]:
        a, b, c = draw((3, 3), (3, 2), (2, 1, 9, 9))
        yield Sample((a + 2 * np.eye(3)[[1, 2, 0]], b))
        yield Sample((c / 3 + 2 * np.eye(9)[::-1], draw((3, 9, 1))[0]))


@final
class SolveTriangular(_System):
    """The solution of equations whose matrix is lower triangular, or, with `adjoint`, its transpose.

    Maths    L X = B, or Lᵀ X = B; what stands above the diagonal of L is not read
    Types    L: float[*s, n, n] with a fixed n, B: [*t, n, m] -> X: [*s|t, n, m]
    Reverse  R(L, B, dX) = (-tril(V Xᵀ), V) with Lᵀ V = dX; with `adjoint` (-tril(X Vᵀ), V) with L V = dX
    Facts    linear in B
    Source   giles-2008, section 2.2.3
    """

    def evaluate(self, a: np.ndarray, b: np.ndarray, *, adjoint: bool) -> np.ndarray:
        def function(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.linalg.solve(np.tril(a).T if adjoint else np.tril(a), b)

        return each(function, b.shape[-2:], a, b)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, adjoint: bool
    ) -> Cotangents:
        (a, b), (x,), (dx,) = operands, results, cotangents
        v = build.op("solve_triangular", a, dx, adjoint=not adjoint)
        product = matmul(x, swap(v)) if adjoint else matmul(v, swap(x))
        return unbroadcast(-lower_part(product), a.type), unbroadcast(v, b.type)

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        return NONNEGATIVE  # the norm of a triangle is not below that of its matrix

    def decompose(self, build: Builder, a: Value, b: Value, *, adjoint: bool) -> Value:
        """Substitution, in float64."""
        lower = lower_part(cast(a, WIDE))
        found = substitute(swap(lower) if adjoint else lower, cast(b, WIDE), adjoint)
        return cast(found, a.type.dtype)

    def samples(self) -> Iterable[Sample]:
        a, b = draw((3, 3), (2, 3, 1))
        yield Sample((a + 3 * np.eye(3), b), {"adjoint": False})
        yield Sample((a + 3 * np.eye(3), b[0]), {"adjoint": True})
        yield Sample((draw((9, 9))[0] / 3 + 2 * np.eye(9), draw((9, 1))[0]), {"adjoint": True})


class _OfMatrix(Primitive):
    """A function of square matrices; where it reads the symmetric part alone, its page says so."""

    core = (2,)

    def types(self, operands: Types, regions: Regions) -> Types:
        (a,) = operands
        square(a)
        return (a,)

    def samples(self) -> Iterable[Sample]:
        a, b = draw((3, 3), (2, 2, 2))
        yield Sample((a / 4 + np.diag([1.0, 2.0, 4.0]),))
        yield Sample((b / 4 + np.diag([1.0, 2.5]),))


@final
class Inverse(_OfMatrix):
    """The inverse of a matrix. To apply it, solve instead.

    Maths    Y = A⁻¹
    Types    A: float[*s, n, n] with a fixed n -> Y: [*s, n, n]; not finite where A is singular
    Reverse  R(A, dY) = -Yᵀ dY Yᵀ
    Facts    none
    Source   giles-2008, section 2.2.2
    """

    def evaluate(self, a: np.ndarray) -> np.ndarray:
        return each(np.linalg.inv, a.shape[-2:], a)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (y,), (dy,) = results, cotangents
        return (-matmul(matmul(swap(y), dy), swap(y)),)

    def decompose(self, build: Builder, a: Value) -> Value:
        """The solution of A Y = I."""
        return build.op("solve", a, matrix(build, np.eye(square(a.type)), a.type.dtype))


@final
class Cholesky(_OfMatrix):
    """The lower triangular factor of a symmetric positive definite matrix.

    Maths    L Lᵀ = S = (A + Aᵀ)/2 with L_ii > 0
    Types    A: float[*s, n, n] with a fixed n -> L: [*s, n, n]; NaN where S is not positive definite
    Reverse  R(A, dL) = (Z + Zᵀ)/2 with Z = L⁻ᵀ Φ(Lᵀ tril(dL)) L⁻¹, where Φ takes the lower triangle and
             halves its diagonal
    Facts    none
    Source   murray-2016, equation 10
    """

    def evaluate(self, a: np.ndarray) -> np.ndarray:
        return each(np.linalg.cholesky, a.shape[-2:], (a + np.swapaxes(a, -1, -2)) / 2)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (lower,), (dl,) = results, cotangents
        phi = lower_part(matmul(swap(lower), lower_part(dl)), 0.5)
        left = build.op("solve_triangular", lower, phi, adjoint=True)
        return (symmetric(build.op("solve_triangular", lower, swap(left), adjoint=True)),)

    def decompose(self, build: Builder, a: Value) -> Value:
        """Column by column, in float64."""
        return cast(factor(symmetric(cast(a, WIDE))), a.type.dtype)

    def samples(self) -> Iterable[Sample]:
        yield from super().samples()
        (c,) = draw((9, 9))
        yield Sample((c / 9 + 2 * np.eye(9),))


@final
class LogDet(_OfMatrix):
    """The logarithm of the determinant of a symmetric positive definite matrix.

    Maths    y = log det S = 2 Σ log L_ii, S = (A + Aᵀ)/2 = L Lᵀ
    Types    A: float[*s, n, n] with a fixed n -> y: [*s]; NaN where S is not positive definite
    Reverse  R(A, dy) = dy·S⁻¹
    Facts    concave; no global gain
    Source   boyd-vandenberghe-2004, appendix A.4.1
    """

    def types(self, operands: Types, regions: Regions) -> Types:
        (a,) = super().types(operands, regions)
        return (a.with_shape(a.shape[:-2]),)

    def evaluate(self, a: np.ndarray) -> np.ndarray:
        def function(a: np.ndarray) -> np.ndarray:
            values = np.linalg.eigvalsh(a)
            return np.sum(np.log(values)) if np.all(values > 0) else np.asarray(np.nan)

        return each(function, (), (a + np.swapaxes(a, -1, -2)) / 2)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (a,), (dy,) = operands, cotangents
        weight = build.op("reshape", dy, shape=(*dy.type.shape, 1, 1))
        return (weight * build.op("inverse", symmetric(a)),)

    def decompose(self, build: Builder, a: Value) -> Value:
        """By Cholesky's factor, in float64."""
        lower = build.op("cholesky", cast(a, WIDE))
        diagonal = build.op("sum", lower * matrix(build, np.eye(square(a.type))), axes=(-1,))
        return cast(2.0 * build.op("sum", build.op("log", diagonal), axes=(-1,)), a.type.dtype)
