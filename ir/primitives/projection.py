"""Projections on convex sets, and the proximal map of a group norm. All act on the last axis."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, final

import numpy as np

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
    copies,
    draw,
    unbroadcast,
)
from banach.ir.primitives.normalisation import LAST, column
from banach.ir.tensor_type import TensorType, TypeMismatch, broadcast, same_dtype

UNIT = Interval.between(0, 1)


class _WithRadius(Primitive):
    """A map of the last axis of x with a number r >= 0 for every vector."""

    core = (1, 0)
    any_radius: ClassVar[bool] = True  # whether its bounds hold for r < 0, too

    def types(self, operands: Types, regions: Regions) -> Types:
        x, r = operands
        if not x.rank or not x.is_float:
            raise TypeMismatch(f"{x} has no last axis of floats")
        leading = broadcast(x.shape[:-1], r.shape)
        return (TensorType(same_dtype(operands), (*leading, x.shape[-1]), x.space),)

    def range(self, operands: Sequence[Known]) -> Interval:
        return REALS if self._unbounded(operands) else operands[0].range.hull(0)

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return NONNEGATIVE if self._unbounded(operands) else Interval.between(0, spread(operands, index).hi)

    def _unbounded(self, operands: Sequence[Known]) -> bool:
        return not (self.any_radius or operands[1].range.lo >= 0)

    def samples(self) -> Iterable[Sample]:
        (x,) = draw((3, 4))
        yield Sample((2 * x, np.asarray(0.7)))
        yield Sample((x[0], np.array([0.3, 40.0])))


def spread(operands: Sequence[Known], index: int) -> Interval:
    """The gain of stretching x or r to as many vectors as the other has."""
    x, r = (known.type for known in operands)
    return copies([Known(x.with_shape(x.shape[:-1])), Known(r)], index)


def _norm(x: Value) -> Value:
    return x.builder.op("norm", x, axes=LAST)


def _dot(x: Value, y: Value) -> Value:
    """⟨x, y⟩ of each vector, as a column."""
    return column(x.builder.op("sum", x * y, axes=LAST))


def _where(chosen: Value, x: Value, y: float | Value) -> Value:
    build = x.builder
    return build.op("select", chosen, x, y if isinstance(y, Value) else build.scalar(y, x.type.dtype))


@final
class GroupSoftThreshold(_WithRadius):
    """Move every vector towards zero by r, and stop there.

    Maths    y = x·max(1 - r/‖x‖, 0), the proximal map of r‖·‖₂ on the last axis: group lasso
    Types    x: float[*s, n], r: [*t] with r >= 0 -> y: [*s|t, n], broadcast
    Reverse  R(x, r, dy) = ((1 - r/‖x‖)·dy + r⟨u, dy⟩/‖x‖·u, -⟨u, dy⟩) with u = x/‖x‖ where ‖x‖ > r, else 0
    Facts    firmly nonexpansive in x, nonexpansive in r
    Source   parikh-boyd-2014, section 6.5.1
    """

    any_radius = False

    def evaluate(self, x: np.ndarray, r: np.ndarray) -> np.ndarray:
        norm = np.sqrt(np.sum(x * x, axis=-1, dtype=x.dtype))
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(norm > r, 1 - r / norm, 0)
            return (x * scale[..., None]).astype(x.dtype)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (x, r), (dy,) = operands, cotangents
        kept, norm = _outside(x, r)
        ratio = column(r / norm)
        u = x / column(norm)
        along = _dot(u, dy)
        dx = _where(column(kept), (1.0 - ratio) * dy + ratio * along * u, 0)
        dr = _where(kept, -build.op("sum", u * dy, axes=LAST), 0)
        return unbroadcast(dx, x.type), unbroadcast(dr, r.type)

    def decompose(self, build: Builder, x: Value, r: Value) -> Value:
        """As written; where x = 0 the norm is replaced by 1."""
        kept, norm = _outside(x, r)
        return x * column(_where(kept, 1.0 - r / norm, 0))


def _outside(x: Value, r: Value) -> tuple[Value, Value]:
    """Whether ‖x‖ > r, and the norm there, 1 elsewhere."""
    norm = _norm(x)
    kept = x.builder.op("less", r, norm)
    return kept, _where(kept, norm, 1)


@final
class ProjectBall(_WithRadius):
    """The nearest point of the ball of radius r around 0.

    Maths    y = x·min(1, r/‖x‖)
    Types    x: float[*s, n], r: [*t] with r >= 0 -> y: [*s|t, n], broadcast
    Reverse  R(x, r, dy) = (r/‖x‖·(dy - ⟨u, dy⟩u), ⟨u, dy⟩) with u = x/‖x‖ where ‖x‖ > r, else (dy, 0)
    Facts    firmly nonexpansive in x, nonexpansive in r
    Source   parikh-boyd-2014, section 6.5.1
    """

    any_radius = False

    def evaluate(self, x: np.ndarray, r: np.ndarray) -> np.ndarray:
        norm = np.sqrt(np.sum(x * x, axis=-1, dtype=x.dtype))
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(norm > r, r / norm, 1)
            return (x * scale[..., None]).astype(x.dtype)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (x, r), (dy,) = operands, cotangents
        cut, norm = _outside(x, r)
        u = x / column(norm)
        dx = _where(column(cut), column(r / norm) * (dy - _dot(u, dy) * u), dy)
        dr = _where(cut, build.op("sum", u * dy, axes=LAST), 0)
        return unbroadcast(dx, x.type), unbroadcast(dr, r.type)

    def range(self, operands: Sequence[Known]) -> Interval:
        if self._unbounded(operands):
            farthest = abs(operands[1].range)
            return farthest.hull(-farthest)
        farthest = operands[1].range.max(0)
        return operands[0].range.hull(0).min(farthest).max(-farthest)

    def decompose(self, build: Builder, x: Value, r: Value) -> Value:
        """As written; where x = 0 the norm is replaced by 1."""
        cut, norm = _outside(x, r)
        return x * column(_where(cut, r / norm, 1))


@final
class SimplexThreshold(_WithRadius):
    """What must be taken off a vector so that its positive part has the sum r.

    Maths    τ with Σ max(x - τ, 0) = r; with x sorted downwards τ = max_j (x_1 + .. + x_j - r)/j
    Types    x: float[*s, n], r: [*t] with r > 0 -> τ: [*s|t], broadcast
    Reverse  R(x, r, dτ) = (a·dτ/Σa, -dτ/Σa) with a = 1{x > τ}
    Facts    gain 1 in x: the gradient averages over the active entries; gain 1 in r
    Source   held-wolfe-crowder-1974. The means of the j largest entries less r/j rise while the next entry is
             above them, and fall from then on: so the largest is the one at the last active entry
    """

    def types(self, operands: Types, regions: Regions) -> Types:
        (y,) = super().types(operands, regions)
        return (y.with_shape(y.shape[:-1]),)

    def evaluate(self, x: np.ndarray, r: np.ndarray) -> np.ndarray:
        down = -np.sort(-x, axis=-1)
        count = np.arange(1, x.shape[-1] + 1, dtype=x.dtype)
        sums = np.cumsum(down, axis=-1, dtype=x.dtype)
        return np.max((sums - np.asarray(r)[..., None]) / count, axis=-1)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (x, r), (tau,), (d_tau,) = operands, results, cotangents
        active = build.op("cast", build.op("less", column(tau), x), dtype=x.type.dtype)
        share = d_tau / build.op("sum", active, axes=LAST)
        return unbroadcast(active * column(share), x.type), unbroadcast(-share, r.type)

    def range(self, operands: Sequence[Known]) -> Interval:
        # max x - r <= τ <= max x
        x, r = operands[0].range, operands[1].range
        return Interval((x - r.max(0)).lo, (x - r.min(0)).hi)

    def decompose(self, build: Builder, x: Value, r: Value) -> Value:
        """By sorting."""
        size, dtype = x.type.shape[-1], x.type.dtype
        down = build.op("top", x, axis=-1, size=size)
        sums = build.op("cumsum", down, axis=-1, exclusive=False, reverse=False)
        count = build.op("count", size=size, dtype=dtype) + 1.0
        return build.op("reduce_max", (sums - column(r)) / count, axes=LAST)


@final
class ProjectSimplex(_WithRadius):
    """The nearest point with nonnegative entries of sum r.

    Maths    y = max(x - τ, 0) with τ such that Σ y = r
    Types    x: float[*s, n], r: [*t] with r > 0 -> y: [*s|t, n], broadcast
    Reverse  R(x, r, dy) = (a·(dy - m), m) with a = 1{y > 0} and m the mean of dy over the active entries
    Facts    firmly nonexpansive in x, nonexpansive in r; values in [0, r]
    Source   held-wolfe-crowder-1974
    """

    def evaluate(self, x: np.ndarray, r: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            below = x - np.max(x, axis=-1, keepdims=True)  # the digits of r are kept beside a large x
            down = -np.sort(-below, axis=-1)
            sums = np.cumsum(down, axis=-1, dtype=x.dtype) - np.asarray(r)[..., None]
            tau = np.max(sums / np.arange(1, x.shape[-1] + 1, dtype=x.dtype), axis=-1)
            return np.maximum(below - tau[..., None], 0)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (x, r), (y,), (dy,) = operands, results, cotangents
        active = build.op("cast", build.op("less", build.scalar(0, y.type.dtype), y), dtype=y.type.dtype)
        m = build.op("sum", active * dy, axes=LAST) / build.op("sum", active, axes=LAST)
        return unbroadcast(active * (dy - column(m)), x.type), unbroadcast(m, r.type)

    def range(self, operands: Sequence[Known]) -> Interval:
        return Interval(Interval.of(0).lo, operands[1].range.max(0).hi)

    def decompose(self, build: Builder, x: Value, r: Value) -> Value:
        """By its threshold; x is shifted first, so the digits of r are kept beside a large x."""
        below = x - column(build.op("reduce_max", x, axes=LAST))
        return build.op("relu", below - column(build.op("simplex_threshold", below, r)))


@final
class ProjectL1Ball(_WithRadius):
    """The nearest point whose entries have absolute values of sum r at most.

    Maths    y = sign(x)·max(|x| - τ, 0) with τ = 0 where Σ|x| <= r, else such that Σ|y| = r
    Types    x: float[*s, n], r: [*t] with r > 0 -> y: [*s|t, n], broadcast
    Reverse  R(x, r, dy) = (a·(dy - m·s), m) with s = sign(x), a = 1{y ≠ 0} and m the mean of s·dy over the
             active entries, where Σ|x| > r; else (dy, 0)
    Facts    firmly nonexpansive in x, nonexpansive in r
    Source   duchi-2008, section 4
    """

    def evaluate(self, x: np.ndarray, r: np.ndarray) -> np.ndarray:
        down = -np.sort(-np.abs(x), axis=-1)
        sums = np.cumsum(down, axis=-1, dtype=x.dtype) - np.asarray(r)[..., None]
        tau = np.max(sums / np.arange(1, x.shape[-1] + 1, dtype=x.dtype), axis=-1, keepdims=True)
        return np.sign(x) * np.maximum(np.abs(x) - np.maximum(tau, 0), 0)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (x, r), (y,), (dy,) = operands, results, cotangents
        cut = build.op("less", r, build.op("sum", build.op("abs", x), axes=LAST))
        s = build.op("sign", y)
        active = s * s
        # With no active entry (r = 0) the mean has no meaning, and its factor is 0.
        count = build.op("maximum", build.op("sum", active, axes=LAST), build.scalar(1, y.type.dtype))
        m = build.op("sum", s * dy, axes=LAST) / count
        dx = _where(column(cut), active * dy - column(m) * s, dy)
        return unbroadcast(dx, x.type), unbroadcast(_where(cut, m, 0), r.type)

    def decompose(self, build: Builder, x: Value, r: Value) -> Value:
        """By the threshold of the simplex."""
        tau = build.op("simplex_threshold", build.op("abs", x), r)
        return build.op("soft_threshold", x, column(build.op("relu", tau)))


@final
class ProjectSecondOrderCone(Primitive):
    """The nearest point (v, t) with ‖v‖ <= t; the last entry is t.

    Maths    y = (v, t) where ‖v‖ <= t; 0 where ‖v‖ <= -t; else (‖v‖ + t)/2·(v/‖v‖, 1)
    Types    x: float[*s, n] with n > 1 -> y: [*s, n]
    Reverse  R(x, dy) = dy, 0, or with u = v/‖v‖ and p = t/‖v‖ half of
             ((1 + p)·dv - p⟨u, dv⟩u + u·dt, ⟨u, dv⟩ + dt)
    Facts    firmly nonexpansive
    Source   parikh-boyd-2014, section 6.3.2
    """

    core = (1,)

    def types(self, operands: Types, regions: Regions) -> Types:
        (x,) = operands
        if not x.rank or not x.is_float or x.shape[-1] in (0, 1):
            raise TypeMismatch(f"{x} has no last axis of two floats or more")
        return (x,)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        v, t = x[..., :-1], x[..., -1:]
        norm = np.sqrt(np.sum(v * v, axis=-1, keepdims=True, dtype=x.dtype))
        with np.errstate(divide="ignore", invalid="ignore"):
            half = (norm + t) / 2
            edge = np.concatenate([half * (v / norm), half], axis=-1)
        inside, polar = norm <= t, norm <= -t
        return np.where(inside, x, np.where(polar, 0, edge)).astype(x.dtype)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (x,), (dy,) = operands, cotangents
        (v, t, norm), (dv, dt) = _cone(x), _parts(dy)
        inside, polar, size = _cases(t, norm)
        u, p = v / size, t / size
        along = _dot(u, dv)
        edge = build.op(
            "concatenate", 0.5 * ((1.0 + p) * dv - p * along * u + u * dt), 0.5 * (along + dt), axis=-1
        )
        return (_where(inside, dy, _where(polar, build.zeros(dy.type), edge)),)

    def range(self, operands: Sequence[Known]) -> Interval:
        # Entries of v shrink; t becomes at most (‖v‖ + t)/2, of which no interval of entries knows better.
        return Interval.everything()

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return UNIT

    def decompose(self, build: Builder, x: Value) -> Value:
        """As written; where v = 0 the norm is replaced by 1."""
        v, t, norm = _cone(x)
        inside, polar, size = _cases(t, norm)
        half = 0.5 * (norm + t)
        edge = build.op("concatenate", half * (v / size), half, axis=-1)
        return _where(inside, x, _where(polar, build.zeros(x.type), edge))

    def samples(self) -> Iterable[Sample]:
        yield Sample((np.array([[1.0, -2.0, 0.5], [0.3, 0.4, 1.0], [0.3, 0.4, -1.0], [1.5, 0.2, -0.4]]),))


def _parts(x: Value) -> tuple[Value, Value]:
    """All entries but the last, and the last."""
    build, last = x.builder, x.type.shape[-1] - 1
    v = build.op("slice", x, axis=-1, start=0, stop=last)
    return v, build.op("slice", x, axis=-1, start=last, stop=last + 1)


def _cone(x: Value) -> tuple[Value, Value, Value]:
    """v, t and ‖v‖, with a last axis each."""
    v, t = _parts(x)
    return v, t, column(_norm(v))


def _cases(t: Value, norm: Value) -> tuple[Value, Value, Value]:
    """Whether a point lies in the cone, whether in its polar, and the norm where neither holds (else 1)."""
    build = t.builder
    inside, polar = build.op("less_equal", norm, t), build.op("less_equal", norm, -t)
    size = _where(build.op("or", inside, polar), build.scalar(1, t.type.dtype), norm)
    return inside, polar, size
