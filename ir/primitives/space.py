"""The space of a value."""

from collections.abc import Iterable, Sequence
from typing import final

import numpy as np

from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.primitive import Cotangents, Known, Primitive, Regions, Sample, Types, Values, draw


@final
class Within(Primitive):
    """The same coordinates, as a vector of another space.

    Maths    y = x
    Types    x: [*s] -> y: [*s]@space
    Reverse  R(x, dy) = dy, with the space of x
    Facts    linear; an isometry of the coordinates, not of the spaces
    Source   textbook
    """

    core = (0,)
    linear = True

    def types(self, operands: Types, regions: Regions, *, space: str) -> Types:
        (x,) = operands
        return (x.with_space(space),)

    def evaluate(self, x: np.ndarray, *, space: str) -> np.ndarray:
        return x

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, space: str
    ) -> Cotangents:
        return (within(cotangents[0], operands[0].type.space),)

    def range(self, operands: Sequence[Known], *, space: str) -> Interval:
        return operands[0].range

    def gain(self, index: int, operands: Sequence[Known], *, space: str) -> Interval:
        return Interval.of(1)

    def decompose(self, build: Builder, x: Value, *, space: str) -> Value:
        """A running program knows coordinates alone."""
        return x

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3)), {"space": "euclidean"})


def within(value: Value, space: str) -> Value:
    """The value in a space; itself where it is there already."""
    return value if value.type.space == space else value.builder.op("within", value, space=space)
