"""The reverse derivative over a semiring itself: of circuits made of its sums and products.

    R(x ⊕ y)(dz) = (dz, dz)      R(x ⊗ y)(dz) = (y ⊗ dz, x ⊗ dz)

On truth values and residues this is the formal derivative of the polynomial that a circuit writes, evaluated;
it obeys RD.1 to RD.7 exactly. It belongs to the circuit, not to the function: x² and x are one function on
truth values, and their derivatives x ⊕ x and 1 are not. So a rule such as x² → x may be used after R, never
before. Wilson and Zanasi, Reverse derivative ascent (2020).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from banach.ir.graph import Builder, Graph, Op, Value, prune, unused
from banach.ir.primitive import page
from banach.ir.primitives.semiring import SEMIRINGS
from banach.ir.reverse import NoDerivative
from banach.ir.rewrite import Effect, Match, Rule, Site
from banach.ir.tensor_type import numpy_dtype

Values = Sequence[Value]


class Algebra:
    """One semiring, and what a derivative adds to a graph over it."""

    def __init__(self, semiring: str, bound: int = 0):
        self.attributes: dict[str, Any] = {"semiring": semiring, **({"bound": bound} if bound else {})}
        self.zero = SEMIRINGS[semiring].zero
        self.kinds = SEMIRINGS[semiring].kinds

    def plus(self, x: Value, y: Value) -> Value:
        return x.builder.op("semiring_add", x, y, **self.attributes)

    def times(self, x: Value, y: Value) -> Value:
        return x.builder.op("semiring_multiply", x, y, **self.attributes)

    def zeros(self, like: Value) -> Value:
        """The neutral element of the sum, in the type of a value."""
        build, dtype = like.builder, like.type.dtype
        number = build.constant(np.asarray(self.zero, numpy_dtype(dtype)))
        return build.op("broadcast", number, shape=like.type.shape)

    def gathered(self, value: Value, like: Value) -> Value:
        """The sum over the copies that broadcasting made: its adjoint."""
        shape, own = value.type.shape, like.type.shape
        padded = (1,) * (len(shape) - len(own)) + own
        axes = tuple(i - len(shape) for i, (a, b) in enumerate(zip(shape, padded)) if a != b)
        if axes:
            value = value.builder.op("semiring_sum", value, axes=axes, **self.attributes)
        return value if value.type.shape == own else value.builder.op("reshape", value, shape=own)


def reverse_over(graph: Graph, semiring: str, bound: int = 0) -> Graph:
    """x, dy ↦ dx over a semiring, as `reverse` is over the reals. NoDerivative: an operation is not of it."""
    algebra, build = Algebra(semiring, bound), Builder(f"R.{graph.name}", graph.contract)
    values = [build.input(port.name, port.type, port.default, port.place) for port in graph.inputs]
    inputs, types, taken = list(values), graph.types(), {port.name for port in graph.inputs}
    flow: dict[int, Value] = {}
    for name, v in zip(graph.output_names, graph.outputs):
        taken.add(fresh := unused(f"d.{name}", taken))
        _add(algebra, flow, v, build.input(fresh, types[v]))
    for op in graph.ops:
        values.extend(build.replay(op, [values[v] for v in op.operands]))
    for op in reversed(graph.ops):
        arriving = flow.pop(op.first, None)
        if arriving is None or op.name == "constant":
            continue
        leaving = _backwards(algebra, op, [values[v] for v in op.operands], arriving)
        for v, d in zip(op.operands, leaving, strict=True):
            _add(algebra, flow, v, d)
    found = [flow[i] if i in flow else algebra.zeros(value) for i, value in enumerate(inputs)]
    return prune(build.finish({f"d.{port.name}": d for port, d in zip(graph.inputs, found)}))


def _add(algebra: Algebra, flow: dict[int, Value], v: int, d: Value) -> None:
    flow[v] = algebra.plus(flow[v], d) if v in flow else d


def _backwards(algebra: Algebra, op: Op, operands: Values, dz: Value) -> Values:
    build, attributes = dz.builder, dict(op.attributes)
    same = {key: value for key, value in attributes.items() if key in ("semiring", "bound") and value}
    if op.name.startswith("semiring_") and same != algebra.attributes:
        raise NoDerivative(
            f"{op.name} is over {same}, and the derivative over {algebra.attributes}", op.place
        )
    match op.name:
        case "semiring_add":
            return [algebra.gathered(dz, x) for x in operands]
        case "semiring_multiply":
            x, y = operands
            return [algebra.gathered(algebra.times(y, dz), x), algebra.gathered(algebra.times(x, dz), y)]
        case "semiring_sum":
            kept = tuple(
                1 if i - len(operands[0].type.shape) in attributes["axes"] else size
                for i, size in enumerate(operands[0].type.shape)
            )
            unit = build.op("reshape", dz, shape=kept)
            return [build.op("broadcast", unit, shape=operands[0].type.shape)]
        case "semiring_matmul":
            a, b = (build.op("transpose", x, permutation=(-1, -2)) for x in operands)
            da = build.op("semiring_matmul", dz, b, **algebra.attributes)
            db = build.op("semiring_matmul", a, dz, **algebra.attributes)
            return [algebra.gathered(da, operands[0]), algebra.gathered(db, operands[1])]
        case "broadcast":
            return [algebra.gathered(dz, operands[0])]
        case "reshape" | "transpose":
            return page(op.name).reverse(build, operands, [dz], [dz], **attributes)
    raise NoDerivative(f"{op.name} is no operation of a semiring", op.place)


def _itself(site: Site) -> Match:
    """x, where an operation of the truth values joins it with itself."""
    x, y = site.operand(0), site.operand(1)
    return (x,) if x.id == y.id and site.op.attribute("semiring") == "boolean" else None


IDEMPOTENT = tuple(
    Rule(f"{name}-idempotent", name, law, _itself, lambda build, x: x, Effect.UNSTABLE_UNDER_REVERSE)
    for name, law in (("semiring_multiply", "x ∧ x = x"), ("semiring_add", "x ∨ x = x"))
)
