"""Arrays of an ONNX file, with bounds on everything: reals come as float64, integers as int64, and truths.

Data outside the file are read from the folder that the caller allows, and from nowhere else.
"""

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from onnx import TensorProto, numpy_helper

from banach.backends.onnx.network.refusal import BadNetwork

LARGEST = 1 << 26  # entries of one array
DTYPES: Mapping[int, str] = {
    TensorProto.FLOAT: "float",
    TensorProto.DOUBLE: "float",
    TensorProto.FLOAT16: "float",
    TensorProto.BFLOAT16: "float",
    TensorProto.INT64: "int64",
    TensorProto.INT32: "int64",
    TensorProto.BOOL: "bool",
}
_BYTES: Mapping[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.DOUBLE: 8,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.INT64: 8,
    TensorProto.INT32: 4,
    TensorProto.BOOL: 1,
}
# Where entries lie that are not raw bytes.
_FIELDS: Mapping[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
}


def text(value: str | bytes) -> str:
    """A text of the file. BadNetwork: it is none; protobuf hands those out as bytes."""
    if isinstance(value, bytes):
        raise BadNetwork(f"{value!r} stands where a name has to")
    return value


def dtype_of(element: int) -> str:
    """float, int64 or bool. BadNetwork: entries are of another kind."""
    found = DTYPES.get(element)
    if found is None:
        name = TensorProto.DataType.Name(element) if element in TensorProto.DataType.values() else element
        raise BadNetwork(
            f"a tensor of {name}; taken are FLOAT, DOUBLE, FLOAT16, BFLOAT16, INT64, INT32, BOOL"
        )
    return found


def array_of(tensor: TensorProto, folder: Path, root: Path) -> np.ndarray:
    """The array. `folder` is the network's own, `root` the one that no path may leave. BadNetwork."""
    label = f"the tensor `{text(tensor.name)}`"
    dtype = dtype_of(tensor.data_type)
    entries = math.prod(tensor.dims)
    if any(size < 0 for size in tensor.dims) or entries > LARGEST:
        raise BadNetwork(f"{label} has the sizes {list(tensor.dims)}")
    width = _BYTES[tensor.data_type]
    if tensor.data_location == TensorProto.EXTERNAL:
        raw = _outside(tensor, entries * width, folder, root)
        tensor = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=raw)
    elif tensor.HasField("raw_data"):
        if len(tensor.raw_data) != entries * width:
            raise BadNetwork(f"{label} has {len(tensor.raw_data)} bytes, not {entries * width}")
    else:
        field = _FIELDS.get(tensor.data_type, "int32_data")
        held = len(getattr(tensor, field))
        if held != entries:
            raise BadNetwork(f"{label} has {held} entries, not {entries}")
    try:
        with np.errstate(invalid="ignore"):  # a NaN that signals
            array = np.asarray(numpy_helper.to_array(tensor), np.float64 if dtype == "float" else dtype)
    except (ValueError, TypeError, OverflowError) as wrong:
        raise BadNetwork(f"{label} cannot be read: {wrong}") from None
    return array.reshape(tensor.dims)


def _outside(tensor: TensorProto, count: int, folder: Path, root: Path) -> bytes:
    """Bytes from a file beside the network."""
    keys = {text(entry.key): text(entry.value) for entry in tensor.external_data}
    name, label = keys.get("location", ""), f"the data of the tensor `{tensor.name}`"
    pure = PurePosixPath(name.replace("\\", "/"))
    try:
        offset, length = int(keys.get("offset", 0)), int(keys.get("length", count))
        path = (folder / pure).resolve() if name and "\0" not in name else root.parent
        inside = not pure.is_absolute() and path.is_relative_to(root)
        if not inside:
            raise BadNetwork(f"{label} lie outside the spec's folder, in `{name}`")
        if not path.is_file():
            raise BadNetwork(f"there is no file `{name}` for {label}")
        if length != count or offset < 0 or offset + count > path.stat().st_size:
            raise BadNetwork(f"{label} are {count} bytes, and `{name}` does not hold them at {offset}")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(count)
    except BadNetwork:
        raise
    except (OSError, RuntimeError, ValueError) as wrong:
        raise BadNetwork(f"{label} cannot be read: {wrong}") from None
