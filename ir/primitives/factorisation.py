"""Eigenvalues and eigenvectors of symmetric matrices, and the cone of positive semidefinite ones.

An operation has one result, so a factorisation stacks its parts one above another: `eigh` the row of
eigenvalues above the matrix of eigenvectors. `parts` takes them apart again.
"""

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
    matmul,
    matrix,
    spoil,
    square,
    symmetric,
)
from banach.ir.primitives.jacobi import (
    columns,
    diagonal,
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
from banach.ir.tensor_type import TensorType


def _eigh(a: np.ndarray) -> np.ndarray:
    values, v = np.linalg.eigh(a)
    return np.vstack([values, v * signs_of(v)])


def _half(a: np.ndarray) -> np.ndarray:
    return (a + np.swapaxes(a, -1, -2)) / 2


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
        return each(finite_only(_eigh), (n + 1, n), _half(a))

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
        scale = rescaled(work)
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
        return each(finite_only(np.linalg.eigvalsh), a.shape[-1:], _half(a))

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

        return each(finite_only(function), a.shape[-2:], _half(a))

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
