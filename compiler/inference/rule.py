"""What a rule is: a theorem about every iteration of some form, wherever it comes from."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar

from banach.compiler.certificate import PROVED, Certificate, Derivation, Hypothesis
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration.claims import Claim
from banach.compiler.facts import quantity as q
from banach.ir.shelf import Page, pages


class Rule(Page, ABC):
    """A theorem whose hypotheses are read off from the formulas of an iteration."""

    headings: ClassVar[tuple[str, ...]] = ("Form", "If", "Then", "Source")

    # Whether the graph decides, or comparisons do: then no further numbers travel along with the certificate.
    structural: ClassVar[bool] = False

    @abstractmethod
    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        """What the rule says of a claim; None where the iteration is not of its form."""

    @property
    def theorem(self) -> str:
        """The name that certificates bear."""
        return self.name.replace("_", "-")

    def told(self, claim: Claim, source: str, *hypotheses: Hypothesis) -> dict[str, Any]:
        """What every certificate of the rule says of a claim."""
        return dict(
            theorem=self.theorem,
            statement=self.doc,
            source=source,
            hypotheses=hypotheses,
            **claim.stated,
        )

    @property
    def page(self) -> str:
        return inspect.cleandoc(type(self).__doc__ or "")

    @property
    def doc(self) -> str:
        """The first sentence of the page."""
        return self.page.partition("\n")[0]


def contracting(factor: Fraction, derivation: Derivation, told: Mapping[str, Any]) -> Certificate:
    """A norm of the distance from the fixed point falls by an exact factor in every step."""
    exact = q.number(factor)
    return Certificate(
        verdict=PROVED,
        rate="linear",
        bound="q**k times its first value",
        factor=exact.interval,
        factor_tree=exact.tree,
        derivation=derivation,
        **told,
    )


def rules() -> Mapping[str, Rule]:
    """Every rule by its name."""
    return pages("banach.compiler.inference")
