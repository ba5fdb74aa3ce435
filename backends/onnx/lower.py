"""From a graph to an ONNX model: opset 20, IR 10, no custom domains, deterministic bytes."""

from collections.abc import Mapping, Sequence

import onnx
from onnx import ModelProto, helper, numpy_helper

from banach.backends.onnx import contract, plain
from banach.backends.onnx.check import verify
from banach.backends.onnx.emit import Ref, info
from banach.backends.onnx.fixpoint import fix
from banach.backends.onnx.loops import REGION_RULES
from banach.backends.onnx.sizes import SizedEmitter
from banach.ir.diagnostic import Code, Diagnostic, SpecError
from banach.ir.graph import Builder, Graph, Op
from banach.ir.primitive import page
from banach.ir.quantised import Quantised

OPSET, IR_VERSION = 20, 10

NO_ONNX_FORM = Code(
    "B611",
    "no-onnx-form",
    """An operation has no way into an ONNX file.

An operation reaches ONNX by the backend's own table (backends/onnx/plain.py), by the operator that its page
names, or by a decomposition into operations that do.
""",
)
SHARED_NAME = Code(
    "B616",
    "shared-name",
    """Two values of a compiled file have one name.

Inputs and outputs of a file share one list of names, and `NAME.iterations`, `NAME.tolerance` and their like
are in it. An output may bear an input's name only where it is that input, unchanged.
""",
)


def lower(
    graph: Graph,
    metadata: Mapping[str, str] | None = None,
    quantised: Mapping[str, Quantised] | None = None,
    compact: bool = False,
) -> ModelProto:
    """A model with the graph's inputs and outputs by name, symbolic sizes as symbolic axes.

    An input with a default is an initializer too, so a run may leave it out. What the sizes must keep to
    stands in the metadata. A constant whose digest is in `quantised` is kept as that says. With `compact`,
    samples that have stopped are left out of the steps that follow.

    SpecError: an operation has no form in ONNX (B611), no input shows a size (B612), or two values share a
    name (B616). RunError B911: what we wrote is not sound.
    """
    taken = [*(port.name for port in graph.inputs), *graph.output_names]
    emit = SizedEmitter(graph.inputs, taken, quantised)
    emit.compact = compact
    inputs = [Ref(port.type, port.name) for port in graph.inputs]
    results = _Lowering(emit).inline(graph, inputs)
    outputs = [Ref(ref.type, name) for ref, name in zip(results, graph.output_names)]
    nodes = emit.scopes[0].nodes
    sources = [emit.settle(ref).name for ref in results]
    _refuse_shared_names(graph, sources)
    nodes += [
        helper.make_node("Identity", [source], [ref.name], name=emit.fresh("output"))
        for source, ref in zip(sources, outputs)
        if source != ref.name  # an input that is an output under its own name
    ]
    defaults = [
        numpy_helper.from_array(p.default.array, p.name) for p in graph.inputs if p.default is not None
    ]
    body = helper.make_graph(
        nodes,
        graph.name,
        list(map(info, inputs)),
        list(map(info, outputs)),
        [*defaults, *emit.initializers.values()],
    )
    model = helper.make_model(
        body, opset_imports=[onnx.OperatorSetIdProto(domain="", version=OPSET)], ir_version=IR_VERSION
    )
    model.producer_name = "banach"
    helper.set_model_props(model, dict(sorted({**contract.write(graph), **(metadata or {})}.items())))
    verify(model)
    return model


def _refuse_shared_names(graph: Graph, sources: Sequence[str]) -> None:
    taken = [port.name for port in graph.inputs]
    for name, source in zip(graph.output_names, sources):
        if name in taken and name != source:
            message = f"the output `{name}` has the name of another input or output"
            raise SpecError([Diagnostic(SHARED_NAME, message, fix="rename one of them")])
        taken.append(name)


class _Lowering:
    """Writes operations through an emitter."""

    def __init__(self, emit: SizedEmitter):
        self.emit = emit

    def inline(self, graph: Graph, arguments: Sequence[Ref]) -> list[Ref]:
        """The outputs of a graph for given inputs; what no output needs is not written."""
        needed = set(graph.outputs)
        kept: list[Op] = []
        for op in reversed(graph.ops):
            if any(result in needed for result in op.results):
                kept.append(op)
                needed.update(op.operands)
        values = dict(enumerate(arguments))
        for op in reversed(kept):
            read = [result in needed for result in op.results]
            values.update(zip(op.results, self._apply(op, [values[v] for v in op.operands], read)))
        return [values[v] for v in graph.outputs]

    def _apply(self, op: Op, operands: Sequence[Ref], read: Sequence[bool]) -> list[Ref]:
        if op.name == "fix":
            return fix(self.emit, self.inline, op, operands, read)
        if op.name in REGION_RULES:
            return REGION_RULES[op.name](self.emit, self.inline, op, operands)
        result = plain.apply(self.emit, op.name, op.types[0], operands, dict(op.attributes))
        if result is not None:
            return [result]
        decomposed = _decomposed(op, operands)
        if decomposed is None:
            message = f"`{op.name}` has no form in ONNX"
            raise SpecError([Diagnostic(NO_ONNX_FORM, message, op.place, fix="compile to fx")])
        return self.inline(decomposed, operands)


def _decomposed(op: Op, operands: Sequence[Ref]) -> Graph | None:
    """The operation as a graph of others, if its page has one."""
    decompose = getattr(page(op.name), "decompose", None)
    if decompose is None:
        return None
    build = Builder(op.name)
    inputs = [build.input(f"x.{i}", ref.type) for i, ref in enumerate(operands)]
    return build.finish({"y": decompose(build, *inputs, **dict(op.attributes))})
