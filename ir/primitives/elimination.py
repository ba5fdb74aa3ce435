"""Elimination, substitution and their kin, as values of a graph."""

from collections.abc import Callable, Sequence

import numpy as np

from banach.ir.dims import Size
from banach.ir.graph import Builder, Value
from banach.ir.primitives.linear import swap
from banach.ir.tensor_type import TensorType, TypeMismatch, broadcast

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
        return [inner.op("select", chosen, row, work - column * row), turn], h

    (work, _), choices = repeat([work, turn], [places], range(n), step, n <= UNROLLED)
    order = build.op("reshape", first_axis_to(choices, -3), shape=(*leading, n, n))
    return matmul(order, build.op("slice", work, axis=-1, start=n, stop=n + m))


def eliminate_positive(a: Value, b: Value) -> Value:
    """A⁻¹B by Gauss-Jordan elimination, for A positive definite, which asks for no pivoting.

    Where a pivot is not positive, the result is NaN.
    """
    build, n, m = a.builder, a.type.shape[-1], b.type.shape[-1]
    assert isinstance(n, int), "the page asks for a fixed size"
    work = build.op("concatenate", *stretched([a, b]), axis=-1)
    leading = work.type.shape[:-2]
    diagonal = build.constant(np.eye(n, dtype=bool))

    def step(states: Sequence[Value], k: Value, captures: Sequence[Value]) -> tuple[Sequence[Value], Value]:
        (work,), (diagonal,) = states, captures
        inner = work.builder
        column, row = inner.op("take", work, k, axis=-1), inner.op("take", work, k, axis=-2)
        pivot = inner.op("take", row, k, axis=-1)
        row = row / pivot
        return [inner.op("select", inner.op("take", diagonal, k, axis=-1), row, work - column * row)], pivot

    (work,), pivots = repeat([work], [diagonal], range(n), step, n <= UNROLLED)
    least = build.op("reduce_min", pivots, axes=(-work.type.rank - 1,))
    found = build.op("slice", work, axis=-1, start=n, stop=n + m)
    positive = build.op("less", build.scalar(0, WIDE), build.op("reshape", least, shape=(*leading, 1, 1)))
    return build.op("select", positive, found, build.scalar(np.nan, WIDE))


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
