"""Branches, scans and conditional loops, in the dialect of Loop that every runtime reads alike.

A Loop has a trip count and an explicit condition, its body computes a condition without axes, and it stacks
nothing: a recurrence over data is a Scan. Every input of a Scan is read, and none runs backwards.
"""

from collections.abc import Callable, Mapping, Sequence

from banach.backends.onnx.emit import Ref
from banach.backends.onnx.fixpoint import read_inputs
from banach.backends.onnx.plain import RULES
from banach.backends.onnx.sizes import SizedEmitter
from banach.ir.graph import Graph, Op
from banach.ir.tensor_type import TensorType

Inline = Callable[[Graph, Sequence[Ref]], list[Ref]]
RegionRule = Callable[[SizedEmitter, Inline, Op, Sequence[Ref]], list[Ref]]

TRUTH, WHOLE = TensorType("bool"), TensorType("int64")


def _call(emit: SizedEmitter, inline: Inline, op: Op, operands: Sequence[Ref]) -> list[Ref]:
    return inline(op.regions[0], operands)


def _cond(emit: SizedEmitter, inline: Inline, op: Op, operands: Sequence[Ref]) -> list[Ref]:
    chosen, *given = operands
    first, second = op.regions
    if chosen.constant is not None:
        return inline(first if chosen.constant.array else second, given)
    bodies = {
        "then_branch": emit.body("then", (), lambda _: inline(first, given), branch=True),
        "else_branch": emit.body("else", (), lambda _: inline(second, given), branch=True),
    }
    return emit.regions("If", [chosen], op.types, bodies)


def _while(emit: SizedEmitter, inline: Inline, op: Op, operands: Sequence[Ref]) -> list[Ref]:
    states = op.attribute("states")
    most, start, captures = operands[0], operands[1 : 1 + states], operands[1 + states :]
    condition, step = op.regions

    def body(inputs: list[Ref]) -> list[Ref]:
        _, _, *state, steps = inputs
        fresh = inline(step, [*state, *captures])
        (going,) = inline(condition, [*fresh, *captures])
        return [going, *fresh, emit.node("Add", [steps, emit.constant(1, "int64")], WHOLE)]

    (going,) = inline(condition, [*start, *captures])
    carried = [*start, emit.constant(0, "int64")]
    made = emit.body("while", [WHOLE, TRUTH, *(ref.type for ref in carried)], body)
    return emit.regions("Loop", [most, going, *carried], op.types, {"body": made})


def _scan(emit: SizedEmitter, inline: Inline, op: Op, operands: Sequence[Ref]) -> list[Ref]:
    states, sequences = op.attribute("states"), op.attribute("sequences")
    (step,) = op.regions
    if op.attribute("length") == 0:
        empty = [Ref(type, stretched=emit.constant(0, type.dtype)) for type in op.types[states:]]
        return [*operands[:states], *empty]
    if not sequences and len(op.types) == states:
        return _counted(emit, inline, op, operands)
    order, read = _order(emit, op), read_inputs(step)
    kept = [i for i in range(states, states + sequences) if i in read]
    given = [_turned(emit, operands[i], order) for i in kept]
    entries = [step.inputs[i].type for i in kept]
    counts: list[TensorType] = []
    if not kept:  # a Scan takes its length from an input that it reads: the numbers 0 .. n-1, handed on
        counts, entries = [TensorType("int64", (op.attribute("length"),))], [WHOLE]
        given = [RULES["count"](emit, counts[0], size=op.attribute("length"), dtype="int64")]

    def body(inputs: list[Ref]) -> list[Ref]:
        rows = dict(zip(kept, inputs[states:]))
        known = [rows.get(i, operand) for i, operand in enumerate(operands[states:], states)]
        return [*inline(step, [*inputs[:states], *known]), *(inputs[states:] if counts else ())]

    made = emit.body("scan", [*(ref.type for ref in operands[:states]), *entries], body)
    start = [*operands[:states], *given]
    found = emit.regions("Scan", start, [*op.types, *counts], {"body": made}, num_scan_inputs=len(given))
    stacks = [_turned(emit, ref, order) for ref in found[states : len(op.types)]]
    return [*found[:states], *stacks]


def _counted(emit: SizedEmitter, inline: Inline, op: Op, operands: Sequence[Ref]) -> list[Ref]:
    """A scan over no data that stacks nothing: a Loop with a trip count."""
    states = op.attribute("states")

    def body(inputs: list[Ref]) -> list[Ref]:
        _, going, *state = inputs
        return [going, *inline(op.regions[0], [*state, *operands[states:]])]

    made = emit.body("count", [WHOLE, TRUTH, *op.types], body)
    trips = _given(RULES["extent"](emit, WHOLE, size=op.attribute("length"), dtype="int64"))
    return emit.regions(
        "Loop", [trips, emit.constant(True, "bool"), *operands[:states]], op.types, {"body": made}
    )


def _order(emit: SizedEmitter, op: Op) -> Ref | None:
    """The places n-1 .. 0 of a reversed scan: not every runtime heeds Scan's own directions."""
    if not op.attribute("reverse"):
        return None
    length = op.attribute("length")
    if isinstance(length, int):
        return emit.vector(range(length)[::-1])
    whole = TensorType("int64", (length,))
    last = RULES["extent"](emit, WHOLE, size=length - 1, dtype="int64")
    # Not Range(n-1, -1, -1): ONNX Runtime 1.32 turns Gather by such a Range into a Slice that ends at -1;
    # that names the last entry, and the slice comes out empty.
    up = RULES["count"](emit, whole, size=length, dtype="int64")
    return emit.node("Sub", [_given(last), _given(up)], whole, free=True)


def _given(ref: Ref | None) -> Ref:
    """A rule may leave an operation to its decomposition; those for sizes never do."""
    assert ref is not None
    return ref


def _turned(emit: SizedEmitter, ref: Ref, order: Ref | None) -> Ref:
    return ref if order is None else emit.node("Gather", [ref, order], ref.type, axis=0)


REGION_RULES: Mapping[str, RegionRule] = {
    "call": _call,
    "linear": _call,
    "ruled": _call,
    "cond": _cond,
    "while": _while,
    "scan": _scan,
}
