"""A step's dependence on its states, entry by entry, in exact arithmetic on the numbers that the model holds.

Every value of the step's graph is known before the run, or not, or moves with the states. A moving value has
a column for every entry of the states, its derivative by that entry: one number where the step is affine. A
linear operation acts on columns as on values, so its own numpy meaning is run on fractions. slopes.py has
ranges in place of numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler.elaboration.claims import Claim
from banach.compiler.text import syntax
from banach.compiler.text.expression import names as names_in
from banach.ir.graph import Graph, Op, Value, prune
from banach.ir.primitive import page
from banach.ir.primitives.regions import RegionOp
from banach.ir.tensor_type import TensorType, numpy_dtype

MOST = 32  # entries of all states
_LARGEST = 1 << 14  # entries of a value


class NotRead(Exception):
    """The step has no such form; the message says why."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """An array that is known before the run: Fractions, integers or truth values."""

    array: np.ndarray


@dataclass(frozen=True, slots=True)
class Free:
    """A value that does not depend on the states, and is not known before the run."""


@dataclass(frozen=True, slots=True)
class Moving:
    """The columns that are not zero, by the number of the entry."""

    columns: Mapping[int, Any]


Meaning = Fixed | Free | Moving
Move = Callable[[Op, list[Meaning], list[TensorType]], Moving]


@dataclass(frozen=True, slots=True)
class Step:
    """The states that matter for what is returned, one vector of `size` entries, and how they depend on
    themselves.

    `rows[i][j]` is the derivative where `affine`, else a bound of its size; `seen` are the entries that are
    returned, none if it is another formula of the states that is.
    """

    states: tuple[str, ...]
    rows: tuple[tuple[Fraction, ...], ...]
    affine: bool
    first: tuple[Fraction, ...] | None  # the first move, where it is known before the run
    seen: tuple[int, ...] = ()


def exact_step(claim: Claim) -> Step:
    """The matrix of an affine step, and its first move. NotRead: it is not affine, or not known, or too
    large.
    """
    return affine_step(claim, *read(claim, _exact, lambda unit: unit, lambda column: column))


def affine_step(claim: Claim, states: tuple[str, ...], rows: tuple[tuple[Fraction, ...], ...]) -> Step:
    """The step that has this matrix, with its first move where that is known."""
    graph, given = claim.solved.step, captured(claim)
    return Step(states, rows, True, _first_move(claim, graph, states, given), _seen(claim, graph, states))


def _seen(claim: Claim, graph: Graph, kept: Sequence[str]) -> tuple[int, ...]:
    """The entries of the state that is returned, among those of all states."""
    match claim.recipe.returns:
        case syntax.Name(name) if name in kept:
            ports = {port.name: port.type for port in graph.inputs}
            sizes = [_entries(ports[other]) for other in kept]
            place = kept.index(name)
            return tuple(range(sum(sizes[:place]), sum(sizes[: place + 1])))
    return ()


def read(
    claim: Claim, move: Move, enter: Callable[[np.ndarray], Any], leave: Callable[[Any], np.ndarray]
) -> tuple[tuple[str, ...], tuple[tuple[Fraction, ...], ...]]:
    """The states that matter, and the matrix of what `leave` makes of the columns. NotRead: there is none.

    `move` says what an operation makes of moving values, `enter` what the column of an entry of the states
    is.
    """
    kept, ports, found = followed(claim, move, enter)
    sizes = [_entries(ports[name]) for name in kept]
    rows = []
    for name, meaning in zip(kept, found):
        columns = {j: leave(c) for j, c in meaning.columns.items()} if isinstance(meaning, Moving) else {}
        shape = shape_of(ports[name])
        zero = zeros(ports[name])
        whole = [np.broadcast_to(columns.get(j, zero), shape).ravel() for j in range(sum(sizes))]
        for i in range(_entries(ports[name])):
            rows.append(tuple(Fraction(c[i]) for c in whole))
    return tuple(kept), tuple(rows)


def followed(
    claim: Claim, move: Move, enter: Callable[[np.ndarray], Any]
) -> tuple[list[str], dict[str, TensorType], list[Meaning]]:
    """The states that matter, all types by name, and what becomes of these states in a step. NotRead: see
    `read`.
    """
    if not claim.recipe.plain:
        raise NotRead("it holds states for some steps, or reads old ones")
    graph, given = claim.solved.step, captured(claim)
    kept = kept_states(claim, graph)
    ports = {port.name: port.type for port in graph.inputs}
    sizes = [_entries(ports[name]) for name in kept]
    if sum(sizes) > MOST:
        raise NotRead(f"its states have more than {MOST} entries")
    if not sum(sizes):
        raise NotRead("its states have no entries")
    start, inputs = 0, []
    for port in graph.inputs[: len(graph.inputs) - len(given)]:
        if port.name not in kept:
            inputs.append(Free())
            continue
        size, shape = _entries(port.type), shape_of(port.type)
        columns = {start + i: enter(_unit(size, i).reshape(shape)) for i in range(size)}
        inputs.append(Moving(columns))
        start += size
    return kept, ports, _run(only(graph, kept), [*inputs, *given], move)


def _first_move(
    claim: Claim, graph: Graph, kept: Sequence[str], given: list[Meaning]
) -> tuple[Fraction, ...] | None:
    """T(start) - start, where both are known before the run."""
    starts = _outer(claim, claim.solved.start)
    ports = graph.inputs[1 : len(graph.inputs) - len(given)]
    known = dict(zip((port.name for port in ports), starts))
    if not all(isinstance(known[name], Fixed) for name in kept):
        return None
    inputs = [Free(), *(known[port.name] for port in ports), *given]
    found = _run(only(graph, kept), inputs, _exact)
    if not all(isinstance(meaning, Fixed) for meaning in found):
        return None
    moves = []
    for name, meaning in zip(kept, found):
        moves += list(np.asarray(meaning.array - known[name].array).ravel())  # type: ignore[union-attr]
    return tuple(map(Fraction, moves))


def kept_states(claim: Claim, graph: Graph) -> list[str]:
    """The states that what is returned depends on, in the order of the step."""
    needs: list[set[int]] = [{i} for i in range(len(graph.inputs))]
    for op in graph.ops:
        reads = set().union(*(needs[v] for v in op.operands)) if op.operands else set()
        needs += [reads] * len(op.types)
    number = {port.name: i for i, port in enumerate(graph.inputs)}
    after = dict(zip(graph.output_names, graph.outputs))
    names = [name for name, _ in claim.recipe.state]
    held = set(range(len(graph.inputs) - len(claim.solved.captures), len(graph.inputs)))
    told, reached = dict(claim.recipe.where), [claim.recipe.returns]
    for formula in reached:  # what is returned may read states through local names
        reached += [told.pop(name) for name in sorted(names_in(formula)) if name in told]
    waiting = [name for name in names if any(name in names_in(formula) for formula in reached)]
    kept: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        kept.add(name)
        reads = needs[after[name]]
        if not reads <= held | {number[other] for other in names}:
            raise NotRead("its step changes with the count, or with what another solve leaves")
        waiting += [other for other in names if number[other] in reads]
    return [port.name for port in graph.inputs if port.name in kept]


def only(graph: Graph, kept: Sequence[str]) -> Graph:
    """The same graph with the outputs of these states, in their order."""
    after = dict(zip(graph.output_names, graph.outputs))
    return Graph(**{**_fields(graph), "outputs": tuple(after[n] for n in kept), "output_names": tuple(kept)})


def _fields(graph: Graph) -> dict[str, Any]:
    return {name: getattr(graph, name) for name in graph.__dataclass_fields__}


def captured(claim: Claim) -> list[Meaning]:
    return _outer(claim, claim.solved.captures)


def _outer(claim: Claim, values: Sequence[Value]) -> list[Meaning]:
    """What is known of values of the graph around; its inputs are not known before the run."""
    graph = prune(claim.context.scope.build.finish({str(i): v for i, v in enumerate(values)}))
    return _run(graph, [Free()] * len(graph.inputs), _exact)


# --- running a graph --------------------------------------------------------------------------------------


def _run(graph: Graph, inputs: Sequence[Meaning], move: Move) -> list[Meaning]:
    known = list(inputs)
    types = [port.type for port in graph.inputs]
    for op in graph.ops:
        operands = [known[v] for v in op.operands]
        found = _apply(op, operands, [types[v] for v in op.operands], move)
        known += [found] * len(op.types)
        types += op.types
    return [known[v] for v in graph.outputs]


def _apply(op: Op, operands: list[Meaning], types: list[TensorType], move: Move) -> Meaning:
    if any(isinstance(x, Moving) for x in operands):
        return _moving(op, operands, types, move)
    definition, type = page(op.name), op.types[0]
    if any(isinstance(x, Free) for x in operands) or op.types[1:]:
        return Free()
    if op.name == "constant":
        return Fixed(_rational(op.attribute("value").array))
    if isinstance(definition, RegionOp) or not _small(type):
        return Free()
    arrays = [x.array for x in operands if isinstance(x, Fixed)]
    if op.name == "cast":
        return Fixed(_rational(arrays[0]))
    try:
        return Fixed(_checked(definition.evaluate(*arrays, **dict(op.attributes))))
    except (NotRead, TypeError, ValueError, AttributeError, LookupError, ArithmeticError):
        pass  # no operation on fractions: as the model works it out, then
    held = [np.asarray(a, numpy_dtype(own.dtype)) for a, own in zip(arrays, types)]
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(definition.evaluate(*held, **dict(op.attributes)), numpy_dtype(type.dtype))
    except KeyError:  # it asks for a size that only the run knows
        return Free()
    return Fixed(_rational(result)) if np.isfinite(result).all() else Free()


def _moving(op: Op, operands: list[Meaning], types: list[TensorType], move: Move) -> Meaning:
    """The columns of an operation that takes moving values."""
    if isinstance(page(op.name), RegionOp) or op.types[1:] or not _small(op.types[0]):
        raise NotRead(f"`{op.name}` is not taken apart")
    if op.name == "cast" and op.types[0].is_float:
        return operands[0]
    return move(op, operands, types)


def _exact(op: Op, operands: list[Meaning], types: list[TensorType]) -> Moving:
    """The columns of a linear operation."""
    held = held_operands(op, operands)
    if held is None:
        raise NotRead(f"`{op.name}` is not linear in the states")
    columns = {}
    for j in numbers(operands):
        given = [
            held[i]
            if i in held
            else x.columns[j]
            if isinstance(x, Moving) and j in x.columns
            else zeros(types[i])
            for i, x in enumerate(operands)
        ]
        column = acted(op, given)
        if column.any():
            columns[j] = column
    return Moving(columns)


def held_operands(op: Op, operands: list[Meaning]) -> dict[int, np.ndarray] | None:
    """The operands that are held, in the others of which the operation is linear; None: it is not.

    NotRead: what is held is not known before the run.
    """
    moves = {i for i, x in enumerate(operands) if isinstance(x, Moving)}
    groups = page(op.name).linear_groups(len(operands))
    group = next((set(g) for g in groups if moves <= set(g)), None)
    if group is None or not op.types[0].is_float:
        return None
    held: dict[int, np.ndarray] = {}
    for i, x in enumerate(operands):
        if i not in group:
            if not isinstance(x, Fixed):
                raise NotRead(f"`{op.name}` takes a factor that is not known before the run")
            held[i] = x.array
    return held


def numbers(operands: list[Meaning]) -> list[int]:
    """The entries of the states that some operand moves with."""
    return sorted({j for x in operands if isinstance(x, Moving) for j in x.columns})


def acted(op: Op, given: Sequence[np.ndarray]) -> np.ndarray:
    """The operation on arrays of fractions. NotRead: its meaning does not act on them."""
    try:
        return _checked(page(op.name).evaluate(*given, **dict(op.attributes)))
    except ZeroDivisionError:
        raise NotRead("a division by zero") from None
    except (TypeError, ValueError, AttributeError, LookupError):
        raise NotRead(f"`{op.name}` does not act on fractions") from None


# --- arrays of fractions ----------------------------------------------------------------------------------


def _rational(array: np.ndarray) -> np.ndarray:
    """The same numbers as Fractions; truth values and integers that index stay."""
    if array.dtype.kind != "f":
        return array
    if not np.isfinite(array).all():
        raise NotRead("a number that is not finite")
    found = np.empty(array.shape, object)
    found[...] = np.array([Fraction(float(x)) for x in array.ravel()], object).reshape(array.shape)
    return found


def _checked(result: Any) -> np.ndarray:
    """A result that is made of fractions still, or of truth values or integers."""
    array = np.asarray(result)
    if array.dtype.kind in "biu":
        return array
    if array.dtype != object or not all(isinstance(x, Fraction | int) for x in array.ravel()):
        raise NotRead("a result that is no fraction")
    return array


def _unit(size: int, i: int) -> np.ndarray:
    found = np.empty(size, object)
    found[:] = [Fraction(int(j == i)) for j in range(size)]
    return found


def zeros(type: TensorType) -> np.ndarray:
    found = np.empty(shape_of(type), object)
    found[...] = Fraction(0)
    return found


def shape_of(type: TensorType) -> tuple[int, ...]:
    if not all(isinstance(size, int) for size in type.shape):
        raise NotRead("a size that is not known before the run")
    return tuple(int(size) for size in type.shape)  # type: ignore[arg-type]


def _entries(type: TensorType) -> int:
    if not type.is_float:
        raise NotRead("a state that is no real number")
    return int(np.prod(shape_of(type), dtype=np.int64))


def _small(type: TensorType) -> bool:
    return int(np.prod(shape_of(type), dtype=np.int64)) <= _LARGEST
