"""An iteration as a linear system in feedback with gradients, read off from its formulas.

Every state becomes a combination of the old states and of evaluations: gradients ∇f(y), and the subgradients
(w - prox)/t of proximal maps, each at a point that is a combination itself. Maps that the spec names are
applied; the method's name plays no part.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from banach.compiler.elaboration import maps
from banach.compiler.elaboration.analysis.coefficient import (
    ONE,
    ZERO,
    Coefficient,
    NoCoefficient,
    coefficient_of,
    exactly,
)
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.complexes import carrier
from banach.compiler.elaboration.region import pending
from banach.compiler.elaboration.things import (
    Composed,
    Environment,
    Formula,
    Function,
    Gradient,
    Identity,
    Map,
    Partial,
    Prox,
    Scaled,
    Total,
)
from banach.compiler.text import syntax
from banach.compiler.text.expression import to_text
from banach.ir.diagnostic import SpecError

Key = str | int  # a state's name, or the number of an evaluation
_DEEPEST = 40
_MOST_EVALUATIONS = 4


class NotLinear(Exception):
    """The iteration has no such form; the message says what stands in the way."""


@dataclass(frozen=True, slots=True)
class Combination:
    """Σ coefficient · (state or evaluation)."""

    parts: Mapping[Key, Coefficient]

    def __add__(self, other: "Combination") -> "Combination":
        found = dict(self.parts)
        for key, value in other.parts.items():
            found[key] = found[key] + value if key in found else value
        return Combination({key: value for key, value in found.items() if not value.is_zero})

    def times(self, factor: Coefficient) -> "Combination":
        found = {key: value * factor for key, value in self.parts.items()}
        return Combination({key: value for key, value in found.items() if not value.is_zero})

    def at(self, key: Key) -> Coefficient:
        return self.parts.get(key, ZERO)

    @property
    def identity(self) -> tuple[Any, ...]:
        return tuple(sorted((str(key), value.terms) for key, value in self.parts.items()))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """u ∈ ∂f(y), u = ∇f(y) where `smooth`; `text` is what the spec calls the function, `of` what it is taken
    of.
    """

    function: Any
    point: Combination
    smooth: bool
    text: str
    of: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class LinearForm:
    """The states that matter for what is returned, their new values, and the evaluations in order."""

    states: tuple[str, ...]
    updates: Mapping[str, Combination]
    evaluations: tuple[Evaluation, ...]
    functions: tuple[Any, ...]  # each once
    of: tuple[int, ...]
    returned: Combination

    def function_text(self, number: int) -> str:
        return self.evaluations[self.of.index(number)].text


@dataclass(frozen=True, slots=True)
class _Frame:
    """What names mean inside one body of formulas: `bound` moves with the states, the rest does not."""

    names: Environment
    bound: Mapping[str, Combination]
    lazy: Mapping[str, syntax.Node]  # formulas that are read where they are named
    primed: Mapping[str, syntax.Node]


def linear_form(claim: Claim) -> LinearForm:
    """The form of an iteration. NotLinear: it has none."""
    if not claim.recipe.plain:
        raise NotLinear("it holds work, or reads old values")
    try:
        return _Reader(claim).run()
    except NoCoefficient as why:
        raise NotLinear(str(why)) from None
    except SpecError as wrong:
        raise NotLinear(wrong.diagnostics[0].message) from None
    except RecursionError:
        raise NotLinear("formulas nested too deep") from None


@dataclass(slots=True)
class _Reader:
    claim: Claim
    evaluations: list[Evaluation] = field(default_factory=list)

    def run(self) -> LinearForm:
        recipe, context = self.claim.recipe, self.claim.context
        names = recipe.names.inner({})
        for name, formula in recipe.where:
            names.known[name] = pending(name, formula, names, context)
        states = {name: Combination({name: ONE}) for name, _ in recipe.state}
        if {"k", *states} & dict(recipe.where).keys() or "k" in states:
            raise NotLinear("a local name hides a state or the count")
        frame = _Frame(names, states, dict(recipe.where), dict(recipe.next))
        returned = self._combination(recipe.returns, replace(frame, primed={}), 0)
        if any(isinstance(key, int) for key in returned.parts):
            raise NotLinear("what is returned takes another gradient")
        kept, updates = self._needed(returned, frame)
        self._check_types(kept)
        functions, of = self._functions()
        order = tuple(name for name in states if name in kept)
        return LinearForm(order, updates, tuple(self.evaluations), functions, of, returned)

    def _needed(self, returned: Combination, frame: _Frame) -> tuple[set[str], dict[str, Combination]]:
        """The states that what is returned depends on, sooner or later, with their updates."""
        kept: set[str] = set()
        updates: dict[str, Combination] = {}
        waiting = list(_states(returned))
        while waiting:
            name = waiting.pop()
            if name in kept:
                continue
            kept.add(name)
            updates[name] = self._combination(frame.primed[name], frame, 0)
            waiting.extend(_states(updates[name]))
            for evaluation in self.evaluations:
                waiting.extend(_states(evaluation.point))
        return kept, updates

    def _check_types(self, kept: set[str]) -> None:
        """All states are of the unknown's own type: then each letter stands for a block of one size."""
        step, unknown = self.claim.solved.step, self.claim.solved.unknown
        types, domain = {port.name: port.type for port in step.inputs}, self.claim.context.domain
        if (domain is None or carrier(domain) != unknown) or any(types.get(name) != unknown for name in kept):
            raise NotLinear("its states are of different types")

    def _functions(self) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        functions: list[Any] = []
        of = []
        for evaluation in self.evaluations:
            if not any(evaluation.function is known for known in functions):
                functions.append(evaluation.function)
            of.append(next(i for i, known in enumerate(functions) if known is evaluation.function))
        return tuple(functions), tuple(of)

    # --- formulas -----------------------------------------------------------------------------------------

    def _combination(self, node: syntax.Node, frame: _Frame, depth: int) -> Combination:
        """What a formula is. NotLinear: no combination."""
        found = self._read(node, frame, depth)
        if isinstance(found, Combination):
            return found
        if found.is_zero:
            return Combination({})
        raise NotLinear(f"`{to_text(node)}` adds a number to the states")

    def _read(self, node: syntax.Node, frame: _Frame, depth: int) -> Combination | Coefficient:
        if depth > _DEEPEST:
            raise NotLinear("formulas nested too deep")
        if not self._moves(node, frame):
            thing = self.claim.context.evaluate(node, frame.names, self.claim.context)
            return coefficient_of(thing, self.claim.context.scope.precision)
        deeper = depth + 1
        match node:
            case syntax.Name(id):
                return (
                    frame.bound[id] if id in frame.bound else self._read(self._lazy(id, frame), frame, deeper)
                )
            case syntax.Primed(name):
                return self._combination(frame.primed[name], frame, deeper)
            case syntax.Unary(op, operand) if op in ("-", "+"):
                inner = self._combination(operand, frame, deeper)
                return inner if op == "+" else inner.times(exactly(Fraction(-1)))
            case syntax.Binary(op, left, right) if op in ("+", "-"):
                second = self._combination(right, frame, deeper)
                second = second if op == "+" else second.times(exactly(Fraction(-1)))
                return self._combination(left, frame, deeper) + second
            case syntax.Binary("*", left, right):
                return self._product(self._read(left, frame, deeper), self._read(right, frame, deeper), node)
            case syntax.Binary("/", left, right):
                divisor = self._read(right, frame, deeper)
                if isinstance(divisor, Coefficient):
                    return self._combination(left, frame, deeper).times(divisor.inverse())
            case syntax.Binary("@", left, right) if not self._moves(left, frame):
                return self._apply(self._thing(left, frame), [right], frame, deeper, to_text(left))
            case syntax.Call(function, arguments, ()) if not self._moves(function, frame):
                thing = self._thing(function, frame)
                return self._apply(thing, list(arguments), frame, deeper, to_text(function))
        raise NotLinear(f"`{to_text(node)}` is neither linear in the states nor a gradient")

    def _product(self, left: Any, right: Any, node: syntax.Node) -> Combination | Coefficient:
        if isinstance(left, Combination) and isinstance(right, Coefficient):
            return left.times(right)
        if isinstance(right, Combination) and isinstance(left, Coefficient):
            return right.times(left)
        raise NotLinear(f"`{to_text(node)}` multiplies two values that change")

    def _moves(self, node: syntax.Node, frame: _Frame) -> bool:
        """Whether a formula reads what changes from step to step."""
        if syntax.primes(node):
            return True
        for name in syntax.names(node):
            if name in frame.bound or (name == "k" and frame.primed):
                return True
            if name in frame.lazy and self._moves(frame.lazy[name], _without(frame, name)):
                return True
        return False

    def _lazy(self, name: str, frame: _Frame) -> syntax.Node:
        if name not in frame.lazy:
            raise NotLinear(f"`{name}` changes from step to step")
        return frame.lazy[name]

    def _thing(self, node: syntax.Node, frame: _Frame) -> Map:
        return maps.as_map(self.claim.context.evaluate(node, frame.names, self.claim.context), node.span)

    # --- maps ---------------------------------------------------------------------------------------------

    def _apply(
        self, map: Map, arguments: list[syntax.Node], frame: _Frame, depth: int, text: str
    ) -> Combination:
        values = [self._argument(argument, frame, depth) for argument in arguments]
        if isinstance(map, Partial):
            given = iter(values)
            return self._inline(map.map, [next(given) if a is None else a for a in map.arguments], depth)
        if isinstance(map, Formula):
            return self._inline(map, values, depth)
        if len(values) != 1 or not isinstance(values[0], Combination):
            raise NotLinear(f"`{text}` is applied to what is no combination of states")
        return self._applied(map, values[0], depth, text)

    def _argument(self, node: syntax.Node, frame: _Frame, depth: int) -> Any:
        """A combination, or a thing that does not change."""
        if self._moves(node, frame):
            return self._combination(node, frame, depth)
        return self.claim.context.evaluate(node, frame.names, self.claim.context)

    def _applied(self, map: Map, x: Combination, depth: int, text: str) -> Combination:
        match map:
            case Identity():
                return x
            case Scaled(factor, inner):
                size = coefficient_of(factor, self.claim.context.scope.precision)
                return self._applied(inner, x, depth, text).times(size)
            case Total(terms):
                found = [self._applied(term, x, depth, text) for term in terms]
                return sum(found[1:], found[0])
            case Composed(outer, inner):
                return self._applied(outer, self._applied(inner, x, depth, text), depth, text)
            case Formula():
                return self._inline(map, [x], depth)
            case Gradient(function):
                return Combination(
                    {self._evaluation(Evaluation(function, x, True, _inside(text), x.identity)): ONE}
                )
            case Prox(function, step):
                return self._prox(function, step, x, text)
        raise NotLinear(f"`{text}` is neither a gradient nor a proximal map")

    def _prox(self, function: Function, step: Any, w: Combination, text: str) -> Combination:
        """x = w - t·u with u ∈ ∂g(x)."""
        t = coefficient_of(step, self.claim.context.scope.precision)
        if not (t.written.interval.lo > 0 and t.stored.interval.lo > 0):
            raise NotLinear(f"`{text}` has a step that is not positive")
        x = w + Combination({len(self.evaluations): -t})
        found = self._evaluation(Evaluation(function, x, False, _inside(text), (w.identity, t.terms)))
        return w + Combination({found: -t})

    def _evaluation(self, new: Evaluation) -> int:
        """The number of an evaluation; one that was met before is not evaluated again."""
        for number, old in enumerate(self.evaluations):
            if old.function is new.function and (old.smooth, old.of) == (new.smooth, new.of):
                return number
        if len(self.evaluations) >= _MOST_EVALUATIONS:
            raise NotLinear(f"it takes more than {_MOST_EVALUATIONS} gradients in a step")
        self.evaluations.append(new)
        return len(self.evaluations) - 1

    def _inline(self, map: Map, values: list[Any], depth: int) -> Combination:
        if not isinstance(map, Formula) or len(values) != len(map.parameters):
            raise NotLinear("a map that is given by no formula of its arguments")
        if map.iterates:
            raise NotLinear(f"`{map.name}` holds iterations of its own")
        if depth > _DEEPEST:
            raise NotLinear("formulas nested too deep")
        moving = {
            name: value for name, value in zip(map.parameters, values) if isinstance(value, Combination)
        }
        names = map.names.inner({})
        for name, value in zip(map.parameters, values):
            if name not in moving:
                names.known[name] = value
        where = dict(map.where)
        for name, formula in map.where:
            names.known[name] = pending(name, formula, names, self.claim.context)
        return self._combination(map.body, _Frame(names, moving, where, {}), depth + 1)


def _states(combination: Combination) -> Iterator[str]:
    return (key for key in combination.parts if isinstance(key, str))


def _without(frame: _Frame, name: str) -> _Frame:
    return replace(frame, lazy={key: node for key, node in frame.lazy.items() if key != name})


def _inside(text: str) -> str:
    """`f` of `grad(f)` and of `prox(f, t)`."""
    head, _, rest = text.partition("(")
    return rest.rsplit(")", 1)[0].split(",")[0] if head in ("grad", "prox") and rest else text
