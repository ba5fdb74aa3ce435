"""Complex numbers at the edge of a model, whose graph has pairs (Re, Im) of reals on a last axis for them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Pairs:
    """The names of the inputs and outputs that are complex numbers."""

    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.inputs or self.outputs)

    @property
    def derived(self) -> "Pairs":
        """The same for the model of a derivative: `d.y` comes in for an output y, `d.x` goes out for x."""
        return Pairs(self.inputs | _changes(self.outputs), self.outputs | _changes(self.inputs))

    def to_json(self) -> str:
        """The names as JSON, in order."""
        return json.dumps(
            {"inputs": sorted(self.inputs), "outputs": sorted(self.outputs)}, ensure_ascii=False
        )


ALL_REAL = Pairs()


def read(text: str) -> Pairs:
    """The names from JSON. ValueError: it is none."""
    told = json.loads(text)
    if not isinstance(told, dict):
        raise ValueError("no table of names")
    return Pairs(_names(told, "inputs"), _names(told, "outputs"))


def _names(told: dict, side: str) -> frozenset[str]:
    names = told.get(side)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("no lists of names")
    return frozenset(names)


def split(array: np.ndarray) -> np.ndarray:
    """[*s] complex, or real, to [*s, 2]."""
    return np.stack([np.real(array), np.imag(array)], axis=-1)


def join(pairs: np.ndarray) -> np.ndarray:
    """[*s, 2] to [*s] complex; the parts stay as they are, infinities and signs of zeros too."""
    precision = np.complex64 if pairs.dtype == np.float32 else np.complex128
    joined = np.empty(pairs.shape[:-1], precision)
    joined.real, joined.imag = pairs[..., 0], pairs[..., 1]
    return joined


def _changes(names: Iterable[str]) -> frozenset[str]:
    return frozenset(f"d.{name}" for name in names)
