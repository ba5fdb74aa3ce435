"""Data of a training: a file beside the spec, or a list; one row for every sample."""

from pathlib import Path
from typing import Any

import numpy as np

from banach.compiler.elaboration import files
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.declarations import type_of
from banach.compiler.elaboration.problem import WRONG_SHAPE, refuse
from banach.compiler.elaboration.things import Environment
from banach.compiler.spec import Data
from banach.compiler.text.expression import parse
from banach.compiler.text.section import WRONG_FORM, shown
from banach.compiler.text.source import Node, Scalar, Sequence
from banach.ir.diagnostic import Code, Diagnostic, SpecError
from banach.ir.graph import Port
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType, numpy_dtype

DATA_DO_NOT_FIT = Code(
    "B343",
    "data-do-not-fit",
    """The data of a training do not go together, or not with the model: they hold different numbers of
samples, too few for one batch, entries of another shape or kind than the input that they are for; or an input
that the loss reads has none.

Data for an input `x: real[batch, n]` are an array with one row of n entries for every sample.
""",
)


def array_of(
    key: Scalar, node: Node, names: Environment, context: Context, folder: Path | None
) -> np.ndarray:
    """The array of an entry of `data:`, in float64, int64 or bool. SpecError: there is none."""
    if isinstance(node, Sequence):
        return files.finite(_listed(node), f"`{key.text}`", node.span)
    if isinstance(node, Scalar):
        if not isinstance(node.value, str):
            raise refuse(
                WRONG_FORM, f"`{key.text}` is a file or a list", node.span, fix="write `x: x.npy`, say"
            )
        return _plain(files.load(node.text, (), folder, node.span))
    mistakes: list[Diagnostic] = []
    section = Data.read(node, mistakes)
    if section is None:
        raise SpecError(mistakes)
    columns: tuple[str, ...] = ()
    if isinstance(section.columns, Sequence):
        columns = tuple(item.text for item in section.columns if isinstance(item, Scalar))
    elif isinstance(section.columns, Scalar):
        columns = (section.columns.text,)
    array = _plain(files.load(section.file.text, columns, folder, section.file.span))
    if section.type is None:
        return array
    type, _ = type_of(parse(section.type), names, context)
    if array.ndim != type.rank + 1 or not _agree(type.shape, array.shape[1:], {}):
        message = (
            f"`{key.text}` has samples of shape {list(array.shape[1:])}, and is declared {section.type.text}"
        )
        raise refuse(DATA_DO_NOT_FIT, message, section.type.span, fix="correct the type, or the file")
    return _plain(_converted(array, type, key.text, section.type.span))


def fitted(port: Port, array: np.ndarray, span: Span, sampled: bool, sizes: dict[str, int]) -> np.ndarray:
    """The array as the input of a graph takes it; `sizes` learns what named sizes are.

    SpecError: it does not fit.
    """
    shape = port.type.shape
    if array.ndim != len(shape) or not _agree(shape[sampled:], array.shape[sampled:], sizes):
        told = "samples" if sampled else "the data"
        message = (
            f"{told} for `{port.name}` have the shape {list(array.shape[sampled:])}, and it is {port.type}"
        )
        message += "".join(f", with {name} = {value}" for name, value in sizes.items())
        notes = ((port.place, f"`{port.name}` is declared here"),) if port.place else ()
        fix = "give one row for each sample" if sampled else "give an array of that shape"
        raise SpecError([Diagnostic(DATA_DO_NOT_FIT, message, span, fix=fix, notes=notes)])
    return np.ascontiguousarray(_converted(array, port.type, port.name, span))


def _agree(wanted: Any, shape: tuple[int, ...], sizes: dict[str, int]) -> bool:
    """Whether a shape is that of a type; a size that is a bare name takes the first value it meets."""
    for size, actual in zip(wanted, shape, strict=True):
        known = sizes.setdefault(str(size), actual) if str(size).isidentifier() else size
        if isinstance(known, int) and known != actual:
            return False
    return True


def _converted(array: np.ndarray, type: TensorType, name: str, span: Span) -> np.ndarray:
    """The array in the dtype of a type, where nothing is lost but digits."""
    kind = "f" if type.is_float else "i" if type.dtype.startswith("int") else "b"
    whole = array.dtype.kind == "f" and kind == "i" and np.array_equal(array, np.rint(array))
    if not (array.dtype.kind == kind or (array.dtype.kind == "i" and kind == "f") or whole):
        message = f"`{name}` is {type.dtype}, and its data are {array.dtype}"
        raise refuse(DATA_DO_NOT_FIT, message, span, fix=f"give them as {type.dtype}")
    with np.errstate(over="ignore"):
        return files.finite(array.astype(numpy_dtype(type.dtype)), f"`{name}`", span)


def _plain(array: np.ndarray) -> np.ndarray:
    kind = {"f": np.float64, "i": np.int64, "u": np.int64, "b": np.bool_}[array.dtype.kind]
    return np.asarray(array, kind)


def _listed(node: Sequence) -> np.ndarray:
    """A list of numbers, or of lists of one length; whole numbers stay whole if all are."""

    def numbers(item: Node) -> Any:
        if isinstance(item, Sequence):
            return [numbers(part) for part in item]
        value = item.value if isinstance(item, Scalar) else None
        if value is None or isinstance(value, str):
            raise refuse(
                WRONG_FORM, f"a list holds numbers, not {shown(item)}", item.span, fix="write a number there"
            )
        return value if isinstance(value, bool | int) else float(value)

    try:
        array = np.asarray(numbers(node))
    except ValueError:
        raise refuse(
            WRONG_SHAPE,
            "the lists in this list are of different lengths",
            node.span,
            fix="make them one length",
        ) from None
    if array.dtype.kind not in "fib" or not array.size:
        raise refuse(WRONG_FORM, "a list holds numbers", node.span, fix="write numbers that fit 64 bits")
    return _plain(array)
