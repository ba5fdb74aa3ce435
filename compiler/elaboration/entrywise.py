"""A step's dependence on its states, entry by entry, in exact arithmetic on the numbers that the model holds.

Every value of the step's graph is known before the run, or not, or moves with the states. A moving value has
a column for every entry of the states: exactly, where the step is affine, the derivative by that entry; as a
bound, the most by which it can change for a unit of it, where slopes and sizes take the place of signs. A
linear operation acts on columns as on values: so its own numpy meaning is run on fractions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler.elaboration.claims import Claim
from banach.compiler.expression import names as names_in
from banach.ir.graph import Graph, Op, Value, prune
from banach.ir.primitive import Known, page
from banach.ir.primitives.elementwise import Elementwise
from banach.ir.primitives.regions import RegionOp
from banach.ir.tensor_type import TensorType, numpy_dtype

MOST = 32  # entries of all states
_LARGEST = 1 << 14  # entries of a value
# Linear operations whose coefficients are 0, 1 or products of the operands that are held: with the sizes of
# those, and sums in place of differences, they bound what they do.
_BOUNDABLE = frozenset(
    (
        "add",
        "subtract",
        "negate",
        "multiply",
        "divide",
        "matvec",
        "matmul",
        "transpose",
        "reshape",
        "broadcast",
        "slice",
        "pad",
        "concatenate",
        "sum",
        "roll",
        "flip",
        "stride",
        "dilate",
        "wrap_pad",
        "reflect_pad",
        "take",
        "cumsum",
        "select",
        "mask",
    )
)


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

    columns: Mapping[int, np.ndarray]


Meaning = Fixed | Free | Moving


@dataclass(frozen=True, slots=True)
class Step:
    """The states that matter for what is returned, one vector of `size` entries, and how they depend on
    themselves.

    `rows[i][j]` is exact where `affine`, else a bound of the size.
    """

    states: tuple[str, ...]
    rows: tuple[tuple[Fraction, ...], ...]
    affine: bool
    first: tuple[Fraction, ...] | None  # the first move, where it is known before the run


def exact_step(claim: Claim) -> Step:
    """The matrix of an affine step, and its first move. NotRead: it is not affine, or not known, or too
    large.
    """
    return _read(claim, False)


def bounded_step(claim: Claim) -> Step:
    """How much each entry can change with each other. NotRead: that has no bound, or it is too large."""
    return _read(claim, True)


def _read(claim: Claim, bounds: bool) -> Step:
    graph, given = claim.solved.step, _captures(claim)
    kept = _kept(claim, graph)
    ports = {port.name: port.type for port in graph.inputs}
    sizes = [_entries(ports[name]) for name in kept]
    if sum(sizes) > MOST:
        raise NotRead(f"its states have more than {MOST} entries")
    start, inputs = 0, []
    for port in graph.inputs[: len(graph.inputs) - len(given)]:
        if port.name not in kept:
            inputs.append(Free())
            continue
        size, shape = _entries(port.type), _shape(port.type)
        columns = {start + i: _unit(size, i).reshape(shape) for i in range(size)}
        inputs.append(Moving(columns))
        start += size
    found = _run(_only(graph, kept), [*inputs, *given], bounds)
    rows = []
    for name, meaning in zip(kept, found):
        columns = meaning.columns if isinstance(meaning, Moving) else {}
        shape = _shape(ports[name])
        zero = _zeros(ports[name])
        whole = [np.broadcast_to(columns.get(j, zero), shape).ravel() for j in range(sum(sizes))]
        for i in range(_entries(ports[name])):
            rows.append(tuple(Fraction(c[i]) for c in whole))
    first = None if bounds else _first_move(claim, graph, kept, given)
    return Step(tuple(kept), tuple(rows), not bounds, first)


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
    found = _run(_only(graph, kept), inputs, False)
    if not all(isinstance(meaning, Fixed) for meaning in found):
        return None
    moves = []
    for name, meaning in zip(kept, found):
        moves += list(np.asarray(meaning.array - known[name].array).ravel())  # type: ignore[union-attr]
    return tuple(map(Fraction, moves))


def _kept(claim: Claim, graph: Graph) -> list[str]:
    """The states that what is returned depends on, in the order of the step."""
    needs: list[set[int]] = [{i} for i in range(len(graph.inputs))]
    for op in graph.ops:
        reads = set().union(*(needs[v] for v in op.operands)) if op.operands else set()
        needs += [reads] * len(op.types)
    number = {port.name: i for i, port in enumerate(graph.inputs)}
    after = dict(zip(graph.output_names, graph.outputs))
    names = [name for name, _ in claim.recipe.state]
    waiting = [name for name in names if name in names_in(claim.recipe.returns)]
    kept: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        kept.add(name)
        reads = needs[after[name]]
        if number["k"] in reads:
            raise NotRead("its step changes with the count")
        waiting += [other for other in names if number[other] in reads]
    return [port.name for port in graph.inputs if port.name in kept]


def _only(graph: Graph, kept: Sequence[str]) -> Graph:
    """The same graph with the outputs of these states, in their order."""
    after = dict(zip(graph.output_names, graph.outputs))
    return Graph(**{**_fields(graph), "outputs": tuple(after[n] for n in kept), "output_names": tuple(kept)})


def _fields(graph: Graph) -> dict[str, Any]:
    return {name: getattr(graph, name) for name in graph.__dataclass_fields__}


def _captures(claim: Claim) -> list[Meaning]:
    return _outer(claim, claim.solved.captures)


def _outer(claim: Claim, values: Sequence[Value]) -> list[Meaning]:
    """What is known of values of the graph around; its inputs are not known before the run."""
    graph = prune(claim.context.scope.build.finish({str(i): v for i, v in enumerate(values)}))
    return _run(graph, [Free()] * len(graph.inputs), False)


# --- running a graph --------------------------------------------------------------------------------------


def _run(graph: Graph, inputs: Sequence[Meaning], bounds: bool) -> list[Meaning]:
    known = list(inputs)
    types = [port.type for port in graph.inputs]
    for op in graph.ops:
        operands = [known[v] for v in op.operands]
        found = _apply(op, operands, [types[v] for v in op.operands], bounds)
        known += [found] * len(op.types)
        types += op.types
    return [known[v] for v in graph.outputs]


def _apply(op: Op, operands: list[Meaning], types: list[TensorType], bounds: bool) -> Meaning:
    if any(isinstance(x, Moving) for x in operands):
        return _moving(op, operands, types, bounds)
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
    except (NotRead, TypeError, ValueError, AttributeError, ZeroDivisionError, ArithmeticError):
        pass  # no operation on fractions: as the model works it out, then
    held = [np.asarray(a, numpy_dtype(own.dtype)) for a, own in zip(arrays, types)]
    with np.errstate(all="ignore"):
        result = np.asarray(definition.evaluate(*held, **dict(op.attributes)), numpy_dtype(type.dtype))
    return Fixed(_rational(result)) if np.isfinite(result).all() else Free()


def _moving(op: Op, operands: list[Meaning], types: list[TensorType], bounds: bool) -> Meaning:
    """The columns of an operation that takes moving values."""
    definition, type = page(op.name), op.types[0]
    if isinstance(definition, RegionOp) or op.types[1:] or not _small(type):
        raise NotRead(f"`{op.name}` is not taken apart")
    if op.name == "cast" and type.is_float:
        return operands[0]
    moves = {i for i, x in enumerate(operands) if isinstance(x, Moving)}
    groups = definition.linear_groups(len(operands))
    group = next((set(g) for g in groups if moves <= set(g)), None)
    if group is not None and type.is_float and (not bounds or op.name in _BOUNDABLE):
        return _linear(op, operands, types, group, bounds)
    if bounds:
        return _by_slope(op, operands, types, definition)
    raise NotRead(f"`{op.name}` is not linear in the states")


def _linear(
    op: Op, operands: list[Meaning], types: list[TensorType], group: set[int], bounds: bool
) -> Moving:
    held: dict[int, np.ndarray] = {}
    for i, x in enumerate(operands):
        if i in group:
            continue
        if not isinstance(x, Fixed):
            raise NotRead(f"`{op.name}` takes a factor that is not known before the run")
        held[i] = np.abs(x.array) if bounds and x.array.dtype == object else x.array
    act = _act(op, bounds)
    numbers = sorted({j for x in operands if isinstance(x, Moving) for j in x.columns})
    columns = {}
    for j in numbers:
        given = []
        for i, x in enumerate(operands):
            own = x.columns.get(j) if isinstance(x, Moving) else None
            given.append(held[i] if i in held else own if own is not None else _zeros(types[i]))
        column = _tried(act, given, op)
        if column.any():
            columns[j] = column
    return Moving(columns)


def _act(op: Op, bounds: bool) -> Callable[..., Any]:
    definition, attributes = page(op.name), dict(op.attributes)
    if bounds and op.name == "subtract":
        return page("add").evaluate
    if bounds and op.name == "negate":
        return lambda x: x
    return lambda *given: definition.evaluate(*given, **attributes)


def _tried(act: Callable[..., Any], given: list[np.ndarray], op: Op) -> np.ndarray:
    try:
        return _checked(act(*given))
    except ZeroDivisionError:
        raise NotRead("a division by zero") from None
    except (TypeError, ValueError, AttributeError):
        raise NotRead(f"`{op.name}` does not act on fractions") from None


def _by_slope(op: Op, operands: list[Meaning], types: list[TensorType], definition: Any) -> Moving:
    """Entry by entry, the slope times the column: of a function of one number, or of the larger of two."""
    if isinstance(definition, Elementwise) or op.name in ("soft_threshold", "leaky_relu", "elu"):
        if not isinstance(operands[0], Moving) or any(isinstance(x, Moving) for x in operands[1:]):
            raise NotRead(f"`{op.name}` has no slope in its threshold")
        known = [Known(type) for type in types]
        slope = definition.gain(0, known, **dict(op.attributes)).hi
        if not isinstance(slope, Fraction):
            raise NotRead(f"`{op.name}` has no bounded slope")
        shape = _shape(op.types[0])
        columns = operands[0].columns
        return Moving({j: np.asarray(np.broadcast_to(c, shape) * slope) for j, c in columns.items()})
    if op.name in ("maximum", "minimum"):
        shape, total = _shape(op.types[0]), {}
        for x in operands:
            for j, c in x.columns.items() if isinstance(x, Moving) else ():
                c = np.broadcast_to(c, shape)
                total[j] = np.asarray(np.maximum(total[j], c)) if j in total else c
        return Moving(total)
    raise NotRead(f"`{op.name}` has no bound for each entry")


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


def _zeros(type: TensorType) -> np.ndarray:
    found = np.empty(_shape(type), object)
    found[...] = Fraction(0)
    return found


def _shape(type: TensorType) -> tuple[int, ...]:
    if not all(isinstance(size, int) for size in type.shape):
        raise NotRead("a size that is not known before the run")
    return tuple(int(size) for size in type.shape)  # type: ignore[arg-type]


def _entries(type: TensorType) -> int:
    if not type.is_float:
        raise NotRead("a state that is no real number")
    return int(np.prod(_shape(type), dtype=np.int64))


def _small(type: TensorType) -> bool:
    return int(np.prod(_shape(type), dtype=np.int64)) <= _LARGEST
