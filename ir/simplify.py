"""Simplifications that no backend and no solver need know of: each rule exact, with its law beside it."""

import math
from typing import Any

import numpy as np

from banach.ir.graph import Builder, Graph, Value
from banach.ir.primitive import page
from banach.ir.rewrite import Journal, Match, Refusal, Rule, Site, rewrite
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType, numpy_dtype

FOLDED = 64  # a constant that folding makes has at most so many entries,
GROWTH = 4  # or so many times those it replaces,
LARGEST = 4 << 20  # and never more bytes than this: a file is sent, and read, more often than it is computed


def simplify(graph: Graph, journal: Journal | None = None) -> Graph:
    """The graph after every rule of this page, without common subexpressions and dead code."""
    return rewrite(graph, RULES, journal)


# --- what a rule's right side is ----------------------------------------------------------------------------


def _itself(build: Builder, x: Value) -> Value:
    return x


def _stretched(site: Site, x: Value) -> Match:
    """x, where the operation that goes away may have stretched it."""
    if (x.type.dtype, x.type.space) != (site.type.dtype, site.type.space):
        return Refusal(f"{x.type} is not of the kind of {site.type}")
    return x, site.type


def _stretch(build: Builder, x: Value, type: TensorType) -> Value:
    return x if x.type == type else build.op("broadcast", x, shape=type.shape)


# --- arithmetic ---------------------------------------------------------------------------------------------


def _neutral(site: Site, number: float, places: tuple[int, ...]) -> Match:
    """The other operand, where one of those at `places` is this number in every entry."""
    for i in places:
        entries = site.constant(site.operand(i))
        if entries is not None and entries.size and np.all(entries == number):
            return _stretched(site, site.operand(1 - i))
    return None


def _twice(site: Site) -> Match:
    """What an operation was applied to that is its own inverse."""
    inner = site.maker(site.operand(0))
    return (site.value(inner.operands[0]),) if inner is not None and inner.name == site.op.name else None


def _plus_negated(site: Site) -> Match:
    for i in (0, 1):
        inner = site.maker(site.operand(i))
        if inner is not None and inner.name == "negate":
            return site.operand(1 - i), site.value(inner.operands[0])
    return None


def _minus_negated(site: Site) -> Match:
    inner = site.maker(site.operand(1))
    return (
        (site.operand(0), site.value(inner.operands[0]))
        if inner is not None and inner.name == "negate"
        else None
    )


def _negated_difference(site: Site) -> Match:
    inner = site.maker(site.operand(0))
    if inner is None or inner.name != "subtract":
        return None
    return site.value(inner.operands[1]), site.value(inner.operands[0])


def _equal_branches(site: Site) -> Match:
    _, x, y = (site.operand(i) for i in range(3))
    return _stretched(site, x) if x.id == y.id else None


# --- shape --------------------------------------------------------------------------------------------------


def _unchanged(site: Site) -> Match:
    x = site.operand(0)
    return (x,) if x.type == site.type else None


def _inner(site: Site) -> Match:
    """What the inner one of two equal operations reads, and the type that the outer one gives."""
    inner = site.maker(site.operand(0))
    return (
        (site.value(inner.operands[0]), site.type)
        if inner is not None and inner.name == site.op.name
        else None
    )


def _reshape(build: Builder, x: Value, type: TensorType) -> Value:
    return build.op("reshape", x, shape=type.shape)


def _identity_order(site: Site) -> Match:
    order = site.op.attribute("permutation")
    return (site.operand(0),) if list(order) == list(range(-len(order), 0)) else None


def _orders(site: Site) -> Match:
    """What a transpose of a transpose reads, and both orders as one: z_i = y_q(i) = x_p(q(i))."""
    inner = site.maker(site.operand(0))
    if inner is None or inner.name != "transpose":
        return None
    rank = site.type.rank
    p, q = (_full(op.attribute("permutation"), rank) for op in (inner, site.op))
    return site.value(inner.operands[0]), tuple(p[axis] for axis in q)


def _full(permutation: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (*range(-rank, -len(permutation)), *permutation)


def _transpose(build: Builder, x: Value, permutation: tuple[int, ...]) -> Value:
    return build.op("transpose", x, permutation=permutation)


# --- constants ----------------------------------------------------------------------------------------------


def _constants(site: Site) -> Match:
    """The operation and its operands' entries, where it reads constants alone."""
    op = site.op
    if op.regions or len(op.types) != 1 or op.name in ("constant", "broadcast"):
        return None  # a stretched number is better kept as it is
    makers = []
    for v in op.operands:
        maker = site.maker(v)
        if maker is None or maker.name != "constant":
            return None
        makers.append(maker)
    shape = [size for size in site.type.shape if isinstance(size, int)]
    if len(shape) != site.type.rank or not _is_plain(op.attributes):
        return Refusal("a size is known by name only")
    arrays = [maker.attribute("value").array for maker in makers if maker is not None]
    entries, given = math.prod(shape), sum(array.size for array in arrays)
    if entries > max(FOLDED, GROWTH * given):
        return Refusal(f"{entries} entries would be stored for {given}")
    if entries * numpy_dtype(site.type.dtype).itemsize > LARGEST:
        return Refusal(f"{entries} entries of {site.type.dtype} are more than {LARGEST} bytes")
    if site.type.space != "euclidean":
        return Refusal(f"a constant has no space {site.type.space}")
    return op.name, arrays, dict(op.attributes), site.type


def _is_plain(value: Any) -> bool:
    """Whether no named size is in an attribute."""
    return (
        all(map(_is_plain, value))
        if isinstance(value, tuple)
        else isinstance(value, (int, float, str, Tensor))
    )


def _fold(
    build: Builder, name: str, arrays: list[np.ndarray], attributes: dict[str, Any], type: TensorType
) -> Value:
    with np.errstate(all="ignore"):
        found = page(name).evaluate(*arrays, **attributes)
    return build.constant(np.asarray(found, numpy_dtype(type.dtype)))


RULES = (
    Rule("add-zero", "add", "x + 0 = 0 + x = x", lambda s: _neutral(s, 0, (0, 1)), _stretch),
    Rule("subtract-zero", "subtract", "x - 0 = x", lambda s: _neutral(s, 0, (1,)), _stretch),
    Rule("multiply-one", "multiply", "x · 1 = 1 · x = x", lambda s: _neutral(s, 1, (0, 1)), _stretch),
    Rule("divide-one", "divide", "x / 1 = x", lambda s: _neutral(s, 1, (1,)), _stretch),
    Rule("negate-twice", "negate", "-(-x) = x", _twice, _itself),
    Rule("add-negated", "add", "x + (-y) = x - y", _plus_negated, lambda b, x, y: x - y),
    Rule("subtract-negated", "subtract", "x - (-y) = x + y", _minus_negated, lambda b, x, y: x + y),
    Rule("negate-difference", "negate", "-(x - y) = y - x", _negated_difference, lambda b, x, y: x - y),
    Rule("not-twice", "not", "¬¬x = x", _twice, _itself),
    Rule("select-equal", "select", "select(c, x, x) = x", _equal_branches, _stretch),
    Rule("reshape-unchanged", "reshape", "reshape(x, shape of x) = x", _unchanged, _itself),
    Rule("reshape-twice", "reshape", "reshape(reshape(x, s), t) = reshape(x, t)", _inner, _reshape),
    Rule("broadcast-unchanged", "broadcast", "broadcast(x, shape of x) = x", _unchanged, _itself),
    Rule("broadcast-twice", "broadcast", "broadcast(broadcast(x, s), t) = broadcast(x, t)", _inner, _stretch),
    Rule("cast-unchanged", "cast", "cast(x, dtype of x) = x", _unchanged, _itself),
    Rule("transpose-unchanged", "transpose", "transpose(x, identity) = x", _identity_order, _itself),
    Rule(
        "transpose-twice",
        "transpose",
        "transpose(transpose(x, p), q) = transpose(x, p∘q)",
        _orders,
        _transpose,
    ),
    Rule("fold", "", "f(constants) = constant, by the oracle", _constants, _fold),
)
