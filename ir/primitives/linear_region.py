"""A map that is proved linear when it is written down."""

from collections.abc import Sequence
from typing import final

import numpy as np

from banach.ir.graph import Builder, Graph, prune
from banach.ir.hoist import only
from banach.ir.linearity import NotLinear, prove_linear
from banach.ir.primitive import Regions, Types, Values
from banach.ir.primitives.regions import (
    Cotangents,
    Derive,
    Lift,
    RegionOp,
    Run,
    _expect,
    _filled,
    _scattered,
)
from banach.ir.tensor_type import TypeMismatch


@final
class Linear(RegionOp):
    """A linear map, kept in one piece: linear in its first operands, for every value of the others.

    Maths    y = A(c) x
    Types    x: `inputs` floats, captures c -> y: the outputs of the region, floats
    Reverse  R(x, c, dy) = (A(c)ᵀ dy, ..), the first again `linear`, and no function of x
    Facts    linear; those of the region
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, inputs: int) -> Types:
        (f,) = regions
        _expect(f, "map", operands)
        if not 1 <= inputs <= len(operands):
            raise TypeMismatch(
                f"it has {len(operands)} operands, of which {inputs} cannot be the linear ones"
            )
        if not all(type.is_float for type in (*operands[:inputs], *f.output_types)):
            raise TypeMismatch("a linear map takes and gives floats")
        try:
            prove_linear(f, [i < inputs for i in range(len(operands))])
        except NotLinear as refusal:
            raise TypeMismatch(f"{f.name} is not proved linear: {refusal}") from None
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
        (f,), captures = regions, operands[inputs:]
        flow = _filled(cotangents, results, build)
        back = derive(f)
        transposed = adjoint_graph(f, back, inputs)
        dx = build.emit("linear", [*flow, *captures], {"inputs": len(flow)}, [transposed])
        dc = build.inline(only(back, range(inputs, len(back.outputs))), [*operands, *flow])
        return (*dx, *_scattered(dc, captures))

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
        region, marks = lift(regions[0], lanes)
        return build.emit("linear", operands, {"inputs": inputs}, [region]), marks


def adjoint_graph(f: Graph, back: Graph, inputs: int) -> Graph:
    """dy, c ↦ A(c)ᵀ dy, from f: x, c ↦ A(c) x and its reverse derivative, which is taken at x = 0."""
    build = Builder(f"adjoint.{f.name}")
    flow = [build.input(port.name, port.type) for port in back.inputs[len(f.inputs) :]]
    held = [build.input(port.name, port.type) for port in f.inputs[inputs:]]
    zeros = [build.zeros(port.type) for port in f.inputs[:inputs]]
    found = build.inline(only(back, range(inputs)), [*zeros, *held, *flow])
    return prune(build.finish({f"t.{port.name}": v for port, v in zip(f.inputs, found)}))
