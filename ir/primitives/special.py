"""Further functions of one number. Those without a float64 kernel in ONNX Runtime are made of others."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import final

import numpy as np

from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.primitive import Cotangents, Known, Regions, Sample, Types, Values, draw
from banach.ir.primitives.elementwise import Elementwise, Sloped
from banach.ir.tensor_type import TypeMismatch, numpy_dtype

# e^(y²)·erfc(y) on [1, 6] as a polynomial in s = 14.4/(y + 3) - 2.6, which runs over [-1, 1]: its interpolant
# in the 13 Chebyshev nodes, worked out with 40 digits. The error of e^(-y²) times it is below 1.2e-16.
_ERFC = (
    0.20798329133342885,
    0.15436117429438836,
    0.049698445403375216,
    0.012713147695154857,
    0.002479314697621277,
    0.0003316029648753461,
    1.9563578906857695e-05,
    -2.42557221161177e-06,
    -5.541125848160943e-07,
    4.551267548592995e-09,
    1.131478564144137e-08,
    2.4416129982547695e-10,
    -2.3736182042986786e-10,
)


def horner(x: Value, coefficients: Sequence[float]) -> Value:
    """Σ c_i x^i."""
    total = x.builder.scalar(coefficients[-1], x.type.dtype)
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


def between(x: Value, low: float, high: float) -> Value:
    """x, moved into [low, high]; NaN stays."""
    build = x.builder
    raised = build.op("maximum", x, build.scalar(low, x.type.dtype))
    return build.op("minimum", raised, build.scalar(high, x.type.dtype))


def below(x: Value, bound: float) -> Value:
    """1{|x| < bound}."""
    return x.builder.op("less", x.builder.op("abs", x), x.builder.scalar(bound, x.type.dtype))


@final
class Erf(Sloped):
    """The error function.

    Maths    y = 2/√π ∫_0^x e^(-u²) du
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = 2/√π e^(-x²)·dy
    Facts    slope in [0, 2/√π], the supremum at 0; values in [-1, 1]
    Source   textbook
    """

    # 2/√π = 1.12837916709551257389...
    slope = Interval.between(0, "1.1283791670955126")
    image = Interval.between(-1, 1)
    lowerings = {"fx": "erf"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return 2 / math.sqrt(math.pi) * build.op("exp", -(x * x))

    def decompose(self, build: Builder, x: Value) -> Value:
        """Near 0 the Taylor series 2/√π Σ (-1)^n x^(2n+1)/(n! (2n+1)); from |x| = 1 on 1 - erfc |x|."""
        terms = [(-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(19)]  # 1/(19! · 39) < 3e-19
        near = x * horner(x * x, [2 / math.sqrt(math.pi) * term for term in terms])
        y = between(build.op("abs", x), 1.0, 6.0)  # erfc 6 < 3e-17
        far = 1.0 - build.op("exp", -(y * y)) * horner(14.4 / (y + 3.0) - 2.6, _ERFC)
        return build.op("select", below(x, 1.0), near, build.op("sign", x) * far)


@final
class Expm1(Sloped):
    """e^x - 1 without cancellation near 0.

    Maths    y = e^x - 1
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = (y + 1)·dy
    Facts    increasing, convex; at least -1; no global gain
    Source   textbook
    """

    image = Interval.between(-1, math.inf)
    lowerings = {"fx": "expm1"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.expm1(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return y + 1.0

    def decompose(self, build: Builder, x: Value) -> Value:
        """For |x| < 1 it is 2t/(1 - t) with t = tanh(x/2)."""
        t = build.op("tanh", 0.5 * x)
        return build.op("select", below(x, 1.0), 2.0 * t / (1.0 - t), build.op("exp", x) - 1.0)


@final
class Log1p(Sloped):
    """log(1 + x) without cancellation near 0.

    Maths    y = log(1 + x)
    Types    x: [*s] with x > -1 -> y: [*s]
    Reverse  R(x, dy) = dy/(1 + x)
    Facts    increasing, concave; no global gain
    Source   textbook
    """

    lowerings = {"fx": "log1p"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log1p(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return 1.0 / (1.0 + x)

    def decompose(self, build: Builder, x: Value) -> Value:
        """For |x| < 1/2 it is 2 artanh z with z = x/(2 + x), |z| < 1/3: 2 Σ z^(2n+1)/(2n+1)."""
        z = x / (x + 2.0)
        near = z * horner(z * z, [2 / (2 * n + 1) for n in range(17)])  # 2 · 3^-35/35 < 2e-18
        return build.op("select", below(x, 0.5), near, build.op("log", x + 1.0))

    def samples(self) -> Iterable[Sample]:
        (x,) = draw((2, 3))
        yield Sample((np.abs(x) + 0.1,))


@final
class Sinh(Sloped):
    """The hyperbolic sine.

    Maths    y = (e^x - e^(-x))/2
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = cosh(x)·dy
    Facts    increasing; no global gain
    Source   textbook
    """

    lowerings = {"fx": "sinh"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.sinh(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return build.op("cosh", x)

    def decompose(self, build: Builder, x: Value) -> Value:
        """For |x| < 1 it is 2t/(1 - t²) with t = tanh(x/2); elsewhere it is made of e^(±x/2)."""
        t = build.op("tanh", 0.5 * x)
        up, down = _halves(x)
        return build.op("select", below(x, 1.0), 2.0 * t / (1.0 - t * t), up - down)


@final
class Cosh(Sloped):
    """The hyperbolic cosine.

    Maths    y = (e^x + e^(-x))/2
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = sinh(x)·dy
    Facts    at least 1, convex; no global gain
    Source   textbook
    """

    image = Interval.between(1, math.inf)
    lowerings = {"fx": "cosh"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.cosh(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return build.op("sinh", x)

    def decompose(self, build: Builder, x: Value) -> Value:
        """e^(x/2) squared overflows only where cosh does."""
        up, down = _halves(x)
        return up + down


def _halves(x: Value) -> tuple[Value, Value]:
    """e^x/2 and e^(-x)/2."""
    up, down = x.builder.op("exp", 0.5 * x), x.builder.op("exp", -0.5 * x)
    return 0.5 * up * up, 0.5 * down * down


@final
class Arctan(Sloped):
    """The inverse of the tangent on (-π/2, π/2).

    Maths    y = arctan x
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = dy/(1 + x²)
    Facts    slope in [0, 1], so firmly nonexpansive; values in [-π/2, π/2]
    Source   combettes-pesquet-2020, table 1, for the scaled function
    """

    slope = Interval.between(0, 1)
    # π/2 = 1.57079632679489661923...
    image = Interval.between("-1.5707963267948967", "1.5707963267948967")
    lowerings = {"fx": "arctan"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.arctan(x)

    def derivative(self, build: Builder, x: Value, y: Value) -> Value:
        return 1.0 / (1.0 + x * x)

    def decompose(self, build: Builder, x: Value) -> Value:
        """arctan x = π/2 - arctan 1/x for x > 1; arctan z = 2 arctan(z/(1 + √(1 + z²))), thrice; Taylor."""
        size, one = build.op("abs", x), build.scalar(1, x.type.dtype)
        large = build.op("less", one, size)
        z = build.op("select", large, 1.0 / size, size)
        for _ in range(3):
            z = z / (1.0 + build.op("sqrt", 1.0 + z * z))
        # z <= tan(π/32) < 0.0985, and 0.0985^19/19 < 4e-21
        angle = 8.0 * z * horner(z * z, [(-1) ** n / (2 * n + 1) for n in range(9)])
        return build.op("sign", x) * build.op("select", large, math.pi / 2 - angle, angle)


class _Step(Elementwise):
    """A function that is constant but for its jumps."""

    def types(self, operands: Types, regions: Regions) -> Types:
        (x,) = operands
        if not x.is_float:
            raise TypeMismatch(f"{x} is whole already")
        return (x,)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        return (None,)


@final
class Floor(_Step):
    """The largest whole number that is not above x.

    Maths    y = ⌊x⌋
    Types    x: float[*s] -> y: [*s]
    Reverse  R(x, dy) = 0
    Facts    no gain (it jumps); x - 1 <= y <= x
    Source   textbook
    """

    lowerings = {"onnx": "Floor", "fx": "floor"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.floor(x)

    def range(self, operands: Sequence[Known]) -> Interval:
        x = operands[0].range
        return Interval(
            *(end if isinstance(end, float) else Fraction(math.floor(end)) for end in (x.lo, x.hi))
        )


@final
class Round(_Step):
    """The nearest whole number; of two, the even one.

    Maths    y = ⌊x + 1/2⌋, and at x = k + 1/2 the even one of k and k + 1
    Types    x: float[*s] -> y: [*s]
    Reverse  R(x, dy) = 0
    Facts    no gain (it jumps); |y - x| <= 1/2
    Source   IEEE 754-2019, section 5.9
    """

    lowerings = {"onnx": "Round", "fx": "round"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.rint(x)

    def range(self, operands: Sequence[Known]) -> Interval:
        x = operands[0].range
        return Interval(*(end if isinstance(end, float) else Fraction(round(end)) for end in (x.lo, x.hi)))


@final
class IsFinite(Elementwise):
    """Whether a number is neither NaN nor infinite.

    Maths    y = 1{|x| < ∞}
    Types    x: float[*s] -> y: bool[*s]
    Reverse  none: a truth value has no tangent
    Facts    none
    Source   IEEE 754-2019, section 5.7.2
    """

    lowerings = {"fx": "isfinite"}

    def types(self, operands: Types, regions: Regions) -> Types:
        (x,) = operands
        if not x.is_float:
            raise TypeMismatch(f"{x} is always finite")
        return (x.with_dtype("bool"),)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.isfinite(x)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        return (None,)

    def decompose(self, build: Builder, x: Value) -> Value:
        """|x| < ∞."""
        return below(x, math.inf)


@final
class Clip(Elementwise):
    """A number, moved into a fixed interval: the projection on a box whose bounds are part of the program.

    Maths    y = min(max(x, low), high)
    Types    x: float[*s] -> y: [*s]; low <= high, either may be infinite
    Reverse  R(x, dy) = 1{low <= x <= high}·dy
    Facts    slope in [0, 1], so firmly nonexpansive; values in [low, high]
    Source   parikh-boyd-2014, section 6.2.4
    """

    slope = Interval.between(0, 1)

    def types(self, operands: Types, regions: Regions, *, low: float, high: float) -> Types:
        if not operands[0].is_float:
            raise TypeMismatch(f"{operands[0]} holds no floats")
        if not low <= high:
            raise TypeMismatch(f"no number lies between {low} and {high}")
        return operands

    def evaluate(self, x: np.ndarray, *, low: float, high: float) -> np.ndarray:
        return np.clip(x, x.dtype.type(low), x.dtype.type(high))

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        low: float,
        high: float,
    ) -> Cotangents:
        (x,), (y,), (dy,) = operands, results, cotangents
        return (build.op("select", build.op("equal", x, y), dy, build.zeros(dy.type)),)

    def range(self, operands: Sequence[Known], *, low: float, high: float) -> Interval:
        # Bounds are rounded to the operand's dtype, which is monotone; so are the values.
        found, dtype = operands[0].range, numpy_dtype(operands[0].type.dtype)
        if not math.isinf(low):
            found = found.max(float(dtype.type(low)))
        return found if math.isinf(high) else found.min(float(dtype.type(high)))

    def gain(self, index: int, operands: Sequence[Known], *, low: float, high: float) -> Interval:
        return Interval.between(0, 1)

    def samples(self) -> Iterable[Sample]:
        yield Sample((2 * draw((2, 3))[0],), {"low": -1.0, "high": 0.75})
        yield Sample(draw((3,)), {"low": -math.inf, "high": 0.5})
