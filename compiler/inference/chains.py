"""Iterations whose entries read each other in no circle: they are exact after finitely many steps."""

from typing import final

from banach.compiler.certificate import PROVED, Certificate, Hypothesis
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration.analysis.dependence import depth, pattern
from banach.compiler.elaboration.analysis.entrywise import NotRead
from banach.compiler.elaboration.claims import Claim
from banach.compiler.inference.rule import Rule


@final
class ExactAfterFiniteSteps(Rule):
    """An iteration whose entries read each other in no circle is exact after finitely many steps.

    Form    new states are any formula of the old ones that has a value everywhere, of any smoothness, whole
            numbers too; the entries of all states are at most 1024. Which entry reads which is read off from
            the graph: a factor that is known to be 0 reads nothing
    If      no entry reads itself along a chain of entries: ordered by their longest chains they form a
            triangle, as layers of a network do, or places of a sequence that depend on those before
    Then    one fixed point; after d steps, for d the longest chain, the iteration stands on it exactly, from
            any start and whatever the weights are. Step k has the first k links of every chain exact
    Source  Song et al. 2021, proposition 1 (Jacobi's method for feedforward computation)
    """

    structural = True

    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        if claim.page is not None:
            return None
        try:
            states, reads = pattern(claim)
        except NotRead:
            return None
        steps = depth(reads)
        if steps is None:
            return None
        names = ", ".join(states)
        told = f"{len(reads)} entries of {names} read each other in no circle, in chains of {steps} at most"
        return Certificate(
            verdict=PROVED,
            theorem=self.theorem,
            statement=self.doc,
            source="Song et al. 2021, proposition 1",
            quantity="distance from the fixed point",
            rate=f"0 from step {steps} on",
            hypotheses=(Hypothesis(told, True),),
            **claim.stated,
        )
