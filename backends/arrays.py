"""Arrays in and out of the command line: files, numbers, pictures, and the table that a run prints."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from banach.backends.admission import WRONG_INPUTS
from banach.ir import array_file, whole_file
from banach.ir.diagnostic import Code, Diagnostic, RunError
from banach.ir.graph import Port
from banach.ir.pairs import split

UNREADABLE = Code(
    "B704",
    "unreadable-input",
    """A file that was given for an input cannot be read as an array.

Read are .npy and .npz without pickles, .csv of numbers, .png and .safetensors; or give a number itself.
""",
)
STATUS = ("converged", "stopped at most", "diverged")
_PICTURE = 16  # a matrix at least this wide and high is written as a picture too


def read_inputs(given: Sequence[str], ports: Sequence[Port]) -> dict[str, np.ndarray]:
    """Arrays from NAME=FILE and NAME=NUMBER. RunError: one cannot be read."""
    arrays: dict[str, np.ndarray] = {}
    types = {port.name: port.type for port in ports}
    for argument in given:
        name, equals, value = argument.partition("=")
        if not equals or not value:
            message = f"`{argument}` is no input"
            raise RunError(Diagnostic(WRONG_INPUTS, message, fix="write --input NAME=FILE or NAME=NUMBER"))
        arrays[name] = _number(value) if _is_number(value) else _file(Path(value))
        wanted = types.get(name)
        whole = arrays[name].dtype.kind == "f" and np.all(arrays[name] == np.round(arrays[name]))
        if wanted is not None and wanted.dtype.startswith("int") and whole:
            arrays[name] = arrays[name].astype(np.int64)
    return arrays


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _number(value: str) -> np.ndarray:
    return np.asarray(int(value) if value.lstrip("+-").isdigit() else float(value))


def _file(path: Path) -> np.ndarray:
    try:
        return array_file.read(path)
    except ValueError as wrong:
        fault = f"`{path}` cannot be read: {wrong}"
        raise RunError(Diagnostic(UNREADABLE, fault, fix="see `banach explain B704`")) from None


def _pillow() -> Any:
    try:
        from PIL import Image  # an extra: only pictures need it
    except ImportError:
        return None
    return Image


def write(found: Mapping[str, np.ndarray], folder: Path) -> list[Path]:
    """Every output as .npy, and pictures as .png too. RunError (B705): none of them can be written."""
    files = {}
    for name, array in found.items():
        files[folder / f"{name}.npy"] = _npy(array)
        picture = _picture(array)
        if picture:
            files[folder / f"{name}.png"] = picture
    whole_file.write(files, folder)
    return list(files)


def _npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array, allow_pickle=False)
    return held.getvalue()


def _picture(array: np.ndarray) -> bytes:
    """A matrix that is large enough, as grey levels from 0 to 1; nothing where it is none."""
    Image = _pillow()
    if Image is None or array.ndim != 2 or min(array.shape) < _PICTURE or not np.all(np.isfinite(array)):
        return b""
    held = io.BytesIO()
    Image.fromarray(np.clip(np.round(array * 255), 0, 255).astype(np.uint8)).save(held, format="PNG")
    return held.getvalue()


def certificates(metadata: Mapping[str, str]) -> Sequence[dict[str, Any]]:
    """The certificates that a model file carries; none if it is not ours."""
    try:
        return list(json.loads(metadata["banach.certificate"])["certificates"])
    except (KeyError, ValueError, TypeError):
        return []


def summary(
    found: Mapping[str, np.ndarray], certificates: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A row for every solve that reports: status, iterations, residual, and the certified bound beside it."""
    bounds = {c.get("solve"): c for c in certificates}
    rows = []
    for key, status in found.items():
        if not key.endswith(".status"):
            continue
        name = key.removesuffix(".status")
        worst = int(np.max(status, initial=0))
        certified = bounds.get(name, {})
        rows.append(
            {
                "solve": name,
                "status": STATUS[worst] if 0 <= worst < len(STATUS) else "unknown",
                "iterations": int(np.max(found[f"{name}.iterations"], initial=0)),
                "fewest": int(np.min(found[f"{name}.iterations"], initial=np.iinfo(np.int64).max)),
                "residual": float(np.max(found[f"{name}.residual"], initial=0.0)),
                "samples": int(np.size(status)),
                "verdict": certified.get("verdict"),
                "bound": certified.get("iterations"),
            }
        )
    return rows


def table(found: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, Any]]) -> str:
    """Outputs and solves in words."""
    solves = {row["solve"] for row in rows}
    lines = []
    for name, array in found.items():
        if name.rpartition(".")[0] not in solves:
            lines.append(f"{name} = {_shown(array)}")
    for row in rows:
        count = row["iterations"]
        if row["samples"] != 1:
            count = f"{row['fewest']} to {count} (of {row['samples']} samples)"
        bound = f", certified ≤ {row['bound']}" if row["bound"] is not None else ""
        lines.append(
            f"{row['solve']}: {row['status']} after {count} iterations{bound}, residual {row['residual']:.3g}"
        )
    return "\n".join(lines)


def _shown(array: np.ndarray) -> str:
    if array.ndim == 0:
        return f"{array.item():.9g}"
    if array.size <= 24:
        return np.array2string(array, precision=6, suppress_small=False, threshold=24)
    finite = "" if np.all(np.isfinite(array)) else ", not all finite"
    if np.iscomplexobj(array):
        sizes = np.abs(array)
        return (
            f"{array.dtype}{list(array.shape)}, of sizes {np.min(sizes):.6g} to {np.max(sizes):.6g}{finite}"
        )
    return f"{array.dtype}{list(array.shape)}, from {np.min(array):.6g} to {np.max(array):.6g}{finite}"


def as_json(found: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Small outputs whole, larger ones by shape; complex numbers as pairs [re, im]."""
    return {
        name: _plain(array) if array.size <= 1000 else {"dtype": str(array.dtype), "shape": list(array.shape)}
        for name, array in found.items()
    }


def _plain(array: np.ndarray) -> Any:
    """As JSON has it: NaN and the infinities become texts, complex numbers pairs."""
    if np.iscomplexobj(array):
        return _plain(split(array))
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        finite = np.isfinite(array)
        return np.where(finite, array.astype(object), "not finite").tolist()
    return array.tolist()
