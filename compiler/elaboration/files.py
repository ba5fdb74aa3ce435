"""Arrays from files beside the spec. Never a pickle, never a path outside the spec's folder."""

from pathlib import Path, PurePosixPath

import numpy as np

from banach.compiler.elaboration.problem import refuse
from banach.ir import array_file
from banach.ir.diagnostic import Code, suggest
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
_MOST_NAMES = 1000  # of a folder, to find a name that is near


def load(name: str, columns: tuple[str, ...], folder: Path | None, span: Span) -> np.ndarray:
    """The array in a file of the spec's folder; of a table with named columns, those that are asked for."""
    path = inside(name, folder, span)
    try:
        array = array_file.read(path, columns)
    except ValueError as wrong:
        raise refuse(
            BAD_FILE, f"`{name}` cannot be read: {wrong}", span, fix="see `banach explain B210`"
        ) from None
    return finite(array, f"`{name}`", span)


def finite(array: np.ndarray, what: str, span: Span) -> np.ndarray:
    """The array, if every entry is a number. SpecError: NaN or an infinity, with its place."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = ", ".join(map(str, bad[0]))
        value = array[tuple(bad[0])]
        raise refuse(NOT_FINITE, f"{what} holds {value} at [{place}]", span, fix="repair the data")
    return array


def inside(name: str, folder: Path | None, span: Span, kind: str = "file") -> Path:
    """The file, or folder, if it lies in the spec's folder also when links are followed."""
    if folder is None:
        raise refuse(
            BAD_FILE, f"a spec that is no file cannot name a {kind}", span, fix="save the spec in a folder"
        )
    pure = PurePosixPath(name.replace("\\", "/"))
    root = folder.resolve()
    try:
        path = (root / pure).resolve() if "\0" not in name else root.parent
        found = path.is_file() if kind == "file" else path.is_dir()
    except (OSError, RuntimeError) as wrong:  # a name that is too long, links in a circle
        raise refuse(
            BAD_FILE, f"`{name}` cannot be read: {array_file.first_line(wrong)}", span, fix="check the name"
        ) from None
    if pure.is_absolute() or not path.is_relative_to(root):
        raise refuse(
            BAD_FILE, f"`{name}` lies outside the spec's folder", span, fix=f"copy the {kind} beside the spec"
        )
    if not found:
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = suggest(path.name, sorted(beside)[:_MOST_NAMES])
        label = f"did you mean `{pure.with_name(near)}`?" if near else ""
        fix = f"write `{pure.with_name(near)}`" if near else f"give the name of a {kind} in the spec's folder"
        raise refuse(BAD_FILE, f"there is no {kind} `{name}` beside the spec", span, fix=fix, label=label)
    if path.stat().st_size > LARGEST:
        raise refuse(BAD_FILE, f"`{name}` is larger than 2 GB", span, fix="make it an input of the model")
    return path
