"""How each primitive is said in torch: the backend's own table, for what a bare function name cannot say.

Every entry turns one operation into nodes of a torch.fx graph. Numbers without axes stand in the code as
numbers where torch takes them, so `2.0 * x` prints as that and needs no buffer.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node

from banach.ir.dims import Size
from banach.ir.graph import Op
from banach.ir.tensor_type import TensorType

Plain = Node | int | float | bool

FAMILIES = "banach.backends.fx.families"  # further tables: a file for each family, which is found by walking

DTYPES: Mapping[str, torch.dtype] = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "bool": torch.bool,
}


@dataclass(frozen=True, slots=True)
class Site:
    """Where one operation is lowered: `node(i)` is operand i as a tensor, `plain(i)` the same, or a number
    where it is a constant without axes; `size` gives a size's number, `device` where the module lives."""

    graph: Graph
    op: Op
    types: Sequence[TensorType]
    node: Callable[[int], Node]
    plain: Callable[[int], Plain]
    size: Callable[[Size], int | Node]
    device: Callable[[], Node]

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Node:
        return self.graph.create_node("call_function", function, arguments, options, self.op.name)

    def method(self, name: str, *arguments: Any, **options: Any) -> Node:
        return self.graph.create_node("call_method", name, arguments, options, self.op.name)

    def nodes(self) -> list[Node]:
        return [self.node(i) for i in range(len(self.op.operands))]

    def shape(self, shape: Sequence[Size]) -> tuple[int | Node, ...]:
        return tuple(self.size(size) for size in shape)

    @property
    def type(self) -> TensorType:
        return self.op.types[0]

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.type.dtype]

    def attribute(self, name: str) -> Any:
        return self.op.attribute(name)


Emit = Callable[[Site], Node]


def _infix(function: Callable[[Any, Any], Any]) -> Emit:
    """An operator of Python; one of the operands may be a number."""

    def emit(site: Site) -> Node:
        x, y = site.plain(0), site.plain(1)
        if not isinstance(x, Node) and not isinstance(y, Node):
            x, y = site.nodes()
        return site.call(function, x, y)

    return emit


def _clamp(side: str, function: Callable[[Any, Any], Any]) -> Emit:
    """`max(x, number)` is a clamp, whose derivative at a tie goes to x, as the page says."""

    def emit(site: Site) -> Node:
        bound = site.plain(1)
        if isinstance(bound, Node):
            return site.call(function, *site.nodes())
        return site.call(torch.clamp, site.node(0), **{side: bound})

    return emit


def _divide(site: Site) -> Node:
    if not site.type.is_float:
        return site.method("to", site.call(operator.truediv, *site.nodes()), site.dtype)
    x, y = site.plain(0), site.plain(1)
    # torch divides a number by multiplying it with the reciprocal, which rounds twice unless it is 1.
    if not isinstance(x, Node) and (x != 1 or not isinstance(y, Node)):
        x = site.node(0)
    return site.call(operator.truediv, x, y)


def _select(site: Site) -> Node:
    x, y = site.plain(1), site.plain(2)
    if not isinstance(x, Node) and not isinstance(y, Node):
        x, y = site.node(1), site.node(2)
    return site.call(torch.where, site.node(0), x, y)


def _sign(site: Site) -> Node:
    # torch.sign(NaN) is 0; a NaN must stay one.
    x = site.node(0)
    return site.call(torch.where, site.call(torch.isnan, x), x, site.call(torch.sign, x))


def _soft_threshold(site: Site) -> Node:
    # x minus its projection on [-t, t], as the oracle has it.
    x, t = site.node(0), site.plain(1)
    low = site.call(operator.neg, t) if isinstance(t, Node) else -t
    return site.call(operator.sub, x, site.call(torch.clamp, x, low, t))


def _softplus(site: Site) -> Node:
    # torch returns x itself above the threshold; log1p(e^-40) is far below the last digit of 40.
    return site.call(torch.nn.functional.softplus, site.node(0), threshold=40.0)


def _count(site: Site) -> Node:
    return site.call(torch.arange, site.size(site.attribute("size")), dtype=site.dtype, device=site.device())


def _extent(site: Site) -> Node:
    return site.call(
        torch.full, (), site.size(site.attribute("size")), dtype=site.dtype, device=site.device()
    )


def _cast(site: Site) -> Node:
    return site.method("to", site.node(0), site.dtype)


def _sum(site: Site) -> Node:
    axes = site.attribute("axes")
    if not axes:  # for torch no axes are all axes
        return site.node(0)
    widened = {} if site.type.is_float else {"dtype": site.dtype}
    return site.call(torch.sum, site.node(0), axes, **widened)


def _reduce_max(site: Site) -> Node:
    axes = site.attribute("axes")
    return site.call(torch.amax, site.node(0), axes) if axes else site.node(0)


def _norm(site: Site) -> Node:
    axes = site.attribute("axes")
    if not axes:
        return site.call(torch.abs, site.node(0))
    return site.call(torch.linalg.vector_norm, site.node(0), dim=axes)


def _reshape(site: Site) -> Node:
    return site.method("reshape", site.node(0), site.shape(site.type.shape))


def _broadcast(site: Site) -> Node:
    return site.method("expand", site.node(0), site.shape(site.type.shape))


def _transpose(site: Site) -> Node:
    permutation, rank = site.attribute("permutation"), site.type.rank
    if permutation == (-1, -2):
        return site.method("transpose", site.node(0), -1, -2)
    leading = range(rank - len(permutation))
    return site.method("permute", site.node(0), (*leading, *(axis + rank for axis in permutation)))


def _slice(site: Site) -> Node:
    axis, start, stop = (site.attribute(name) for name in ("axis", "start", "stop"))
    return site.method("narrow", site.node(0), axis, site.size(start), site.size(stop - start))


def _pad(site: Site) -> Node:
    before, after = site.size(site.attribute("before")), site.size(site.attribute("after"))
    widths = (*(0, 0) * (-1 - site.attribute("axis")), before, after)
    return site.call(torch.nn.functional.pad, site.node(0), widths)


def _concatenate(site: Site) -> Node:
    return site.call(torch.cat, site.nodes(), site.attribute("axis"))


def _linear(site: Site) -> Node:
    matrix, x = site.nodes()
    return site.call(torch.nn.functional.linear, x, matrix)


def _detach(site: Site) -> Node:
    return site.method("detach", site.node(0))


TABLE: Mapping[str, Emit] = {
    "add": _infix(operator.add),
    "subtract": _infix(operator.sub),
    "multiply": _infix(operator.mul),
    "divide": _divide,
    "power": _infix(operator.pow),
    "maximum": _clamp("min", torch.maximum),
    "minimum": _clamp("max", torch.minimum),
    "less": _infix(operator.lt),
    "less_equal": _infix(operator.le),
    "equal": _infix(operator.eq),
    "negate": lambda site: site.call(operator.neg, site.node(0)),
    "select": _select,
    "sign": _sign,
    "soft_threshold": _soft_threshold,
    "softplus": _softplus,
    "count": _count,
    "extent": _extent,
    "cast": _cast,
    "stop_gradient": _detach,
    "sum": _sum,
    "reduce_max": _reduce_max,
    "norm": _norm,
    "reshape": _reshape,
    "broadcast": _broadcast,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
    "concatenate": _concatenate,
    "matvec": _linear,
}
