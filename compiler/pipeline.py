"""From a text to a checked model, and on to a file or a module. Backends are imported when asked for."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from banach.compiler import storing, training
from banach.compiler.certificate import tensors_in
from banach.compiler.certify import certify, requirements
from banach.compiler.elaborate import Elaborated, elaborate
from banach.compiler.elaboration.sections import Weights
from banach.compiler.elaboration.training import NOTHING_TO_TRAIN
from banach.compiler.expectation import unmet
from banach.compiler.optimisation import Options
from banach.compiler.optimise import DEFAULT, Optimised, optimise
from banach.compiler.remarks import shadowed
from banach.compiler.report import Report
from banach.compiler.spec import spec
from banach.compiler.text import source
from banach.ir.diagnostic import Code, Diagnostic, SpecError, suggest
from banach.ir.evaluate import evaluate
from banach.ir.graph import Graph, Port, beside, prune
from banach.ir.pairs import ALL_REAL, Pairs
from banach.ir.reverse import NoDerivative, reverse
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import numpy_dtype
from banach.ir.unroll import TooLong, unrolled

if TYPE_CHECKING:
    from banach.backends.base import Artifact

NO_DERIVATIVE = Code(
    "B401",
    "no-derivative",
    """A derivative was asked for that does not exist: of an output that is no number, with respect to an
input that is an integer, or through an operation that has none, such as `argmax`.
""",
)
NOT_UNROLLED = Code(
    "B617",
    "not-unrolled",
    """A file without loops was asked for, and there is none: all steps that a solve may take would stand in
it one after another, which are too many, or only known in the run; or it holds a scan or a branch.

    right    stop: {residual: 1e-4, most: 50}
""",
)
UNKNOWN_BACKEND = Code("B607", "unknown-backend", "A backend is one of onnx, fx and oracle.\n")


class Model:
    """A spec, read and elaborated. `graph` is its meaning; `check` certifies, `compile` makes it run."""

    def __init__(self, text: str, name: str, folder: Path | None, weights: Weights | None = None):
        self.texts = {name: text}
        self.text = text
        self._spec, self._folder, self._weights = spec(source.parse(text, name)), folder, weights
        self._elaborated, self._tasks = training.elaborated(self._spec, folder, weights)

    @property
    def name(self) -> str:
        return self._elaborated.spec.name

    @property
    def elaborated(self) -> Elaborated:
        return self._elaborated

    @property
    def graph(self) -> Graph:
        return self._elaborated.graph

    @property
    def backward(self) -> Graph:
        """The reverse derivative of the spec's own outputs. SpecError: there is none."""
        named = {key.text for key, _ in self._elaborated.spec.head.outputs or ()}
        kept = [(v, name) for v, name in zip(self.graph.outputs, self.graph.output_names) if name in named]
        outputs, names = zip(*kept)
        return _reversed(prune(replace(self.graph, outputs=outputs, output_names=names)))

    @cached_property
    def report(self) -> Report:
        certificates, diagnostics = certify(self._elaborated)
        given = lambda: elaborate(self._spec, self._folder, self._weights, "given")  # noqa: E731
        certificates = storing.told(certificates, self._elaborated, given)
        diagnostics += [*requirements(self._elaborated, certificates), *unmet(self._spec, certificates)]
        diagnostics += shadowed(self._spec)
        return Report(self.name, tuple(diagnostics), {c.solve: c for c in certificates}, self.texts)

    def check(self) -> Report:
        """Certifies every solve."""
        return self.report

    def compile(
        self,
        path: str | Path | None = None,
        to: str = "onnx",
        options: Options = DEFAULT,
        trainable: bool = False,
    ) -> "Artifact":
        """A runnable artifact; with a path, written there too. SpecError: refuted, or a requirement open.

        With `trainable`, for fx, the spec's trainable parameters are those of the torch module.
        """
        self._refuse()
        if trainable:
            return self._compile_opened(path, to, options)
        return _compile(self.graph, self, path, to, options, pairs=self.elaborated.pairs)

    @cached_property
    def opened(self) -> Elaborated:
        """The spec with its trainable parameters as inputs of the graph, whose defaults are their values."""
        return elaborate(self._spec, self._folder, self._weights, "opened")

    def _compile_opened(self, path: str | Path | None, to: str, options: Options) -> "Artifact":
        names = self.opened.trainable
        if not names:
            raise SpecError([Diagnostic(NOTHING_TO_TRAIN, "there is no trainable parameter")])
        if to != "fx":
            raise SpecError([Diagnostic(UNKNOWN_BACKEND, "only fx makes a module that learns")])
        from banach.backends.fx.run import artifact  # torch takes seconds to import

        made = artifact(optimise(self.opened.graph, options, set()).graph, dict.fromkeys(names))
        made.pairs = self.elaborated.pairs
        if path is not None:
            made.save(path)
        return made

    def train_step(self, phase: int = 1) -> "TrainStep":
        """One step of a phase of the training as a model. SpecError (B347): the spec has no such phase."""
        return TrainStep(self, phase)

    def train(
        self,
        folder: str | Path,
        *,
        steps: int | None = None,
        resume: bool = False,
        to: str | None = None,
        every: int = 100,
        watch: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    ) -> training.Trained:
        """Trains up to `steps` in total, keeping weights and checkpoints in a folder; see `training.run`.

        It runs on fx where torch is installed, else on ONNX Runtime, and is resumed where it began. `watch`
        is told the step, how many there will be, and the loss.
        """
        target, phases = Path(folder), [self.train_step(1 + i) for i in range(max(len(self._tasks), 1))]
        backend = to or (resume and training.backend_of(target)) or ("fx" if find_spec("torch") else "onnx")
        compiled = lambda phase: phases[phase].compile(to=backend)  # noqa: E731
        limits = {"steps": steps, "resume": resume, "every": max(every, 1)}
        tasks, made = [phase.task for phase in phases], [phase.step for phase in phases]
        return training.run(tasks, made, compiled, target, backend=backend, watch=watch, **limits)

    def optimised(self, options: Options = DEFAULT) -> Optimised:
        """What `compile` hands to a backend, and how it came about."""
        return _optimised(self.graph, self, options)

    def reverse(self, output: str, wrt: str | Sequence[str]) -> "Derivative":
        """The model of the derivatives of one output with respect to inputs, by the reverse derivative."""
        return Derivative(self, output, (wrt,) if isinstance(wrt, str) else tuple(wrt))

    def _refuse(self) -> None:
        errors = [d for d in self.report.diagnostics if d.severity == "error"]
        if errors:
            raise SpecError(errors)


class TrainStep:
    """(parameters, state, batch) ↦ (parameters', state', loss); parameters and state have defaults, those
    before the first step. `task` says what the batches are. Phases are counted from 1."""

    def __init__(self, model: Model, phase: int = 1):
        count = len(model._tasks)
        message = fix = ""
        if not count:
            message, fix = (
                "this spec has no section `train:`",
                "add `train:`: a loss, data, a method and steps",
            )
        elif not 1 <= phase <= count:
            message, fix = f"there is no phase {phase} of this training", f"phases go from 1 to {count}"
        if message:
            raise SpecError([Diagnostic(training.NOT_TRAINABLE, message, fix=fix)])
        self.model, self.task = model, model._tasks[phase - 1]
        self.step = training.step(self.task)

    @property
    def graph(self) -> Graph:
        return self.step.graph

    def batch(self, number: int) -> dict[str, Any]:
        """The data of a step, counted from 0."""
        return training.batch(self.task, number)

    def compile(
        self, path: str | Path | None = None, to: str = "onnx", options: Options = DEFAULT
    ) -> "Artifact":
        """As `Model.compile`. Nothing is certified of a step: it changes the weights."""
        return _compile(self.graph, self.model, path, to, options, certified=False)

    def optimised(self, options: Options = DEFAULT) -> Optimised:
        """As `Model.optimised`."""
        return optimise(self.graph, options, set())


class Derivative:
    """R of a model, for one output: inputs are the model's, and `d.OUTPUT`; outputs are `d.INPUT`."""

    def __init__(self, model: Model, output: str, wrt: tuple[str, ...]):
        self.model = model
        self.opened = not set(wrt).isdisjoint(model.elaborated.trainable)
        graph = model.opened.graph if self.opened else model.graph
        known = [port.name for port in graph.inputs if port.type.is_float and port.default is None]
        known += model.elaborated.trainable
        results = [name for name, type in zip(graph.output_names, graph.output_types) if type.is_float]
        for name, names, what in (
            (output, results, "output"),
            *((w, known, "input") for w in wrt),
        ):
            if name not in names:
                near = suggest(name, names)
                fix = f"write `{near}`" if near else f"real {what}s are: {', '.join(names) or 'none'}"
                message = f"there is no real {what} `{name}` to differentiate"
                raise SpecError([Diagnostic(NO_DERIVATIVE, message, fix=fix)])
        place = graph.output_names.index(output)
        single = prune(replace(graph, outputs=(graph.outputs[place],), output_names=(output,)))
        whole = _reversed(single)
        kept = [whole.output_names.index(f"d.{name}") for name in wrt]
        self.graph = prune(
            replace(
                whole,
                inputs=tuple(map(_seeded, whole.inputs)),
                outputs=tuple(whole.outputs[i] for i in kept),
                output_names=tuple(whole.output_names[i] for i in kept),
            )
        )

    def beside_model(self) -> "Derivative":
        """The same, with the model's own outputs in front: what `compile --gradient` writes."""
        both = copy(self)
        model = self.model.opened.graph if self.opened else self.model.graph
        both.graph = beside(model.name, [model, self.graph])
        return both

    def compile(
        self, path: str | Path | None = None, to: str = "onnx", options: Options = DEFAULT
    ) -> "Artifact":
        """As `Model.compile`."""
        self.model._refuse()
        # Where weights are inputs, nothing is known of them.
        certified, pairs = not self.opened, self.model.elaborated.pairs.derived
        return _compile(self.graph, self.model, path, to, options, certified, pairs)

    def optimised(self, options: Options = DEFAULT) -> Optimised:
        """As `Model.optimised`."""
        return _optimised(self.graph, self.model, options)


def _seeded(port: Port) -> Port:
    """The cotangent of a number is 1 unless something else is given."""
    if port.type.shape or not port.name.startswith("d."):
        return port
    return replace(port, default=Tensor(np.ones((), numpy_dtype(port.type.dtype))))


def _reversed(graph: Graph) -> Graph:
    try:
        return reverse(graph)
    except NoDerivative as refusal:
        fix = "differentiate another output"
        raise SpecError([Diagnostic(NO_DERIVATIVE, str(refusal), refusal.place, fix=fix)]) from None


def load(path: str | Path, weights: str | Path | Weights | None = None) -> Model:
    """The model of a spec's file. SpecError: with everything that is wrong with it.

    `weights`, a safetensors file or arrays by name, take the place of the trainable parameters' values.
    """
    return Model(source.read_text(path), str(path), Path(path).parent, read_weights(weights))


def read_weights(given: str | Path | Weights | None) -> Weights | None:
    """Weights from a file, if they are not given as arrays. RunError (B724): it cannot be read."""
    if not isinstance(given, str | Path):
        return given
    from banach.backends import weights  # checking needs no files of weights

    return weights.read(Path(given))[0]


def loads(
    text: str | Mapping[str, Any],
    name: str = "spec.yaml",
    folder: str | Path | None = None,
    weights: str | Path | Weights | None = None,
) -> Model:
    """The model of a spec's text, or of a mapping of the same form; files are looked up in `folder`."""
    if not isinstance(text, str):
        text = yaml.safe_dump(dict(text), sort_keys=False, allow_unicode=True)
    return Model(text, name, Path(folder) if folder is not None else None, read_weights(weights))


def _optimised(graph: Graph, model: Model, options: Options) -> Optimised:
    evidence = [c.evidence() for c in model.report.certificates.values()]
    return optimise(graph, options, set(tensors_in(evidence)))


def _compile(
    graph: Graph,
    model: Model,
    path: str | Path | None,
    to: str,
    options: Options,
    certified: bool = True,
    pairs: Pairs = ALL_REAL,
) -> "Artifact":
    if to == "oracle":
        return Oracle(graph, pairs)  # the meaning itself: nothing stands between it and the spec
    optimised = _optimised(graph, model, options) if certified else optimise(graph, options, set())
    graph = optimised.graph
    if options.target == "unrolled":
        graph = _without_loops(graph)
    if to == "fx":
        from banach.backends.fx.run import artifact  # torch takes seconds to import

        made = artifact(graph)
        made.pairs = pairs
        if path is not None:
            made.save(path)
        return made
    if to != "onnx":
        fix = "write onnx, fx or oracle"
        raise SpecError([Diagnostic(UNKNOWN_BACKEND, f"there is no backend `{to}`", fix=fix)])
    from banach.backends.onnx.lower import lower  # checking needs no onnx
    from banach.backends.onnx.run import OnnxArtifact, save
    from banach.backends.onnx.seal import COMPLEX, seal

    proto = lower(graph, quantised=model.elaborated.quantised, compact=options.compact)
    facts = {"banach.spec": model.text, "banach.version": version("banach")}
    facts |= {COMPLEX: pairs.to_json()} if pairs else {}
    certificates = [optimised.bounded(c) for c in model.report.certificates.values() if certified]
    seal(proto, [{**c.to_json(), "evidence": c.evidence()} for c in certificates], facts)
    if path is not None:
        save(proto, path)
    return OnnxArtifact(proto, places={port.name: port.place for port in graph.inputs})


def _without_loops(graph: Graph) -> Graph:
    try:
        return unrolled(graph)
    except TooLong as refusal:
        fix = "write a smaller `most` under `stop:`, or leave --target out"
        raise SpecError([Diagnostic(NOT_UNROLLED, f"no file without loops: {refusal}", fix=fix)]) from None


def Oracle(graph: Graph, complex: Pairs = ALL_REAL) -> "Artifact":
    """The graph in numpy, as its meaning says."""
    from banach.backends.base import Artifact

    class _Oracle(Artifact):
        inputs = graph.inputs
        outputs = graph.output_names
        contract = graph.contract
        pairs = complex

        def evaluate(self, arguments: Sequence[Any]) -> Sequence[Any]:
            return evaluate(graph, arguments)

    return _Oracle()
