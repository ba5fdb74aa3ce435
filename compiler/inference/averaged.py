"""Picard's iteration of maps that are made of gradients and proximal maps, without strong convexity."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, final

from banach.compiler.certificate import PROVED, UNKNOWN, Certificate, Derivation, Hypothesis
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration.analysis import constants
from banach.compiler.elaboration.analysis.coefficient import Coefficient
from banach.compiler.elaboration.analysis.linear_form import LinearForm, NotLinear, linear_form
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.things import Gradient
from banach.compiler.facts import quantity as q
from banach.compiler.facts.averaged import Parts, averagedness, is_averaged
from banach.compiler.inference.rule import Rule
from banach.ir.diagnostic import SpecError
from banach.ir.exact import up


@final
class AveragedMap(Rule):
    """Each step is an averaged map, so the iterates converge to a fixed point.

    Form    one state, x ← x - Σ b_i u_i with gradients u_i = ∇f_i(y_i) and subgradients of proximal maps,
            taken at y_i = x + Σ D_ij u_j: gradient steps, projections one after the other, forward-backward,
            splittings, relaxed or not, in any algebra
    If      every f_i is convex, gradients are L_i-Lipschitz, b_i > 0, and N - b bᵀ/a is positive semidefinite
            for some a < 1, N = 2 diag(b_i/L_i) - diag(b) D - Dᵀ diag(b); the least such a is bᵀN⁻b
    Then    the map is a-averaged; given a fixed point, the iterates converge to one, and
            ‖x_k - x_(k+1)‖² <= a/((1 - a)(k + 1)) times the squared distance of the start from it
    Proof   ‖x‖² - ‖Tx‖² - (1 - a)/a ‖x - Tx‖² for differences of points, less 2 b_i times the cocoercivity of
            each u_i, is that form in u: exact, and checked again by `banach verify`
    Source  Baillon & Bruck 1996; Combettes & Yamada 2015; Davis & Yin 2017
    """

    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        try:
            form = linear_form(claim)
        except NotLinear:
            return None
        blocks = _blocks(form)
        if blocks is None:
            return None
        bounds = [_smoothness(form, i, claim) for i in range(len(form.evaluations))]
        hypotheses = _hypotheses(form, bounds, claim)
        told: dict[str, Any] = dict(
            theorem=self.theorem,
            statement=self.doc,
            source="Baillon & Bruck 1996; Combettes & Yamada 2015",
            quantity="how far a step moves",
            rate="O(1/sqrt(k))",
            bound="sqrt(a / ((1 - a) * (k + 1))) * norm(start - solution), with the a of the derivation",
            proviso="a fixed point exists",
            **claim.stated,
        )
        failing = next((h for h in hypotheses if h.holds is not True), None)
        if failing:
            missing = f"`{failing.text}` could not be shown"
            return Certificate(verdict=UNKNOWN, missing=missing, hypotheses=tuple(hypotheses), **told)
        beta = [Fraction(0) if b is None else 1 / Fraction(up(b.interval.hi)) for b in bounds]
        versions = [Parts(b, D, tuple(beta)) for b, D in blocks]
        found = [averagedness(parts) for parts in versions]
        a = max((x for x in found if x is not None), default=Fraction(1))
        if None in found or not a < 1 or not all(is_averaged(parts, a) for parts in versions):
            missing = "the map is not averaged by these constants: a step or a relaxation is too large"
            return Certificate(verdict=UNKNOWN, missing=missing, hypotheses=tuple(hypotheses), **told)
        derivation = _derivation(form, versions, bounds, a)
        return Certificate(verdict=PROVED, hypotheses=tuple(hypotheses), derivation=derivation, **told)


def _blocks(form: LinearForm) -> list[tuple[tuple[Fraction, ...], tuple[tuple[Fraction, ...], ...]]] | None:
    """(b, D) as written and as stored; None: it is no such map, or its numbers are not rational."""
    if len(form.states) != 1 or not form.evaluations:
        return None
    (state,) = form.states
    r = range(len(form.evaluations))
    ones = [
        form.updates[state].at(state),
        form.returned.at(state),
        *(e.point.at(state) for e in form.evaluations),
    ]
    if any(one.rational != 1 for one in ones):
        return None
    step = [-form.updates[state].at(i) for i in r]
    inner = [[e.point.at(j) for j in r] for e in form.evaluations]
    found = []
    for read in (_written, _stored):
        b, D = tuple(read(x) for x in step), tuple(tuple(read(x) for x in row) for row in inner)
        if any(x is None for x in (*b, *(x for row in D for x in row))):
            return None
        found.append((b, D))
    return found


def _written(x: Coefficient) -> Fraction | None:
    return x.rational


def _stored(x: Coefficient) -> Fraction | None:
    interval = x.stored.interval
    return Fraction(interval.lo) if interval.is_point and not x.stored.unit else None


def _smoothness(form: LinearForm, i: int, claim: Claim) -> q.Quantity | None:
    """A bound of L for a gradient, None for a proximal map."""
    if not form.evaluations[i].smooth:
        return None
    try:
        return constants.lipschitz(Gradient(form.evaluations[i].function), claim.context, None)
    except SpecError:
        return q.unknown("the smoothness")


def _hypotheses(form: LinearForm, bounds: Sequence[q.Quantity | None], claim: Claim) -> list[Hypothesis]:
    found = []
    for i, function in enumerate(form.functions):
        convex = claim.context.fact("convex", function, claim.context, None) is True
        found.append(Hypothesis(f"convex({form.function_text(i)})", convex or None, origin="library"))
    for evaluation, bound in zip(form.evaluations, bounds):
        if bound is not None:
            finite = not bound.unit and bound.interval.is_finite and bound.interval.hi > 0
            text = f"lipschitz(grad({evaluation.text})) < ∞"
            trees = ("<", bound.tree, ["inf"]) if finite else ()
            told = Hypothesis(text, finite or None, str(bound), "∞", trees=trees)
            found += [told] if all(told.text != other.text for other in found) else []
    return found


def _derivation(
    form: LinearForm, versions: Sequence[Parts], bounds: Sequence[q.Quantity | None], a: Fraction
) -> Derivation:
    parts = versions[0]
    data = {
        "kind": "averaged",
        "a": str(a),
        "functions": [e.text for e in form.evaluations],
        "versions": [
            {"b": [str(x) for x in p.b], "D": [[str(x) for x in row] for row in p.D]} for p in versions
        ],
        "beta": [str(x) for x in parts.beta],
    }
    lines = (
        f"x - T x = Σ b_i u_i is {float(a):.6g}-averaged: N - b bᵀ/a is positive semidefinite",
        f"b   {'  '.join(f'{float(x):10.5g}' for x in parts.b)}",
        *(f"D   {'  '.join(f'{float(x):10.5g}' for x in row)}" for row in parts.D),
        f"1/L {'  '.join(f'{float(x):10.5g}' for x in parts.beta)}",
    )
    return Derivation(data, {"smooth": [b.tree if b is not None else None for b in bounds]}, lines)
