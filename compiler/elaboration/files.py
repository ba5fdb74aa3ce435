"""Arrays from files beside the spec. Never a pickle, never a path outside the spec's folder."""

import csv
import math
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from banach.compiler.elaboration.problem import refuse
from banach.ir.diagnostic import Code
from banach.ir.span import Span

BAD_FILE = Code(
    "B210",
    "bad-file",
    """A parameter's file is missing, lies outside the spec's folder, or cannot be read as an array.

    wrong    A: {file: ../secrets.npy}
    right    A: {file: data/A.npy}

Read are .npy and .npz without pickles, .csv of numbers with an optional line of names, .png and .safetensors.
""",
)
NOT_FINITE = Code(
    "B211",
    "not-finite",
    "A parameter holds NaN or an infinity. Nothing can be proved of it, and no iteration survives it.\n",
)
LARGEST = 1 << 31  # bytes


def load(name: str, columns: tuple[str, ...], folder: Path | None, span: Span) -> np.ndarray:
    """The array in a file of the spec's folder; of a table with named columns, those that are asked for."""
    path = _inside(name, folder, span)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise refuse(
            BAD_FILE, f"`{name}` is of no kind that we read", span, fix=f"use one of {', '.join(_READERS)}"
        )
    try:
        array = np.asarray(reader(path, columns))
    except Exception as wrong:  # whatever a foreign reader meets in a damaged file
        raise refuse(
            BAD_FILE, f"`{name}` cannot be read: {_first_line(wrong)}", span, fix="see `banach explain B210`"
        ) from None
    if array.dtype.kind not in "fiub" or not array.size:
        raise refuse(BAD_FILE, f"`{name}` holds no numbers", span)
    return finite(array, f"`{name}`", span)


def finite(array: np.ndarray, what: str, span: Span) -> np.ndarray:
    """The array, if every entry is a number. SpecError: NaN or an infinity, with its place."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = ", ".join(map(str, bad[0]))
        value = array[tuple(bad[0])]
        raise refuse(NOT_FINITE, f"{what} holds {value} at [{place}]", span, fix="repair the data")
    return array


def _inside(name: str, folder: Path | None, span: Span) -> Path:
    """The file, if it lies in the folder also when links are followed."""
    if folder is None:
        raise refuse(
            BAD_FILE, "a spec that is no file cannot name one", span, fix="save the spec in a folder"
        )
    pure = PurePosixPath(name.replace("\\", "/"))
    root = folder.resolve()
    try:
        path = (root / pure).resolve() if "\0" not in name else root.parent
        found = path.is_file()
    except (OSError, RuntimeError) as wrong:  # a name that is too long, links in a circle
        raise refuse(
            BAD_FILE, f"`{name}` cannot be read: {_first_line(wrong)}", span, fix="check the name"
        ) from None
    if pure.is_absolute() or not path.is_relative_to(root):
        raise refuse(
            BAD_FILE, f"`{name}` lies outside the spec's folder", span, fix="copy the file beside the spec"
        )
    if not found:
        raise refuse(BAD_FILE, f"there is no file `{name}` beside the spec", span, fix="check the name")
    if path.stat().st_size > LARGEST:
        raise refuse(BAD_FILE, f"`{name}` is larger than 2 GB", span)
    return path


def _first_line(wrong: Exception) -> str:
    return (str(wrong).splitlines() or [type(wrong).__name__])[0][:200]


def _npy(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    return np.load(path, allow_pickle=False, mmap_mode=None)


def _npz(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        if len(columns) == 1:
            return archive[columns[0]]
        if len(archive.files) != 1:
            raise ValueError(f"it holds {', '.join(archive.files)}; say which by `columns: NAME`")
        return archive[archive.files[0]]


def _csv(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(line for line in file if not line.startswith("#")) if row]
    if not rows:
        raise ValueError("it is empty")
    header = None if _numeric(rows[0]) else [cell.strip() for cell in rows.pop(0)]
    if not rows:
        raise ValueError("it holds no numbers")
    if len({len(row) for row in rows}) > 1:
        raise ValueError("its lines are of different lengths")
    table = np.asarray(rows, np.float64)
    if not columns:
        return table[:, 0] if table.shape[1] == 1 else table
    if header is None:
        raise ValueError("it has no line of names to choose columns by")
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(f"it has no column {missing[0]}; its columns are {', '.join(header)}")
    chosen = table[:, [header.index(name) for name in columns]]
    return chosen[:, 0] if len(columns) == 1 else chosen


def _numeric(row: list[str]) -> bool:
    try:
        return all(math.isfinite(float(cell)) or True for cell in row)
    except ValueError:
        return False


def _png(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    try:
        from PIL import Image  # an extra: only pictures need it
    except ImportError:
        raise ValueError('pictures need pillow: pip install "banach[demo]"') from None
    with Image.open(path, formats=["PNG"]) as picture:
        return np.asarray(picture.convert("L"), np.float64) / 255


def _safetensors(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    try:
        from safetensors.numpy import load_file  # an extra
    except ImportError:
        raise ValueError('safetensors files need: pip install "banach[torch]"') from None
    tensors = load_file(path)
    if len(columns) == 1 and columns[0] in tensors:
        return tensors[columns[0]]
    if len(tensors) != 1:
        raise ValueError(f"it holds {', '.join(sorted(tensors))}; say which by `columns: NAME`")
    return next(iter(tensors.values()))


_READERS: dict[str, Callable[[Path, tuple[str, ...]], np.ndarray]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _csv,
    ".png": _png,
    ".safetensors": _safetensors,
}
