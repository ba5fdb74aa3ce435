"""Weights in files: safetensors, each written whole or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from types import ModuleType

import numpy as np

from banach.backends.arrays import UNWRITABLE
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


def write(path: Path, arrays: Mapping[str, np.ndarray], note: str = "") -> None:
    """Writes arrays by name, and a note; equal arrays give equal bytes. RunError (B705): it cannot."""
    held = {name: np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape) for name in sorted(arrays)}
    content = _safetensors().save(held, {_NOTE: note} if note else None)
    beside = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(beside, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as wrong:
        message = f"`{path}` cannot be written: {wrong.strerror or wrong}"
        raise RunError(Diagnostic(UNWRITABLE, message, fix="give another folder by -o")) from None


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
