"""Small dense systems: solving, inverting, Cholesky's factor, the logarithm of the determinant.

The decompositions are for backends without these operations, and for matrices of up to a few dozen rows. They
work in float64 whatever the operands are, as digits are lost by the condition number: at condition 1e5 an
elimination in float32 has three, and in float64 costs five hundredths more. Up to UNROLLED rows the steps
follow one another; above it they are a scan.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

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
from banach.ir.primitives.elimination import (
    WIDE,
    cast,
    each,
    eliminate,
    eliminate_positive,
    factor,
    lower_part,
    matmul,
    matrix,
    square,
    substitute,
    symmetric,
)
from banach.ir.primitives.linear import swap
from banach.ir.tensor_type import TensorType, TypeMismatch, broadcast, same_dtype


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

    linear_in = ((1,),)

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
class SolvePositive(_System):
    """The solution of linear equations whose matrix is symmetric and positive definite.

    Maths    A X = B
    Types    A: float[*s, n, n] with a fixed n, B: [*t, n, m] -> X: [*s|t, n, m]; NaN if A is not definite
    Reverse  R(A, B, dX) = (-V Xᵀ, V) with Aᵀ V = dX, each summed where its operand was stretched
    Facts    linear in B
    Source   giles-2008, section 2.2.3; golub-van-loan-2013, section 4.2
    """

    linear_in = ((1,),)

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        return NONNEGATIVE

    def evaluate(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        def function(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            np.linalg.cholesky(a)  # there is none of a matrix that is not positive definite
            return np.linalg.solve(a, b)

        return each(function, b.shape[-2:], a, b)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (a, b), (x,), (dx,) = operands, results, cotangents
        v = build.op("solve_positive", swap(a), dx)
        return unbroadcast(-matmul(v, swap(x)), a.type), unbroadcast(v, b.type)

    def decompose(self, build: Builder, a: Value, b: Value) -> Value:
        """Gauss-Jordan elimination in float64; the pivots of a positive definite matrix are positive."""
        return cast(eliminate_positive(cast(a, WIDE), cast(b, WIDE)), a.type.dtype)

    def samples(self) -> Iterable[Sample]:
        a, b, c = draw((3, 3), (3, 2), (2, 1, 9, 9))
        yield Sample((a @ a.T + 4 * np.eye(3), b))
        yield Sample((c @ np.swapaxes(c, -1, -2) + 30 * np.eye(9), draw((3, 9, 1))[0]))


@final
class SolveTriangular(_System):
    """The solution of equations whose matrix is lower triangular, or, with `adjoint`, its transpose.

    Maths    L X = B, or Lᵀ X = B; what stands above the diagonal of L is not read
    Types    L: float[*s, n, n] with a fixed n, B: [*t, n, m] -> X: [*s|t, n, m]
    Reverse  R(L, B, dX) = (-tril(V Xᵀ), V) with Lᵀ V = dX; with `adjoint` (-tril(X Vᵀ), V) with L V = dX
    Facts    linear in B
    Source   giles-2008, section 2.2.3
    """

    linear_in = ((1,),)

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
