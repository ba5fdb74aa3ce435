"""Which entries of a step's new states may read which entries of the old ones.

Every value of the step has one bit for every entry of the states, packed along a last axis. An operation on
entries joins the bits of its operands, one that moves entries moves their bits, a sum over an axis joins
them along it, and a factor that is known to be 0 reads nothing. What is not known so well reads everything
that any of its operands does.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from banach.compiler.elaboration.analysis.entrywise import NotRead, kept_states, only, shape_of
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.words.spoken import trusted
from banach.ir.graph import Graph, Op, prune
from banach.ir.primitive import page
from banach.ir.primitives.reduction import Reduction
from banach.ir.primitives.regions import RegionOp
from banach.ir.primitives.shape import Rearrangement
from banach.ir.tensor_type import TensorType

_MOST = 1024  # entries of all states
_LARGEST = 1 << 22  # entries of a value times those of the states, by eight
_KNOWN = 1 << 18  # entries of a value that is worked out

# Operations that are not defined, or not finite, for all numbers in these operands.
PARTIAL = {
    **dict.fromkeys(("log", "log1p", "sqrt", "inverse", "log_det", "cholesky", "svd", "qr"), (0,)),
    **dict.fromkeys(("solve", "solve_positive", "solve_triangular"), (0,)),
    **dict.fromkeys(("divide", "floor_divide", "modulo"), (1,)),
    **dict.fromkeys(
        ("take", "take_along", "scatter_add", "scatter_set", "scatter_max", "scatter_along"), (1,)
    ),
    "power": (0, 1),
}
_PLACED = ("transpose", "reshape", "broadcast")  # beside the rearrangements


@dataclass(frozen=True, slots=True)
class Seen:
    """The bits of a value, packed along the last axis, None where it reads no state; what it is, if known."""

    bits: np.ndarray | None
    known: np.ndarray | None = None


def pattern(claim: Claim) -> tuple[tuple[str, ...], np.ndarray]:
    """The states that matter, and a square matrix of truth values: whether entry i of their new values may
    read entry j of the old ones. NotRead: the states are too large, or the step is not defined everywhere.
    """
    if not claim.recipe.plain:
        raise NotRead("it holds states for some steps, or reads old ones")
    graph = claim.solved.step
    kept = kept_states(claim, graph)
    own = graph.inputs[: len(graph.inputs) - len(claim.solved.captures)]
    sizes = {port.name: _count(port.type) for port in own if port.name in kept}
    total = sum(sizes.values())
    if not 0 < total <= _MOST:
        raise NotRead(f"its states have {total} entries, and 1 to {_MOST} are followed")
    units = np.packbits(np.eye(total, dtype=bool), axis=-1)
    inputs, start = [], 0
    for port in own:
        if port.name in sizes:
            inputs.append(Seen(units[start : start + sizes[port.name]].reshape(*shape_of(port.type), -1)))
            start += sizes[port.name]
        else:
            inputs.append(Seen(None))
    found = _run(only(graph, kept), [*inputs, *_outer(claim)])
    rows = [
        np.zeros((sizes[name], units.shape[1]), np.uint8)
        if seen.bits is None
        else seen.bits.reshape(sizes[name], -1)
        for name, seen in zip(kept, found)
    ]
    return tuple(kept), np.unpackbits(np.concatenate(rows), axis=-1, count=total).astype(bool)


def depth(reads: np.ndarray) -> int | None:
    """How many entries stand in the longest chain in which each reads the one before; None: in a circle."""
    waiting = reads.sum(axis=1)
    settled = np.zeros(len(reads), bool)
    rounds = 0
    while not settled.all():
        ready = (waiting == 0) & ~settled
        if not ready.any():
            return None
        settled |= ready
        waiting = waiting - reads[:, ready].sum(axis=1)
        rounds += 1
    return rounds


def _outer(claim: Claim) -> list[Seen]:
    """What is known of the values that the step takes from the graph around it."""
    named = {str(i): v for i, v in enumerate(claim.solved.captures)}
    graph = prune(claim.context.scope.build.finish(named))
    try:
        return _run(graph, [Seen(None)] * len(graph.inputs))
    except NotRead:
        return [Seen(None)] * len(named)


def _run(graph: Graph, inputs: list[Seen]) -> list[Seen]:
    known, types = list(inputs), [port.type for port in graph.inputs]
    for op in graph.ops:
        operands = [known[v] for v in op.operands]
        known += _applied(op, operands, [types[v] for v in op.operands])
        types += op.types
    return [known[v] for v in graph.outputs]


def _applied(op: Op, operands: list[Seen], types: list[TensorType]) -> list[Seen]:
    if all(seen.bits is None for seen in operands):
        return [Seen(None, _value(op, operands))] * len(op.types)
    _demand_defined(op, operands)
    width = next(seen.bits.shape[-1] for seen in operands if seen.bits is not None)
    if any(_count(type) * width > _LARGEST for type in op.types):
        raise NotRead(f"`{op.name}` has too many entries")
    return [Seen(_bits(op, operands, types, type)) for type in op.types]


def _value(op: Op, operands: list[Seen]) -> np.ndarray | None:
    if op.name == "constant":
        return np.asarray(op.attribute("value").array)
    apart = isinstance(page(op.name), RegionOp) or bool(op.types[1:]) or trusted(op.name)
    if apart or _count(op.types[0]) > _KNOWN or any(seen.known is None for seen in operands):
        return None
    try:
        with np.errstate(all="ignore"):
            return np.asarray(
                page(op.name).evaluate(*(seen.known for seen in operands), **dict(op.attributes))
            )
    except (KeyError, IndexError, NotRead):  # a size that only the run knows, or a place outside
        return None


def _demand_defined(op: Op, operands: list[Seen]) -> None:
    """That the operation has a value whatever the states are. NotRead: it may not."""
    if trusted(op.name):
        raise NotRead(f"nothing is known of `{op.name}`")
    if isinstance(page(op.name), RegionOp):
        if op.name in ("fix", "while"):
            raise NotRead("it solves another equation in every step")
        inner = {name for region in op.regions for name in _names(region)}
        for name in sorted(inner & (PARTIAL.keys() | {"fix", "while"})):
            raise NotRead(f"`{name}` may have no value there")
    for i in PARTIAL.get(op.name, ()):
        if operands[i].bits is not None and not (op.name == "power" and _is_whole(operands[1].known)):
            raise NotRead(f"`{op.name}` may have no value for some states")


def _is_whole(exponent: np.ndarray | None) -> bool:
    return exponent is not None and bool((exponent >= 0).all() and (exponent == np.round(exponent)).all())


def _names(graph: Graph) -> set[str]:
    return {op.name for op in graph.ops}.union(*(_names(region) for op in graph.ops for region in op.regions))


def _bits(op: Op, operands: list[Seen], types: list[TensorType], type: TensorType) -> np.ndarray:
    definition = page(op.name)
    if not isinstance(definition, RegionOp) and len(op.types) == 1:
        if isinstance(definition, Rearrangement) or op.name in _PLACED:
            return _moved(op, operands, types)
        if op.name == "take" and operands[1].known is not None:
            return _moved(op, operands[:1], types[:1], operands[1].known)
        if isinstance(definition, Reduction):
            return _joined(operands[0].bits, op.attribute("axes"), shape_of(type))
        if op.name in ("argmax", "argmin"):
            return _joined(operands[0].bits, (op.attribute("axis"),), shape_of(type))
        if op.name == "one_hot":
            return _spread(operands[0].bits[..., None, :], shape_of(type))  # type: ignore[index]
        if op.name in ("matvec", "matmul"):
            return _product(op.name, operands, types, type)
        if definition.core is not None:
            return _by_lane(op, definition.core or (0,) * len(operands), operands, types, type)
    everything = [
        np.bitwise_or.reduce(_flat(seen.bits), axis=0) for seen in operands if seen.bits is not None
    ]
    return _spread(reduce(np.bitwise_or, everything), shape_of(type))


def _by_lane(
    op: Op, core: tuple[int, ...], operands: list[Seen], types: list[TensorType], type: TensorType
) -> np.ndarray:
    """Of an operation that takes some last axes of each operand, and broadcasts along those before them."""
    shape = shape_of(type)
    parts, lanes = [], max(len(own.shape) - taken for own, taken in zip(types, core))
    for i, (seen, own, taken) in enumerate(zip(operands, types, core)):
        if seen.bits is None:
            continue
        bits = _joined(seen.bits, tuple(range(-taken, 0)), shape_of(own)[: len(own.shape) - taken])
        for other, held in enumerate(operands):  # a factor 0, and the branch that is not taken
            if held.known is not None and other != i:
                bits = _silenced(op.name, i, other, bits, held.known)
        parts.append(bits.reshape(*bits.shape[:-1], *(1,) * (len(shape) - lanes), bits.shape[-1]))
    return _spread(reduce(np.bitwise_or, (_spread(bits, shape) for bits in parts)), shape)


def _silenced(name: str, i: int, other: int, bits: np.ndarray, held: np.ndarray) -> np.ndarray:
    match name, i, other:
        case ("multiply", _, _):
            reads = held != 0
        case ("mask", 0, 1):
            reads = held.astype(bool)
        case ("select", 1, 0):
            reads = held.astype(bool)
        case ("select", 2, 0):
            reads = ~held.astype(bool)
        case _:
            return bits
    return np.where(reads[..., None], bits, np.uint8(0))


def _moved(op: Op, operands: list[Seen], types: list[TensorType], *held: Any) -> np.ndarray:
    """The operation is run on the numbers of the entries; 0 stands for an entry that reads nothing."""
    width = next(seen.bits.shape[-1] for seen in operands if seen.bits is not None)
    table, ids = [np.zeros((1, width), np.uint8)], []
    for seen, type in zip(operands, types):
        shape, count = shape_of(type), _count(type)
        if seen.bits is None:
            ids.append(np.zeros(shape, np.int64))
            continue
        ids.append(sum(len(part) for part in table) + np.arange(count).reshape(shape))
        table.append(_flat(seen.bits))
    try:
        places = page(op.name).evaluate(*ids, *held, **dict(op.attributes))
    except IndexError as why:
        raise NotRead(str(why)) from None
    return np.asarray(np.concatenate(table)[places])


def _product(name: str, operands: list[Seen], types: list[TensorType], type: TensorType) -> np.ndarray:
    """y_ij reads what A_ik and B_kj do, for all k with neither of them known to be 0."""
    left, right = operands
    a, b = _operand(left, types[0]), _operand(right, types[1])
    if name == "matvec":
        b = (None if b[0] is None else b[0][..., None, :], b[1][..., None])
    total: Any = None
    if a[1].all() and b[1].all():  # nothing to leave out
        a, b = (_whole(a, -1), _whole(b, -2))
    for k in range(a[1].shape[-1]):
        both = a[1][..., :, k, None] & b[1][..., k, None, :]
        part: Any = np.uint8(0)
        if a[0] is not None:
            part = part | a[0][..., :, k, None, :]
        if b[0] is not None:
            part = part | b[0][..., k, None, :, :]
        part = np.where(both[..., None], part, np.uint8(0))
        total = part if total is None else total | part
    if total is None:
        raise NotRead("a product of nothing")
    if name == "matvec":
        total = total[..., 0, :]
    return _spread(total, shape_of(type))


def _operand(seen: Seen, type: TensorType) -> tuple[np.ndarray | None, np.ndarray]:
    """The bits of a factor, and where it may not be 0."""
    shape = shape_of(type)
    return seen.bits, np.ones(shape, bool) if seen.known is None else np.broadcast_to(seen.known != 0, shape)


def _whole(factor: tuple[np.ndarray | None, np.ndarray], axis: int) -> tuple[np.ndarray | None, np.ndarray]:
    """A factor with its rows, or columns, joined to one entry each."""
    bits, reads = factor
    bits = None if bits is None else np.bitwise_or.reduce(bits, axis=axis - 1, keepdims=True)
    return bits, np.asarray(reads.any(axis=axis, keepdims=True))


def _joined(bits: np.ndarray | None, axes: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    if bits is None:
        raise NotRead("nothing is read")
    axes = tuple(axis - 1 for axis in axes)
    return np.asarray(np.bitwise_or.reduce(bits, axis=axes)).reshape(*shape, -1) if axes else bits


def _spread(bits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(bits, (*shape, bits.shape[-1]))


def _flat(bits: np.ndarray | None) -> np.ndarray:
    assert bits is not None
    return bits.reshape(-1, bits.shape[-1])


def _count(type: TensorType) -> int:
    return int(np.prod(shape_of(type), dtype=np.int64))
