"""Threefry in uint32: additions wrap around, as its definition wants."""

from collections.abc import Mapping
from typing import Any

from onnx import TensorProto

from banach.backends.onnx.emit import ELEMENTS, Ref
from banach.backends.onnx.plain import Rule
from banach.backends.onnx.sizes import SizedEmitter
from banach.ir.primitives.chance import PARITY, ROTATIONS, ROUNDS, WORD
from banach.ir.tensor_type import TensorType


def _threefry(emit: SizedEmitter, type: TensorType, key: Ref, counter: Ref) -> Ref:
    word = type.with_shape(type.shape[:-1]).with_dtype("uint32")

    def node(op_type: str, *operands: Ref, **attributes: Any) -> Ref:
        return emit.node(op_type, operands, word, **attributes)

    def number(x: int) -> Ref:
        return emit.constant(x, "uint32")

    def words(x: Ref) -> list[Ref]:
        own = x.type.with_shape(x.type.shape[:-1])
        # A cast of a negative number or of a large one to uint32 is not defined.
        reduced = emit.node("Mod", [x, emit.constant(WORD, "int64")], x.type)
        both = [emit.node("Gather", [reduced, emit.constant(i, "int64")], own, axis=-1) for i in range(2)]
        return [emit.node("Cast", [w], own.with_dtype("uint32"), to=TensorProto.UINT32) for w in both]

    (k0, k1), (a, b) = words(key), words(counter)
    schedule = (k0, k1, node("BitwiseXor", node("BitwiseXor", k0, k1), number(PARITY)))
    a, b = node("Add", a, k0), node("Add", b, k1)
    for i in range(ROUNDS):
        r = ROTATIONS[i % 8]
        a = node("Add", a, b)
        up = node("BitShift", b, number(r), direction="LEFT")
        down = node("BitShift", b, number(32 - r), direction="RIGHT")
        b = node("BitwiseXor", node("BitwiseOr", up, down), a)
        if i % 4 == 3:
            four = i // 4 + 1
            a = node("Add", a, schedule[four % 3])
            b = node("Add", b, node("Add", schedule[(four + 1) % 3], number(four)))
    column = type.with_shape((*type.shape[:-1], 1))
    wide = [emit.node("Cast", [w], column.with_shape(word.shape), to=ELEMENTS["int64"]) for w in (a, b)]
    return emit.node(
        "Concat", [emit.node("Unsqueeze", [w, emit.vector([-1])], column) for w in wide], type, axis=-1
    )


RULES: Mapping[str, Rule] = {"threefry": _threefry}
