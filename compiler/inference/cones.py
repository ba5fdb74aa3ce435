"""Iterations of positive numbers, measured by ratios instead of differences."""

from fractions import Fraction
from typing import final

from banach.compiler.certificate import PROVED, Certificate, Hypothesis
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration.analysis.elasticity import elasticities
from banach.compiler.elaboration.analysis.entrywise import NotRead
from banach.compiler.elaboration.analysis.returned import continuous
from banach.compiler.elaboration.claims import Claim
from banach.compiler.facts import contraction
from banach.compiler.facts import quantity as q
from banach.compiler.inference.rule import Rule


@final
class ThompsonContraction(Rule):
    """A map of positive numbers whose elasticity is below 1 is a contraction in Thompson's metric.

    Form    steps of sums, products, quotients and powers, matrices and kernels that are not negative, and
            curves of one number, such as tanh or softplus, by which positive states stay positive. A curve φ
            stretches ratios by at most sup |u φ'(u)/φ(u)|: 1 for tanh and softplus, 0.2785 for the logistic
            function, μ for a power
    If      the elasticities E, of each state's new value by each state, have E w <= q w for weights w > 0 and
            q < 1: for one state, that E < 1. The states start positive, or a first step makes them so; what
            is returned is a continuous formula of the states
    Then    one positive fixed point, and max_i |log x_i - log x*_i|, over w_i for more than one state, falls
            by q in every step, however large the Euclidean norm of the derivative is
    Source  Thompson 1963; Lemmens & Nussbaum 2012, sections 2.1 and 2.5
    """

    structural = True

    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        if claim.page is not None or not continuous(claim):
            return None
        try:
            found = elasticities(claim)
        except NotRead:
            return None
        factor = _factor(found.rows)
        if factor is None:
            return None
        names, most = ", ".join(found.states), float(max(max(row) for row in found.rows))
        text = f"positive {names} stay positive, and ratios grow by powers of at most {most:.6g}"
        exact = q.number(factor)
        return Certificate(
            verdict=PROVED,
            theorem=self.theorem,
            statement=self.doc,
            source="Thompson 1963; Lemmens & Nussbaum 2012, section 2.5",
            quantity="largest |log x - log x*| of an entry" + ("" if len(found.rows) == 1 else ", weighted"),
            rate="linear",
            bound="q**k times its first value",
            norm="thompson",
            factor=exact.interval,
            factor_tree=exact.tree,
            proviso=None if found.begins else "every entry of the start is positive",
            hypotheses=(Hypothesis(text, True),),
            **claim.stated,
        )


def _factor(rows: tuple[tuple[Fraction, ...], ...]) -> Fraction | None:
    if len(rows) == 1:
        return rows[0][0] if rows[0][0] < 1 else None
    found = contraction.weights(rows)
    return found[0] if found else None
