"""Weights as safetensors files."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from banach.ir.diagnostic import Code, Diagnostic, RunError

NO_SAFETENSORS = Code(
    "B608",
    "no-safetensors",
    'Weights are kept in safetensors files; `pip install "banach[cpu]"` brings the library for them.\n',
)
UNREADABLE_WEIGHTS = Code(
    "B724",
    "unreadable-weights",
    "A file of weights is missing, is no safetensors file, or is damaged.\n",
)
_NOTE = "banach"


def to_bytes(arrays: Mapping[str, np.ndarray], note: str = "") -> bytes:
    """The file that holds arrays by name, and a note; equal arrays give equal bytes."""
    held = {name: np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape) for name in sorted(arrays)}
    return _safetensors().save(held, {_NOTE: note} if note else None)


def read(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of a file by name, and its note. RunError (B724): there are none."""
    library = _safetensors()
    try:
        content = path.read_bytes()
        arrays = dict(library.load(content))
        size = int.from_bytes(content[:8], "little")
        note = json.loads(content[8 : 8 + size]).get("__metadata__", {}).get(_NOTE, "")
    except OSError as wrong:
        raise _unreadable(path, wrong.strerror or str(wrong)) from None
    except Exception as wrong:  # whatever a foreign reader meets in a damaged file
        raise _unreadable(path, (str(wrong).splitlines() or ["it is damaged"])[0][:200]) from None
    return arrays, str(note)


def _unreadable(path: Path, why: str) -> RunError:
    fix = "give a file that `banach train` wrote"
    return RunError(Diagnostic(UNREADABLE_WEIGHTS, f"`{path}` cannot be read: {why}", fix=fix))


def _safetensors() -> ModuleType:
    try:
        import safetensors.numpy as library  # an extra
    except ImportError:
        message = "safetensors is not installed"
        raise RunError(Diagnostic(NO_SAFETENSORS, message, fix='pip install "banach[cpu]"')) from None
    return library
