"""What a spec asks to be trusted: declared constants, apart from computed ones.

    assume:
      mu: strong_convexity(f) >= 0.1
      L: lipschitz(T) <= 0.9

A declared bound is met with what can be derived. Where it says more, it is used, and the verdict names it;
where it says less, it is not needed; where both exclude each other, the spec contradicts itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from banach.compiler.elaboration.problem import WRONG_KIND, refuse
from banach.compiler.elaboration.things import Gradient, Matrix, Number
from banach.compiler.facts.quantity import Quantity
from banach.compiler.text import syntax
from banach.ir.diagnostic import Code
from banach.ir.exact import Interval
from banach.ir.span import Span

CONTRADICTION = Code(
    "B330",
    "contradiction",
    """An assumption of the spec contradicts what follows from the spec itself, or another assumption.

    wrong    assume: {L: lipschitz(A) <= 1}      where A = [[2, 0], [0, 1]] has the norm 2
""",
)
NUMBERS = ("lipschitz", "norm", "strong_convexity", "smallest_singular", "spectrum", "displacement")
PREDICATES = ("convex", "linear", "symmetric", "quadratic", "strongly_connected")
_ENDS = {"<=": "hi", "<": "hi", ">=": "lo", ">": "lo", "==": "both"}


@dataclass(frozen=True, slots=True, eq=False)
class Assumption:
    """`word(thing) op bound`, or a predicate `word(thing)`; `text` is the formula as written."""

    word: str
    thing: Any
    interval: Interval | None
    text: str
    span: Span


@dataclass(slots=True)
class Assumptions:
    """All assumptions of a spec, and those that were used since `used` was last emptied."""

    known: list[Assumption] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)  # what is trusted of derivatives, at each use

    opaque: dict[str, Any] = field(default_factory=dict)  # maps of which only assumptions are known, by name

    def rely(self, derivatives: Iterable[str]) -> None:
        """Notes what is trusted of derivatives that are not those of the values."""
        self.rules.extend(derivatives)

    def trust(self, text: str) -> None:
        """Notes that what nobody has attacked by tests is used: a page from elsewhere. "" is none."""
        if text:
            self.rules.append(text)
            if text not in self.used:
                self.used.append(text)

    def narrow(self, word: str, thing: Any, found: Quantity) -> Quantity:
        """What is known of a number, with what is assumed of it. SpecError: both exclude each other."""
        for assumption in self._of(word, thing):
            assert assumption.interval is not None
            interval = found.interval if not found.unit else Interval.everything()
            both = interval.meet(assumption.interval)
            if both is None:
                lo, hi = interval.to_floats()
                message = f"`{assumption.text}` is assumed, and it lies in [{lo:.6g}, {hi:.6g}]"
                fix = "correct the assumption, or drop it"
                raise refuse(CONTRADICTION, message, assumption.span, fix=fix)
            if both != interval:
                self._use(assumption)
                tree = ["assumed", assumption.text, str(both.lo), str(both.hi)]
                found = Quantity(both, tree)
        return found

    def holds(self, word: str, thing: Any, found: bool | None) -> bool | None:
        """Whether a predicate is known or assumed to hold. SpecError: it is known not to."""
        for assumption in self._of(word, thing):
            if found is False:
                message = f"`{assumption.text}` is assumed, and it does not hold"
                raise refuse(CONTRADICTION, message, assumption.span, fix="drop the assumption")
            if found is None:
                self._use(assumption)
                found = True
        return found

    def _of(self, word: str, thing: Any) -> Sequence[Assumption]:
        return [a for a in self.known if a.word == word and same(a.thing, thing)]

    def _use(self, assumption: Assumption) -> None:
        if assumption.text not in self.used:
            self.used.append(assumption.text)


def read(node: syntax.Node, text: str, evaluate: Any) -> Assumption:
    """An assumption of the spec; `evaluate` gives formulas their meaning. SpecError: it has no such form."""
    call = node.left if isinstance(node, syntax.Compare) else node
    wanted = NUMBERS if isinstance(node, syntax.Compare) else PREDICATES
    if not (
        isinstance(call, syntax.Call)
        and isinstance(call.function, syntax.Name)
        and call.function.id in wanted
        and len(call.arguments) == 1
    ):
        fix = f"write one of {', '.join(NUMBERS)} against a number, or one of {', '.join(PREDICATES)}"
        raise refuse(WRONG_KIND, "this cannot be assumed", node.span, fix=fix)
    thing, word = evaluate(call.arguments[0]), call.function.id
    word = "lipschitz" if word == "norm" else word
    if word == "lipschitz" and isinstance(thing, Gradient):
        word, thing = "smoothness", thing.function
    interval = None
    if isinstance(node, syntax.Compare):
        right = evaluate(node.right)
        bound = right.value if isinstance(right, Number) else None
        if bound is None or node.op not in _ENDS:
            raise refuse(WRONG_KIND, "an assumption compares with a number", node.span, fix="write 0.1, say")
        low = bound if _ENDS[node.op] != "hi" else float("-inf")
        interval = Interval.between(low, bound if _ENDS[node.op] != "lo" else float("inf"))
    return Assumption(word, thing, interval, text, node.span)


def same(a: Any, b: Any) -> bool:
    """Whether two things are one: a map by identity, a matrix by its tensor."""
    a, b = (x.matrix if isinstance(x, Matrix) else x for x in (a, b))
    return a is b
