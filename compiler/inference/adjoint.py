"""Whether the adjoint of a fixed point converges: the iteration v ← Jᵀv + g that an implicit gradient runs.

J is the derivative of the equation at the solution, whatever the algorithm was. It contracts by q < 1 where

    a theorem of the page says so of the equation          `adjoint:` under `then:`
    the step is the equation, and brings every point       the derivative at the solution is no more, in the
    closer to the solution by q                            same norm
    the graph of the equation is Lipschitz with q          by its operations (R1)

and its transpose then contracts by q in the dual norm.
"""

from dataclasses import replace
from fractions import Fraction
from typing import Any

from banach.compiler.certificate import PROVED, REFUTED, UNKNOWN, Adjoint, Certificate
from banach.compiler.elaboration.analysis import constants
from banach.compiler.elaboration.claims import Claim
from banach.compiler.text.expression import to_text
from banach.ir.exact import Interval, round_float, smallest_power
from banach.ir.implicit import MOST

_OF_POINTS = (  # bounds of distances
    "q**k * norm(start - solution)",
    "q**k times its first value",
    "q**k * the largest error at the start",
)
_DISTANCES = ("distance", "largest")


def with_adjoint(certificate: Certificate, claim: Claim) -> Certificate:
    """The certificate with what is known of its adjoint; as it is where no implicit gradient is defined."""
    recipe, equation = claim.recipe, claim.solved.equation
    if equation is None or recipe.derivative.get("gradient", "implicit") != "implicit":
        return certificate
    if certificate.verdict == REFUTED or not all(port.type.is_float for port in equation.inputs[:1]):
        return certificate
    own = _of_step(certificate, claim)
    factors = [found for found in (_stated(certificate), own, _of_graph(claim)) if found is not None]
    if not factors:
        missing = "no bound of the equation's derivative is known"
        return replace(certificate, adjoint=Adjoint(UNKNOWN, missing=missing))
    q, norm, tree = min(factors, key=lambda found: found[0])
    if q >= 1:
        told = f"the equation's derivative is bounded by {float(q):.6g}, and would have to be below 1"
        return replace(certificate, adjoint=Adjoint(UNKNOWN, missing=told))
    upper = Interval.of(q).to_floats()[1]
    iterations = _trips(q, claim) if norm == "l2" else None
    most = recipe.derivative.get("adjoint_most", MOST)
    if iterations is not None and iterations > most:
        told = f"it may take {iterations} steps, and {most} are allowed"
        return replace(certificate, adjoint=Adjoint(UNKNOWN, upper, iterations, norm, told, tree))
    return replace(certificate, adjoint=Adjoint(PROVED, upper, iterations, norm, tree=tree))


Bound = tuple[Fraction, str, Any]  # a factor, its norm, and how it follows from the weights


def _stated(certificate: Certificate) -> Bound | None:
    found = certificate.adjoint
    return None if found is None or found.factor is None else (Fraction(found.factor), found.norm, found.tree)


def _of_step(certificate: Certificate, claim: Claim) -> Bound | None:
    """The factor of a proof about the distance of every iterate, where the step is the equation."""
    recipe, factor = claim.recipe, certificate.factor
    same = [(n, to_text(f)) for n, f in recipe.next] == [(n, to_text(f)) for n, f in recipe.equation]
    distances = certificate.bound in _OF_POINTS and (certificate.quantity or "").startswith(_DISTANCES)
    if certificate.verdict != PROVED or factor is None or not same or not distances:
        return None
    known = not isinstance(factor.hi, float)
    return (Fraction(factor.hi), certificate.norm, certificate.factor_tree) if known else None


def _of_graph(claim: Claim) -> Bound | None:
    equation = claim.solved.equation
    assert equation is not None
    if len(equation.outputs) != 1:
        return None
    found = constants.of_graph(equation, claim.context)
    unknown = found.unit or isinstance(found.interval.hi, float)
    return None if unknown else (Fraction(found.interval.hi), "l2", found.tree)


def _trips(q: Fraction, claim: Claim) -> int | None:
    """From v = g the first move is Jᵀg, and it stops at a move of tolerance·‖g‖."""
    tolerance = min(
        claim.recipe.tolerance, round_float(claim.recipe.tolerance, claim.context.scope.precision)
    )
    return smallest_power(q, tolerance)
