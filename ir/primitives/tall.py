"""Factorisations of matrices with at least as many rows as columns: singular values, and QR."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import final

import numpy as np

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
from banach.ir.primitives.elimination import (
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
)
from banach.ir.primitives.jacobi import (
    columns,
    even,
    finite,
    finite_only,
    flat,
    gaps,
    one_for_zero,
    oriented,
    parts,
    rescaled,
    signs_of,
    stack,
    sweep,
)
from banach.ir.primitives.linear import swap
from banach.ir.tensor_type import TensorType, TypeMismatch


def _svd(a: np.ndarray) -> np.ndarray:
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    signs = signs_of(vt.T)
    return np.vstack([s, u * signs, vt.T * signs])


def _qr(a: np.ndarray) -> np.ndarray:
    q, r = np.linalg.qr(a)
    signs = np.where(np.diag(r) < 0, -1.0, 1.0)
    return np.vstack([q * signs, r * signs[:, None]])


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

    @abstractmethod
    def result(self, a: TensorType, m: int, n: int) -> TensorType:
        """The types of the factors, or of what is made of them."""

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
        return each(finite_only(_svd), (1 + m + n, n), a)

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
        scale = rescaled(work)
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
        return each(finite_only(lambda a: np.linalg.svd(a, compute_uv=False)), a.shape[-1:], a)

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
        return each(finite_only(_qr), (m + n, n), a)

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
