"""From a graph to a torch.nn.Module: one torch.fx GraphModule per graph, built node by node.

Plain operations are left to torch's own autograd, so that torch.compile and torch.export see nothing but
torch. Loops are modules of their own (loops.py), whose backward is our reverse derivative.
"""

import keyword
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Graph as Code
from torch.fx import Node

from banach.backends.fx.loops import Region, loop
from banach.backends.fx.module import Lowered, to_torch
from banach.backends.fx.operations import FAMILIES, TABLE, Plain, Site
from banach.ir import diagnostic
from banach.ir.diagnostic import Diagnostic, SpecError
from banach.ir.dims import Dim, Quotient, Size, names
from banach.ir.graph import Builder, Graph, Op, Port, prune
from banach.ir.primitive import page
from banach.ir.primitives.regions import RegionOp
from banach.ir.shelf import entries
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType, numpy_dtype

NO_LOWERING = diagnostic.Code(
    "B602",
    "no-lowering",
    """An operation has no meaning in this backend.

Its page names no torch function in `lowerings["fx"]` and has no `decompose`. A page that comes from another
package needs one of the two.
""",
)
UNSHOWN_SIZE = diagnostic.Code(
    "B603",
    "unshown-size",
    """A named size is needed while the model runs, and no input has an axis of exactly that size.

An axis of `2*n` does not show `n`. Give the size when lowering, or let an input show it.
""",
)
UNKNOWN_WEIGHT = diagnostic.Code(
    "B604",
    "unknown-weight",
    """A weight was named as trainable, and there is no such float input, or no array to start it from.""",
)

# Where a loop's largest number of iterations stands among its operands. The host reads it.
TRIP_CAP = {"fix": 1, "while": 0}

Held = Node | Tensor


def lower(
    graph: Graph,
    trainable: Mapping[str, np.ndarray | None] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Lowered:
    """The module of a graph. It takes the graph's inputs in order, and gives a tuple of its outputs.

    `trainable` names the inputs that become parameters of the module instead of arguments, each with the
    array it starts from (None: its default). Inputs at the end that have defaults may be left out. `sizes`
    gives the named sizes that no input shows. SpecError (B602, B603, B604): it cannot be lowered.
    """
    return _Lowering(prune(graph), _weights(graph, trainable or {}), sizes or {}, region=False).finish()


def lower_region(graph: Graph) -> Region:
    """The module of a region, and the named sizes that it takes behind its inputs."""
    lowering = _Lowering(prune(graph), {}, {}, region=True)
    return Region(lowering.finish(), tuple(lowering.handed))


def given(argument: Any, default: Any) -> Any:
    """The argument, or the default where it was left out."""
    return default if argument is None else argument


def identifier(name: str) -> str:
    """A name as a module of torch can have it: `x.tolerance` becomes x_tolerance, `lambda` lambda_."""
    clean = re.sub(r"\W", "_", name)
    if keyword.iskeyword(clean) or hasattr(Lowered, clean):
        return f"{clean}_"
    return clean if clean.isidentifier() else f"_{clean}"


@dataclass(frozen=True, slots=True)
class _Scope:
    """The values of one graph while it is lowered: nodes, and constants that may not need one."""

    graph: Graph
    values: list[Held]
    types: list[TensorType]


class _Lowering:
    def __init__(
        self, graph: Graph, weights: Mapping[str, np.ndarray], sizes: Mapping[str, int], region: bool
    ):
        self.graph, self.weights, self.region = graph, weights, region
        self.code = Code()
        self.root = torch.nn.Module()
        self.handed: dict[str, Node] = {}  # the sizes that a region takes
        self.sizes: dict[Size, int | Node] = {_bare(name): value for name, value in sizes.items()}
        self.constants: dict[Tensor, Node] = {}
        self.shown: dict[str, tuple[Node, int]] = {}
        self.home: Node | None = None
        self.last: Node | None = None  # the last placeholder

    def finish(self) -> Lowered:
        scope = _Scope(self.graph, self._inputs(), self.graph.types())
        outputs = self._run(
            scope, {v: identifier(n) for n, v in zip(self.graph.output_names, self.graph.outputs)}
        )
        self.code.output(tuple(self._node(value) for value in outputs))
        module = Lowered(self.root, self.code, identifier(self.graph.name))
        if self.home is not None:
            module._non_persistent_buffers_set.add("anchor")
        return module

    def _inputs(self) -> list[Held]:
        """Placeholders for the arguments, then the weights, and what stands for arguments left out."""
        ports = self.graph.inputs
        required = [
            i for i, port in enumerate(ports) if port.name not in self.weights and port.default is None
        ]
        optional = set() if self.region else set(range(required[-1] + 1 if required else 0, len(ports)))
        values: dict[int, Node] = {}
        for i, port in enumerate(ports):
            if port.name not in self.weights:
                arguments = (None,) if i in optional else ()
                name = identifier(port.name)
                self.last = values[i] = self.code.create_node("placeholder", name, arguments, {}, name)
        for i, port in enumerate(ports):
            if port.name in self.weights:
                values[i] = self._weight(port)
            elif i in optional:
                values[i] = self._or_default(values[i], i, port)
        for i, port in enumerate(ports):
            for axis, size in enumerate(port.type.shape):
                if str(size).isidentifier():
                    self.shown.setdefault(str(size), (values[i], axis))
        return [values[i] for i in range(len(ports))]

    def _weight(self, port: Port) -> Node:
        name = identifier(port.name)
        self.root.register_parameter(name, torch.nn.Parameter(to_torch(self.weights[port.name])))
        return self.code.create_node("get_attr", name, (), {}, name)

    def _or_default(self, argument: Node, index: int, port: Port) -> Node:
        assert port.default is not None
        if _is_trip_cap(self.graph, index):
            default: Any = int(port.default.array)
        else:
            default = self._buffer(f"default_{identifier(port.name)}", port.default)
        return self.code.create_node("call_function", given, (argument, default), {}, identifier(port.name))

    def _buffer(self, name: str, value: Tensor) -> Node:
        self.root.register_buffer(name, to_torch(value.array))
        return self.code.create_node("get_attr", name, (), {}, name)

    def _run(self, scope: _Scope, hints: Mapping[int, str]) -> list[Held]:
        for op in scope.graph.ops:
            scope.values.extend(self._lower(scope, op, hints))
        return [scope.values[v] for v in scope.graph.outputs]

    def _lower(self, scope: _Scope, op: Op, hints: Mapping[int, str]) -> list[Held]:
        definition, operands = page(op.name), [scope.values[v] for v in op.operands]
        types = [scope.types[v] for v in op.operands]
        if op.name == "constant":
            return [op.attribute("value")]
        if isinstance(definition, RegionOp):
            return self._lower_loop(scope.graph, op, operands, types, hints)
        site = Site(
            self.code,
            op,
            types,
            node=lambda i: self._node(operands[i]),
            plain=lambda i: self._plain(operands[i]),
            size=self._size,
            device=self._device,
        )
        emit = TABLE.get(op.name) or entries(FAMILIES, "TABLE").get(op.name)
        if emit is not None:
            result = emit(site)
        elif "fx" in definition.lowerings:
            result = site.call(_torch_function(definition.lowerings["fx"], op), *site.nodes())
        elif hasattr(definition, "decompose"):
            result = self._node(self._run(_decomposed(op, definition, operands, types), {})[0])
        else:
            message = f"the operation `{op.name}` cannot be said in torch"
            raise SpecError(
                [Diagnostic(NO_LOWERING, message, span=op.place, fix="give its page a `decompose`")]
            )
        if op.first in hints and result not in operands:
            result._rename(hints[op.first])  # the user's own name for an output
        return [result]

    def _lower_loop(
        self,
        graph: Graph,
        op: Op,
        operands: Sequence[Held],
        types: Sequence[TensorType],
        hints: Mapping[int, str],
    ) -> list[Held]:
        cap = TRIP_CAP.get(op.name)
        given_ = [self._plain(v) if i == cap else self._node(v) for i, v in enumerate(operands)]
        if op.name in ("call", "linear", "ruled"):
            region = lower_region(op.regions[0])
            target = self._submodule(identifier(op.regions[0].name), region.module)
            handed = [self._size(_bare(name)) for name in region.sizes]
            call = self.code.create_node("call_module", target, (*given_, *handed), {}, target)
        else:
            read = {*graph.outputs, *(v for other in graph.ops for v in other.operands)}
            module = loop(op, types, lower_region, [result in read for result in op.results])
            target = self._submodule(identifier(op.name), module)
            shown: dict[str, Any] = {name: self._size(_bare(name)) for name in _names_of(op, types)}
            call = self.code.create_node("call_module", target, tuple(given_), shown, target)
        return [
            self.code.create_node(
                "call_function", operator.getitem, (call, i), {}, hints.get(op.first + i, f"{target}_{i}")
            )
            for i in range(len(op.types))
        ]

    def _submodule(self, name: str, module: torch.nn.Module) -> str:
        taken = set(dir(self.root))
        free = next(n for n in (name, *(f"{name}_{i}" for i in range(1, len(taken) + 2))) if n not in taken)
        self.root.add_module(free, module)
        return free

    def _node(self, value: Held) -> Node:
        if isinstance(value, Node):
            return value
        if value not in self.constants:
            self.constants[value] = self._buffer(f"constant_{len(self.constants)}", value)
        return self.constants[value]

    def _plain(self, value: Held) -> Plain:
        if isinstance(value, Tensor) and not value.array.ndim:
            return value.array.item()
        return self._node(value)

    def _device(self) -> Node:
        """The device of the module: that of a buffer which `.to` moves along."""
        if self.home is None:
            self.root.register_buffer("anchor", torch.empty(0), persistent=False)
            anchor = self.code.create_node("get_attr", "anchor", (), {}, "anchor")
            self.home = self.code.create_node("call_function", getattr, (anchor, "device"), {}, "home")
        return self.home

    def _size(self, size: Size) -> int | Node:
        if isinstance(size, int):
            return size
        if size not in self.sizes:
            name = str(size)
            self.sizes[size] = self._named(name) if name.isidentifier() else self._polynomial(size)
        return self.sizes[size]

    def _named(self, name: str) -> Node:
        if name in self.shown and not self.region:
            value, axis = self.shown[name]
            return self.code.create_node("call_method", "size", (value, axis), {}, name)
        if not self.region:
            fault = f"no input shows the size `{name}`"
            fix = f"give it when lowering: sizes={{{name!r}: ...}}"
            raise SpecError([Diagnostic(UNSHOWN_SIZE, fault, fix=fix)])
        first = next(iter(self.code.nodes), None)
        after = self.code.inserting_after(self.last) if self.last else self.code.inserting_before(first)
        with after:
            self.last = self.handed[name] = self.code.create_node("placeholder", name, (), {}, name)
        return self.last

    def _polynomial(self, size: Dim) -> int | Node:
        total: int | Node = 0
        for monomial, coefficient in size.terms:
            term: int | Node = coefficient
            for atom, power in monomial:
                for _ in range(power):
                    factor = self._quotient(atom) if isinstance(atom, Quotient) else self._size(_bare(atom))
                    term = self._arithmetic(operator.mul, factor, term) if term != 1 else factor
            total = self._arithmetic(operator.add, total, term) if total != 0 else term
        return total

    def _quotient(self, atom: Quotient) -> int | Node:
        return self._arithmetic(operator.floordiv, self._size(atom.numerator), self._size(atom.denominator))

    def _arithmetic(self, function: Any, x: int | Node, y: int | Node) -> int | Node:
        if isinstance(x, int) and isinstance(y, int):
            return function(x, y)
        return self.code.create_node("call_function", function, (x, y), {}, "size")


def _bare(name: str) -> Dim:
    return Dim(((((name, 1),), 1),))


def _is_trip_cap(graph: Graph, value: int) -> bool:
    """Whether a value is nothing but the largest number of iterations of loops."""
    places = [(op.name, i) for op in graph.ops for i, v in enumerate(op.operands) if v == value]
    return value not in graph.outputs and bool(places) and all(TRIP_CAP.get(name) == i for name, i in places)


def _names_of(op: Op, types: Sequence[TensorType]) -> list[str]:
    """The named sizes in a loop's operands, results and attributes, and in its regions."""
    found: dict[str, None] = {}
    pending: list[Any] = [*types, *op.types, op.attributes, *op.regions]
    while pending:
        part = pending.pop(0)
        if isinstance(part, Dim):
            found.update(dict.fromkeys(names(part)))
        elif isinstance(part, TensorType):
            pending.extend(part.shape)
        elif isinstance(part, tuple):
            pending.extend(part)
        elif isinstance(part, Graph):
            for inner in part.ops:
                pending.extend([*inner.types, inner.attributes, *inner.regions])
    return list(found)


def _torch_function(name: str, op: Op) -> Any:
    for home in (torch, torch.nn.functional):
        if hasattr(home, name):
            return getattr(home, name)
    message = f"the page of `{op.name}` names torch's `{name}`, which does not exist"
    raise SpecError([Diagnostic(NO_LOWERING, message, span=op.place)])


def _decomposed(op: Op, definition: Any, operands: Sequence[Held], types: Sequence[TensorType]) -> _Scope:
    build = Builder(op.name)
    inputs = [build.input(f"x.{i}", type) for i, type in enumerate(types)]
    graph = build.finish({"y": definition.decompose(build, *inputs, **dict(op.attributes))})
    return _Scope(graph, list(operands), graph.types())


def _weights(graph: Graph, trainable: Mapping[str, np.ndarray | None]) -> dict[str, np.ndarray]:
    """The array that each trainable input starts from, in its own dtype."""
    ports = {port.name: port for port in graph.inputs}
    found: dict[str, np.ndarray] = {}
    for name, start in trainable.items():
        port = ports.get(name)
        if port is None or not port.type.is_float:
            known = ", ".join(name for name, port in ports.items() if port.type.is_float) or "none"
            fault = f"there is no float input `{name}` to train"
            raise SpecError([Diagnostic(UNKNOWN_WEIGHT, fault, fix=f"the float inputs are: {known}")])
        if start is None and port.default is None:
            fault = f"the weight `{name}` has no array to start from"
            raise SpecError(
                [Diagnostic(UNKNOWN_WEIGHT, fault, span=port.place, fix="give it one, or a default")]
            )
        array = port.default.array if start is None and port.default is not None else np.asarray(start)
        found[name] = array.astype(numpy_dtype(port.type.dtype))
    return found
