"""Fixed points that a square root excludes: an equation in squares without a solution."""

import math
from fractions import Fraction
from typing import final

from banach.compiler.certificate import REFUTED, Certificate, Hypothesis, Witness
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration.analysis.algebra import Algebra, NotAlgebra
from banach.compiler.elaboration.analysis.atoms import Own, Poly, Root, State, constant
from banach.compiler.elaboration.analysis.iterated import Iterated
from banach.compiler.elaboration.claims import Claim
from banach.compiler.inference.rule import Rule
from banach.compiler.text import syntax

_STEPS = 1000
_MINUS: Poly = (((), Fraction(-1)),)


@final
class NoFixedPointBySquares(Rule):
    """A step x ← r(x) + a √p(x) whose equation, squared, is a false one between numbers has no fixed point.

    Form    one state, and a step of sums, products and one square root, entry by entry, without divisions by
            what moves; what is returned is the state
    If      (x − r)² − a² p, multiplied out, is a number other than 0; or without a root, x − r is
    Then    no x has r + a √p = x, since that would make it 0; and a limit would be such an x, as the step is
            continuous on a closed set: refuted, however small the slopes are, as of √(1 + x²)
    Source  textbook
    """

    structural = True

    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        returns = claim.recipe.returns
        if claim.page is not None or len(claim.recipe.state) != 1 or not isinstance(returns, syntax.Name):
            return None
        name = claim.recipe.state[0][0]
        if returns.id != name or not claim.solved.types[name].is_float:
            return None
        try:
            spec = Iterated(claim)
            left = _left_over(spec.algebra, spec.update[name], spec.now.states[name])
        except (NotAlgebra, RecursionError):
            return None
        if not left or not spec.algebra.real:
            return None
        growth = tuple(_orbit(spec.algebra, spec.update[name]))
        note = f"T(x) = x, squared, says that {left} is 0"
        return Certificate(
            verdict=REFUTED,
            scope="instance",
            witness=Witness("no fixed point", (0.0,), (1,), growth, note, {"left": str(left)}),
            **self.told(claim, "textbook", Hypothesis(f"(x - r)² - a² p = {left} for every x", True)),
        )


def _left_over(algebra: Algebra, update: Poly, x: Poly) -> Fraction | None:
    """What the squared equation says is 0, if that is a number."""
    algebra.strict = False  # only the equation matters, which is one for every entry
    rooted = [(m, c) for m, c in update if any(isinstance(algebra.atoms[a], Root) for a, _ in m)]
    rest = tuple(term for term in update if term not in rooted)
    if not all(isinstance(algebra.atoms[number], State | Root | Own) for number in algebra.inside(update)):
        return None  # what jumps or has poles may have a limit where it is not continuous
    roots = [atom.inner for n in algebra.inside(update) if isinstance(atom := algebra.atoms[n], Root)]
    if any(power < 0 for poly in (update, *roots) for monomial, _ in poly for _, power in monomial):
        return None
    away = algebra.sum(x, algebra.times(_MINUS, rest))
    if not rooted:
        return constant(away)
    ((monomial, a), *more) = rooted
    root = algebra.atoms[monomial[0][0]]
    if more or len(monomial) != 1 or monomial[0][1] != 1 or not isinstance(root, Root):
        return None
    square = algebra.times((((), -a * a),), root.inner)
    return constant(algebra.sum(algebra.times(away, away), square))


def _orbit(algebra: Algebra, update: Poly) -> list[float]:
    """The sizes of the iterates from 0."""
    x, seen = 0.0, []
    for _ in range(_STEPS):
        try:
            x = _value(algebra, update, x)
        except (ArithmeticError, ValueError):
            break
        seen.append(abs(x))
        if not abs(x) < 1e12:
            break
    return seen


def _value(algebra: Algebra, poly: Poly, x: float) -> float:
    total = 0.0
    for monomial, coefficient in poly:
        term = float(coefficient)
        for number, power in monomial:
            match algebra.atoms[number]:
                case State():
                    factor = x
                case Root(inner):
                    factor = math.sqrt(_value(algebra, inner, x))
                case _:
                    raise ValueError("not known before the run")
            term *= factor**power
        total += term
    return total
