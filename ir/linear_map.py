"""Linear maps as things to calculate with: adjoint, composition, sum and scale; each is proved linear.

A map has its adjoint beside it, made once by the reverse derivative. So the adjoint of an adjoint is the map
it came from, and that of a composition is the composition of the adjoints, the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from banach.ir.graph import Builder, Graph, Port, Value, unused
from banach.ir.linearity import NotLinear, prove_linear
from banach.ir.primitives.linear_region import adjoint_graph
from banach.ir.reverse import reverse
from banach.ir.tensor_type import TensorType, TypeMismatch


@dataclass(frozen=True, slots=True)
class LinearMap:
    """x ↦ A(c) x, a graph whose first inputs are x and whose `captures` others are c; and y ↦ A(c)ᵀ y."""

    graph: Graph
    transposed: Graph
    captures: int

    @property
    def domain(self) -> tuple[TensorType, ...]:
        return tuple(port.type for port in _linear(self.graph, self.captures))

    @property
    def codomain(self) -> tuple[TensorType, ...]:
        return tuple(port.type for port in _linear(self.transposed, self.captures))

    def apply(self, x: Sequence[Value], captures: Sequence[Value] = ()) -> tuple[Value, ...]:
        """Adds the map to the graph that x belongs to, as one operation `linear`."""
        return x[0].builder.emit("linear", [*x, *captures], {"inputs": len(x)}, [self.graph])


def linear_map(graph: Graph, inputs: int) -> LinearMap:
    """The map of a graph that is linear in its first inputs. NotLinear: that is not proved."""
    floats = [port.type.is_float for port in graph.inputs[:inputs]]
    if not all([*floats, *(type.is_float for type in graph.output_types)]):
        raise NotLinear(f"{graph.name} takes or gives values that have no tangent")
    prove_linear(graph, [i < inputs for i in range(len(graph.inputs))])
    return LinearMap(graph, adjoint_graph(graph, reverse(graph), inputs), len(graph.inputs) - inputs)


def identity(types: Sequence[TensorType]) -> LinearMap:
    """x ↦ x."""
    build = Builder("identity")
    graph = build.finish({f"y.{i}": build.input(f"x.{i}", type) for i, type in enumerate(types)})
    return LinearMap(graph, graph, 0)


def adjoint(map: LinearMap) -> LinearMap:
    """Aᵀ; the adjoint of an adjoint is the map itself."""
    return LinearMap(map.transposed, map.graph, map.captures)


def compose(second: LinearMap, first: LinearMap) -> LinearMap:
    """B A, which takes A's captures, then B's; its adjoint is Aᵀ Bᵀ. TypeMismatch: they do not fit."""
    if first.codomain != second.domain:
        raise TypeMismatch(f"{second.graph.name} takes {_list(second.domain)}, not {_list(first.codomain)}")
    forwards = _after(second.graph, first.graph, 0)
    backwards = _after(first.transposed, second.transposed, second.captures)
    return LinearMap(forwards, backwards, first.captures + second.captures)


def add(a: LinearMap, b: LinearMap) -> LinearMap:
    """A + B, which takes A's captures, then B's. TypeMismatch: they are not between the same types."""
    if (a.domain, a.codomain) != (b.domain, b.codomain):
        raise TypeMismatch(f"{a.graph.name} and {b.graph.name} are not between the same types")
    graphs = (_sum(a.graph, b.graph, a.captures), _sum(a.transposed, b.transposed, a.captures))
    return LinearMap(*graphs, a.captures + b.captures)


def scale(map: LinearMap, factor: float | Fraction) -> LinearMap:
    """factor · A."""
    return LinearMap(_scaled(map.graph, factor), _scaled(map.transposed, factor), map.captures)


def _linear(graph: Graph, captures: int) -> tuple[Port, ...]:
    return graph.inputs[: len(graph.inputs) - captures]


def _after(second: Graph, first: Graph, behind: int) -> Graph:
    """second ∘ first. The first's captures come before the second's, but for the last `behind` of them."""
    build = Builder(f"{second.name}.{first.name}")
    own = _inputs(build, replace(first, inputs=first.inputs[: len(first.inputs) - behind]))
    others = _inputs(build, second, skipped=len(first.outputs))
    late = _inputs(build, first, skipped=len(first.inputs) - behind)
    middle = build.inline(first, [*own, *late])
    return _finished(build, build.inline(second, [*middle, *others]), second.output_names)


def _sum(a: Graph, b: Graph, captures: int) -> Graph:
    build = Builder(f"{a.name}+{b.name}")
    own = _inputs(build, a)
    shared = own[: len(own) - captures]
    held = _inputs(build, b, skipped=len(shared))
    pairs = zip(build.inline(a, own), build.inline(b, [*shared, *held]), strict=True)
    return _finished(build, [x + y for x, y in pairs], a.output_names)


def _scaled(graph: Graph, factor: float | Fraction) -> Graph:
    build = Builder(f"{factor}.{graph.name}")
    found = build.inline(graph, _inputs(build, graph))
    return _finished(build, [y * build.scalar(factor, y.type.dtype) for y in found], graph.output_names)


def _inputs(build: Builder, graph: Graph, skipped: int = 0) -> list[Value]:
    """Inputs like those of a graph but for the first, under names that are not taken."""
    made = []
    for port in graph.inputs[skipped:]:
        made.append(build.input(unused(port.name, build.names), port.type))
    return made


def _finished(build: Builder, found: Sequence[Value], names: Sequence[str]) -> Graph:
    return build.finish(dict(zip(names, found, strict=True)))


def _list(types: Sequence[TensorType]) -> str:
    return ", ".join(map(str, types))
