"""Activations of networks. Where a slope exceeds 1 the function is not nonexpansive, and its page says so.

tests/ir/test_slopes.py proves the enclosures of `slope` and `image` that are not read off the formula, by
subdivision in interval arithmetic.
"""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import final

import numpy as np

from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.primitive import Cotangents, Known, Regions, Sample, Types, Values, draw
from banach.ir.primitives.elementwise import Elementwise, Sloped
from banach.ir.tensor_type import TypeMismatch

# Of klambauer-2017, where they are solved for so that mean 0 and variance 1 reproduce themselves.
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1, small) / (1 + small)


@final
class Gelu(Sloped):
    """The Gaussian error linear unit, exact: x times the probability that a normal number is below x.

    Maths    y = x·Φ(x), Φ(x) = (1 + erf(x/√2))/2
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = (Φ(x) + x·φ(x))·dy, φ(x) = e^(-x²/2)/√(2π)
    Facts    slope in [-0.12890415, 1.12890415]: NOT nonexpansive. f'' = (2 - x²)·φ, so f' is extreme
             at ±√2 or in its limits 0 and 1; f'(√2) = (1 + erf 1)/2 + e^(-1)/√π = 1.1289041451851..., and
             f'(-x) = 1 - f'(x). Values at least -0.17
    Source   hendrycks-gimpel-2016, section 2
    """

    lowerings = {"fx": "gelu"}
    slope = Interval.between("-0.12890415", "1.12890415")
    image = Interval.between("-0.17", math.inf)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # at -inf
            erfc = np.vectorize(math.erfc, otypes=[np.float64])(-x / math.sqrt(2))
            return (0.5 * x * erfc).astype(x.dtype)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        density = 1 / math.sqrt(2 * math.pi) * build.op("exp", -0.5 * x * x)
        return _normal(x) + x * density

    def decompose(self, build: Builder, x: Value) -> Value:
        """By erf. Far below 0 it is 0 to within 1e-16·|x|."""
        return x * _normal(x)


def _normal(x: Value) -> Value:
    """Φ(x)."""
    return 0.5 * (1.0 + x.builder.op("erf", math.sqrt(0.5) * x))


@final
class Silu(Sloped):
    """x times its logistic function; swish with β = 1.

    Maths    y = x·σ(x), σ(x) = 1/(1 + e^(-x))
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = (σ + x·σ·(1 - σ))·dy
    Facts    slope in [-0.09983933, 1.09983933]: NOT nonexpansive. With u = x/2 it is
             (1 + tanh u + u/cosh² u)/2, extreme where u·tanh u = 1, and there it is (1 + u)/2;
             u = 1.19967864025..., and f'(-x) = 1 - f'(x). Values at least -0.27846455, taken where
             x + 1 = -e^x
    Source   elfwing-2018, section 2.1
    """

    lowerings = {"fx": "silu"}
    slope = Interval.between("-0.09983933", "1.09983933")
    image = Interval.between("-0.27846455", math.inf)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # at -inf
            return (x * _sigmoid(x)).astype(x.dtype)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        s = build.op("sigmoid", x)
        return s + y * (1.0 - s)

    def decompose(self, build: Builder, x: Value) -> Value:
        """By sigmoid."""
        return x * build.op("sigmoid", x)


@final
class Mish(Sloped):
    """x times the hyperbolic tangent of its smooth positive part.

    Maths    y = x·tanh(log(1 + e^x))
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = (t + x·(1 - t²)·σ(x))·dy with t = tanh(log(1 + e^x))
    Facts    slope in [-0.113, 1.089]: NOT nonexpansive; values at least -0.31. With w = e^x and
             q = w² + 2w + 2 it is f' = 1 - 2/q + 4x(w² + w)/q²
    Source   misra-2020
    """

    lowerings = {"fx": "mish"}
    slope = Interval.between("-0.113", "1.089")
    image = Interval.between("-0.31", math.inf)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # at -inf
            return x * np.tanh(np.logaddexp(x, np.zeros_like(x)))

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        t = _gate(x)
        return t + x * (1.0 - t * t) * build.op("sigmoid", x)

    def decompose(self, build: Builder, x: Value) -> Value:
        """By softplus and tanh."""
        return x * _gate(x)


def _gate(x: Value) -> Value:
    return x.builder.op("tanh", x.builder.op("softplus", x))


@final
class Elu(Elementwise):
    """The exponential linear unit.

    Maths    y = x for x >= 0, α·(e^x - 1) below
    Types    x: [*s] -> y: [*s]; alpha >= 0
    Reverse  R(x, dy) = dy for x >= 0, (y + α)·dy below
    Facts    slope in [0, max(1, α)]: for α <= 1 firmly nonexpansive; values at least -α
    Source   clevert-2016, section 3; combettes-pesquet-2020, table 1
    """

    def types(self, operands: Types, regions: Regions, *, alpha: float) -> Types:
        if not 0 <= alpha < math.inf:
            raise TypeMismatch(f"alpha is a number that is not negative, not {alpha}")
        return operands

    def evaluate(self, x: np.ndarray, *, alpha: float) -> np.ndarray:
        return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x).astype(x.dtype)

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        alpha: float,
    ) -> Cotangents:
        (x,), (y,), (dy,) = operands, results, cotangents
        return (_below(x, (y + alpha) * dy, dy),)

    def range(self, operands: Sequence[Known], *, alpha: float) -> Interval:
        # Below 0 the values lie above -α and above the line of the steepest slope.
        x, steepest = operands[0].range, max(Fraction(1), Fraction(alpha))
        if x.lo >= 0:
            return x
        low = -Fraction(alpha) if isinstance(x.lo, float) else max(-Fraction(alpha), x.lo * steepest)
        return Interval(low, max(x.hi, Fraction(0)))

    def gain(self, index: int, operands: Sequence[Known], *, alpha: float) -> Interval:
        return Interval.between(0, max(1, Fraction(alpha)))

    def decompose(self, build: Builder, x: Value, *, alpha: float) -> Value:
        """By expm1, which never sees a large number."""
        return _below(x, alpha * build.op("expm1", -build.op("relu", -x)), x)

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3)), {"alpha": 1.0})
        yield Sample(draw((2, 3)), {"alpha": 1.5})


def _below(x: Value, y: Value, z: Value) -> Value:
    """y where x < 0, else z."""
    build = x.builder
    return build.op("select", build.op("less", x, build.scalar(0, x.type.dtype)), y, z)


@final
class Selu(Sloped):
    """The self-normalising exponential linear unit.

    Maths    y = λ·x for x >= 0, λα·(e^x - 1) below; λ = 1.0507..., α = 1.6732...
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = λ·dy for x >= 0, (y + λα)·dy below
    Facts    slope in [0, λα], λα = 1.7580993408...: NOT nonexpansive; values at least -λα
    Source   klambauer-2017, equation 2
    """

    slope = Interval.between(0, "1.7580993409")
    image = Interval.between("-1.7580993409", math.inf)
    lowerings = {"fx": "selu"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        low = SELU_ALPHA * np.expm1(np.minimum(x, 0))
        return (SELU_SCALE * np.where(x < 0, low, x)).astype(x.dtype)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return _below(x, y + SELU_SCALE * SELU_ALPHA, build.scalar(SELU_SCALE, x.type.dtype))

    def decompose(self, build: Builder, x: Value) -> Value:
        """By elu."""
        return SELU_SCALE * build.op("elu", x, alpha=SELU_ALPHA)


@final
class LeakyRelu(Elementwise):
    """A number, or a fixed part of it where it is negative.

    Maths    y = x for x >= 0, a·x below
    Types    x: [*s] -> y: [*s]; leak a, any number
    Reverse  R(x, dy) = dy for x >= 0, a·dy below
    Facts    slope between a and 1: for 0 <= a <= 1 firmly nonexpansive, for |a| <= 1 nonexpansive
    Source   combettes-pesquet-2020, table 1
    """

    def types(self, operands: Types, regions: Regions, *, leak: float) -> Types:
        if not math.isfinite(leak):
            raise TypeMismatch(f"the leak is a number, not {leak}")
        return operands

    def evaluate(self, x: np.ndarray, *, leak: float) -> np.ndarray:
        return np.where(x < 0, leak * x, x).astype(x.dtype)

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        leak: float,
    ) -> Cotangents:
        (x,), (dy,) = operands, cotangents
        return (_below(x, leak * dy, dy),)

    def range(self, operands: Sequence[Known], *, leak: float) -> Interval:
        x = operands[0].range
        return x.max(0).hull(leak * x.min(0)) if x.lo < 0 else x

    def gain(self, index: int, operands: Sequence[Known], *, leak: float) -> Interval:
        return Interval.between(0, max(1, abs(Fraction(leak))))

    def decompose(self, build: Builder, x: Value, *, leak: float) -> Value:
        """By a choice."""
        return _below(x, leak * x, x)

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3)), {"leak": 0.01})
        yield Sample(draw((2, 3)), {"leak": -1.5})


@final
class Softsign(Sloped):
    """A number, divided by its distance from the origin's other side.

    Maths    y = x/(1 + |x|)
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = dy/(1 + |x|)²
    Facts    slope in [0, 1], so firmly nonexpansive; values in [-1, 1]
    Source   combettes-pesquet-2020, table 1
    """

    slope = Interval.between(0, 1)
    image = Interval.between(-1, 1)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # at ±inf
            return x / (1 + np.abs(x))

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        slope = 1.0 / (1.0 + build.op("abs", x))
        return slope * slope

    def decompose(self, build: Builder, x: Value) -> Value:
        """As written."""
        return x / (1.0 + build.op("abs", x))


@final
class HardSigmoid(Sloped):
    """A logistic function made of three lines.

    Maths    y = min(max(x/6 + 1/2, 0), 1)
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = 1{-3 <= x <= 3}·dy/6
    Facts    slope in [0, 1/6]; values in [0, 1]
    Source   howard-2019, section 5.2
    """

    # 1/6 is rounded to a float, upwards in float32.
    slope = Interval.between(0, Fraction(1, 6) * (1 + Fraction(1, 2**10)))
    image = Interval.between(0, 1)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.clip(x * x.dtype.type(1 / 6) + x.dtype.type(0.5), 0, 1)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        sixth = build.scalar(1 / 6, x.type.dtype)
        inside = build.op("equal", y, x * sixth + 0.5)
        return build.op("select", inside, sixth, build.scalar(0, x.type.dtype))

    def decompose(self, build: Builder, x: Value) -> Value:
        """By clip."""
        return build.op("clip", x * (1 / 6) + 0.5, low=0.0, high=1.0)
