"""A constant array that cannot change, and is equal to another by its content."""

from functools import cached_property
from hashlib import sha256

import numpy as np

from banach.ir.tensor_type import TensorType


class Tensor:
    """A read-only numpy array with its content's hash.

    Two tensors are equal when dtype, shape and bytes are: -0.0 is not 0.0, and NaN is NaN.
    """

    __slots__ = ("__dict__", "array")

    def __init__(self, array: np.ndarray):
        frozen = np.array(array, order="C")
        frozen.flags.writeable = False
        self.array = frozen

    @property
    def type(self) -> TensorType:
        return TensorType(str(self.array.dtype), self.array.shape)

    @cached_property
    def digest(self) -> str:
        """sha256 of dtype, shape and bytes, in hexadecimal."""
        head = f"{self.array.dtype}{self.array.shape}".encode()
        return sha256(head + self.array.tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tensor) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Tensor({self.type}, {self.digest[:12]})"
