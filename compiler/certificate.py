"""What the checker says of one solve: a verdict, and everything that it rests on."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from banach.compiler.room import with_room
from banach.ir.exact import Interval
from banach.ir.span import Span

_DEEP = 40  # formulas inside one another
_ARITHMETIC = {*"+-*/", "**", "max", "min", "hull", "abs", "sqrt", "upper", "lower", "at_most", "around"}

PROVED, REFUTED, UNKNOWN, ERROR = "proved", "refuted", "unknown", "error"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A condition of a theorem, whether it holds for sure, its sides, and where its subject stands."""

    text: str
    holds: bool | None
    value: str = ""
    bound: str = ""
    margin: str | None = None
    origin: str = "derived"
    place: Span | None = None
    trees: tuple[Any, ...] = ()  # operator and both sides, for the checker that travels with the model

    def to_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "holds": self.holds,
            "value": self.value,
            "bound": self.bound,
            "margin": self.margin,
            "origin": self.origin,
            "line": self.place.line if self.place else None,
            "column": self.place.column if self.place else None,
        }


@dataclass(frozen=True, slots=True)
class Witness:
    """Why a claim fails: a start from which the iteration runs away, and how its norm grew when replayed."""

    kind: str
    start: tuple[float, ...]
    shape: tuple[int, ...]
    growth: tuple[float, ...]
    note: str
    exact: Mapping[str, Any] = field(
        default_factory=dict
    )  # the same in rationals, where that is how it is replayed

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "start": list(self.start),
            "shape": list(self.shape),
            "growth": list(self.growth),
            "note": self.note,
            "exact": self.exact,
        }


@dataclass(frozen=True, slots=True)
class Derivation:
    """The numbers of a proof that is more than a list of comparisons.

    `data` is rational and goes into every JSON; `trees` are what the checker that travels with the model
    derives again from the weights; `lines` tell a person.
    """

    data: Mapping[str, Any]
    trees: Mapping[str, Any]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Adjoint:
    """What is known of the iteration that an implicit gradient runs: its factor, in a norm and its dual, and
    how many steps it takes at most; or what is missing.
    """

    verdict: str
    factor: float | None = None
    iterations: int | None = None
    norm: str = "l2"
    missing: str | None = None
    tree: Any = None  # of the factor, for the checker that travels with the model

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "factor": self.factor,
            "iterations": self.iterations,
            "norm": self.norm,
            "missing": self.missing,
        }


@dataclass(frozen=True, slots=True)
class Certificate:
    """The verdict on one solve. Numbers are exact or rounded outwards; `iterations` is an upper bound."""

    solve: str
    verdict: str
    scope: str | None = None
    theorem: str | None = None
    statement: str = ""
    source: str | None = None
    quantity: str | None = None
    rate: str | None = None
    bound: str | None = None
    norm: str = "l2"
    proviso: str | None = None
    hypotheses: tuple[Hypothesis, ...] = ()
    assumptions: tuple[str, ...] = ()
    lipschitz: Interval | None = None
    lipschitz_tree: Any = None
    factor: Interval | None = None
    factor_tree: Any = None
    iterations: int | None = None
    tolerance: str = ""
    residual_tree: Any = None
    reachable: float | None = None
    derivation: Derivation | None = None
    witness: Witness | None = None
    adjoint: Adjoint | None = None
    missing: str | None = None
    nearest: str | None = None
    most: int = 0
    inside: bool = False  # whether the solve stands inside a map, so that no input sets its limits
    place: Span | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        """The document of INTERFACE.md."""
        lipschitz = self.lipschitz.to_floats() if self.lipschitz else None
        return {
            "solve": self.solve,
            "verdict": self.verdict,
            "scope": self.scope,
            "theorem": self.theorem,
            "source": self.source,
            "claim": {
                "quantity": self.quantity,
                "rate": self.rate,
                "factor": self.upper_factor,
                "bound": self.bound,
            },
            "hypotheses": [hypothesis.to_json() for hypothesis in self.hypotheses],
            "assumptions": list(self.assumptions),
            "norm": self.norm,
            "proviso": self.proviso,
            "lipschitz": [_finite(end) for end in lipschitz] if lipschitz else None,
            "factor": self.upper_factor,
            "iterations": self.iterations,
            "tolerance": self.tolerance,
            "most": self.most,
            "inside": self.inside,
            "reachable_tolerance": self.reachable,
            "derivation": self.derivation.data if self.derivation else None,
            "witness": self.witness.to_json() if self.witness else None,
            "adjoint": self.adjoint.to_json() if self.adjoint else None,
            "missing": self.missing,
            "nearest": self.nearest,
        }

    @property
    def upper_factor(self) -> float | None:
        return self.factor.to_floats()[1] if self.factor else None

    def evidence(self) -> dict[str, Any]:
        """What the checker that travels with the model needs, beside `to_json`."""
        return _shallow(
            {
                "hypotheses": [{"text": h.text, "tree": list(h.trees)} for h in self.hypotheses],
                "lipschitz": self.lipschitz_tree,
                "factor": self.factor_tree,
                "residual": self.residual_tree,
                "adjoint": self.adjoint.tree if self.adjoint else None,
                "derivation": self.derivation.trees if self.derivation else None,
            }
        )


@with_room
def _shallow(evidence: dict[str, Any]) -> dict[str, Any]:
    """The same, where a formula that is deep reads ["term", n], the n-th of `terms`, which come in order."""
    terms: list[Any] = []
    seen: dict[int, tuple[Any, int]] = {}  # what became of a part, and how deep that is

    def cut(part: Any) -> tuple[Any, int]:
        if not isinstance(part, (list, tuple, Mapping)):
            return part, 0
        if id(part) not in seen:
            inner = [cut(each) for each in (part.values() if isinstance(part, Mapping) else part)]
            values, depth = [each for each, _ in inner], 1 + max((deep for _, deep in inner), default=0)
            whole: Any = dict(zip(part, values)) if isinstance(part, Mapping) else values
            if (
                depth > _DEEP
                and isinstance(whole, list)
                and isinstance(whole[0], str)
                and whole[0] in _ARITHMETIC
            ):
                terms.append(whole)
                whole, depth = ["term", len(terms) - 1], 1
            seen[id(part)] = whole, depth
        return seen[id(part)]

    shallow, _ = cut(evidence)
    return {**shallow, "terms": terms} if terms else shallow


def _finite(end: float) -> float | None:
    return end if abs(end) != float("inf") else None


def tensors_in(evidence: Any) -> Iterator[str]:
    """The digests of the weights that a certificate speaks of; a part that is shared is looked at once."""
    waiting, seen = [evidence], set[int]()
    while waiting:
        part = waiting.pop()
        if isinstance(part, str) or not isinstance(part, Iterable) or id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Mapping):
            if isinstance(part.get("tensor"), str):
                yield part["tensor"]
            waiting.extend(part.values())
        else:
            waiting.extend(part)
