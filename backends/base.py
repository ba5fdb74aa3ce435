"""What every backend makes: an artifact that takes and gives numpy arrays by name."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from banach.ir.diagnostic import Code, Diagnostic, RunError
from banach.ir.dims import Assumptions, Dim, bind, learn, names
from banach.ir.graph import Port
from banach.ir.pairs import ALL_REAL, Pairs, join, split
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
BROKEN_CONTRACT = Code(
    "B706",
    "broken-contract",
    """A size breaks what the spec assumes of it, and the compiled model relies on.

A size that is known only at run time is at least 1, but for a `batch`, which may be empty. More may be said:
by `sizes: {n: {least: 4, multiple: 2}}` n is at least 4, and even. A compiled file carries this, and refuses
an input that does not keep to it.
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
    """A compiled model. `inputs` are the ports of its graph, `outputs` its names in order.

    `contract` is what their sizes must keep to; None: nothing is known of it. `pairs` names what is complex
    to whoever runs the model, and pairs of reals in its graph.
    """

    inputs: Sequence[Port]
    outputs: Sequence[str]
    contract: Assumptions | None = None
    pairs: Pairs = ALL_REAL

    @abstractmethod
    def evaluate(self, arguments: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The outputs of the graph for one argument per input, in order."""

    def run(self, inputs: Mapping[str, object] | None = None, /, **named: object) -> dict[str, np.ndarray]:
        """The outputs by name, for inputs by name: `run(A=A, b=b)`, or `run({"x.tolerance": 1e-4})`.

        RunError: the inputs do not fit.
        """
        arguments = admit(self.inputs, {**(inputs or {}), **named}, self.contract, self.pairs)
        found = dict(zip(self.outputs, self.evaluate(arguments), strict=True))
        return {name: join(array) if name in self.pairs.outputs else array for name, array in found.items()}


def admit(
    ports: Sequence[Port],
    given: Mapping[str, object],
    contract: Assumptions | None = None,
    pairs: Pairs = ALL_REAL,
) -> list[np.ndarray]:
    """One array per port, in the port's dtype and shape, defaults filled in; complex numbers become pairs.

    RunError: they do not fit.
    """
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
            arrays.append(_admit(port, np.asarray(given[port.name]), sizes, port.name in pairs.inputs))
            if contract is not None:
                _keep(contract, port, sizes)
        elif port.default is not None:
            arrays.append(port.default.array)
        else:
            raise RunError(
                Diagnostic(
                    WRONG_INPUTS,
                    f"the input `{port.name}` is missing; it is {_told(port, port.name in pairs.inputs)}",
                    span=port.place,
                    fix=f"add --input {port.name}=FILE",
                )
            )
    return arrays


def _told(port: Port, complex: bool) -> str:
    """The type of an input, as the spec has it."""
    return f"complex[{', '.join(map(str, port.type.shape[:-1]))}]" if complex else str(port.type)


def _admit(port: Port, array: np.ndarray, sizes: dict[str, int], complex: bool = False) -> np.ndarray:
    if complex and array.dtype.kind in "cfiu":
        array = split(array)
    dtype, told = numpy_dtype(port.type.dtype), _told(port, complex)
    if not (array.dtype == dtype or _converts(array.dtype, port.type)):
        message = f"the input `{port.name}` is {told}; it was given {array.dtype}"
        fix = "give it as complex numbers" if complex else f"give it as {port.type.dtype}"
        raise RunError(Diagnostic(WRONG_DTYPE, message, span=port.place, fix=fix))
    if array.ndim != port.type.rank or not all(
        map(_agrees, port.type.shape, array.shape, [sizes] * array.ndim)
    ):
        bound = "".join(f", with {name} = {value}" for name, value in sizes.items())
        given = list(array.shape[:-1] if complex else array.shape)
        message = f"the input `{port.name}` is {told}; it was given the shape {given}{bound}"
        raise RunError(
            Diagnostic(WRONG_SHAPE, message, span=port.place, fix="give an array of the declared shape")
        )
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def _keep(contract: Assumptions, port: Port, sizes: Mapping[str, int]) -> None:
    """RunError: a size that this input shows breaks the contract."""
    for name in dict.fromkeys(name for size in port.type.shape for name in names(size)):
        if name in sizes and not contract.admits(name, sizes[name]):
            message = (
                f"the input `{port.name}` has {name} = {sizes[name]}; the model needs {contract.tell(name)}"
            )
            fix = f"give an array with {contract.tell(name)}"
            raise RunError(Diagnostic(BROKEN_CONTRACT, message, span=port.place, fix=fix))


def _converts(given: np.dtype, type: TensorType) -> bool:
    kinds = "fiu" if type.is_float else "iu" if type.dtype.startswith("int") else "b"
    return given.kind in kinds


def _agrees(size: int | Dim, actual: int, sizes: dict[str, int]) -> bool:
    """Whether an axis fits; where one name is new, as in `n` or `2*n + 1`, it takes the value that fits."""
    learn(size, actual, sizes)
    return all(name in sizes for name in names(size)) and bind(size, sizes) == actual
