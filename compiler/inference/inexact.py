"""Iterations around solves, which are exact up to where each of them ends."""

from typing import final

from banach.compiler.certificate import PROVED, UNKNOWN, Certificate, Hypothesis
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration.analysis import constants
from banach.compiler.elaboration.analysis.returned import continuous
from banach.compiler.elaboration.claims import Claim
from banach.compiler.facts import quantity as q
from banach.compiler.facts.inexact import Inexact, inexact
from banach.compiler.inference.rule import Rule
from banach.compiler.text import syntax
from banach.compiler.text.expression import to_text
from banach.ir.exact import round_float


@final
class InexactContraction(Rule):
    """A contraction whose steps are off by at most d comes to the solution up to d/(1 - q).

    Form    x ← T(x), one state, where T applies maps that hold a `solve:` each; those have one state, and
            stop by ‖z' - z‖ <= t; x stops by ‖x' - x‖ <= t, with no scale; what is returned is x
    If      every step inside is Lipschitz in z with p < 1, so that its z is at most t p/(1 - p) from the
            solution, which moves with the rest; T with exact solves is then Lipschitz with q < 1, and off by
            at most d; and x's tolerance is more than 2d/(1 - q), below which the residual may not fall
    Then    ‖x_k - x*‖ <= q^k ‖x_0 - x*‖ + d/(1 - q) for the one fixed point x* of the exact T, and it stops
    Source  Ortega & Rheinboldt 1970, theorem 12.2.1
    """

    structural = True  # its numbers travel as hypotheses

    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        recipe, context, step = claim.recipe, claim.context, claim.solved.step
        if len(recipe.state) != 1 or not any(op.name == "fix" for op in step.ops):
            return None
        name = recipe.state[0][0]
        itself = to_text(recipe.returns) == name and step.output_names[0] == name
        moves = to_text(recipe.size) in (f"norm({name}' - {name})", f"norm({name} - {name}')")
        counted = any("k" in syntax.names(node) for _, node in (*recipe.next, *recipe.where))
        if not (itself and moves and recipe.scale is None and recipe.plain and continuous(claim)) or counted:
            return None
        found = inexact(step, 1, context.scope.labels, constants.declared(step, context))
        if found is None or not found.inner:
            return None
        return self._judged(found, claim)

    def _judged(self, found: Inexact, claim: Claim) -> Certificate:
        one = q.number(1)
        floor = q.combine("/", found.error, q.combine("-", one, found.lipschitz))
        written = claim.recipe.tolerance
        tolerance = q.number(min(written, round_float(written, claim.context.scope.precision)))
        compared = [(f"lipschitz({inner.name}) < 1", "<", inner.factor, one) for inner in found.inner]
        compared.append(("lipschitz(T) < 1 with exact solves inside", "<", found.lipschitz, one))
        reached = q.combine("*", q.number(2), floor)
        compared.append(("2 d/(1 - q) < tolerance", "<", reached, tolerance))
        hypotheses = [
            Hypothesis(text, q.compare(op, a, b), str(a), str(b), trees=(op, a.tree, b.tree))
            for text, op, a, b in compared
        ]
        inside = ", ".join(dict.fromkeys(f"`{inner.name}`" for inner in found.inner))
        told = {
            **self.told(claim, "Ortega & Rheinboldt 1970, theorem 12.2.1", *hypotheses),
            "quantity": "distance from the fixed point of the exact map",
            "rate": "linear",
            "proviso": f"{inside} converges in every step, as the model reports",
        }
        failing = next((h for h in hypotheses if h.holds is not True), None)
        if failing:
            missing = f"`{failing.text}` could not be shown: {failing.value} against {failing.bound}"
            return Certificate(verdict=UNKNOWN, missing=missing, nearest=_nearest(failing), **told)
        least = floor.interval.to_floats()[1]
        return Certificate(
            verdict=PROVED,
            bound=f"q**k * norm(start - solution) + {least!r}",
            factor=found.lipschitz.interval,
            factor_tree=found.lipschitz.tree,
            reachable=reached.interval.to_floats()[1],
            **told,
        )


def _nearest(failing: Hypothesis) -> str | None:
    if failing.text.startswith("2 d"):
        return f"a tolerance above {failing.value}, or smaller ones inside"
    return None
