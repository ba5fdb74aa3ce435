"""Numbers of a certificate: an exact enclosure, in units of what is not known before the run.

A quantity is interval · unit, where the unit is a product of powers of positive unknowns such as ‖A‖ for an
input A. So `1 / ‖A‖²` is [1, 1] · ‖A‖⁻², and two quantities of one unit compare by their intervals: a step
is proved for every A. `tree` records how the number came about, for the checker that travels with the model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from banach.ir.exact import Interval

Unit = tuple[tuple[str, Fraction], ...]  # unknowns with their powers, sorted; none is zero
Tree = Any  # nested lists, as JSON has them: ["number", "1/10"], ["/", left, right], ["fact", {...}]


@dataclass(frozen=True, slots=True)
class Quantity:
    """An enclosure of a real number, and its derivation."""

    interval: Interval
    tree: Tree
    unit: Unit = ()

    @property
    def is_zero(self) -> bool:
        return self.interval.lo == 0 == self.interval.hi

    def __str__(self) -> str:
        lo, hi = self.interval.to_floats()
        number = f"{lo:.6g}" if f"{lo:.6g}" == f"{hi:.6g}" else f"[{lo:.6g}, {hi:.6g}]"
        return " ".join([number, *(_print_power(atom, power) for atom, power in self.unit)])


def number(value: Fraction | int) -> Quantity:
    """An exact number."""
    exact = Fraction(value)
    return Quantity(Interval.of(exact), ["number", str(exact)])


def unknown(why: str) -> Quantity:
    """A number of which nothing is known."""
    return Quantity(Interval.everything(), ["unknown", why])


def atom(name: str) -> Quantity:
    """A positive number that is known only at run time."""
    return Quantity(Interval.of(1), ["atom", name], ((name, Fraction(1)),))


def combine(op: str, left: Quantity, right: Quantity) -> Quantity:
    """left op right, for one of + - * / ** and min, max."""
    tree = [op, left.tree, right.tree]
    if op == "*":
        return Quantity(left.interval * right.interval, tree, _join(left.unit, right.unit, 1))
    if op == "/" and right.is_zero:
        return unknown("a division by zero")
    if op == "/":
        return Quantity(left.interval / right.interval, tree, _join(left.unit, right.unit, -1))
    if op == "**":
        return _power(left, right, tree)
    same = _common(left, right)
    if same is None:
        return unknown(f"a sum of unlike unknowns: {left} and {right}")
    rules: dict[str, Callable[[Interval, Interval], Interval]] = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "min": lambda a, b: a.min(b),
        "max": lambda a, b: a.max(b),
    }
    return Quantity(rules[op](left.interval, right.interval), tree, same)


def transform(op: str, operand: Quantity) -> Quantity:
    """op(operand), for one of sqrt, abs and - (the opposite)."""
    tree = [op, operand.tree]
    if op == "sqrt":
        half = tuple((name, power / 2) for name, power in operand.unit)
        return Quantity(operand.interval.max(0).sqrt(), tree, half)
    return Quantity(abs(operand.interval) if op == "abs" else -operand.interval, tree, operand.unit)


def compare(op: str, left: Quantity, right: Quantity) -> bool | None:
    """Whether left op right holds for every value that the enclosures admit; None where it is open."""
    if _common(left, right) is None:
        return None
    a, b = left.interval, right.interval
    if op in ("==", "!="):
        same = a.eq(b)
        return same if op == "==" or same is None else not same
    return {"<": a.lt, "<=": a.le, ">": a.gt, ">=": a.ge}[op](b)


def _power(base: Quantity, exponent: Quantity, tree: Tree) -> Quantity:
    interval = exponent.interval
    if exponent.unit or not interval.is_point or not isinstance(interval.lo, Fraction):
        return unknown("a power whose exponent is not known")
    power = interval.lo
    unit = tuple((name, own * power) for name, own in base.unit) if power else ()
    if power.denominator == 1:
        return Quantity(base.interval ** int(power), tree, unit)
    if power.denominator == 2 and base.interval.lo >= 0:
        return Quantity(base.interval.sqrt() ** int(power.numerator), tree, unit)
    return unknown("a power that is neither whole nor a half")


def _join(left: Unit, right: Unit, sign: int) -> Unit:
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, Fraction(0)) + sign * power
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _common(left: Quantity, right: Quantity) -> Unit | None:
    """The unit of both; zero and the infinities have every unit."""
    if left.unit == right.unit or _universal(right):
        return left.unit
    return right.unit if _universal(left) else None


def _universal(quantity: Quantity) -> bool:
    return quantity.is_zero or (not quantity.unit and quantity.interval.lo == float("inf"))


def _print_power(name: str, power: Fraction) -> str:
    return name if power == 1 else f"{name}^{power}"
