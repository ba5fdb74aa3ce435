"""Jacobi's method, of which factorisations are made, as values of a graph.

The decompositions work in float64, with a fixed cap of sweeps and a loop that ends when no entry off the
diagonal is left. A step rotates n/2 disjoint pairs of rows and columns at once, and a tournament brings every
pair together once in n - 1 steps: so a step is three products of matrices, and a matrix of 64 rows takes some
500 steps instead of 16,000 rotations one by one.
"""

from typing import Any

import numpy as np

from banach.ir.dims import Size
from banach.ir.graph import Builder, Value
from banach.ir.primitives.elimination import (
    WIDE,
    matmul,
    matrix,
)
from banach.ir.primitives.linear import swap

SWEEPS = 30  # of n - 1 steps; 6 to 10 are taken, as the convergence is quadratic in the end
OFF = 2e-15  # an entry off the diagonal of this size, beside a largest entry of 1, is rounding
_NOTHING = 1e-100  # pairs whose entries are all below this are left alone


def parts(stacked: Value, *rows: Size) -> list[Value]:
    """The parts of these many rows, from the top down."""
    found, start = [], 0
    for count in rows:
        found.append(stacked.builder.op("slice", stacked, axis=-2, start=start, stop=start + count))
        start = start + count
    return found


def stack(*values: Value) -> Value:
    """Matrices one above another."""
    return values[0].builder.op("concatenate", *values, axis=-2)


def flat(row: Value) -> Value:
    """A matrix of one row as a vector."""
    *leading, _, n = row.type.shape
    return row.builder.op("reshape", row, shape=(*leading, n))


def upright(x: Value) -> Value:
    """A vector as a matrix of one column."""
    return x.builder.op("reshape", x, shape=(*x.type.shape, 1))


def diagonal(a: Value) -> Value:
    """The diagonal of a square matrix, as a vector."""
    build, n = a.builder, a.type.shape[-1]
    assert isinstance(n, int), "the page asks for a fixed size"
    return build.op("sum", a * matrix(build, np.eye(n), a.type.dtype), axes=(-1,))


def gaps(values: Value) -> Value:
    """F_ij = 1/(λ_j - λ_i), and 0 on the diagonal, for a row of values."""
    build, n, dtype = values.builder, values.type.shape[-1], values.type.dtype
    assert isinstance(n, int), "the page asks for a fixed size"
    return matrix(build, 1 - np.eye(n), dtype) / (values - swap(values) + matrix(build, np.eye(n), dtype))


# --- Jacobi's method as a graph ----------------------------------------------------------------------------


def tournament(n: int) -> np.ndarray:
    """The permutation that takes n/2 pairs (i, i + n/2) to the next round: 0 stays, all others go around."""
    half = n // 2
    ring = [*range(1, half), *range(n - 1, half - 1, -1)]
    following = np.arange(n)
    for seat, after in zip(ring, ring[1:] + ring[:1]):
        following[after] = seat
    return following


def rotation(gram: Value) -> Value:
    """The orthogonal matrix that makes all entries (i, i + n/2) of a symmetric matrix 0, and then moves on.

    With d = a_qq - a_pp and g = a_pq the tangent is t = 2g/(d ± √(d² + 4g²)), the root of smaller size. Seen
    from q the signs of d and of t change, so one formula serves for all n rows at once.
    """
    build, n = gram.builder, gram.type.shape[-1]
    assert isinstance(n, int), "a fixed size"
    half = n // 2
    partner = np.roll(np.eye(n), half, axis=1)
    zero, one = build.scalar(0, WIDE), build.scalar(1, WIDE)
    d = build.op("matvec", matrix(build, partner - np.eye(n)), diagonal(gram))
    # 2g = a_pq + a_qp: both rows must see one number, or it is no rotation where all entries are rounding.
    pairs = gram * matrix(build, partner)
    g2 = build.op("sum", pairs, axes=(-1,)) + build.op("sum", pairs, axes=(-2,))
    side = matrix(build, np.repeat([1.0, -1.0], half))
    side = build.op("select", build.op("equal", d, zero), side, build.op("sign", d))
    below = d + side * build.op("sqrt", d * d + g2 * g2)
    idle = build.op("less", build.op("abs", below), build.scalar(_NOTHING, WIDE))
    t = build.op("select", idle, zero, g2) / build.op("select", idle, one, below)
    c = upright(1.0 / build.op("sqrt", 1.0 + t * t))
    move = np.eye(n)[:, tournament(n)]
    return c * matrix(build, move) + c * upright(t) * matrix(build, partner @ move)


def largest(x: Value) -> Value:
    """The largest absolute value of all, without axes."""
    build = x.builder
    return build.op("reduce_max", build.op("abs", x), axes=tuple(range(-x.type.rank, 0)))


def sweep(work: Value, onesided: bool) -> tuple[Value, Value]:
    """What rotations make of A, and their product V: VᵀAV nearly diagonal, or AV with orthogonal columns."""
    outer, n = work.builder, work.type.shape[-1]
    assert isinstance(n, int), "a fixed size"
    leading = work.type.shape[:-2]
    start = outer.op("broadcast", matrix(outer, np.eye(n)), shape=(*leading, n, n))
    most = outer.scalar(SWEEPS * max(n - 1, 1), "int64")
    states = [work, start, outer.scalar(np.inf, WIDE)]
    names = ("work", "v", "off")
    body = Builder("rotate")
    work, v, _ = (body.input(name, value.type) for name, value in zip(names, states))
    gram = matmul(swap(work), work) if onesided else work
    turn = rotation(gram)
    off = gram * matrix(body, 1 - np.eye(n))
    if onesided:
        # Not by adding something tiny: ONNX Runtime 1.32 takes x + 1e-100 in float64 for x + 0, and drops it.
        norms = one_for_zero(body.op("sqrt", diagonal(gram)))
        off = off / upright(norms)
        off = off / body.op("reshape", norms, shape=(*leading, 1, n))
    fresh = matmul(work, turn)
    fresh = fresh if onesided else matmul(swap(turn), fresh)
    step = body.finish({"work": fresh, "v": matmul(v, turn), "off": largest(off)})
    test = Builder("unfinished")
    held = [test.input(name, value.type) for name, value in zip(names, states)]
    condition = test.finish({"on": test.op("less", test.scalar(OFF, WIDE), held[2])})
    work, v, _, _ = outer.emit("while", [most, *states], {"states": 3}, [condition, step])
    return work, v


def even(x: Value, rows: bool) -> tuple[Value, int]:
    """With a further column of zeros (and row) where the number of columns is odd; and that number."""
    n = x.type.shape[-1]
    assert isinstance(n, int), "a fixed size"
    odd = n % 2
    if odd:
        x = x.builder.op("pad", x, axis=-1, before=0, after=1)
        x = x.builder.op("pad", x, axis=-2, before=0, after=1) if rows else x
    return x, n + odd


def columns(x: Value, places: Value) -> Value:
    """The columns of every matrix, taken in an order of its own."""
    build = x.builder
    *leading, rows, _ = x.type.shape
    row = build.op("reshape", places, shape=(*leading, 1, places.type.shape[-1]))
    order = build.op("broadcast", row, shape=(*leading, rows, places.type.shape[-1]))
    return build.op("take_along", x, order, axis=-1)


def oriented(v: Value) -> Value:
    """±1 for every column, as a row, so that the entry of largest absolute value becomes positive."""
    build = v.builder
    high = build.op("reduce_max", v, axes=(-2,))
    low = build.op("reduce_max", -v, axes=(-2,))
    one = build.scalar(1, v.type.dtype)
    signs = build.op("select", build.op("less", high, low), -one, one)
    *leading, n = signs.type.shape
    return build.op("reshape", signs, shape=(*leading, 1, n))


def rescaled(x: Value) -> Value:
    """The largest absolute value of each matrix, 1 where that is 0."""
    build = x.builder
    size = build.op("reduce_max", build.op("abs", x), axes=(-2, -1))
    return one_for_zero(build.op("reshape", size, shape=(*size.type.shape, 1, 1)))


def finite(x: Value) -> Value:
    """x with 0 for NaN and infinities: one spoilt matrix must not end the loop for the others."""
    build = x.builder
    good = build.op("less", build.op("abs", x), build.scalar(np.inf, WIDE))
    return build.op("select", good, x, build.scalar(0, WIDE))


def one_for_zero(x: Value) -> Value:
    """A divisor: x, or 1 where it is 0."""
    build, dtype = x.builder, x.type.dtype
    zero, one = build.scalar(0, dtype), build.scalar(1, dtype)
    return build.op("select", build.op("equal", x, zero), one, x)


# --- oracles -----------------------------------------------------------------------------------------------


def signs_of(v: np.ndarray) -> np.ndarray:
    """The sign of the entry of largest size in every column."""
    return np.where(np.max(v, axis=0) < np.max(-v, axis=0), -1.0, 1.0)


def finite_only(function: Any) -> Any:
    """LAPACK either refuses NaN or makes numbers of it."""

    def guarded(a: np.ndarray) -> np.ndarray:
        if not np.all(np.isfinite(a)):
            raise np.linalg.LinAlgError
        return function(a)

    return guarded
