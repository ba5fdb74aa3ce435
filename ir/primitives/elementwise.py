"""Functions of one number, applied to every entry.

Every page gives `slope`, the interval that holds the derivative everywhere: its largest absolute value is
the operation's gain. `image` holds every value; a monotone function sharpens it by its ends.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, final

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
    draw,
)


class Elementwise(Primitive):
    """A function of one number, applied to every entry."""

    core = (0,)
    slope: ClassVar[Interval] = REALS
    image: ClassVar[Interval] = REALS

    def types(self, operands: Types, regions: Regions, **attributes: Any) -> Types:
        (x,) = operands
        return (x,)

    def range(self, operands: Sequence[Known]) -> Interval:
        return self.image

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return Interval.between(0, abs(self.slope).hi)

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3)))


class Sloped(Elementwise):
    """One that says what its derivative is: R(x, dy) = f'(x)·dy."""

    @abstractmethod
    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        """The derivative at x, where y is the function's value."""

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        return (self.derivative(build, operands[0], results[0]) * cotangents[0],)


class _OnPositive(Sloped):
    """A function whose samples are positive."""

    def samples(self) -> Iterable[Sample]:
        (x,) = draw((2, 3))
        yield Sample((np.abs(x) + 0.5,))


@final
class Negate(Elementwise):
    """The opposite.

    Maths    y = -x
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = -dy
    Facts    linear, an isometry
    Source   textbook
    """

    linear = True
    slope = Interval.of(-1)
    lowerings = {"onnx": "Neg", "fx": "neg"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return -x

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        return (-cotangents[0],)

    def range(self, operands: Sequence[Known]) -> Interval:
        return -operands[0].range


@final
class Exp(Sloped):
    """The exponential.

    Maths    y = e^x
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = y·dy
    Facts    positive, increasing, convex; no global gain
    Source   textbook
    """

    image = NONNEGATIVE
    lowerings = {"onnx": "Exp", "fx": "exp"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.exp(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return y


@final
class Log(_OnPositive):
    """The natural logarithm.

    Maths    y = log x
    Types    x: [*s] with x > 0 -> y: [*s]
    Reverse  R(x, dy) = dy/x
    Facts    increasing, concave; no global gain
    Source   textbook
    """

    lowerings = {"onnx": "Log", "fx": "log"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return 1.0 / x


@final
class Sqrt(_OnPositive):
    """The square root.

    Maths    y = √x
    Types    x: [*s] with x > 0 -> y: [*s]
    Reverse  R(x, dy) = dy/(2y)
    Facts    nonnegative, increasing, concave; no global gain
    Source   textbook
    """

    image = NONNEGATIVE
    lowerings = {"onnx": "Sqrt", "fx": "sqrt"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.sqrt(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return 0.5 / y

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[0].range.max(0).sqrt()


@final
class Square(Sloped):
    """The square.

    Maths    y = x²
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = 2x·dy
    Facts    nonnegative, convex; gain at most 2 sup|x|
    Source   textbook
    """

    image = NONNEGATIVE

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x * x

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return 2.0 * x

    def range(self, operands: Sequence[Known]) -> Interval:
        return abs(operands[0].range) ** 2

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return Interval.between(0, (2 * abs(operands[0].range)).hi)

    def decompose(self, build: Builder, x: Value) -> Value:
        """x² = x·x."""
        return x * x


@final
class Abs(Sloped):
    """The absolute value.

    Maths    y = |x|
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = sign(x)·dy; at the kink x = 0 it is 0
    Facts    nonexpansive, nonnegative, convex
    Source   textbook
    """

    slope = Interval.between(-1, 1)
    image = NONNEGATIVE
    lowerings = {"onnx": "Abs", "fx": "abs"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.abs(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return build.op("sign", x)

    def range(self, operands: Sequence[Known]) -> Interval:
        return abs(operands[0].range)


@final
class Sign(Elementwise):
    """The sign: -1, 0 or 1.

    Maths    y = x/|x|, and 0 at 0
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = 0
    Facts    values in [-1, 1]; no gain (it jumps)
    Source   textbook
    """

    image = Interval.between(-1, 1)
    lowerings = {"onnx": "Sign", "fx": "sign"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.sign(x)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        return (None,)


@final
class Sin(Sloped):
    """The sine.

    Maths    y = sin x
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = cos(x)·dy
    Facts    nonexpansive; values in [-1, 1]
    Source   textbook
    """

    slope = Interval.between(-1, 1)
    image = Interval.between(-1, 1)
    lowerings = {"onnx": "Sin", "fx": "sin"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.sin(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return build.op("cos", x)


@final
class Cos(Sloped):
    """The cosine.

    Maths    y = cos x
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = -sin(x)·dy
    Facts    nonexpansive; values in [-1, 1]
    Source   textbook
    """

    slope = Interval.between(-1, 1)
    image = Interval.between(-1, 1)
    lowerings = {"onnx": "Cos", "fx": "cos"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.cos(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return -build.op("sin", x)


@final
class Tanh(Sloped):
    """The hyperbolic tangent.

    Maths    y = tanh x
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = (1 - y²)·dy
    Facts    slope in [0, 1], so firmly nonexpansive; values in [-1, 1]
    Source   combettes-pesquet-2020, table 1
    """

    slope = Interval.between(0, 1)
    image = Interval.between(-1, 1)
    lowerings = {"onnx": "Tanh", "fx": "tanh"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return 1.0 - y * y


@final
class Sigmoid(Sloped):
    """The logistic function.

    Maths    y = 1/(1 + e^(-x))
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = y·(1 - y)·dy
    Facts    slope in [0, 1/4]; values in [0, 1]
    Source   textbook
    """

    slope = Interval.between(0, 0.25)
    image = Interval.between(0, 1)
    lowerings = {"onnx": "Sigmoid", "fx": "sigmoid"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        # e^(-|x|) never overflows, on either side.
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return y * (1.0 - y)


@final
class Relu(Elementwise):
    """The positive part.

    Maths    y = max(x, 0)
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = 1{x > 0}·dy; at the kink x = 0 it is 0
    Facts    slope in [0, 1], so firmly nonexpansive; the projection on the nonnegative numbers
    Source   combettes-pesquet-2020, table 1
    """

    slope = Interval.between(0, 1)
    image = NONNEGATIVE
    lowerings = {"onnx": "Relu", "fx": "relu"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (x,), (dy,) = operands, cotangents
        return (
            build.op("select", build.op("less", build.scalar(0, x.type.dtype), x), dy, build.zeros(dy.type)),
        )

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[0].range.max(0)


@final
class Softplus(Sloped):
    """A smooth positive part.

    Maths    y = log(1 + e^x)
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = sigmoid(x)·dy
    Facts    slope in [0, 1]; nonnegative, increasing, convex
    Source   textbook
    """

    slope = Interval.between(0, 1)
    image = NONNEGATIVE
    lowerings = {"fx": "softplus"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.logaddexp(x, np.zeros_like(x))

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return build.op("sigmoid", x)

    def decompose(self, build: Builder, x: Value) -> Value:
        """log(1 + e^x) = max(x, 0) + log(1 + e^(-|x|)), which does not overflow."""
        return build.op("relu", x) + build.op("log", build.op("exp", -build.op("abs", x)) + 1.0)
