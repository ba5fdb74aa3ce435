"""A derivative that the user gives: `derivative:` in a map's block, the change of the map along dx.

    softplus(x):
      returns: log(1 + exp(x))
      derivative: dx / (1 + exp(-x))

It is one formula, linear in the changes dx of the arguments x; its adjoint and its own derivatives are
derived. A rule says nothing of the map's values. It is held against differences of them where the map is
applied, at points that are drawn, and a verdict on an iteration that uses it says so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import WRONG_KIND, refuse
from banach.compiler.elaboration.region import Region, captures_of, close
from banach.compiler.elaboration.samples import points, sizes
from banach.compiler.elaboration.things import Formula, Map, Tensor, describe
from banach.compiler.text import syntax
from banach.ir.diagnostic import Code
from banach.ir.dims import Assumptions
from banach.ir.evaluate import evaluate
from banach.ir.graph import Graph
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType, TypeMismatch
from banach.ir.widen import widen

WRONG_RULE = Code(
    "B402",
    "wrong-derivative",
    """A derivative that a map's block gives is not the derivative of the map. It is one formula for the
change of the map along the changes dx, du, ... of its arguments, linear in those, and it has to agree with
what differences of the map say at points that are drawn.

    wrong    square(x): {returns: x**2, derivative: x * dx}
    right    square(x): {returns: x**2, derivative: 2 * x * dx}

For a derivative that is meant to differ, as in training through a step, say so by
`soft(x) + stop_gradient(hard(x) - soft(x))`, which has the value of one map and the derivative of another.
""",
)
_MOST_ENTRIES = 16  # of an argument that are moved one by one; beyond, some of them and all together
_STEPS = (1e-5, 1e-6, 1e-4)  # differences agree at one of these, unless all of them straddle a kink
_CLOSE = 1e-4  # relative; a central difference by 1e-5 is off by 1e-10, times third derivatives

Meaning = Callable[[syntax.Node, Mapping[str, Any], Context], Any]


def apply(
    map: Formula, arguments: Sequence[Any], meaning: Meaning, context: Context, span: Span | None
) -> Any:
    """The map applied, with its rule beside it. `meaning` is that of a formula of its block.

    SpecError: the rule is none, or it is wrong.
    """
    assert map.rule is not None
    things, scope = dict(zip(map.parameters, arguments)), context.scope
    held = {name: thing for name, thing in things.items() if isinstance(thing, Map)}
    values = {name: scope.value(x, place=span) for name, x in things.items() if name not in held}
    types = {name: value.type for name, value in values.items()}
    moved = {change(name): type for name, type in types.items() if type.is_float}
    if not moved or all(arithmetic.is_known(x) for x in arguments):
        return meaning(map.body, things, context)  # nothing that could be derived in
    _check_names(map, moved)
    with_rule = f"derivative of {map.name}"
    regions = [
        _region(map.name, map.body, types, held, meaning, context),
        _region(with_rule, map.rule, types | moved, held, meaning, context),
    ]
    captures = captures_of(regions)
    f, rule = (close(region, captures) for region in regions)
    _check_types(map, f, rule)
    given = [*values.values(), *(outer for _, outer in captures)]
    inner, fixed, _ = regions[0]
    if inner.reports:  # what the solves inside it leave
        found = scope.build.inline(close((inner, fixed, inner.reports), captures), given)
        for name, report in zip(inner.reports, found):
            scope.report(name, report)
    try:
        (result,) = scope.build.emit("ruled", given, {"inputs": len(values)}, [f, rule], span)
    except TypeMismatch as refusal:
        fix = f"write the change of `{map.name}` along {' and '.join(moved)}, linear in that"
        why = str(refusal).removeprefix("ruled: ")
        raise refuse(WRONG_RULE, f"this is no derivative: {why}", map.rule.span, fix=fix) from None
    key = (map, tuple(types.values()))
    if key not in scope.tried:
        _check(map, tuple(values), f, rule, scope.contract)
        scope.tried.add(key)
    return Tensor(result)


def change(name: str) -> str:
    """What a rule calls the change of an argument."""
    return f"d{name}"


def _check_names(map: Formula, moved: Mapping[str, TensorType]) -> None:
    assert map.rule is not None
    for name in (*map.parameters, *(name for name, _ in map.where)):
        if name in moved:
            message = (
                f"`{name}` is the change of `{name[1:]}` in this derivative, and a name of the block too"
            )
            raise refuse(WRONG_RULE, message, map.rule.span, fix=f"call the other `{name}` something else")


def _check_types(map: Formula, f: Graph, rule: Graph) -> None:
    assert map.rule is not None
    (value,), (change,) = f.output_types, rule.output_types
    if value != change:
        message = f"`{map.name}` gives {value}, and its derivative {change}"
        raise refuse(WRONG_RULE, message, map.rule.span, fix="the change of a map has the map's own shape")
    if not value.is_float:
        message = f"`{map.name}` gives {value}, and only reals have derivatives"
        raise refuse(WRONG_RULE, message, map.rule.span, fix="drop the derivative")


def _region(
    name: str,
    formula: syntax.Node,
    types: Mapping[str, TensorType],
    held: Mapping[str, Map],
    meaning: Meaning,
    context: Context,
) -> Region:
    inner = context.scope.inner(name)
    inputs = {own: inner.build.input(own, type) for own, type in types.items()}
    known = {**held, **{own: Tensor(value, own) for own, value in inputs.items()}}
    thing = meaning(formula, known, context.within(inner))
    if not arithmetic.is_tensor(thing):
        message = f"a map with a derivative gives one tensor, and this is {describe(thing)}"
        raise refuse(WRONG_KIND, message, formula.span, fix="give each tensor a map of its own")
    return inner, list(inputs.values()), {"y": inner.value(thing, place=formula.span)}


# --- against differences ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Move:
    """A direction in one argument; `place` is the entry that moves, None where all do."""

    argument: int
    place: tuple[int, ...] | None
    change: np.ndarray


def _check(map: Formula, names: Sequence[str], f: Graph, rule: Graph, contract: Assumptions) -> None:
    """SpecError: the rule does not say what differences of the map say, at some point that is drawn."""
    assert map.rule is not None
    exact, told = widen(f), widen(rule)
    known = sizes(f, contract)
    for point in points(exact, known):
        for move in _moves(exact, len(names), point):
            found = _disagreement(exact, told, len(names), point, move, known)
            if found is not None:
                name, (entry, said, seen) = names[move.argument], found
                where = f"{name}{_entry(move.place)}" if move.place is not None else f"all of {name}"
                message = (
                    f"along {where}, the derivative of `{map.name}{_entry(entry)}` is given as {said:.6g}, "
                    f"and differences say {seen:.6g}"
                )
                drawn = np.array2string(point[move.argument].ravel()[:4], precision=4, separator=", ")
                fix = "correct the rule, or leave it out: the derivative of a formula is derived"
                raise refuse(WRONG_RULE, message, map.rule.span, fix=fix, label=f"at {name} = {drawn}")


def _entry(place: tuple[int, ...] | None) -> str:
    return f"[{', '.join(map(str, place))}]" if place else ""


def _moves(graph: Graph, count: int, point: Sequence[np.ndarray]) -> Iterator[_Move]:
    random = np.random.default_rng(21)
    for argument in range(count):
        array = point[argument]
        if not graph.inputs[argument].type.is_float or not array.size:
            continue
        for flat in np.unique(np.linspace(0, array.size - 1, _MOST_ENTRIES).astype(int)):
            change = np.zeros(array.size)
            change[flat] = 1
            place = tuple(int(i) for i in np.unravel_index(flat, array.shape))
            yield _Move(argument, place, change.reshape(array.shape))
        yield _Move(argument, None, np.asarray(random.standard_normal(array.shape)))


def _disagreement(
    f: Graph,
    rule: Graph,
    count: int,
    point: Sequence[np.ndarray],
    move: _Move,
    sizes: Mapping[str, int],
) -> tuple[tuple[int, ...], float, float] | None:
    """The entry of the result that is farthest off, what the rule says of it, and what differences say.

    None: they agree, or the map is not finite there.
    """
    floats = [i for i in range(count) if f.inputs[i].type.is_float]
    changes = [move.change if i == move.argument else np.zeros_like(point[i]) for i in floats]
    (said,) = evaluate(rule, [*point[:count], *changes, *point[count:]], sizes)
    worst = None
    for step in _STEPS:
        ends = []
        for sign in (1, -1):
            there = list(point)
            there[move.argument] = point[move.argument] + sign * step * move.change
            ends.append(evaluate(f, there, sizes)[0])
        seen = (ends[0] - ends[1]) / (2 * step)
        if not np.all(np.isfinite(seen)):
            return None
        scale = max(np.max(np.abs(seen), initial=0), np.max(np.abs(said[np.isfinite(said)]), initial=0))
        noise = 1e-9 * np.max(np.abs(ends[0]), initial=0) * (1e-5 / step)
        off = np.nan_to_num(np.abs(said - seen), nan=np.inf)
        if np.all(off <= _CLOSE * scale + noise + 1e-9):
            return None
        if worst is None:
            entry = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
            worst = entry, float(said[entry]), float(seen[entry])
    return worst
