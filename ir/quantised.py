"""Weights as whole numbers of eight bits, times a scale.

The float32 numbers that they stand for, w = fl(q·s), are the weights: a model computes with them, and what is
proved is proved of them. How they are kept in a file is another matter.

Source   Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only
         inference, CVPR 2018, section 2.1, with the zero at 0; ONNX, DequantizeLinear-19
"""

from dataclasses import dataclass

import numpy as np

from banach.ir.tensor import Tensor

KEPT = ("int8",)
_MOST = 127  # -128 has no opposite


@dataclass(frozen=True, slots=True)
class Quantised:
    """`numbers`: int8[..]; `scale`: float32, one number, or one for every place along `axis`."""

    numbers: Tensor
    scale: Tensor
    axis: int = 0

    def weights(self) -> np.ndarray:
        """The float32 numbers that these stand for: one rounded product for each."""
        scale = self.scale.array
        if scale.ndim:
            others = [axis for axis in range(self.numbers.array.ndim) if axis != self.axis]
            scale = np.expand_dims(scale, others)
        return self.numbers.array.astype(np.float32) * scale

    def transposed(self) -> "Quantised":
        """The same for a matrix with its axes exchanged."""
        return Quantised(Tensor(self.numbers.array.T), self.scale, 1 - self.axis)


def quantise(array: np.ndarray) -> Quantised:
    """The nearest multiples of a scale that puts the largest entry at 127; array: at least two axes, finite.

    Every place along the first axis, where an operator's outputs are, has a scale of its own; a symmetric
    matrix has one in all, and so stays symmetric.
    """
    size = np.abs(array.reshape(len(array), -1)).max(axis=1, initial=0.0)
    if array.ndim == 2 and array.shape[0] == array.shape[1] and np.array_equal(array, array.T):
        size = size.max(initial=0.0)
    least = float(np.finfo(np.float32).tiny)  # a row of zeros has some scale, too
    scale = np.maximum(np.asarray(size) / _MOST, least).astype(np.float32)
    wide = scale.astype(np.float64).reshape(scale.shape + (1,) * (array.ndim - 1) * scale.ndim)
    numbers = np.clip(np.rint(array / wide), -_MOST, _MOST).astype(np.int8)
    return Quantised(Tensor(numbers), Tensor(scale))
