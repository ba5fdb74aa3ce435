"""A map whose derivative is told, not derived: a value and a rule beside each other."""

from collections.abc import Sequence
from typing import final

import numpy as np

from banach.ir.graph import Builder, Graph
from banach.ir.hoist import only
from banach.ir.linearity import NotLinear, prove_linear
from banach.ir.primitive import Regions, Types, Values
from banach.ir.primitives.regions import (
    Cotangents,
    Derive,
    Lift,
    RegionOp,
    Run,
    _all_lanes,
    _expect,
    _filled,
    _lane,
    _scattered,
    floats,
)
from banach.ir.tensor_type import TypeMismatch


@final
class Ruled(RegionOp):
    """A map with a derivative rule of its own in its arguments, the first `inputs` operands.

    Maths    y = f(x, c), with dy = rule(x, dx, c) + D[f](x, c; 0, dc)
    Types    x: `inputs` operands, captures c -> y: a float, the output of f. In the rule dx has a tangent for
             every float of x, and the rule is proved linear in dx
    Reverse  R(x, c, dy) = (rule(x, ·, c)ᵀ dy, R[f](x, c, dy)_c)
    Facts    those of f: the rule says nothing of the value
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, inputs: int) -> Types:
        f, rule = regions
        _expect(f, "map", operands)
        moves = floats(operands[:inputs])
        _expect(rule, "rule", [*operands[:inputs], *moves, *operands[inputs:]])
        if not 1 <= inputs <= len(operands) or not moves:
            raise TypeMismatch(
                f"{inputs} of its {len(operands)} operands are its arguments, none of them real"
            )
        if len(f.outputs) != 1 or not f.output_types[0].is_float or rule.output_types != f.output_types:
            raise TypeMismatch("a rule gives the change of one float, the result of the map")
        try:
            prove_linear(rule, [inputs <= i < inputs + len(moves) for i in range(len(rule.inputs))])
        except NotLinear as refusal:
            raise TypeMismatch(f"{rule.name} is not proved linear: {refusal}") from None
        return f.output_types

    def evaluate(
        self, run: Run, regions: Regions, operands: Sequence[np.ndarray], *, inputs: int
    ) -> Sequence[np.ndarray]:
        return run(regions[0], operands)

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        regions: Regions,
        derive: Derive,
        kept: Values,
        *,
        inputs: int,
    ) -> Cotangents:
        f, rule = regions
        flow, moves = _filled(cotangents, results, build), floats(operands[:inputs])
        # The rule is linear in dx, so its reverse derivative there is the same at every dx: take 0.
        back = derive(rule)
        dx = only(back, range(len(moves), 2 * len(moves)))
        zeros = [build.zeros(v.type) for v in moves]
        leaving = list(build.inline(dx, [*operands[:inputs], *zeros, *operands[inputs:], *flow]))
        if floats(operands[inputs:]):
            whole = derive(f)
            leaving += build.inline(only(whole, range(len(moves), len(whole.outputs))), [*operands, *flow])
        return _scattered(leaving, operands)

    def vectorise(
        self,
        build: Builder,
        operands: Values,
        lanes: Sequence[bool],
        regions: Regions,
        lift: Lift,
        *,
        inputs: int,
    ) -> tuple[Values, tuple[bool, ...]]:
        f, rule = regions
        lane = _lane(operands, lanes)
        moves = [has for value, has in zip(operands[:inputs], lanes) if value.type.is_float]
        marks = [*lanes[:inputs], *moves, *lanes[inputs:]]
        lifted = [_all_lanes(*lift(f, lanes), lane), _all_lanes(*lift(rule, marks), lane)]
        return build.emit("ruled", operands, {"inputs": inputs}, lifted), (True,)


def unruled(graph: Graph) -> Graph:
    """The same values, without rules for their derivatives: for those who ask for values alone."""
    if all(op.name != "ruled" for op in graph.ops):
        return graph
    build = Builder(graph.name, graph.contract)
    known = [build.input(port.name, port.type, port.default, port.place) for port in graph.inputs]
    for op in graph.ops:
        operands = [known[v] for v in op.operands]
        if op.name == "ruled":
            known.extend(build.inline(unruled(op.regions[0]), operands))
        else:
            known.extend(build.replay(op, operands))
    return build.finish({name: known[v] for name, v in zip(graph.output_names, graph.outputs)})
