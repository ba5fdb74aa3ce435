"""Writes ONNX nodes into nested graphs, each as far outside as what it reads allows.

A value remembers the depth of the graph that makes it. A node goes into the outermost graph in which all
that it reads exists, so what does not change in a loop is computed once, before it. A branch of an `If` is
a wall: what only one branch needs is not computed for the other. Equal nodes are written once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from banach.ir.quantised import Quantised
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType, numpy_dtype

ELEMENTS = {
    "float64": TensorProto.DOUBLE,
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
}


@dataclass(frozen=True, slots=True)
class Ref:
    """A value on its way into the file: a name, or something that is written only when it is read.

    `constant` becomes an initializer, `transposed` a Transpose of its last two axes, `stretched` an Expand.
    """

    type: TensorType
    name: str = ""
    depth: int = 0
    constant: Tensor | None = None
    transposed: "Ref | None" = None
    stretched: "Ref | None" = None


@dataclass(slots=True)
class Scope:
    """A graph being written. `reach` is the depth of the innermost outer graph that it reads."""

    branch: bool
    nodes: list[NodeProto] = field(default_factory=list)
    known: dict[tuple[Any, ...], Ref] = field(default_factory=dict)
    reach: int = 0


@dataclass(frozen=True, slots=True)
class Body:
    """A finished inner graph, and the depth of the innermost graph that it reads."""

    graph: GraphProto
    reach: int


class Emitter:
    """The file being written. `shape` gives a shape as an int64 vector; see sizes.py.

    A constant whose digest is in `quantised` is kept as that says.
    """

    def __init__(self, taken: Iterable[str], quantised: Mapping[str, Quantised] | None = None):
        self.scopes = [Scope(branch=False)]
        self._quantised = dict(quantised or {})
        self.initializers: dict[str, TensorProto] = {}
        self._taken = set(taken)
        self._count = 0
        self._digests: dict[str, str] = {}

    def fresh(self, stem: str) -> str:
        """A name that nothing else in the file has, in no graph."""
        while True:
            self._count += 1
            name = f"{stem}_{self._count}"
            if name not in self._taken:
                return name

    def constant(self, value: Any, dtype: str) -> Ref:
        """A constant of the given dtype."""
        tensor = Tensor(np.asarray(value, numpy_dtype(dtype)))
        return Ref(tensor.type, constant=tensor)

    def vector(self, numbers: Sequence[int]) -> Ref:
        """An int64 vector of constants: axes, shapes."""
        return self.constant(np.asarray(numbers, np.int64).reshape(len(numbers)), "int64")

    def shape(self, shape: Sequence[Any]) -> Ref:
        """A shape as an int64 vector; a file with named sizes replaces this (sizes.py)."""
        return self.vector(shape)

    def settle(self, ref: Ref) -> Ref:
        """The value under a name of its own."""
        if ref.constant is not None:
            return Ref(ref.type, self._initializer(ref.constant))
        if ref.transposed is not None:
            rank = ref.type.rank
            order = (*range(rank - 2), rank - 1, rank - 2)
            return self.node("Transpose", [ref.transposed], ref.type, perm=order)
        if ref.stretched is not None:
            return self.node("Expand", [ref.stretched, self.shape(ref.type.shape)], ref.type)
        return ref

    def node(
        self,
        op_type: str,
        operands: Sequence[Ref],
        type: TensorType,
        *,
        free: bool = False,
        skipped: int = 0,
        **attributes: Any,
    ) -> Ref:
        """The result of a node, or the one after `skipped` others, which are not used.

        `free`: it costs nothing, so not even a branch keeps it inside.
        """
        settled = [self.settle(operand) for operand in operands]
        names = tuple(ref.name for ref in settled)
        key = (op_type, names, type.dtype, tuple(attributes.items()))
        reads = max((ref.depth for ref in settled), default=0)
        place = self._place(reads, free or not _traps(op_type, type))
        for depth in range(reads, place + 1):
            if key in self.scopes[depth].known:
                return self._read(self.scopes[depth].known[key])
        name = self.fresh(op_type.lower())
        outputs = [*(self.fresh("unused") for _ in range(skipped)), name]
        self.scopes[place].nodes.append(helper.make_node(op_type, names, outputs, name=name, **attributes))
        for ref in settled:
            self._read(ref, place)
        result = self.scopes[place].known[key] = Ref(type, name, place)
        return self._read(result)

    def regions(
        self,
        op_type: str,
        operands: Sequence[Ref],
        types: Sequence[TensorType],
        bodies: Mapping[str, Body],
        **attributes: Any,
    ) -> list[Ref]:
        """The results of a node that holds graphs."""
        settled = [self.settle(operand) for operand in operands]
        place = self._place(
            max([ref.depth for ref in settled] + [body.reach for body in bodies.values()]), True
        )
        results = [Ref(type, self.fresh(op_type.lower()), place) for type in types]
        for ref in settled:
            self._read(ref, place)
        graphs = {role: body.graph for role, body in bodies.items()}
        names, outputs = [ref.name for ref in settled], [ref.name for ref in results]
        self.scopes[place].nodes.append(
            helper.make_node(op_type, names, outputs, name=outputs[0], **graphs, **attributes)
        )
        return [self._read(ref) for ref in results]

    def body(
        self,
        stem: str,
        types: Sequence[TensorType],
        make: Callable[[list[Ref]], Sequence[Ref]],
        branch: bool = False,
    ) -> Body:
        """An inner graph: `make` writes it, reading its inputs, and returns its outputs."""
        depth = len(self.scopes)
        self.scopes.append(Scope(branch))
        name = self.fresh(stem)
        inputs = [Ref(type, self.fresh(f"{stem}_in"), depth) for type in types]
        outputs = [self.settle(ref) for ref in make(inputs)]
        results: list[Ref] = []
        made = {output for node in self.scopes[depth].nodes for output in node.output}
        for ref in outputs:
            made_once = ref.name in made and all(ref.name != other.name for other in results)
            results.append(ref if made_once else self._copied(ref))
        scope = self.scopes.pop()
        graph = helper.make_graph(scope.nodes, name, list(map(info, inputs)), list(map(info, results)))
        return Body(graph, scope.reach)

    def _copied(self, ref: Ref) -> Ref:
        """A copy made by the innermost graph itself: only such a value may be its output."""
        depth, name = len(self.scopes) - 1, self.fresh("identity")
        self._read(ref)
        self.scopes[depth].nodes.append(helper.make_node("Identity", [ref.name], [name], name=name))
        return Ref(ref.type, name, depth)

    def _place(self, reads: int, hoist: bool) -> int:
        """The graph that a node goes to: the outermost that has all it reads, inside the last branch."""
        inside = len(self.scopes) - 1
        if not hoist:
            return inside
        walls = (depth for depth in range(inside, 0, -1) if self.scopes[depth].branch)
        return max(reads, next(walls, 0))

    def _read(self, ref: Ref, depth: int | None = None) -> Ref:
        """Notes that a graph reads a value of an outer one."""
        for inner in self.scopes[ref.depth + 1 : None if depth is None else depth + 1]:
            inner.reach = max(inner.reach, ref.depth)
        return ref

    def _initializer(self, tensor: Tensor) -> str:
        if tensor.digest not in self._digests:
            found = self._quantised.get(tensor.digest)
            name = self._kept(tensor) if found is None else self._dequantised(found, tensor.type)
            self._digests[tensor.digest] = name
        return self._digests[tensor.digest]

    def _kept(self, tensor: Tensor) -> str:
        name = self.fresh("constant")
        self.initializers[name] = numpy_helper.from_array(tensor.array, name)
        return name

    def _dequantised(self, found: Quantised, type: TensorType) -> str:
        """The weights from what is kept of them, worked out once, before any loop."""
        parts = [self._initializer(part) for part in (found.numbers, found.scale)]
        name, nodes = self.fresh("weight"), self.scopes[0].nodes
        node = helper.make_node("DequantizeLinear", parts, [name], name=name)
        if found.scale.array.ndim:
            node.attribute.append(helper.make_attribute("axis", found.axis))
        nodes.append(node)
        if type.dtype == "float32":
            return name
        cast = self.fresh("cast")
        nodes.append(helper.make_node("Cast", [name], [cast], name=cast, to=ELEMENTS[type.dtype]))
        return cast


def info(ref: Ref) -> ValueInfoProto:
    """The declaration of a value: its name, dtype and shape, named sizes by their text."""
    shape = [size if isinstance(size, int) else str(size) for size in ref.type.shape]
    return helper.make_tensor_value_info(ref.name, ELEMENTS[ref.type.dtype], shape)


def _traps(op_type: str, type: TensorType) -> bool:
    """Whether a node may fail for some operands: an integer division by zero ends the process."""
    return op_type in ("Div", "Mod") and not type.is_float
