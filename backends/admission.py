"""What a run is given, against what its model takes: names, shapes, dtypes, numbers, all mistakes at once."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from banach.ir.diagnostic import Code, Diagnostic, RunError, suggest
from banach.ir.dims import Assumptions, Dim, bind, learn, names
from banach.ir.graph import Port
from banach.ir.pairs import ALL_REAL, Pairs, split
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

Floats become other floats, and integers become floats or other integers; anything else is refused, and so is
a number that the dtype cannot hold: 1e300 in float32, or 3000000000 in int32.
""",
)
BAD_LIMIT = Code(
    "B707",
    "bad-limit",
    """A tolerance or a number of iterations that no run can keep to.

`x.tolerance` is 0 or more: with a negative one, or NaN, no residual is small enough, and every run goes to
its cap. `x.max_iterations` is 0 or more; with 0 the start comes back.
""",
)


def admit(
    ports: Sequence[Port],
    given: Mapping[str, object],
    contract: Assumptions | None = None,
    pairs: Pairs = ALL_REAL,
) -> list[np.ndarray]:
    """One array per port, in the port's dtype and shape, defaults filled in; complex numbers become pairs.

    RunError: they do not fit; it has every mistake, in the order of the model's inputs.
    """
    mistakes = list(_names(ports, given, pairs))
    sizes: dict[str, int] = {}
    arrays = []
    for port in ports:
        if port.name not in given:
            arrays.append(port.default.array if port.default is not None else None)
            continue
        found = _admit(port, given[port.name], sizes, port.name in pairs.inputs, contract)
        if isinstance(found, Diagnostic):
            mistakes.append(found)
        arrays.append(found)
    if mistakes:
        raise RunError(*mistakes)
    return arrays  # type: ignore[return-value]


def _names(ports: Sequence[Port], given: Mapping[str, object], pairs: Pairs) -> Iterator[Diagnostic]:
    """What is given and not taken, and what is taken, not given, and has no default."""
    known = [port.name for port in ports]
    missing = [port for port in ports if port.name not in given and port.default is None]
    meant = {}
    for name in given:
        if name not in known:
            near = suggest(name, [port.name for port in missing]) or suggest(name, known)
            meant[near] = name
            fix = f"write `{near}`" if near else f"the inputs are: {', '.join(sorted(known)) or 'none'}"
            yield Diagnostic(WRONG_INPUTS, f"there is no input `{name}`", fix=fix)
    for port in missing:
        if port.name not in meant:  # the misspelling is told already
            told = _told(port, port.name in pairs.inputs)
            message = f"the input `{port.name}` is missing; it is {told}"
            fix = f"add --input {port.name}=FILE"
            yield Diagnostic(WRONG_INPUTS, message, span=port.place, fix=fix)


def _told(port: Port, complex: bool) -> str:
    """The type of an input, as the spec has it."""
    return f"complex[{', '.join(map(str, port.type.shape[:-1]))}]" if complex else str(port.type)


def _admit(
    port: Port, given: object, sizes: dict[str, int], complex: bool, contract: Assumptions | None
) -> np.ndarray | Diagnostic:
    """The array that the model takes, or what is wrong with what it was given."""
    told = _told(port, complex)
    try:
        array = np.asarray(given)
    except ValueError:  # rows of different lengths
        message = f"the input `{port.name}` is {told}; it was given lists of different lengths"
        return Diagnostic(WRONG_SHAPE, message, span=port.place, fix="give an array of the declared shape")
    if complex and array.dtype.kind in "cfiu":
        array = split(array)
    dtype = numpy_dtype(port.type.dtype)
    if not (array.dtype == dtype or _converts(array.dtype, port.type)):
        message = f"the input `{port.name}` is {told}; it was given {array.dtype}"
        fix = "give it as complex numbers" if complex else f"give it as {port.type.dtype}"
        return Diagnostic(WRONG_DTYPE, message, span=port.place, fix=fix)
    learnt = dict(sizes)
    if array.ndim != port.type.rank or not all(
        map(_agrees, port.type.shape, array.shape, [learnt] * array.ndim)
    ):
        bound = "".join(f", with {name} = {value}" for name, value in sizes.items())
        shape = list(array.shape[:-1] if complex else array.shape)
        message = f"the input `{port.name}` is {told}; it was given the shape {shape}{bound}"
        return Diagnostic(WRONG_SHAPE, message, span=port.place, fix="give an array of the declared shape")
    sizes.update(learnt)
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.ascontiguousarray(array, dtype).reshape(array.shape)
    mistakes = (_lost(port, array, made), _limit(port, made), _broken(contract, port, sizes))
    return next((mistake for mistake in mistakes if mistake), made)


def _lost(port: Port, array: np.ndarray, made: np.ndarray) -> Diagnostic | None:
    """A number that the dtype cannot hold, and where it stands."""
    if made.dtype == array.dtype or array.dtype.kind == "b":
        return None
    if port.type.is_float:
        wrong = ~np.isfinite(made.astype(float)) & np.isfinite(array.astype(float))
    else:
        wrong = made.astype(object) != array.astype(object)
    if not wrong.any():
        return None
    place = tuple(int(i[0]) for i in np.nonzero(wrong)) if wrong.ndim else ()
    where = f" at {list(place)}" if place else ""
    message = f"the input `{port.name}` has {array[place]}{where}, which {port.type.dtype} cannot hold"
    fix = "scale the data, or write `precision: float64`" if port.type.is_float else "give smaller integers"
    return Diagnostic(WRONG_DTYPE, message, span=port.place, fix=fix)


def _limit(port: Port, made: np.ndarray) -> Diagnostic | None:
    """A tolerance, or a cap, that is negative or NaN. Only what the compiler adds has a dot in its name."""
    _, dot, what = port.name.rpartition(".")
    if not dot or what not in ("tolerance", "max_iterations") or bool(made >= 0):
        return None
    message, example = (
        f"`{port.name}` is {made}, and would have to be 0 or more",
        "1e-5" if what == "tolerance" else "100",
    )
    return Diagnostic(
        BAD_LIMIT, message, span=port.place, fix=f"leave it out, or give --input {port.name}={example}"
    )


def _broken(contract: Assumptions | None, port: Port, sizes: Mapping[str, int]) -> Diagnostic | None:
    """A size that this input shows and that breaks the contract."""
    for name in dict.fromkeys(name for size in port.type.shape for name in names(size)):
        if contract is not None and name in sizes and not contract.admits(name, sizes[name]):
            needs = contract.tell(name)
            message = f"the input `{port.name}` has {name} = {sizes[name]}; the model needs {needs}"
            fix = f"give an array with {needs}"
            return Diagnostic(BROKEN_CONTRACT, message, span=port.place, fix=fix)
    return None


def _converts(given: np.dtype, type: TensorType) -> bool:
    kinds = "fiu" if type.is_float else "iu" if type.dtype.startswith("int") else "b"
    return given.kind in kinds


def _agrees(size: int | Dim, actual: int, sizes: dict[str, int]) -> bool:
    """Whether an axis fits; where one name is new, as in `n` or `2*n + 1`, it takes the value that fits."""
    learn(size, actual, sizes)
    return all(name in sizes for name in names(size)) and bind(size, sizes) == actual
