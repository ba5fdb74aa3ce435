"""Gradient methods with memory: one quadratic Lyapunov function for every function of a class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

from banach.compiler.certificate import PROVED, REFUTED, UNKNOWN, Certificate, Derivation, Hypothesis
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration.analysis import constants
from banach.compiler.elaboration.analysis.coefficient import ZERO, Coefficient
from banach.compiler.elaboration.analysis.linear_form import LinearForm, NotLinear, linear_form
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.things import Gradient
from banach.compiler.facts import lyapunov
from banach.compiler.facts import quantity as q
from banach.compiler.facts.lyapunov import STAR, Curvature, System
from banach.compiler.facts.multipliers import prove
from banach.compiler.inference.divergence import failure
from banach.compiler.inference.rule import Rule
from banach.ir.diagnostic import SpecError
from banach.ir.exact import down, up

_SOURCE = "Lessard, Recht & Packard 2016; Taylor, Van Scoy & Lessard 2018"
_FAILS = {"mode": "Schur 1917", "cycle": "Goujaud, Taylor & Dieuleveut 2023"}
_BELOW = 1 - Fraction(1, 1 << 20)  # mu stays below L by this much: a larger class, and no division by 0


@dataclass(frozen=True, slots=True)
class Constants:
    """What is known of one function."""

    convex: bool
    mu: q.Quantity
    smooth: q.Quantity | None


@final
class QuadraticLyapunov(Rule):
    """A quadratic function of states and gradients falls by a fixed factor in every step.

    Form    new states are fixed combinations of old states, of gradients, and of one proximal map's
            subgradient, taken at combinations of states: ξ⁺ = A ξ + B u, y = C ξ + D u, whatever the method
            is called
    If      f is convex, mu-strongly convex with mu > 0, and L-smooth; g is convex; the minimiser, which then
            exists, is a fixed point, and is what is returned there; and P, p, λ, ν pass the inequality below
    Then    V = [ξ s]ᵀ P [ξ s] + Σ p_i h(y_i) >= ‖ξ - ξ*‖² falls by the factor q² in every step, where s = u -
            mu·y and h(y) = f(y) - f* - mu/2‖y - y*‖²: the distance from the minimiser is at most q^k √V_0
    Proof   q²V - V⁺ - Σ λ_ab (h_a - h_b - <s_b, y_a - y_b> - ‖s_a - s_b‖²/(2(L - mu))) is a positive definite
            form, by an exact L D Lᵀ, and λ >= 0; likewise V - ‖ξ‖² with ν. The numbers are found in floats,
            rounded to rationals with room to spare, checked in rationals, and checked again by `banach
            verify`
    Source  Lessard, Recht & Packard 2016; Taylor, Van Scoy & Lessard 2018
    """

    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        try:
            form = linear_form(claim)
        except NotLinear:
            return None
        if not form.evaluations or not any(e.smooth for e in form.evaluations):
            return None
        known = [_constants(form, number, claim) for number in range(len(form.functions))]
        hypotheses = [*_about_functions(form, known), *_about_fixed_point(form)]
        certificate: dict[str, Any] = dict(
            theorem=self.theorem,
            statement=self.doc,
            source=_SOURCE,
            quantity="distance from the minimiser",
            rate="linear",
            bound="q**k * sqrt(V at the start)",
            **claim.stated,
        )
        failing = next((h for h in hypotheses if h.holds is not True), None)
        if failing:
            missing = f"`{failing.text}` could not be shown"
            return Certificate(verdict=UNKNOWN, missing=missing, hypotheses=tuple(hypotheses), **certificate)
        scaled = _scaled(form, known)
        found = prove(_systems(form, scaled)) if scaled is not None and scaled.measurable else None
        if found is None or scaled is None:
            return self._not_proved(form, known, claim, {**certificate, "hypotheses": tuple(hypotheses)})
        factor = q.number(found.factor)
        return Certificate(
            verdict=PROVED,
            hypotheses=tuple(hypotheses),
            factor=factor.interval,
            factor_tree=factor.tree,
            norm=f"√V over {', '.join(form.states)}",
            derivation=_derivation(form, scaled, found),
            **certificate,
        )

    def _not_proved(
        self, form: LinearForm, known: Sequence[Constants], claim: Claim, certificate: dict[str, Any]
    ) -> Certificate:
        """Refuted where a member of the class is known to fail, else unknown."""
        smooth, mu = known[0].smooth, known[0].mu
        blocks = {name: matrix(form, name) for name in "ABCD"}
        failed = failure(form, blocks, mu, smooth, claim) if smooth is not None else None
        missing = "no quadratic Lyapunov function was found that decreases for every such function"
        if failed is None:
            return Certificate(verdict=UNKNOWN, missing=missing, **certificate)
        scope, witness = failed
        told: dict[str, Any] = dict.fromkeys(("quantity", "rate", "bound"))
        told["source"] = _FAILS[witness.kind]
        told["statement"] = "The method does not reach the minimiser of every function with these constants."
        return Certificate(verdict=REFUTED, scope=scope, witness=witness, **{**certificate, **told})


def _constants(form: LinearForm, number: int, claim: Claim) -> Constants:
    function, context = form.functions[number], claim.context
    smooth = all(e.smooth for e, of in zip(form.evaluations, form.of) if of == number)
    convex = context.fact("convex", function, context, None) is True
    mu = _number(context.fact("strong_convexity", function, context, None))
    try:
        bound = constants.lipschitz(Gradient(function), context, None) if smooth else None
    except SpecError:
        bound = q.unknown("the smoothness")
    return Constants(convex, mu, bound)


def _number(fact: Any) -> q.Quantity:
    return fact if isinstance(fact, q.Quantity) else q.unknown("no such fact")


def _about_functions(form: LinearForm, known: Sequence[Constants]) -> list[Hypothesis]:
    found = []
    zero, infinite = q.number(0), q.Quantity(q.number(2**4096).interval, ["inf"])
    strong = []
    for number, own in enumerate(known):
        name = form.function_text(number)
        found.append(Hypothesis(f"convex({name})", own.convex or None, origin="library"))
        if own.smooth is not None:
            found.append(_compared(f"lipschitz(grad({name})) < ∞", "<", own.smooth, infinite))
            strong.append((name, own))
    name, own = max(strong, key=lambda pair: q.compare(">", pair[1].mu, zero) is True)
    found.append(_compared(f"strong_convexity({name}) > 0", ">", own.mu, zero))
    if sum(own.smooth is None for own in known) > 1:
        found.append(Hypothesis("at most one function is not smooth", False))
    return found


def _compared(text: str, op: str, left: q.Quantity, right: q.Quantity) -> Hypothesis:
    holds = q.compare(op, left, right)
    return Hypothesis(
        text,
        holds,
        str(left),
        "∞" if right.tree == ["inf"] else str(right),
        trees=(op, left.tree, right.tree),
    )


# --- the fixed point --------------------------------------------------------------------------------------


def _about_fixed_point(form: LinearForm) -> list[Hypothesis]:
    """ξ* = v ⊗ x* + Σ_j w_j ⊗ (u*_j - u*_0) for one v and w_j, whatever the minimiser x* and Σ u*_j = 0
    are.
    """
    text = "where every gradient is taken at the minimiser, the states stay, and the minimiser is returned"
    n, r = len(form.states), len(form.evaluations)
    A, B, C, D = (matrix(form, name) for name in "ABCD")
    returned = [form.returned.at(name) for name in form.states]
    targets: list[tuple[list[Fraction], int]] = [([Fraction(0)] * r, 1)]
    for other in range(1, len(form.functions)):
        targets.append(([Fraction((of == other) - (of == 0)) for of in form.of], 0))
    for u, x in targets:
        rows = [[a - _unit(i, j) for j, a in enumerate(row)] for i, row in enumerate(A)]
        rows += [*C, returned]
        right = [-_applied(B[i], u) for i in range(n)]
        right += [_whole(x) - _applied(D[i], u) for i in range(r)] + [_whole(x)]
        if not _solvable(rows, right):
            return [Hypothesis(text, None)]
    return [Hypothesis(text, True)]


def matrix(form: LinearForm, name: str) -> list[list[Coefficient]]:
    """A, B, C or D of the form."""
    evaluations = range(len(form.evaluations))
    rows = [form.updates[s] for s in form.states] if name in "AB" else [e.point for e in form.evaluations]
    return [[row.at(key) for key in (form.states if name in "AC" else evaluations)] for row in rows]


def _unit(i: int, j: int) -> Coefficient:
    return _whole(int(i == j))


def _whole(x: int | Fraction) -> Coefficient:
    value = Fraction(x)
    return Coefficient((((), value),) if value else (), q.number(value), q.number(value))


def _applied(row: Sequence[Coefficient], u: Sequence[Fraction]) -> Coefficient:
    total = ZERO
    for coefficient, value in zip(row, u):
        total = total + coefficient * _whole(value)
    return total


def _solvable(rows: list[list[Coefficient]], right: list[Coefficient]) -> bool:
    """Whether M z = b for some rational z, for all values of the enclosed numbers: a guess, checked
    exactly.
    """
    guess = _solved([[_value(x) for x in row] for row in rows], [_value(x) for x in right])
    if guess is None:
        return False
    return all((_applied(row, guess) - b).is_zero for row, b in zip(rows, right))


def _value(x: Coefficient) -> Fraction:
    exact = x.rational
    return (
        exact if exact is not None else Fraction(lyapunov.middle(x.written.interval)).limit_denominator(10**9)
    )


def _solved(rows: list[list[Fraction]], right: list[Fraction]) -> list[Fraction] | None:
    """Some solution by elimination, free unknowns zero; rounded, since enclosed numbers are not exact."""
    table = [[*row, b] for row, b in zip(rows, right)]
    columns, pivots = len(rows[0]), []
    for column in range(columns):
        below = [i for i in range(len(pivots), len(table)) if abs(table[i][column]) > Fraction(1, 10**6)]
        if not below:
            continue
        chosen = max(below, key=lambda i: abs(table[i][column]))
        table[len(pivots)], table[chosen] = table[chosen], table[len(pivots)]
        head = table[len(pivots)]
        head[:] = [x / head[column] for x in head]
        for i, line in enumerate(table):
            if i != len(pivots) and line[column]:
                line[:] = [x - line[column] * y for x, y in zip(line, head)]
        pivots.append(column)
    found = [Fraction(0)] * columns
    for i, column in enumerate(pivots):
        exact, near = table[i][-1], table[i][-1].limit_denominator(1000)
        found[column] = near if abs(near - exact) < Fraction(1, 10**7) else exact
    return found


# --- the systems, in units in which the first smooth function has L = 1 ----------------------------------


@dataclass(frozen=True, slots=True)
class _Scaled:
    """A, B, C, D as written and as stored, and short numbers that bound (mu, L) of each function."""

    versions: tuple[Mapping[str, list[list[q.Quantity]]], ...]
    classes: tuple[Curvature, ...]
    bounds: tuple[tuple[q.Quantity, q.Quantity | None], ...]  # what the numbers of `classes` bound

    @property
    def measurable(self) -> bool:
        flat = [x for version in self.versions for rows in version.values() for row in rows for x in row]
        return not any(x.unit or not x.interval.is_finite for x in flat)


def _scaled(form: LinearForm, known: Sequence[Constants]) -> _Scaled | None:
    """None: a constant has a unit or no bound."""
    reference = next(own.smooth for own in known if own.smooth is not None)
    if reference.unit or any(own.mu.unit or (own.smooth is not None and own.smooth.unit) for own in known):
        return None
    unit = q.number(Fraction(up(reference.interval.hi)))
    versions: list[dict[str, list[list[q.Quantity]]]] = [{}, {}]
    for name in "ABCD":
        rows = matrix(form, name)
        both = [[x.written for x in row] for row in rows], [[x.stored for x in row] for row in rows]
        for version, quantities in zip(versions, both):
            scale = name in "BD"
            version[name] = [[_times(x, unit) if scale else x for x in row] for row in quantities]
    classes, bounds = [], []
    for own in known:
        smooth = q.combine("/", own.smooth, unit) if own.smooth is not None else None
        mu = q.combine("/", own.mu, unit)
        most = Fraction(up(smooth.interval.hi)) if smooth else None
        least = Fraction(max(down(mu.interval.lo), 0.0))
        classes.append(Curvature(least if most is None else min(least, most * _BELOW), most))
        bounds.append((mu, smooth))
    return _Scaled(tuple(versions), tuple(classes), tuple(bounds))


def _times(x: q.Quantity, unit: q.Quantity) -> q.Quantity:
    return x if x.is_zero else q.combine("*", x, unit)


def _systems(form: LinearForm, scaled: _Scaled) -> list[System]:
    """The system as written, and as the model stores its numbers."""
    systems = []
    for version in scaled.versions:
        A, B, C, D = (tuple(tuple(x.interval for x in row) for row in version[name]) for name in "ABCD")
        systems.append(System(A, B, C, D, form.of, scaled.classes))
    return systems


def _derivation(form: LinearForm, scaled: _Scaled, found: lyapunov.Certificate) -> Derivation:
    r = len(form.evaluations)
    names = [f"y{i}" for i in range(r)] + [f"y{i}⁺" for i in range(r)]

    def told(multipliers: lyapunov.Multipliers) -> list[list[Any]]:
        return [[a, b, str(m)] for (a, b), m in sorted(multipliers.items()) if m]

    def shown(symbol: str, multipliers: lyapunov.Multipliers) -> str:
        point = lambda i: "x*" if i == STAR else names[i]  # noqa: E731
        parts = (
            f"{symbol}({point(a)}, {point(b)}) = {float(m):.4g}"
            for (a, b), m in sorted(multipliers.items())
            if m
        )
        return ", ".join(parts)

    data = {
        "kind": "lyapunov",
        "states": list(form.states),
        "functions": [form.function_text(i) for i in range(len(form.functions))],
        "of": list(form.of),
        "factor": str(found.factor),
        "P": [[str(x) for x in row] for row in found.P],
        "values": [str(x) for x in found.values],
        "decrease": told(found.decrease),
        "lower": told(found.lower),
    }
    systems = [
        {name: [[x.tree for x in row] for row in rows] for name, rows in version.items()}
        for version in scaled.versions
    ]
    classes = [
        [[str(own.mu), mu.tree], [str(own.smooth), smooth.tree] if smooth else None]
        for own, (mu, smooth) in zip(scaled.classes, scaled.bounds)
    ]
    basis = ", ".join([*form.states, *(f"s{i}" for i in range(r))])
    lines = [
        f"V = zᵀPz + p·h with z = ({basis}) less the fixed point, in units of L = 1",
        "s = ∇f(y) - mu·y, h = f(y) - f* - mu/2‖y - x*‖²; V >= ‖states‖², and V⁺ <= factor²·V",
        *(f"P   {'  '.join(f'{float(x):11.5g}' for x in row)}" for row in found.P),
        f"p   {'  '.join(f'{float(x):11.5g}' for x in found.values)}",
        f"factor²·V - V⁺: {shown('λ', found.decrease)}",
        f"V - ‖states‖²: {shown('ν', found.lower)}",
    ]
    return Derivation(data, {"systems": systems, "classes": classes}, tuple(lines))
