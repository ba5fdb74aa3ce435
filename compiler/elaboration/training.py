"""The section `train:` becomes a task: data as arrays, an optimiser, and the graph of the loss.

Where an input has a leading `batch`, or `batch` is said, the formula of the loss speaks of one sample, and
the loss of a step is the mean over its batch. Else every step takes the data whole.
"""

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.datasets import DATA_DO_NOT_FIT, array_of, fitted
from banach.compiler.elaboration.declarations import LANES
from banach.compiler.elaboration.optimisers import optimiser
from banach.compiler.elaboration.problem import counted, refuse
from banach.compiler.elaboration.things import Environment, Number, Tensor, describe
from banach.compiler.spec import Ending, Training
from banach.compiler.text.expression import parse
from banach.compiler.text.section import WRONG_FORM
from banach.compiler.text.source import Mapping as Keys
from banach.compiler.text.source import Node, Scalar, Sequence
from banach.ir.diagnostic import Code, Diagnostic, SpecError, suggest
from banach.ir.dims import Size
from banach.ir.graph import Builder, Graph, Port, Value, prune
from banach.ir.lens import Lens
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType
from banach.ir.vectorise import vectorise

if TYPE_CHECKING:
    from banach.compiler.elaboration.followers import Follower

BAD_COUNT = Code(
    "B340",
    "bad-training-number",
    """A number of `train:` is out of range: steps, `batch` and `patience` are whole numbers from 1 on, seeds
whole numbers from 0 on, and the loss to stop at is a number.
""",
)
NOTHING_TO_TRAIN = Code(
    "B341",
    "nothing-to-train",
    """A spec has a section `train:`, and no parameter that may change, or none of a name that it `learns`.

    right    parameters:
               W: {type: "real[h, p]", init: "normal(0, 0.1)", trainable: true}
""",
)
NO_LOSS = Code(
    "B342",
    "loss-is-no-number",
    """The loss is one real number: of one sample where there are batches, of everything where there are none.

    wrong    loss: (net(x) - y)**2           a vector
    right    loss: mean((net(x) - y)**2)
""",
)
NOT_REACHED = Code(
    "B344",
    "loss-does-not-reach",
    """The loss does not depend on a trainable parameter, or on any of the data: training would change nothing
there, and it would look as if it had.
""",
)
WRONG_WEIGHTS = Code(
    "B346",
    "weights-do-not-fit",
    """Weights were given that are not those of the spec's trainable parameters: a name is missing or is not
known, a shape differs, or an entry is no number.
""",
)
RESERVED = (LANES, "shuffle")
_LARGEST = 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is to be learnt. `loss` is a graph of the parameters, a batch and options with defaults.

    `parameters` are those that are learnt, `followers` those that are drawn to some of them; `initial` has
    the values of all that a training may move. `samples` hold one row for every sample, and a step takes
    `batch` rows of them; `whole` is the same at every step. `shuffle` is the key of the order of samples;
    None: as they stand.
    """

    loss: Graph
    parameters: tuple[str, ...]
    followers: Mapping[str, "Follower"]
    initial: Mapping[str, np.ndarray]
    samples: Mapping[str, np.ndarray]
    whole: Mapping[str, np.ndarray]
    batch: int
    shuffle: int | None
    optimiser: Callable[[Ordered[TensorType]], Lens]
    method: str
    steps: int
    enough: float | None
    patience: int | None


class Plan:
    """A section `train:` while its spec is elaborated: first its data, then its loss."""

    def __init__(self, node: Node, mistakes: list[Diagnostic]):
        found = Training.read(node, mistakes)
        if found is None:
            raise SpecError([])
        self.section = found
        self.node = node
        self.mistakes = mistakes
        self.arrays: dict[str, tuple[np.ndarray, Span]] = {}
        self.seed = seed_of(node)
        self.batch = self._number(LANES, 1)
        shuffle = self._number("shuffle", 0)
        self.shuffle = None if shuffle is None else shuffle + (self.seed << 64)
        self.steps = _whole(found.steps, "number of steps", 1)
        self.learns = _learns(found.learns)
        ending = Ending.read(found.stop, mistakes) if found.stop is not None else None
        self.enough = _real(ending.loss) if ending and ending.loss else None
        self.patience = _whole(ending.patience, "patience", 1) if ending and ending.patience else None
        self.sampled = False

    def _number(self, key: str, least: int) -> int | None:
        node = self.section.data.get(key)
        return None if node is None else _whole(node, f"`{key}`", least)

    def sets(self) -> list[tuple[Scalar, Node]]:
        """The entries of `data:` that are data."""
        return [(key, node) for key, node in self.section.data if key.text not in RESERVED]

    def settle(self, lanes: bool, fixed: Any) -> None:
        """Whether there are samples, and how many a batch has. SpecError: the spec has fixed another size."""
        self.sampled = lanes or self.batch is not None
        if not isinstance(fixed, Number):
            return
        place = self.section.data.get(LANES)
        if self.batch is not None and self.batch != fixed.value and place is not None:
            message = f"the batch is {self.batch} here, and {int(fixed.value)} under `sizes:`"
            raise refuse(DATA_DO_NOT_FIT, message, place.span, fix="write `batch: any` under `sizes:`")
        self.batch = int(fixed.value)

    def read(self, key: Scalar, node: Node, names: Environment, context: Context, folder: Any) -> np.ndarray:
        """The array of an entry. SpecError: it is none."""
        array = array_of(key, node, names, context, folder)
        self.arrays[key.text] = (array, node.span)
        return array

    def declare(self, key: Scalar, array: np.ndarray, context: Context) -> tuple[TensorType, bool]:
        """The type of data that are no input of the model, and whether they have one row for each sample."""
        kind = {"f": context.scope.precision, "i": "int64", "b": "bool"}[array.dtype.kind]
        if self.sampled and not array.ndim:
            raise _no_samples(key.text, key.span)
        return TensorType(kind, array.shape[1:] if self.sampled else array.shape), self.sampled

    def check_lengths(self, lanes: Mapping[str, bool]) -> None:
        """That all data have equally many samples, and enough for a batch."""
        rows = {name: given for name, given in self.arrays.items() if lanes.get(name)}
        for name, (array, span) in rows.items():
            if not array.ndim:
                raise _no_samples(name, span)
        if not rows:
            return
        (first, (array, span)), *rest = rows.items()
        for name, (other, place) in rest:
            if len(other) != len(array):
                message = f"`{name}` has {counted(len(other), 'sample')}, and `{first}` has {len(array)}"
                fix = "give every sample in each of them"
                notes = ((span, f"`{first}` is given here"),)
                raise SpecError([Diagnostic(DATA_DO_NOT_FIT, message, place, fix=fix, notes=notes)])
        if self.batch is not None and self.batch > len(array):
            place = self.section.data.get(LANES)
            message = f"a batch of {self.batch} is more than the {len(array)} samples that there are"
            raise refuse(DATA_DO_NOT_FIT, message, place.span if place else None, fix="take a smaller batch")

    def task(
        self,
        names: Environment,
        context: Context,
        parameters: Mapping[str, Span],
        followers: Mapping[str, "Follower"],
        initial: Mapping[str, np.ndarray],
        marks: Mapping[str, bool],
        lane: Size,
    ) -> Task:
        """The task, once everything that the loss may read has a meaning. SpecError: it makes none."""
        if not parameters:
            fix = "add `trainable: true` to a parameter"
            raise refuse(NOTHING_TO_TRAIN, "there is no trainable parameter", self.section.loss.span, fix=fix)
        parameters = self._learnt(parameters)
        method, make = optimiser(self.section.method, names, context)
        graph = self._loss(names, context, parameters, marks, lane)
        kept = {port.name for port in graph.inputs}
        sizes: dict[str, int] = {}
        given = {
            port.name: fitted(port, *self.arrays[port.name], bool(marks.get(port.name)), sizes)
            for port in graph.inputs
            if port.name in self.arrays
        }
        samples = {name: array for name, array in given.items() if marks.get(name)}
        whole = {name: array for name, array in given.items() if not marks.get(name)}
        self._check_all_read(kept)
        count = len(next(iter(samples.values()))) if samples else 1
        return Task(
            loss=graph,
            parameters=tuple(parameters),
            followers=followers,
            initial=initial,
            samples=samples,
            whole=whole,
            batch=self.batch or count,
            shuffle=self.shuffle,
            optimiser=make,
            method=method,
            steps=self.steps,
            enough=self.enough,
            patience=self.patience,
        )

    def _learnt(self, parameters: Mapping[str, Span]) -> Mapping[str, Span]:
        """Those that change in this phase. SpecError: one of them is no trainable parameter."""
        for item in self.learns:
            if item.text not in parameters:
                near = suggest(item.text, list(parameters))
                fix = f"write `{near}`" if near else f"the trainable parameters are: {', '.join(parameters)}"
                message = f"there is no trainable parameter `{item.text}`"
                raise refuse(NOTHING_TO_TRAIN, message, item.span, fix=fix)
        chosen = {item.text for item in self.learns}
        return {name: place for name, place in parameters.items() if name in chosen or not chosen}

    def _loss(
        self,
        names: Environment,
        context: Context,
        parameters: Mapping[str, Span],
        marks: Mapping[str, bool],
        lane: Size,
    ) -> Graph:
        formula = self.section.loss
        thing = context.evaluate(parse(formula), names, context)
        if not arithmetic.is_tensor(thing):
            fix = "apply the map, or take the sum of what there is"
            raise refuse(NO_LOSS, f"the loss is {describe(thing)}, not a number", formula.span, fix=fix)
        value = context.scope.value(thing, place=formula.span)
        if value.type.shape or not value.type.is_float:
            of = " of one sample" if self.sampled else ""
            fix = "take the mean, or the sum, of its entries"
            raise refuse(NO_LOSS, f"the loss{of} is {value.type}, not a number", formula.span, fix=fix)
        whole = prune(context.scope.build.finish({"loss": value}))
        _check_reached(whole, parameters, formula.span)
        if any(marks.get(port.name) for port in whole.inputs):
            lanes = [bool(marks.get(port.name)) for port in whole.inputs]
            whole, (reached,) = vectorise(whole, lanes, lane)
            if not reached:
                fix = "let the loss read an input that has a leading `batch`, or data"
                raise refuse(NOT_REACHED, "the loss depends on no sample of the data", formula.span, fix=fix)
            whole = _mean(whole, lane)
        used = _read(whole)
        missing = [p for i, p in enumerate(whole.inputs) if i in used and self._lacks(p, parameters)]
        if missing:
            message = f"the loss reads the input `{missing[0].name}`, and there are no data for it"
            fix = f"add `{missing[0].name}:` to `data:`"
            raise refuse(DATA_DO_NOT_FIT, message, self.section.data.span, fix=fix)
        return _arranged(whole, list(parameters), used)

    def _lacks(self, port: Port, parameters: Mapping[str, Span]) -> bool:
        return port.default is None and port.name not in parameters and port.name not in self.arrays

    def _check_all_read(self, kept: set[str]) -> None:
        for name, (_, span) in self.arrays.items():
            if name not in kept:
                fix = "use it in the loss, or take it away"
                raise refuse(NOT_REACHED, f"the loss does not depend on the data `{name}`", span, fix=fix)


def _no_samples(name: str, span: Span) -> SpecError:
    message = f"`{name}` is one number, and no list of samples"
    return refuse(DATA_DO_NOT_FIT, message, span, fix="give one row for each sample")


def seed_of(node: Node | None) -> int:
    """The seed of a section `train:`, which sets one run apart from another; 0 if it names none."""
    told = node.get("seed") if isinstance(node, Keys) else None
    return 0 if told is None else _whole(told, "seed", 0)


def weighted(key: Scalar, thing: Any, weights: Mapping[str, np.ndarray] | None, context: Context) -> Any:
    """A trainable parameter, with the value that is given in place of the spec's if any are given.

    SpecError: it is not real, or has no weight.
    """
    precision = context.scope.precision
    if arithmetic.type_of(thing, context.scope).dtype != precision:
        fix = "a trainable parameter holds reals: store floats"
        raise refuse(WRONG_FORM, f"`{key.text}` is {describe(thing)} of whole numbers", key.span, fix=fix)
    if weights is None:
        return thing
    array = weights.get(key.text)
    shape = arithmetic.as_array(thing).shape
    if array is None:
        fix = "give weights that this spec was trained to"
        raise refuse(WRONG_WEIGHTS, f"there is no weight for `{key.text}`", key.span, fix=fix)
    if array.shape != shape or array.dtype.kind != "f" or not np.all(np.isfinite(array)):
        told = f"{array.dtype}{list(array.shape)}" if np.all(np.isfinite(array)) else "not all finite"
        message = f"the weight for `{key.text}` is {told}, and the spec has real{list(shape)}"
        raise refuse(WRONG_WEIGHTS, message, key.span, fix="give weights that this spec was trained to")
    found = arithmetic.from_array(array.astype(precision).astype(np.float64), key.text)
    return Number(Fraction(float(found.array))) if isinstance(thing, Number) else found


def check_weights(weights: Mapping[str, np.ndarray], parameters: Mapping[str, Span]) -> None:
    """SpecError: there is a weight for what is no trainable parameter."""
    for name in weights:
        if name not in parameters:
            message = f"there is no trainable parameter `{name}`, for which there is a weight"
            known = ", ".join(parameters) or "none"
            raise refuse(WRONG_WEIGHTS, message, None, fix=f"the trainable parameters are: {known}")


def opened(key: Scalar, thing: Any, context: Context) -> Tensor:
    """A trainable parameter as an input of the graph; its default is its value."""
    scope = context.scope
    default = scope.build.constant_of(scope.value(thing))
    assert default is not None, "a parameter is known before the run"
    return Tensor(scope.build.input(key.text, default.type, default, key.span), key.text)


def _read(graph: Graph) -> set[int]:
    """The values that something reads."""
    return {v for op in graph.ops for v in op.operands} | set(graph.outputs)


def _check_reached(graph: Graph, parameters: Mapping[str, Span], place: Span) -> None:
    read = _read(graph)
    for number, port in enumerate(graph.inputs):
        if port.name in parameters and number not in read:
            message = f"the loss does not depend on the trainable parameter `{port.name}`"
            fix = "take `trainable: true` away there"
            notes = ((place, "the loss"),)
            raise SpecError([Diagnostic(NOT_REACHED, message, parameters[port.name], fix=fix, notes=notes)])


def _mean(graph: Graph, lane: Size) -> Graph:
    """The mean of the losses of all samples."""
    build = Builder("loss", graph.contract)
    inputs = [build.input(port.name, port.type, port.default, port.place) for port in graph.inputs]
    (losses,) = build.inline(graph, inputs)
    count = build.op("extent", size=lane, dtype=losses.type.dtype)
    return build.finish({"loss": build.op("sum", losses, axes=(-1,)) / count})


def _arranged(graph: Graph, first: list[str], used: set[int]) -> Graph:
    """The graph with the parameters as its first inputs, and without those that nothing reads."""
    build = Builder("loss", graph.contract)
    ports = {port.name: port for i, port in enumerate(graph.inputs) if i in used}
    order = [*first, *(name for name in ports if name not in first)]
    made: dict[str, Value] = {}
    for name in order:
        port = ports[name]
        made[name] = build.input(name, port.type, port.default, port.place)
    unread = [port for i, port in enumerate(graph.inputs) if i not in used]
    stand_in = {port.name: build.zeros(port.type) for port in unread if port.name not in made}
    results = build.inline(graph, [(made | stand_in)[port.name] for port in graph.inputs])
    return prune(build.finish({"loss": results[0]}))


def _learns(node: Node | None) -> tuple[Scalar, ...]:
    """The names that a phase learns; none: all of them."""
    items = (node,) if isinstance(node, Scalar) else tuple(node) if isinstance(node, Sequence) else ()
    if node is not None and (not items or not all(isinstance(item, Scalar) for item in items)):
        raise refuse(WRONG_FORM, "`learns` is a list of parameters", node.span, fix="write `[W, b]`")
    return items  # type: ignore[return-value]


def _whole(node: Node, what: str, least: int) -> int:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, int) and not isinstance(value, bool) and least <= value < _LARGEST:
        return value
    told = f", not `{node.text}`" if isinstance(node, Scalar) else ""
    message = f"the {what} is a whole number from {least} on{told}"
    raise refuse(BAD_COUNT, message, node.span, fix="write 100, say")


def _real(node: Scalar) -> float:
    if isinstance(node.value, bool) or not isinstance(node.value, str):
        try:
            return float(node.value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            pass
    message = f"the loss to stop at is a number, not `{node.text}`"
    raise refuse(BAD_COUNT, message, node.span, fix="write 1e-5, say")
