"""Convolution, where ONNX Runtime has it: its CPU knows it in float32 alone."""

from collections.abc import Mapping

from banach.backends.onnx.emit import Emitter, Ref
from banach.backends.onnx.plain import Rule, reshape
from banach.ir.dims import Size
from banach.ir.tensor_type import TensorType

Steps = tuple[int, ...]


def _batched(emit: Emitter, x: Ref, space: int) -> Ref:
    """x with one axis of samples."""
    batch, rest = x.type.shape[: x.type.rank - space - 1], x.type.shape[x.type.rank - space - 1 :]
    samples: Size = 1
    for size in batch:
        samples = samples * size
    flat = (samples, *rest)
    return reshape(emit, x.type.with_shape(flat), x, flat)


def _within(kernel: Ref, space: int) -> bool:
    """Whether ONNX Runtime has the operation: in float32, along one, two or three axes."""
    return kernel.type.dtype == "float32" and space <= 3 and 0 not in kernel.type.shape


def _convolve(emit: Emitter, type: TensorType, x: Ref, kernel: Ref, stride: Steps) -> Ref | None:
    space = len(stride)
    if not _within(kernel, space):
        return None
    flat = _batched(emit, x, space)
    found = type.with_shape((flat.type.shape[0], *type.shape[type.rank - space - 1 :]))
    return reshape(emit, type, emit.node("Conv", [flat, kernel], found, strides=stride), type.shape)


def _convolve_transpose(
    emit: Emitter, type: TensorType, y: Ref, kernel: Ref, stride: Steps, size: tuple[Size, ...]
) -> Ref | None:
    space = len(stride)
    places = y.type.shape[y.type.rank - space :]
    left = [n - (p - 1) * step - m for n, p, step, m in zip(size, places, stride, kernel.type.shape[2:])]
    if not _within(kernel, space) or not all(isinstance(n, int) for n in left):
        return None
    flat = _batched(emit, y, space)
    found = type.with_shape((flat.type.shape[0], *type.shape[type.rank - space - 1 :]))
    result = emit.node("ConvTranspose", [flat, kernel], found, strides=stride, output_padding=tuple(left))
    return reshape(emit, type, result, type.shape)


RULES: Mapping[str, Rule] = {"convolve": _convolve, "convolve_transpose": _convolve_transpose}
