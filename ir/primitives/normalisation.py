"""Functions of the last axis as a whole that give it a fixed scale: softmax and its kin, layer norm."""

from collections.abc import Iterable, Sequence
from typing import final

import numpy as np

from banach.ir import elementary
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
    copies,
    draw,
    unbroadcast,
)
from banach.ir.primitives.reduction import stretch
from banach.ir.tensor_type import TensorType, TypeMismatch, broadcast, same_dtype, same_space

LAST = (-1,)


class _OfLastAxis(Primitive):
    core = (1,)

    def types(self, operands: Types, regions: Regions) -> Types:
        (x,) = operands
        if not x.rank or not x.is_float:
            raise TypeMismatch(f"{x} has no last axis of floats")
        return (x,)

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3)))
        yield Sample(draw((4,)))


def total(x: Value) -> Value:
    """The sum over the last axis, repeated along it."""
    return stretch(x.builder.op("sum", x, axes=LAST), x.type, LAST)


def mean(x: Value) -> Value:
    """The mean over the last axis, which stays with one entry."""
    build = x.builder
    size = build.op("extent", size=x.type.shape[-1], dtype=x.type.dtype)
    return column(build.op("sum", x, axes=LAST) / size)


def column(x: Value) -> Value:
    """With a further last axis of one entry."""
    return x.builder.op("reshape", x, shape=(*x.type.shape, 1))


def _log(size: Size) -> Interval:
    """log n, and everything from 0 on for a size with a name."""
    return elementary.log(Interval.of(size)) if isinstance(size, int) and size else NONNEGATIVE


def _log_sum_exp(x: np.ndarray) -> np.ndarray:
    top = np.max(x, axis=-1, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0)  # inf - inf is NaN
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return shift + np.log(np.sum(np.exp(x - shift), axis=-1, keepdims=True))


@final
class Softmax(_OfLastAxis):
    """Positive numbers with sum 1: the gradient of logsumexp.

    Maths    y_i = e^(x_i)/Σ_j e^(x_j), over the last axis
    Types    x: float[*s, n] -> y: [*s, n]
    Reverse  R(x, dy) = y·(dy - Σ y·dy)
    Facts    gain 1/2, reached in the limit of two equal entries above all others; firmly nonexpansive, as the
             gradient of a convex function with gain at most 1; values in [0, 1]
    Source   nair-2025, theorem 1
    """

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            y = np.exp(x - np.max(x, axis=-1, keepdims=True))
        return y / np.sum(y, axis=-1, keepdims=True)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (y,), (dy,) = results, cotangents
        return (y * (dy - total(y * dy)),)

    def range(self, operands: Sequence[Known]) -> Interval:
        return Interval.between(0, 1)

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return Interval.between(0, 0.5)


@final
class LogSoftmax(_OfLastAxis):
    """The logarithm of softmax, without overflow.

    Maths    y_i = x_i - log Σ_j e^(x_j), over the last axis
    Types    x: float[*s, n] -> y: [*s, n]
    Reverse  R(x, dy) = dy - softmax(x)·Σ dy
    Facts    gain at most √n: the Jacobian I - 1pᵀ, p = softmax(x), is an oblique projection, for n > 1 as
             large as 1pᵀ, which is √n·‖p‖ <= √n. Values at most 0
    Source   textbook; for the norm of oblique projections szyld-2006, theorem 2.1
    """

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return x - _log_sum_exp(x)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (y,), (dy,) = results, cotangents
        return (dy - build.op("exp", y) * total(dy),)

    def range(self, operands: Sequence[Known]) -> Interval:
        x = operands[0].range
        return Interval((x - x - _log(operands[0].type.shape[-1])).lo, (x - x).hi).min(0)

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        size = operands[0].type.shape[-1]
        return Interval.between(0, Interval.of(size).sqrt().hi) if isinstance(size, int) else NONNEGATIVE

    def decompose(self, build: Builder, x: Value) -> Value:
        """By logsumexp. ONNX's own LogSoftmax underflows in its reference evaluator."""
        return x - column(build.op("log_sum_exp", x))


@final
class LogSumExp(_OfLastAxis):
    """A smooth maximum, without overflow.

    Maths    y = log Σ_j e^(x_j), over the last axis
    Types    x: float[*s, n] -> y: [*s]
    Reverse  R(x, dy) = softmax(x)·dy
    Facts    convex; gain 1, as softmax lies in the unit ball; max x <= y <= max x + log n
    Source   boyd-vandenberghe-2004, section 3.1.5
    """

    def types(self, operands: Types, regions: Regions) -> Types:
        (x,) = super().types(operands, regions)
        return (x.with_shape(x.shape[:-1]),)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return _log_sum_exp(x)[..., 0]

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (x,), (dy,) = operands, cotangents
        return (build.op("softmax", x) * column(dy),)

    def range(self, operands: Sequence[Known]) -> Interval:
        x = operands[0]
        return x.range + Interval(Interval.of(0).lo, _log(x.type.shape[-1]).hi)

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return Interval.between(0, 1)


@final
class LayerNorm(Primitive):
    """The last axis with mean 0 and variance about 1, then scaled and shifted entry by entry.

    Maths    y = g·z + b, z = (x - μ)/√(σ² + ε) with mean μ and variance σ² of the last axis
    Types    x: float[*s, n], g: [*r, n], b: [*q, n] -> y: [*s|r|q, n], broadcast; epsilon ε > 0
    Reverse  R(x, g, b, dy) = ((w - mean(w) - z·mean(z·w))/√(σ² + ε), z·dy, dy) with w = g·dy
    Facts    gain in x at most max|g|/√ε, the gain of z being 1/√ε where x is constant; |z| <= √(n - 1)
    Source   ba-kiros-hinton-2016, equation 4
    """

    core = (1, 1, 1)
    linear_in = ((1, 2),)

    def types(self, operands: Types, regions: Regions, *, epsilon: float) -> Types:
        x = operands[0]
        if not x.is_float or any(not t.rank or t.shape[-1] != x.shape[-1] for t in operands):
            raise TypeMismatch(f"{' and '.join(map(str, operands))} have no last axis in common")
        if not epsilon > 0:
            raise TypeMismatch(f"epsilon is positive, not {epsilon}")
        shape = broadcast(*(t.shape for t in operands))
        return (TensorType(same_dtype(operands), shape, same_space(operands)),)

    def evaluate(self, x: np.ndarray, g: np.ndarray, b: np.ndarray, *, epsilon: float) -> np.ndarray:
        centred = x - np.mean(x, axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        return (g * (centred / np.sqrt(variance + epsilon)) + b).astype(x.dtype)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, epsilon: float
    ) -> Cotangents:
        (x, g, b), (dy,) = operands, cotangents
        z, deviation = _standardised(x, epsilon)
        w = unbroadcast(g * dy, x.type)
        dx = (w - mean(w) - z * mean(z * w)) / deviation
        return dx, unbroadcast(z * dy, g.type), unbroadcast(dy, b.type)

    def range(self, operands: Sequence[Known], *, epsilon: float) -> Interval:
        return operands[1].range * self._reach(operands) + operands[2].range

    def gain(self, index: int, operands: Sequence[Known], *, epsilon: float) -> Interval:
        if index == 0:
            steepest = abs(operands[1].range) / Interval.of(epsilon).sqrt()
        else:
            steepest = abs(self._reach(operands)) if index == 1 else Interval.of(1)
        return Interval.between(0, (copies(operands, index) * steepest).hi)

    def _reach(self, operands: Sequence[Known]) -> Interval:
        """Where z lies: one entry at -μ(n - 1) against n - 1 equal ones is the farthest that it can be."""
        size = operands[0].type.shape[-1]
        if not isinstance(size, int):
            return Interval.everything()
        far = Interval.of(max(size - 1, 0)).sqrt()
        return far.hull(-far)

    def decompose(self, build: Builder, x: Value, g: Value, b: Value, *, epsilon: float) -> Value:
        """As written."""
        return g * _standardised(x, epsilon)[0] + b

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3), (3,), (3,)), {"epsilon": 0.1})
        yield Sample(draw((4,), (2, 4), (4,)), {"epsilon": 1e-5})


def _standardised(x: Value, epsilon: float) -> tuple[Value, Value]:
    """z and √(σ² + ε)."""
    centred = x - mean(x)
    deviation = x.builder.op("sqrt", mean(centred * centred) + epsilon)
    return centred / deviation, deviation
