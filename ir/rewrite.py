"""Rewriting: rules with a root operation, a guard that says why it refuses, and what they may change.

One sweep in program order. Every operation is tried when its operands are settled, and whatever a rule builds
is tried in turn, from a worklist, so patterns that look at what made their operands are found to the end. The
sweep shares common subexpressions; dead code goes last. Regions are rewritten before the operation that holds
them, each once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from operator import is_
from typing import Any

import numpy as np

from banach.ir.graph import Builder, Graph, Op, Value
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType


class Effect(Flag):
    """What a rule may change. EXACT: nothing but the sign of a zero."""

    EXACT = 0
    REASSOCIATES = auto()  # rounding
    UNSTABLE_UNDER_REVERSE = auto()  # the derivative: only after `reverse`
    CHANGES_ITERATES = auto()  # the way to a fixed point, and so the number of its steps
    REPLACES_ITERATION = auto()  # there is no way any more: the solution is written down


@dataclass(frozen=True, slots=True)
class Refusal:
    """The pattern is there, and the rule may still not be used; `reason` says why."""

    reason: str


Match = tuple[Any, ...] | Refusal | None  # what the builder needs; None: the pattern is not there


@dataclass(frozen=True, slots=True)
class Site:
    """An operation whose operands are settled, and what lies before it."""

    build: Builder
    op: Op
    makers: Sequence[Op | None]  # by the number of a value

    def operand(self, index: int) -> Value:
        return self.value(self.op.operands[index])

    def value(self, id: int) -> Value:
        return self.build.at(id)

    def maker(self, value: Value | int) -> Op | None:
        """The operation that makes a value; None for an input."""
        return self.makers[value.id if isinstance(value, Value) else value]

    def constant(self, value: Value) -> np.ndarray | None:
        """The entries of a value that is a constant, or a broadcast one (unstretched); else None."""
        op = self.maker(value)
        if op is not None and op.name == "broadcast":
            op = self.maker(op.operands[0])
        return op.attribute("value").array if op is not None and op.name == "constant" else None

    @property
    def type(self) -> TensorType:
        """The type of the one result."""
        return self.op.types[0]


@dataclass(frozen=True, slots=True)
class Rule:
    """`law`, with its left side at an operation called `root` ("" for any): `match` finds it, `build` makes
    the right side from the builder and what was matched. Both sides have one type."""

    name: str
    root: str
    law: str
    match: Callable[[Site], Match]
    build: Callable[..., Value]
    effect: Effect = Effect.EXACT


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the journal: a rule that was used on an operation, or refused for a reason."""

    rule: str
    op: str
    graph: str
    place: Span | None
    reason: str = ""


@dataclass(slots=True)
class Journal:
    """What was done, in order."""

    fired: list[Entry] = field(default_factory=list)
    refused: list[Entry] = field(default_factory=list)
    shared: int = 0  # common subexpressions

    def counts(self) -> dict[str, int]:
        """How often each rule was used."""
        found: dict[str, int] = {}
        for entry in self.fired:
            found[entry.rule] = found.get(entry.rule, 0) + 1
        return found


class BadRule(Exception):
    """A rule that changes a type, or rules that undo each other without end. A bug of ours."""


def rewrite(graph: Graph, rules: Sequence[Rule], journal: Journal | None = None) -> Graph:
    """The graph after every rule that applies, without common subexpressions and dead code. BadRule."""
    index: dict[str, list[Rule]] = {}
    for rule in rules:
        index.setdefault(rule.root, []).append(rule)
    return _rewritten(graph, index, Journal() if journal is None else journal, {})


def _rewritten(graph: Graph, rules: dict[str, list[Rule]], journal: Journal, done: dict[int, Graph]) -> Graph:
    """`done` keeps what became of every region, by the identity of the graph, which outlives it."""
    if id(graph) not in done:
        sweep = _Sweep(graph, rules, journal)
        for op in graph.ops:
            sweep.add(op, [_rewritten(region, rules, journal, done) for region in op.regions])
        done[id(graph)] = sweep.finish()
    return done[id(graph)]


class _Sweep:
    """One graph, operation by operation. Those that nothing touches are kept as they are."""

    def __init__(self, graph: Graph, rules: dict[str, list[Rule]], journal: Journal):
        self.graph, self.rules, self.journal = graph, rules, journal
        self.build = Builder.over(graph)
        self.instead: dict[int, int] = {}  # what stands for a value that is no longer wanted
        self.makers: list[Op | None] = [None] * len(self.build)
        self.known: dict[Any, Op] = {}
        self.settled = 0
        self.fuel = 100 + 20 * len(graph.ops)

    def add(self, op: Op, regions: Sequence[Graph]) -> None:
        """Adds an operation of the graph, and settles it and all that comes of it."""
        self.build.place = op.place
        if all(map(is_, op.regions, regions)):
            self.build.keep(op)
        else:
            operands = [self.current(v) for v in op.operands]
            self.replace(op, self.build.replay(op, operands, regions))
        while self.settled < len(self.build.ops):
            self.makers.extend([None] * (len(self.build) - len(self.makers)))
            fresh = self.build.ops[self.settled]
            self.settled += 1
            self.settle(fresh)

    def finish(self) -> Graph:
        """The new graph, without dead code; nothing that only the sweep needs is held any more."""
        outputs = {n: self.current(v) for n, v in zip(self.graph.output_names, self.graph.outputs)}
        self.makers, self.known, self.instead = [], {}, {}
        return self.build.close(outputs)

    def current(self, value: int) -> Value:
        """What stands for a value now."""
        while value in self.instead:
            value = self.instead[value]
        return self.build.at(value)

    def settle(self, op: Op) -> None:
        """Replaces an operation by one that reads current values, an equal one, or what a rule makes."""
        if any(v in self.instead for v in op.operands):
            self.replace(op, self.build.copy(op, [self.current(v) for v in op.operands]))
            return
        # Regions are compared by identity: equal ones that are two objects are not shared.
        told = [(key, type(value), value) for key, value in op.attributes]
        key = (op.name, op.operands, *told, *map(id, op.regions))
        if key in self.known:
            self.journal.shared += 1
            self.replace(op, [self.build.at(v) for v in self.known[key].results])
            return
        site = Site(self.build, op, self.makers)
        for root in (op.name, ""):
            for rule in self.rules.get(root, ()):
                if self.fires(rule, site):
                    return
        self.known[key] = op
        for v in op.results:
            self.makers[v] = op

    def fires(self, rule: Rule, site: Site) -> bool:
        found, op, name = rule.match(site), site.op, self.graph.name
        if found is None:
            return False
        if isinstance(found, Refusal):
            self.journal.refused.append(Entry(rule.name, op.name, name, self.build.place, found.reason))
            return False
        result = rule.build(self.build, *found)
        if (result.type,) != op.types:
            raise BadRule(f"{rule.name} makes {result.type} from {op.name}, which was {op.types}")
        self.fuel -= 1
        if not self.fuel:
            raise BadRule(f"{rule.name} still fires: rules undo each other in {name}")
        self.journal.fired.append(Entry(rule.name, op.name, name, self.build.place))
        self.replace(op, [result])
        return True

    def replace(self, op: Op, results: Sequence[Value]) -> None:
        self.instead.update(zip(op.results, [result.id for result in results], strict=True))
