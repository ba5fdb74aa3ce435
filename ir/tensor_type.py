"""The type of a value: dtype, axes, and the space whose inner product its derivatives use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from banach.ir.dims import Size

FLOATS = ("float64", "float32", "float16", "bfloat16")
INTEGERS = ("int64", "int32")
EUCLIDEAN = "euclidean"
DTYPES = (*FLOATS, *INTEGERS, "bool")

# Unit roundoff of each float dtype: half the distance from 1 to the next number.
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


class TypeMismatch(Exception):
    """Operands that do not fit together; the message says which rule and both sides."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """`dtype[axes]`. `space` names the inner product by which adjoints are taken."""

    dtype: str
    shape: tuple[Size, ...] = ()
    space: str = EUCLIDEAN

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether values have a tangent; integers and booleans have the trivial one."""
        return self.dtype in FLOATS

    def with_shape(self, shape: Sequence[Size]) -> "TensorType":
        return replace(self, shape=tuple(shape))

    def with_dtype(self, dtype: str) -> "TensorType":
        return replace(self, dtype=dtype)

    def with_space(self, space: str) -> "TensorType":
        return replace(self, space=space)

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.shape))
        text = f"{self.dtype}[{inner}]" if self.shape else self.dtype
        return text if self.space == EUCLIDEAN else f"{text}@{self.space}"


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype of a dtype's name; bfloat16 comes from ml_dtypes where that is installed."""
    if name == "bfloat16":
        import ml_dtypes  # optional: numpy has no bfloat16 of its own

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def broadcast(*shapes: tuple[Size, ...]) -> tuple[Size, ...]:
    """The common shape of operands aligned at their last axis, where 1 stretches. TypeMismatch if none."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result: list[Size] = []
    for axis in range(rank):
        sizes = dict.fromkeys(shape[axis] for shape in padded if shape[axis] != 1)
        if len(sizes) > 1:
            pair = " and ".join(_show(shape) for shape in dict.fromkeys(shapes))
            raise TypeMismatch(f"the shapes {pair} do not fit: {' against '.join(map(str, sizes))}")
        result.append(next(iter(sizes), 1))
    return tuple(result)


def same_dtype(types: Sequence[TensorType]) -> str:
    """The dtype that all operands share. TypeMismatch if they differ."""
    dtypes = dict.fromkeys(t.dtype for t in types)
    if len(dtypes) != 1:
        raise TypeMismatch(f"the dtypes {' and '.join(dtypes)} differ")
    return next(iter(dtypes))


def same_space(types: Sequence[TensorType]) -> str:
    """The one space that operands share. TypeMismatch if two are named.

    Euclidean coordinates go with every space, and so does a number, which has no direction: x / norm(y) is
    in the space of x.
    """
    ranked = [t for t in types if t.shape and t.space != EUCLIDEAN]
    spaces = {t.space: t for t in reversed(ranked or types) if t.space != EUCLIDEAN}
    if len(spaces) > 1:
        first, second, *_ = reversed(spaces.values())
        raise TypeMismatch(f"the spaces {first.space} and {second.space} differ: {first} against {second}")
    return next(iter(spaces), EUCLIDEAN)


def _show(shape: tuple[Size, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
