"""The forward derivative: D[f]: A × A → B of a graph f: A → B is again a graph.

Inputs of D[f] are those of f and a tangent `t.<name>` for every input that has one; outputs are the tangents
of the outputs that have one. No page gives a forward rule: D[f](a, v) is the second component of R[R[f]] at
((a, 0), v), without its dead code. Operations that hold regions have rules here: a scan carries its tangents
as further states, a fixed point x = f(x, c) has dx = D[f](x, c; dx, dc), which is again a `fix`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from banach.ir.graph import Builder, Graph, Op, Value, prune, unused
from banach.ir.hoist import only, split
from banach.ir.implicit import MOST, poisoned, series, solve
from banach.ir.primitive import NotDifferentiable, Types
from banach.ir.primitives.fixpoint import NO_EQUATION, NO_OTHER, follow
from banach.ir.reverse import NoDerivative, reverse
from banach.ir.span import Span


@dataclass(frozen=True, slots=True)
class Barred:
    """The tangent of a value that has none: a fault only where an output needs it."""

    why: str
    place: Span | None


Tangent = Value | Barred | None  # None: zero
Tangents = Sequence[Tangent]


def forward(graph: Graph, moving: Sequence[bool] | None = None) -> Graph:
    """The forward derivative of a graph; `moving` marks the float inputs that have a tangent, if not all do.

    NoDerivative: an operation on the way has none.
    """
    build = Builder(f"D.{graph.name}", graph.contract)
    active = [port.type.is_float for port in graph.inputs] if moving is None else moving
    values, tangents = _inputs(build, graph, active)
    _, moved = _push(build, graph, values, tangents)
    return prune(build.finish(_named(graph, moved, taken=())))


def _joint(graph: Graph, active: Sequence[bool]) -> Graph:
    """The graph and its derivative together; the active inputs have tangents, and all float outputs."""
    build = Builder(f"D.{graph.name}", graph.contract)
    values, tangents = _inputs(build, graph, active)
    found, moved = _push(build, graph, values, tangents)
    return build.finish({**dict(zip(graph.output_names, found)), **_named(graph, moved, graph.output_names)})


def _inputs(build: Builder, graph: Graph, active: Sequence[bool]) -> tuple[list[Value], list[Tangent]]:
    taken = {port.name for port in graph.inputs}
    values = [build.input(port.name, port.type, port.default, port.place) for port in graph.inputs]
    tangents: list[Tangent] = []
    for port, moves in zip(graph.inputs, active):
        taken.add(name := unused(f"t.{port.name}", taken))
        tangents.append(build.input(name, port.type) if moves else None)
    return values, tangents


def _named(graph: Graph, tangents: Sequence[Value], taken: Sequence[str]) -> dict[str, Value]:
    names = [name for name, type in zip(graph.output_names, graph.output_types) if type.is_float]
    found: dict[str, Value] = {}
    for name, tangent in zip(names, tangents, strict=True):
        found[unused(f"t.{name}", {*taken, *found})] = tangent
    return found


def _push(
    build: Builder, graph: Graph, values: Sequence[Value], tangents: Tangents
) -> tuple[list[Value], list[Value]]:
    """Adds the graph's operations and their tangents; returns the outputs, and tangents of the float ones."""
    known, moved = list(values), list(tangents)
    for op in graph.ops:
        results, leaving = _apply(build, op, [known[v] for v in op.operands], [moved[v] for v in op.operands])
        known.extend(results)
        moved.extend(t if result.type.is_float else None for result, t in zip(results, leaving, strict=True))
    outputs = [known[v] for v in graph.outputs]
    return outputs, [_given(known[v], moved[v]) for v in graph.outputs if known[v].type.is_float]


def _given(value: Value, tangent: Tangent) -> Value:
    if isinstance(tangent, Barred):
        raise NoDerivative(tangent.why, tangent.place)
    return value.builder.zeros(value.type) if tangent is None else tangent


def _apply(
    build: Builder, op: Op, operands: Sequence[Value], tangents: Tangents
) -> tuple[Sequence[Value], Tangents]:
    barred = next((t for t in tangents if isinstance(t, Barred)), None)
    if all(t is None for t in tangents):
        results = build.replay(op, operands)
        return results, [None] * len(results)
    if op.name == "stop_gradient":
        return build.replay(op, operands), [None]
    if barred is not None:
        results = build.replay(op, operands)
        return results, [barred] * len(results)
    return _RULES.get(op.name, _plain)(build, op, operands, tangents)


# --- plain primitives: R[R] --------------------------------------------------------------------------------


def _plain(
    build: Builder, op: Op, operands: Sequence[Value], tangents: Tangents
) -> tuple[Sequence[Value], Tangents]:
    if not op.types[0].is_float:
        return build.replay(op, operands), [None]
    active = tuple(t is not None for t in tangents)
    try:
        rule = _rule(op.name, tuple(v.type for v in operands), op.attributes, active)
    except NoDerivative as refusal:
        raise NoDerivative(str(refusal), op.place) from None
    y, dy = build.inline(rule, [*operands, *_present(tangents)])
    return [y], [dy]


@lru_cache(maxsize=4096)
def _rule(
    name: str, types: Types, attributes: tuple[tuple[str, Any], ...], active: tuple[bool, ...]
) -> Graph:
    """x, tangents of the active x ↦ y, dy."""
    build = Builder(name)
    inputs = [build.input(f"x{i}", type) for i, type in enumerate(types)]
    first = reverse(build.finish({"y": build.op(name, *inputs, **dict(attributes))}))
    moves = [moves for type, moves in zip(types, active) if type.is_float]
    kept = [i for i, moves in enumerate(moves) if moves]
    second = only(reverse(only(first, kept)), [-1])  # x, w, u ↦ the derivative of ⟨u, R(x, w)⟩ in w
    rule = Builder(name)
    x = [rule.input(f"x{i}", type) for i, type in enumerate(types)]
    t = [rule.input(f"t.x{i}", type) for i, (type, moves) in enumerate(zip(types, active)) if moves]
    y = rule.op(name, *x, **dict(attributes))
    dy = _inline_beside(rule, second, [*x, rule.zeros(y.type), *t], rule.finish({"y": y}).ops[0], y)
    return prune(rule.finish({"y": y, "t.y": dy}))


def _inline_beside(build: Builder, graph: Graph, arguments: Sequence[Value], op: Op, result: Value) -> Value:
    """Adds the graph's operations, but reads `result` where it repeats `op`; returns its one output."""
    known = list(arguments)
    for other in graph.ops:
        operands = [known[v] for v in other.operands]
        same = (other.name, other.attributes) == (op.name, op.attributes)
        if same and tuple(v.id for v in operands) == op.operands:
            known.append(result)
        else:
            known.extend(build.replay(other, operands))
    return known[graph.outputs[0]]


def _present(tangents: Tangents) -> list[Value]:
    return [t for t in tangents if isinstance(t, Value)]


def _scattered(tangents: Sequence[Value], results: Sequence[Value]) -> list[Tangent]:
    """One tangent for every result, from those of the results that have one."""
    flow = iter(tangents)
    return [next(flow) if result.type.is_float else None for result in results]


# --- operations with regions -----------------------------------------------------------------------------


def _call(
    build: Builder, op: Op, operands: Sequence[Value], tangents: Tangents
) -> tuple[Sequence[Value], Tangents]:
    """D[call f] = call D[f]."""
    regions = [_joint(op.regions[0], [t is not None for t in tangents])]
    found = build.emit("call", [*operands, *_present(tangents)], {}, regions, op.place)
    results = found[: len(op.types)]
    return results, _scattered(found[len(results) :], results)


def _linear(
    build: Builder, op: Op, operands: Sequence[Value], tangents: Tangents
) -> tuple[Sequence[Value], Tangents]:
    """D[A](x; dx) = A dx; where what A is made of moves too, as for a call."""
    inputs = op.attribute("inputs")
    if _present(tangents[inputs:]):
        return _call(build, op, operands, tangents)
    moved = [build.zeros(v.type) if t is None else t for v, t in zip(operands[:inputs], tangents)]
    return build.replay(op, operands), list(build.replay(op, [*_present(moved), *operands[inputs:]]))


def _ruled(
    build: Builder, op: Op, operands: Sequence[Value], tangents: Tangents
) -> tuple[Sequence[Value], Tangents]:
    """dy = rule(x, dx, c) + D[f](x, c; 0, dc)."""
    results, inputs, (f, rule) = build.replay(op, operands), op.attribute("inputs"), op.regions
    parts: list[Value] = []
    if _present(tangents[:inputs]):
        moves = [_given(v, t) for v, t in zip(operands, tangents[:inputs]) if v.type.is_float]
        parts += build.inline(rule, [*operands[:inputs], *moves, *operands[inputs:]])
    if held := _present(tangents[inputs:]):
        active = [i >= inputs and t is not None for i, t in enumerate(tangents)]
        parts += build.inline(_tangents(f, active), [*operands, *held])
    return results, [parts[0] if len(parts) == 1 else parts[0] + parts[1]]


def _cond(
    build: Builder, op: Op, operands: Sequence[Value], tangents: Tangents
) -> tuple[Sequence[Value], Tangents]:
    """D[cond c f g] = cond c D[f] D[g]."""
    regions = [_joint(region, [t is not None for t in tangents[1:]]) for region in op.regions]
    found = build.emit("cond", [*operands, *_present(tangents)], {}, regions, op.place)
    results = found[: len(op.types)]
    return results, _scattered(found[len(results) :], results)


def _scan(
    build: Builder, op: Op, operands: Sequence[Value], tangents: Tangents
) -> tuple[Sequence[Value], Tangents]:
    """One scan with doubled state: (s, ds) ↦ (f(s, x, c), D[f](s, x, c; ds, dx, dc))."""
    attributes = dict(op.attributes)
    states, split = attributes["states"], attributes["states"] + attributes["sequences"]
    # Every float state may move after a step, even where its start does not.
    start = [_given(v, t) for v, t in zip(operands[:states], tangents) if v.type.is_float]
    rows, held = _present(tangents[states:split]), _present(tangents[split:])
    active = [*(v.type.is_float for v in operands[:states]), *(t is not None for t in tangents[states:])]
    joint = _joint(op.regions[0], active)
    outputs, count = len(op.regions[0].outputs), len(operands)
    order = _regrouped(count, (states, split), (len(start), len(start) + len(rows)), len(joint.inputs))
    region = _reordered(
        joint, order, _regrouped(outputs, (states, states), (len(start), len(start)), len(joint.outputs))
    )
    doubled = {"states": states + len(start), "sequences": split - states + len(rows)}
    given = [*operands, *start, *rows, *held]
    found = build.emit("scan", [given[i] for i in order], {**attributes, **doubled}, [region], op.place)
    s, ds = found[:states], found[states : states + len(start)]
    stacked = found[states + len(start) :]
    y, dy = stacked[: outputs - states], stacked[outputs - states :]
    results = [*s, *y]
    return results, _scattered([*ds, *dy], results)


def _regrouped(count: int, cuts: tuple[int, int], tangent_cuts: tuple[int, int], total: int) -> list[int]:
    """The order that puts each of three groups of values beside its tangents, which stand from `count` on."""
    own = (0, *cuts, count)
    moved = (count, *(count + cut for cut in tangent_cuts), total)
    groups = (([*range(*own[i : i + 2]), *range(*moved[i : i + 2])]) for i in range(3))
    return [i for group in groups for i in group]


def _reordered(graph: Graph, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
    """The graph with its inputs and outputs in another order."""
    build = Builder(graph.name, graph.contract)
    given: dict[int, Value] = {}
    for i in inputs:
        port = graph.inputs[i]
        given[i] = build.input(port.name, port.type, port.default, port.place)
    found = build.inline(graph, [given[i] for i in range(len(inputs))])
    return build.finish({graph.output_names[i]: found[i] for i in outputs})


def _fix(
    build: Builder, op: Op, operands: Sequence[Value], tangents: Tangents
) -> tuple[Sequence[Value], Tangents]:
    """dx = D[equation](x, c; dx, 0) + g with g = D[equation](x, c; 0, dc), by Picard's iteration."""
    results, attributes = build.replay(op, operands), dict(op.attributes)
    solution, first = attributes["solution"], 2 + attributes["states"]
    gradient = attributes.get("gradient", "implicit")
    if gradient == "unrolled":
        return results, _followed(build, op, operands, tangents, results)
    other: Tangent = Barred(f"{NO_OTHER}, not its other states", op.place)
    if len(op.regions) < 3:
        other = Barred(f"{NO_EQUATION}, so its limit has no implicit derivative", op.place)
        return results, [other] * len(results)
    found, captures, moved = results[:solution], operands[first:], tangents[first:]
    rest = [other] * (len(results) - solution)
    if not _present(moved):  # the limit does not depend on the start
        return results, [*[None] * solution, *rest]
    equation, point = op.regions[2], [*found, *captures]
    pushed = _tangents(equation, [*[False] * solution, *(t is not None for t in moved)])
    g = list(build.inline(pushed, [*point, *_present(moved)]))
    inward = _tangents(equation, [*(v.type.is_float for v in found), *[False] * len(captures)])
    parts = split(inward, [i >= len(point) for i in range(len(inward.inputs))])
    held = build.inline(parts.before, point)
    if gradient == "implicit":
        most, lanes = attributes.get("adjoint_most", MOST), attributes["lanes"]
        solved = solve(build, parts.after, held, g, tolerance=operands[0], most=most, lanes=lanes)
    else:
        solved = series(build, parts.after, held, g, 1 if gradient == "one_step" else attributes["terms"])
    return results, [*_scattered(solved, found), *rest]


def _tangents(graph: Graph, active: Sequence[bool]) -> Graph:
    """The derivative of a graph, without its values."""
    joint = _joint(graph, active)
    return only(joint, range(len(graph.outputs), len(joint.outputs)))


def _followed(
    build: Builder, op: Op, operands: Sequence[Value], tangents: Tangents, results: Sequence[Value]
) -> Tangents:
    """The tangents of exactly the steps that were taken."""
    states, lanes = op.attribute("states"), op.attribute("lanes")
    iterations = results[states]
    try:
        cap = op.attribute("cap", 0)
        unrolled, good = follow(build, operands, iterations, op.regions[0], states, lanes, cap)
    except NotDifferentiable as refusal:
        return [Barred(str(refusal), op.place)] * len(results)
    own, held = tangents[2 : 2 + states], tangents[2 + states :]
    pushed = _tangents(unrolled, [*(t is not None for t in own), False, *(t is not None for t in held)])
    given = [*operands[2 : 2 + states], iterations, *operands[2 + states :]]
    moved = build.inline(pushed, [*given, *_present(own), *_present(held)])
    moved = moved if good is None else [poisoned(t, good) for t in moved]
    residual = Barred(f"{NO_OTHER}, not its residual", op.place)
    return [*_scattered(moved, results[:states]), None, residual, None]


def _while(
    build: Builder, op: Op, operands: Sequence[Value], tangents: Tangents
) -> tuple[Sequence[Value], Tangents]:
    why = "a `while` has no derivative: write a scan with a fixed count, or a solve"
    return build.replay(op, operands), [Barred(why, op.place)] * len(op.types)


_RULES = {
    "call": _call,
    "linear": _linear,
    "ruled": _ruled,
    "cond": _cond,
    "scan": _scan,
    "fix": _fix,
    "while": _while,
}
