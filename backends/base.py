"""What every backend makes: an artifact that takes and gives numpy arrays by name."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from banach.ir.diagnostic import Code, Diagnostic, RunError
from banach.ir.dims import Dim, bind, names
from banach.ir.graph import Port
from banach.ir.tensor_type import TensorType, numpy_dtype

WRONG_INPUTS = Code(
    "B701",
    "wrong-inputs",
    """A run was given inputs that the model does not take, or was not given one that it needs.

A model takes exactly the inputs of its spec, by name:
`banach run lasso.yaml --input A=A.npy --input b=b.npy`. Those with a default
(`x.tolerance`, `x.max_iterations`) may be left out.
""",
)
WRONG_SHAPE = Code(
    "B702",
    "wrong-shape",
    """An input has another shape than the spec says, or the same size has two values in one run.

Where the spec says `u: real[batch, 64]`, every array for `u` has two axes, and the second has 64 entries.
""",
)
WRONG_DTYPE = Code(
    "B703",
    "wrong-dtype",
    """An input holds something that cannot become the dtype that the spec says without losing its meaning.

Floats become other floats, and integers become floats or other integers; anything else is refused.
""",
)


class Artifact(ABC):
    """A compiled model. `inputs` are the ports of its graph, `outputs` its names in order."""

    inputs: Sequence[Port]
    outputs: Sequence[str]

    @abstractmethod
    def evaluate(self, arguments: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The outputs for one argument per input, in order."""

    def run(self, inputs: Mapping[str, object] | None = None, /, **named: object) -> dict[str, np.ndarray]:
        """The outputs by name, for inputs by name: `run(A=A, b=b)`, or `run({"x.tolerance": 1e-4})`.

        RunError: the inputs do not fit.
        """
        given = {**(inputs or {}), **named}
        return dict(zip(self.outputs, self.evaluate(admit(self.inputs, given)), strict=True))


def admit(ports: Sequence[Port], given: Mapping[str, object]) -> list[np.ndarray]:
    """One array per port, in the port's dtype and shape, defaults filled in. RunError: they do not fit."""
    known = {port.name for port in ports}
    for name in given:
        if name not in known:
            wanted = ", ".join(sorted(known)) or "none"
            raise RunError(
                Diagnostic(WRONG_INPUTS, f"there is no input `{name}`", fix=f"the inputs are: {wanted}")
            )
    sizes: dict[str, int] = {}
    arrays = []
    for port in ports:
        if port.name in given:
            arrays.append(_admit(port, np.asarray(given[port.name]), sizes))
        elif port.default is not None:
            arrays.append(port.default.array)
        else:
            raise RunError(
                Diagnostic(
                    WRONG_INPUTS,
                    f"the input `{port.name}` is missing; it is {port.type}",
                    span=port.place,
                    fix=f"add --input {port.name}=FILE",
                )
            )
    return arrays


def _admit(port: Port, array: np.ndarray, sizes: dict[str, int]) -> np.ndarray:
    dtype = numpy_dtype(port.type.dtype)
    if not (array.dtype == dtype or _converts(array.dtype, port.type)):
        message = f"the input `{port.name}` is {port.type}; it was given {array.dtype}"
        raise RunError(Diagnostic(WRONG_DTYPE, message, span=port.place, fix=f"give it as {port.type.dtype}"))
    if array.ndim != port.type.rank or not all(
        map(_agrees, port.type.shape, array.shape, [sizes] * array.ndim)
    ):
        bound = "".join(f", with {name} = {value}" for name, value in sizes.items())
        message = f"the input `{port.name}` is {port.type}; it was given the shape {list(array.shape)}{bound}"
        raise RunError(
            Diagnostic(WRONG_SHAPE, message, span=port.place, fix="give an array of the declared shape")
        )
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def _converts(given: np.dtype, type: TensorType) -> bool:
    kinds = "fiu" if type.is_float else "iu" if type.dtype.startswith("int") else "b"
    return given.kind in kinds


def _agrees(size: int | Dim, actual: int, sizes: dict[str, int]) -> bool:
    """Whether an axis fits; a size that is a bare name takes the first value it meets."""
    if isinstance(size, Dim) and str(size).isidentifier():
        return sizes.setdefault(str(size), actual) == actual
    return all(name in sizes for name in names(size)) and bind(size, sizes) == actual
