"""What the modules of this backend share: arrays as tensors, and changes of dtype that reach the code."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule

from banach.backends.fx.operations import DTYPES
from banach.ir.tensor_type import numpy_dtype

Conversion = Callable[[torch.Tensor], torch.Tensor]


class Lowered(GraphModule):
    """A GraphModule whose code follows `.to(dtype)`: where it names a float dtype, that changes as well."""

    def _apply(self, fn: Conversion, recurse: bool = True) -> "Lowered":
        super()._apply(fn, recurse)
        changes = float_changes(fn)
        if changes:
            for node in self.graph.nodes:
                node.args = tuple(_exchange(part, changes) for part in node.args)
                node.kwargs = {key: _exchange(part, changes) for key, part in node.kwargs.items()}
            self.recompile()
        return self


def float_changes(fn: Conversion) -> dict[torch.dtype, torch.dtype]:
    """What the conversion of a module does to each float dtype, where it does something."""
    floats = [dtype for dtype in DTYPES.values() if dtype.is_floating_point]
    made = {dtype: fn(torch.empty(0, dtype=dtype)).dtype for dtype in floats}
    return {old: new for old, new in made.items() if old != new}


def to_torch(array: np.ndarray) -> torch.Tensor:
    """A copy of an array as a tensor."""
    copy = np.array(array, order="C")
    if copy.dtype.name == "bfloat16":
        return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(copy)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as an array on the host."""
    host = tensor.detach().cpu().contiguous()
    if host.dtype == torch.bfloat16:
        return host.view(torch.int16).numpy().view(numpy_dtype("bfloat16"))
    return host.numpy()


def _exchange(part: Any, changes: Mapping[torch.dtype, torch.dtype]) -> Any:
    return changes.get(part, part) if isinstance(part, torch.dtype) else part
