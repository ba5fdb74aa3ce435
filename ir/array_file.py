"""Arrays in files: .npy and .npz without pickles, .csv, .png, .safetensors."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np


class _Told(ValueError):
    """Why a file cannot be read, in plain words."""


def read(path: Path, columns: tuple[str, ...] = ()) -> np.ndarray:
    """The array in a file; of a table with named columns, or an archive, the parts that are asked for.

    ValueError: it is of another kind, damaged, or holds no numbers; the message says which in plain words.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"it is of no kind that we read ({', '.join(_READERS)})")
    try:
        array = np.asarray(reader(path, columns))
    except _Told:
        raise
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except PermissionError:
        raise ValueError("it is closed to you") from None
    except Exception:  # whatever a foreign reader meets in a damaged file; its words are for programmers
        raise ValueError(f"it is damaged, or no {path.suffix.lower()} file") from None
    if array.dtype.kind not in "fiubc" or not array.size:
        raise ValueError("it holds no numbers")
    return array


def first_line(wrong: Exception) -> str:
    """The first line of what an exception says."""
    return (str(wrong).splitlines() or [type(wrong).__name__])[0][:200]


def _npy(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    return np.load(path, allow_pickle=False, mmap_mode=None)


def _npz(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        if len(columns) == 1:
            return archive[columns[0]]
        if len(archive.files) != 1:
            raise _Told(f"it holds {', '.join(archive.files)}; say which by `columns: NAME`")
        return archive[archive.files[0]]


def _csv(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(line for line in file if not line.startswith("#")) if row]
    if not rows:
        raise _Told("it is empty")
    header = None if _numeric(rows[0]) else [cell.strip() for cell in rows.pop(0)]
    if not rows:
        raise _Told("it holds no numbers")
    if len({len(row) for row in rows}) > 1:
        raise _Told("its lines are of different lengths")
    table = np.asarray([[_number(cell) for cell in row] for row in rows], np.float64)
    if not columns:  # one column, or one line, is a vector
        return table.reshape(-1) if 1 in table.shape else table
    if header is None:
        raise _Told("it has no line of names to choose columns by")
    missing = [name for name in columns if name not in header]
    if missing:
        raise _Told(f"it has no column {missing[0]}; its columns are {', '.join(header)}")
    chosen = table[:, [header.index(name) for name in columns]]
    return chosen[:, 0] if len(columns) == 1 else chosen


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise _Told(f"`{cell.strip()[:40]}` in it is no number") from None


def _numeric(row: list[str]) -> bool:
    try:
        return bool([float(cell) for cell in row])
    except ValueError:
        return False


def _png(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    try:
        from PIL import Image  # an extra: only pictures need it
    except ImportError:
        raise _Told('pictures need pillow: pip install "banach[demo]"') from None
    with Image.open(path, formats=["PNG"]) as picture:
        return np.asarray(picture.convert("L"), np.float64) / 255


def _safetensors(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    try:
        from safetensors.numpy import load_file  # an extra
    except ImportError:
        raise _Told('safetensors files need: pip install "banach[torch]"') from None
    tensors = load_file(path)
    if len(columns) == 1 and columns[0] in tensors:
        return tensors[columns[0]]
    if len(tensors) != 1:
        raise _Told(f"it holds {', '.join(sorted(tensors))}; say which by `columns: NAME`")
    return next(iter(tensors.values()))


_READERS: dict[str, Callable[[Path, tuple[str, ...]], np.ndarray]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _csv,
    ".png": _png,
    ".safetensors": _safetensors,
}
