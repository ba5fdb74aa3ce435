"""Proximal maps and projections that are worth an operation of their own."""

from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from banach.ir.exact import Interval
from banach.ir.graph import Builder
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
from banach.ir.tensor_type import TensorType, broadcast, same_dtype, same_space


@final
class SoftThreshold(Primitive):
    """Move every entry towards zero by t, and stop there.

    Maths    y_i = sign(x_i) · max(|x_i| - t, 0), the proximal map of t‖·‖₁
    Types    x: [*s], t: [*r] with t >= 0 -> y: [*s|r], broadcast
    Reverse  R(x, t, dy) = (k·dy, -k·sign(x)·dy) with k = 1{|x| > t}; on the kink |x| = t, k = 0
    Facts    firmly nonexpansive in x, for every t; moves a point by at most t in every entry
    Source   parikh-boyd-2014, section 6.5.2
    """

    core = (0, 0)

    def types(self, operands: Types, regions: Regions, **attributes: Any) -> Types:
        shape = broadcast(*(t.shape for t in operands))
        return (TensorType(same_dtype(operands), shape, same_space(operands)),)

    def evaluate(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        return x - np.clip(x, -t, t)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (x, t), (dy,) = operands, cotangents
        kept = build.op("select", build.op("less", t, build.op("abs", x)), dy, build.zeros(dy.type))
        return unbroadcast(kept, x.type), unbroadcast(-(build.op("sign", x) * kept), t.type)

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[0].range.hull(0) if operands[1].range.lo >= 0 else REALS

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return copies(operands, 0) * Interval.between(0, 1) if index == 0 else NONNEGATIVE

    def samples(self) -> Iterable[Sample]:
        (x,) = draw((2, 3))
        yield Sample((2 * x, np.asarray(0.3)))
