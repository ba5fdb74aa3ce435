"""Softmax and its kin: one node each."""

from banach.backends.onnx.emit import Emitter, Ref
from banach.ir.tensor_type import TensorType


def _softmax(emit: Emitter, type: TensorType, x: Ref) -> Ref:
    return emit.node("Softmax", [x], type, axis=-1)


def _log_sum_exp(emit: Emitter, type: TensorType, x: Ref) -> Ref:
    return emit.node("ReduceLogSumExp", [x, emit.vector([-1])], type, keepdims=0)


RULES = {"softmax": _softmax, "log_sum_exp": _log_sum_exp}
