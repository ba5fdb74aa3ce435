"""How often the host waits for what a device computes, counted where every operation of torch passes by."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# What needs a number, or a shape, that only the device knows. `item`, `bool(..)`, `float(..)`, `tolist` and
# an index by a mask all end in one of these.
READS = (
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "repeat_interleave.Tensor",
    "_linalg_check_errors",
)


class Waits(TorchDispatchMode):
    """Counts, by name, the operations for which the host has to wait, and copies from one device to another.

    On a CPU nothing waits, but the same operations are called; so what is counted here is what waits there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self.seen.total()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.name().removeprefix("aten::")
        if name in READS or (name.startswith("index") and any(map(_is_mask, args))):
            self.seen[name] += 1
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and any(
            isinstance(x, torch.Tensor) and x.device != found.device and (x.ndim or "copy" in name)
            for x in args
        ):
            self.seen[f"{name} between devices"] += 1
        return found


def _is_mask(index: Any) -> bool:
    """Whether indices hold a mask, whose places have to be counted first."""
    parts = index if isinstance(index, list | tuple) else ()
    return any(isinstance(x, torch.Tensor) and x.dtype == torch.bool for x in parts)
