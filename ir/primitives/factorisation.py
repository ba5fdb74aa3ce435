"""Eigenvalues, singular values and orthogonal factors of small matrices, and the projection on the cone of
positive semidefinite ones.

An operation has one result, so a factorisation stacks its parts one above another: `eigh` the row of
eigenvalues above the matrix of eigenvectors. `parts` takes them apart again.

The decompositions are Jacobi's method in float64, with a fixed cap of sweeps and a loop that ends when no
entry off the diagonal is left. A step rotates n/2 disjoint pairs of rows and columns at once, and a
tournament brings every pair together once in n - 1 steps: so a step is three products of matrices, and a
matrix of 64 rows takes some 500 steps instead of 16,000 rotations one by one.
"""

from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from banach.ir.dims import Size
from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.primitive import (
    Cotangents,
    Known,
    Primitive,
    Regions,
    Sample,
    Types,
    Values,
    draw,
)
from banach.ir.primitives.dense import (
    WIDE,
    cast,
    each,
    first_axis_to,
    fixed,
    lower_part,
    matmul,
    matrix,
    repeat,
    spoil,
    square,
    symmetric,
)
from banach.ir.primitives.linear import swap
from banach.ir.tensor_type import TensorType, TypeMismatch

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


def _scale(x: Value) -> Value:
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


def _signs(v: np.ndarray) -> np.ndarray:
    return np.where(np.max(v, axis=0) < np.max(-v, axis=0), -1.0, 1.0)


def _eigh(a: np.ndarray) -> np.ndarray:
    values, v = np.linalg.eigh(a)
    return np.vstack([values, v * _signs(v)])


def _svd(a: np.ndarray) -> np.ndarray:
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    signs = _signs(vt.T)
    return np.vstack([s, u * signs, vt.T * signs])


def _qr(a: np.ndarray) -> np.ndarray:
    q, r = np.linalg.qr(a)
    signs = np.where(np.diag(r) < 0, -1.0, 1.0)
    return np.vstack([q * signs, r * signs[:, None]])


def _half(a: np.ndarray) -> np.ndarray:
    return (a + np.swapaxes(a, -1, -2)) / 2


def _finite(function: Any) -> Any:
    """LAPACK either refuses NaN or makes numbers of it."""

    def guarded(a: np.ndarray) -> np.ndarray:
        if not np.all(np.isfinite(a)):
            raise np.linalg.LinAlgError
        return function(a)

    return guarded


# --- pages -------------------------------------------------------------------------------------------------


class _Symmetric(Primitive):
    core = (2,)

    def types(self, operands: Types, regions: Regions) -> Types:
        (a,) = operands
        return (self.result(a, square(a)),)

    def result(self, a: TensorType, n: int) -> TensorType:
        return a

    def samples(self) -> Iterable[Sample]:
        a, b = draw((3, 3), (2, 4, 4))
        yield Sample((a / 4 + np.diag([1.0, -2.0, 3.0]),))
        yield Sample((b / 4 + np.diag([3.0, 1.0, -1.0, -2.5]),))


@final
class Eigh(_Symmetric):
    """The eigenvalues of a symmetric matrix, ascending, above its eigenvectors.

    Maths    S = (A + Aᵀ)/2 = V diag(λ) Vᵀ, λ_1 <= λ_2 <= .., VᵀV = I; the largest entry of each v is positive
    Types    A: float[*s, n, n] with a fixed n -> (λ; V): [*s, 1 + n, n]
    Reverse  R(A, (dλ; dV)) is the symmetric part of V (diag(dλ) + F∘(Vᵀ dV)) Vᵀ, F_ij = 1/(λ_j - λ_i),
             F_ii = 0; equal eigenvalues have none, and it is infinite or NaN there
    Facts    λ is nonexpansive in A; V is not even continuous where eigenvalues meet
    Source   giles-2008, section 3.1; golub-van-loan-2013, section 8.5
    """

    def result(self, a: TensorType, n: int) -> TensorType:
        return a.with_shape((*a.shape[:-2], n + 1, n))

    def evaluate(self, a: np.ndarray) -> np.ndarray:
        n = a.shape[-1]
        return each(_finite(_eigh), (n + 1, n), _half(a))

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (y,), (dy,) = results, cotangents
        n = y.type.shape[-1]
        (values, v), (d_values, dv) = parts(y, 1, n), parts(dy, 1, n)
        unit = matrix(build, np.eye(square(v.type)), v.type.dtype)
        middle = d_values * unit + gaps(values) * matmul(swap(v), dv)
        return (symmetric(matmul(matmul(v, middle), swap(v))),)

    def decompose(self, build: Builder, a: Value) -> Value:
        """Jacobi's method. A row that makes n even has an eigenvalue above all others, and falls away."""
        n = square(a.type)
        s = symmetric(cast(a, WIDE))
        work = finite(s)
        scale = _scale(work)
        work, size = even(work / scale, rows=True)
        if size > n:
            extra = np.zeros((size, size))
            extra[n, n] = 2 * n  # no eigenvalue exceeds n times the largest entry, which is 1
            work = work + matrix(build, extra)
        work, v = sweep(work, onesided=False)
        values = diagonal(work)
        order = build.op("argsort", values, axis=-1)
        order = build.op("slice", order, axis=-1, start=0, stop=n)
        values = build.op("take_along", values, order, axis=-1)
        v = build.op("slice", columns(v, order), axis=-2, start=0, stop=n)
        row = build.op("reshape", values, shape=(*values.type.shape[:-1], 1, n)) * scale
        return cast(stack(row, v * oriented(v)) + spoil(s), a.type.dtype)


@final
class Eigenvalues(_Symmetric):
    """The eigenvalues of a symmetric matrix, ascending.

    Maths    λ_1 <= λ_2 <= .. of S = (A + Aᵀ)/2
    Types    A: float[*s, n, n] with a fixed n -> λ: [*s, n]
    Reverse  R(A, dλ) = V diag(dλ) Vᵀ
    Facts    nonexpansive, from the Frobenius norm; |λ| <= n·max|A|
    Source   hoffman-wielandt-1953
    """

    def result(self, a: TensorType, n: int) -> TensorType:
        return a.with_shape((*a.shape[:-2], n))

    def evaluate(self, a: np.ndarray) -> np.ndarray:
        return each(_finite(np.linalg.eigvalsh), a.shape[-1:], _half(a))

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (a,), (d_values,) = operands, cotangents
        n = square(a.type)
        _, v = parts(build.op("eigh", a), 1, n)
        return (matmul(v * build.op("reshape", d_values, shape=(*a.type.shape[:-2], 1, n)), swap(v)),)

    def range(self, operands: Sequence[Known]) -> Interval:
        reach = abs(operands[0].range) * square(operands[0].type)
        return Interval(-reach.hi, reach.hi)

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return Interval.between(0, 1)

    def decompose(self, build: Builder, a: Value) -> Value:
        """The first row of `eigh`."""
        return flat(parts(build.op("eigh", a), 1)[0])


@final
class ProjectPsd(_Symmetric):
    """The nearest symmetric matrix without negative eigenvalues.

    Maths    Y = V diag(max(λ, 0)) Vᵀ with S = (A + Aᵀ)/2 = V diag(λ) Vᵀ
    Types    A: float[*s, n, n] with a fixed n -> Y: [*s, n, n]
    Reverse  R(A, dY) = V (Ω∘(Vᵀ sym(dY) V)) Vᵀ with Ω_ij = (λ_i⁺ + λ_j⁺)/(|λ_i| + |λ_j|), the divided
             difference of max(·, 0): 1 where both are positive, 0 where both are negative
    Facts    firmly nonexpansive, in the Frobenius norm; |Y_ij| <= n·max|A|
    Source   malick-sendov-2006, theorem 2.7
    """

    def evaluate(self, a: np.ndarray) -> np.ndarray:
        def function(a: np.ndarray) -> np.ndarray:
            values, v = np.linalg.eigh(a)
            return (v * np.maximum(values, 0)) @ v.T

        return each(_finite(function), a.shape[-2:], _half(a))

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (a,), (dy,) = operands, cotangents
        values, v = parts(build.op("eigh", a), 1, square(a.type))
        plus, size = build.op("relu", values), build.op("abs", values)
        middle = (
            (plus + swap(plus)) / one_for_zero(size + swap(size)) * matmul(matmul(swap(v), symmetric(dy)), v)
        )
        return (matmul(matmul(v, middle), swap(v)),)

    def range(self, operands: Sequence[Known]) -> Interval:
        reach = abs(operands[0].range) * square(operands[0].type)
        return Interval(-reach.hi, reach.hi)

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return Interval.between(0, 1)

    def decompose(self, build: Builder, a: Value) -> Value:
        """By `eigh`."""
        values, v = parts(build.op("eigh", a), 1, square(a.type))
        return matmul(v * build.op("relu", values), swap(v))


class _Tall(Primitive):
    """A factorisation of matrices with at least as many rows as columns."""

    core = (2,)

    def types(self, operands: Types, regions: Regions) -> Types:
        (a,) = operands
        if a.rank < 2 or not a.is_float:
            raise TypeMismatch(f"{a} holds no matrices of floats")
        m, n = (fixed(size, a) for size in a.shape[-2:])
        if m < n:
            raise TypeMismatch(f"the matrices of {a} are wider than high: factor the transpose")
        return (self.result(a, m, n),)

    def result(self, a: TensorType, m: int, n: int) -> TensorType:
        raise NotImplementedError

    def samples(self) -> Iterable[Sample]:
        a, b = draw((4, 3), (2, 2, 2))
        yield Sample((a / 4 + np.eye(4)[:, :3] * [3.0, 2.0, 1.0],))
        yield Sample((b / 4 + np.diag([2.0, 1.0]),))


@final
class Svd(_Tall):
    """The singular values of a matrix, descending, above its left and right singular vectors.

    Maths    A = U diag(s) Vᵀ, s_1 >= s_2 >= .. >= 0, UᵀU = VᵀV = I; the largest entry of each v is positive
    Types    A: float[*s, m, n], m >= n both fixed -> (s; U; V): [*s, 1 + m + n, n]; for full column rank
    Reverse  R(A, (ds; dU; dV)) = U (diag(ds) + G diag(s) + diag(s) H) Vᵀ + (I - UUᵀ) dU diag(1/s) Vᵀ with
             G = F∘(UᵀdU - dUᵀU), H = F∘(VᵀdV - dVᵀV), F_ij = 1/(s_j² - s_i²), F_ii = 0
    Facts    s is nonexpansive in A
    Source   townsend-2016; demmel-veselic-1992 for the accuracy of one-sided rotations
    """

    def result(self, a: TensorType, m: int, n: int) -> TensorType:
        return a.with_shape((*a.shape[:-2], 1 + m + n, n))

    def evaluate(self, a: np.ndarray) -> np.ndarray:
        m, n = a.shape[-2:]
        return each(_finite(_svd), (1 + m + n, n), a)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (a,), (y,), (dy,) = operands, results, cotangents
        m, n = a.type.shape[-2:]
        (s, u, v), (ds, du, dv) = parts(y, 1, m, n), parts(dy, 1, m, n)
        unit = matrix(build, np.eye(square(v.type)), s.type.dtype)
        f, left, right = gaps(s * s), matmul(swap(u), du), matmul(swap(v), dv)
        middle = ds * unit + f * (left - swap(left)) * s + swap(s) * (f * (right - swap(right)))
        rest = (du - matmul(u, left)) / s
        return (matmul(matmul(u, middle) + rest, swap(v)),)

    def decompose(self, build: Builder, a: Value) -> Value:
        """One-sided Jacobi: rotations from the right make the columns orthogonal; their norms are s."""
        n = a.type.shape[-1]
        assert isinstance(n, int), "a fixed size"
        wide = cast(a, WIDE)
        work = finite(wide)
        scale = _scale(work)
        work, size = even(work / scale, rows=False)
        work, v = sweep(work, onesided=True)
        s = build.op("norm", work, axes=(-2,))
        key = s
        if size > n:  # the further column is the one whose right vector has an entry in the last row
            mark = build.op("slice", v, axis=-2, start=n, stop=size)
            key = s - flat(mark * mark) * (s + 1.0)
        order = build.op("arg_top", key, axis=-1, size=n)
        row = build.op("take_along", s, order, axis=-1)
        row = build.op("reshape", row, shape=(*row.type.shape[:-1], 1, n))
        v = build.op("slice", columns(v, order), axis=-2, start=0, stop=n)
        signs = oriented(v)
        u = columns(work, order) / one_for_zero(row)
        return cast(stack(row * scale, u * signs, v * signs) + spoil(wide), a.type.dtype)


@final
class SingularValues(_Tall):
    """The singular values of a matrix, descending.

    Maths    s_1 >= s_2 >= .. >= 0, the roots of the eigenvalues of AᵀA
    Types    A: float[*s, m, n], m >= n both fixed -> s: [*s, n]
    Reverse  R(A, ds) = U diag(ds) Vᵀ
    Facts    nonexpansive, from the Frobenius norm; values in [0, √(mn)·max|A|]
    Source   mirsky-1960
    """

    def result(self, a: TensorType, m: int, n: int) -> TensorType:
        return a.with_shape((*a.shape[:-2], n))

    def evaluate(self, a: np.ndarray) -> np.ndarray:
        return each(_finite(lambda a: np.linalg.svd(a, compute_uv=False)), a.shape[-1:], a)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (a,), (ds,) = operands, cotangents
        m, n = a.type.shape[-2:]
        _, u, v = parts(build.op("svd", a), 1, m, n)
        return (matmul(u * build.op("reshape", ds, shape=(*a.type.shape[:-2], 1, n)), swap(v)),)

    def range(self, operands: Sequence[Known]) -> Interval:
        m, n = (fixed(size, operands[0].type) for size in operands[0].type.shape[-2:])
        return Interval(Interval.of(0).lo, (abs(operands[0].range) * Interval.of(m * n).sqrt()).hi)

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return Interval.between(0, 1)

    def decompose(self, build: Builder, a: Value) -> Value:
        """The first row of `svd`."""
        return flat(parts(build.op("svd", a), 1)[0])


@final
class Qr(_Tall):
    """An orthonormal basis of the columns of a matrix, above the coefficients of the columns in it.

    Maths    A = Q R, QᵀQ = I, R upper triangular with R_ii > 0
    Types    A: float[*s, m, n], m >= n both fixed, of full column rank -> (Q; R): [*s, m + n, n]
    Reverse  R(A, (dQ; dR)) = (dQ + Q sym(M)) R⁻ᵀ with M = R dRᵀ - dQᵀ Q and sym(M) the symmetric matrix whose
             lower triangle is M's
    Facts    none
    Source   walter-lehmann-2010; giraud-2005 for orthogonalising twice
    """

    def result(self, a: TensorType, m: int, n: int) -> TensorType:
        return a.with_shape((*a.shape[:-2], m + n, n))

    def evaluate(self, a: np.ndarray) -> np.ndarray:
        m, n = a.shape[-2:]
        return each(_finite(_qr), (m + n, n), a)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (a,), (y,), (dy,) = operands, results, cotangents
        m, n = a.type.shape[-2:]
        (q, r), (dq, dr) = parts(y, m, n), parts(dy, m, n)
        # Below its diagonal R is 0, whatever A is, and so dR does not count there.
        dr = swap(lower_part(swap(dr)))
        half = lower_part(matmul(r, swap(dr)) - matmul(swap(dq), q), 0.5)
        left = dq + matmul(q, half + swap(half))
        return (swap(build.op("solve_triangular", swap(r), swap(left), adjoint=True)),)

    def decompose(self, build: Builder, a: Value) -> Value:
        """Gram and Schmidt, column by column, each orthogonalised twice, in float64."""
        m, n = (fixed(size, a.type) for size in a.type.shape[-2:])
        leading = a.type.shape[:-2]
        wide = cast(a, WIDE)
        basis = build.op("broadcast", build.scalar(0, WIDE), shape=(*leading, m, n))
        places = build.constant(np.arange(n)[:, None])

        def step(states: Sequence[Value], k: Value, captures: Sequence[Value]) -> tuple[list[Value], Value]:
            (basis,), (wide, places) = states, captures
            inner = basis.builder
            column = inner.op("take", wide, k, axis=-1)
            total = None
            for _ in range(2):
                found = matmul(swap(basis), column)
                column = column - matmul(basis, found)
                total = found if total is None else total + found
            assert total is not None
            norm = inner.op("norm", column, axes=(-2,))
            norm = inner.op("reshape", norm, shape=(*leading, 1, 1))
            here = inner.op("cast", inner.op("equal", places, k), dtype=WIDE)
            return [basis + (column / norm) * swap(here)], total + norm * here

        (q,), rows = repeat([basis], [wide, places], range(n), step, unroll=False)
        r = build.op("reshape", first_axis_to(rows, -1), shape=(*leading, n, n))
        return cast(stack(q, r) + spoil(wide), a.type.dtype)
