"""A constant array that cannot change, and is equal to another by its content."""

import weakref
from functools import cached_property
from hashlib import sha256

import numpy as np

from banach.ir.tensor_type import TensorType

_ours: dict[int, weakref.ref[np.ndarray]] = {}  # arrays that were made here not to change, while they last
_digests: dict[int, str] = {}  # of these


def digest(array: np.ndarray) -> str:
    """sha256 of dtype, shape and bytes, in hexadecimal; taken once of an array that `fixed` gave."""
    key = id(array) if _is_ours(array) else None
    if key is not None and key in _digests:
        return _digests[key]
    taken = sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()
    if key is not None:
        _digests[key] = taken
    return taken


def _is_ours(array: np.ndarray) -> bool:
    known = _ours.get(id(array))
    return known is not None and known() is array and not array.flags.writeable


def fixed(array: np.ndarray) -> np.ndarray:
    """A copy that cannot change, of which nobody has a view; the array itself if it is one."""
    if _is_ours(array):
        return array
    frozen = np.array(array, order="C")
    frozen.flags.writeable = False
    key = id(frozen)

    def gone(_: object) -> None:
        del _ours[key]
        _digests.pop(key, None)

    _ours[key] = weakref.ref(frozen, gone)
    return frozen


class Tensor:
    """A read-only numpy array with its content's hash.

    Two tensors are equal when dtype, shape and bytes are: -0.0 is not 0.0, and NaN is NaN.
    """

    __slots__ = ("__dict__", "array")

    def __init__(self, array: np.ndarray):
        self.array = fixed(array)

    @property
    def type(self) -> TensorType:
        return TensorType(str(self.array.dtype), self.array.shape)

    @cached_property
    def digest(self) -> str:
        """sha256 of dtype, shape and bytes, in hexadecimal."""
        return digest(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tensor) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Tensor({self.type}, {self.digest[:12]})"
