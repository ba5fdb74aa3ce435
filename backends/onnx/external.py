"""Weights beside a model: a protobuf message holds at most 2 GB, so larger models keep them in one more file.

The file lies beside the model and bears its name, `model.onnx.data`; nothing else is ever opened, whatever
the model says. A tensor names its offset and its length in it, and the length is that of its shape and dtype.
"""

from pathlib import Path

import numpy as np
from onnx import ModelProto, StringStringEntryProto, TensorProto, helper

LARGEST = 2**31 - 1  # bytes: the bound of a protobuf message
_SMALL = 1024  # bytes: a tensor up to this size stays in the model
_ALIGNED = 4096  # what offsets are multiples of, so that a runtime may map them


class BadData(Exception):
    """What is wrong with the file of the weights, or with what a model says of it."""


def beside(path: Path) -> Path:
    """The file of a model's weights."""
    return path.with_name(path.name + ".data")


def weight(model: ModelProto) -> int:
    """The bytes of the outer weights."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def large(model: ModelProto) -> list[TensorProto]:
    """The weights that go into the file beside it."""
    return [tensor for tensor in model.graph.initializer if len(tensor.raw_data) > _SMALL]


def data(model: ModelProto) -> bytes:
    """What the file beside it holds."""
    padded = ((tensor.raw_data, bytes(_padding(tensor))) for tensor in large(model))
    return b"".join(chunk for pair in padded for chunk in pair)


def light(model: ModelProto, location: str) -> ModelProto:
    """The model without its larger weights, which it says are at `location`."""
    found, offset = _without(model), 0
    for tensor in model.graph.initializer:
        slim = found.graph.initializer.add()
        if len(tensor.raw_data) <= _SMALL:
            slim.CopyFrom(tensor)
            continue
        slim.name, slim.data_type = tensor.name, tensor.data_type
        slim.dims.extend(tensor.dims)
        slim.data_location = TensorProto.EXTERNAL
        told = {"location": location, "offset": str(offset), "length": str(len(tensor.raw_data))}
        slim.external_data.extend(StringStringEntryProto(key=k, value=v) for k, v in told.items())
        offset += len(tensor.raw_data) + _padding(tensor)
    return found


def _padding(tensor: TensorProto) -> int:
    return -len(tensor.raw_data) % _ALIGNED


def _without(model: ModelProto) -> ModelProto:
    """The model without outer weights; which are never held twice."""
    light = ModelProto()
    for field, value in model.ListFields():
        if field.name == "graph":
            for inner, part in value.ListFields():
                if inner.name == "initializer":
                    continue
                _put(light.graph, inner, part)
        else:
            _put(light, field, value)
    return light


def _put(holder: object, field: object, value: object) -> None:
    name = field.name  # type: ignore[attr-defined]
    own = getattr(holder, name)
    if hasattr(own, "extend"):
        own.extend(value)
    elif hasattr(own, "CopyFrom"):
        own.CopyFrom(value)
    else:
        setattr(holder, name, value)


def is_external(tensor: TensorProto) -> bool:
    """Whether a tensor says that its entries are elsewhere."""
    return tensor.data_location == TensorProto.EXTERNAL or bool(tensor.external_data)


def join(model: ModelProto, path: Path) -> None:
    """Brings in the weights that a model keeps beside it. BadData: it says anything else than it may."""
    outside = [tensor for tensor in model.graph.initializer if is_external(tensor)]
    if not outside:
        return
    data = beside(path)
    if data.is_symlink() or not data.is_file():
        raise BadData(
            f"keeps weights in {data.name}, which is {'a link' if data.is_symlink() else 'not there'}"
        )
    size = data.stat().st_size
    places = [(tensor, *_place(tensor, data.name, size)) for tensor in outside]
    if sum(length for _, _, length in places) > size:
        raise BadData(f"says that weights in {data.name} overlap")
    with open(data, "rb") as file:
        for tensor, offset, length in places:
            file.seek(offset)
            content = file.read(length)
            if len(content) != length:
                raise BadData(f"keeps weights in {data.name}, which is cut short")
            del tensor.external_data[:]
            tensor.data_location = TensorProto.DEFAULT
            tensor.raw_data = content


def _place(tensor: TensorProto, location: str, size: int) -> tuple[int, int]:
    told = {entry.key: entry.value for entry in tensor.external_data}
    if told.get("location") != location:
        raise BadData(f"keeps the weight `{tensor.name}` in another file than {location}")
    numbers = told.get("offset", "0"), told.get("length", "")
    if not all(text.isascii() and text.isdecimal() and len(text) < 20 for text in numbers):
        raise BadData(f"does not say where the weight `{tensor.name}` is in {location}")
    offset, length = map(int, numbers)
    if length != _bytes(tensor):
        raise BadData(f"gives the weight `{tensor.name}` another length than its shape has")
    if offset + length > size:
        raise BadData(f"places the weight `{tensor.name}` beyond the end of {location}")
    return offset, length


def _bytes(tensor: TensorProto) -> int:
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (KeyError, TypeError):
        return -1
    total = dtype.itemsize
    for size in tensor.dims:
        total *= max(size, 0)
    return total
