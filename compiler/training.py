"""Training: one step as a graph, the order of samples, and the run with its checkpoints."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from banach.compiler.elaborate import Elaborated, elaborate
from banach.compiler.elaboration.sections import Weights
from banach.compiler.elaboration.training import Task
from banach.compiler.spec import Spec
from banach.ir import whole_file
from banach.ir.diagnostic import Code, Diagnostic, RunError, SpecError
from banach.ir.graph import Builder, Graph
from banach.ir.lens import identity, lens, train
from banach.ir.optimiser import start
from banach.ir.reverse import NoDerivative
from banach.ir.tensor import Tensor
from banach.ir.text import print_graph

if TYPE_CHECKING:
    from banach.backends.base import Artifact

NOT_TRAINABLE = Code(
    "B347",
    "no-training",
    """A spec without a section `train:` was to be trained, or its loss has no derivative in the parameters.
`docs/language.md` shows the section.
""",
)
OTHER_RUN = Code(
    "B721",
    "other-run",
    """A checkpoint belongs to another training: the loss, the method, the data, their order or the backend
has changed, so that going on from it would not be the same run.
""",
)
FOLDER_IN_USE = Code(
    "B722",
    "folder-in-use",
    "A folder holds the checkpoint of a training; `--resume` goes on from it, and nothing overwrites it.\n",
)
NO_CHECKPOINT = Code("B723", "no-checkpoint", "There is no checkpoint to go on from, or it cannot be read.\n")

CHECKPOINT, WEIGHTS = "checkpoint.safetensors", "weights.safetensors"
FINISHED, ENOUGH, PATIENCE, DIVERGED = "finished", "loss reached", "no better for long", "not finite"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Step:
    """One step as a graph. `carried` names its first inputs, parameters and then the optimiser's state; its
    outputs are those under their names with a prime, and `loss`."""

    graph: Graph
    carried: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trained:
    """How a training ended: the steps done, the loss of each, the parameters, and why it ended."""

    steps: int
    losses: tuple[float, ...]
    parameters: Mapping[str, np.ndarray]
    status: str

    @property
    def ok(self) -> bool:
        return self.status != DIVERGED


@dataclass(slots=True)
class _State:
    """What a checkpoint holds."""

    carried: Arrays
    losses: list[float] = field(default_factory=list)
    best: int = 0  # the first step with the least loss

    def move(self, carried: Arrays, loss: float) -> None:
        """Takes over what a step has made."""
        self.carried = carried
        self.losses.append(loss)
        if loss < self.losses[self.best]:
            self.best = len(self.losses) - 1


def elaborated(spec: Spec, folder: Path | None, weights: Weights | None) -> tuple[Elaborated, Task | None]:
    """A spec as a model, and what its training is. SpecError: the mistakes of both."""
    train, mistakes, texts = spec.head.train, [], {}
    made = task = None
    try:
        made = elaborate(spec, folder, weights)
    except SpecError as wrong:
        mistakes, texts = [*wrong.diagnostics], wrong.texts
    try:
        task = elaborate(spec, folder, weights, "task").task if train else None
    except SpecError as wrong:
        lines = range(train.span.line, train.span.end_line + 1) if train else ()
        mistakes += [d for d in wrong.diagnostics if made or (d.span and d.span.line in lines)]
    if made is None or mistakes:
        raise SpecError(dict.fromkeys(mistakes), texts)
    return made, task


def step(task: Task) -> Step:
    """(parameters, state, batch) ↦ (parameters', state', loss), by the lens of the loss and its optimiser.

    SpecError (B347): the loss has no derivative.
    """
    count, loss = len(task.parameters), task.loss
    types = [port.type for port in loss.inputs[:count]]
    optimiser = task.optimiser(types)
    try:
        whole = train(lens(loss, count), identity(loss.output_types), optimiser)
    except NoDerivative as refusal:
        fix = "let the loss be smooth in the parameters"
        raise SpecError([Diagnostic(NOT_TRAINABLE, str(refusal), refusal.place, fix=fix)]) from None
    initial = [port.default.array for port in loss.inputs[:count] if port.default is not None]
    names = [*_states(task, optimiser.forward), *task.parameters]
    held = dict(zip(names, start(optimiser, initial), strict=True))
    order = [*task.parameters, *(name for name in held if name not in task.parameters)]
    build = Builder(f"train.{loss.name}", loss.contract)
    carried = {name: build.input(name, t, Tensor(held[name])) for name, t in _typed(order, names, whole)}
    batch = [build.input(port.name, port.type, port.default, port.place) for port in loss.inputs[count:]]
    *fresh, number = build.inline(whole, [*(carried[name] for name in names), *batch])
    moved = dict(zip(names, fresh, strict=True))
    graph = build.finish({**{f"{name}'": moved[name] for name in order}, "loss": number})
    return Step(graph, tuple(order))


def _typed(order: list[str], names: list[str], whole: Graph) -> Iterator[tuple[str, Any]]:
    types = {name: port.type for name, port in zip(names, whole.inputs)}
    return ((name, types[name]) for name in order)


def _states(task: Task, forward: Graph) -> Iterator[str]:
    """Names for the optimiser's own state: adam.t, adam.s0.W."""
    for port in forward.inputs[: len(forward.inputs) - len(task.parameters)]:
        name, dot, number = port.name.partition(".")
        yield f"{task.method}.{name}.{task.parameters[int(number)]}" if dot else f"{task.method}.{name}"


# --- data --------------------------------------------------------------------------------------------------


def batch(task: Task, number: int) -> Arrays:
    """The data of a step. Its rows are the next ones of an endless list: one order of all samples after
    another, each a permutation that the seed and its number alone determine."""
    count = len(next(iter(task.samples.values()), ()))
    if not count:
        return dict(task.whole)
    places = np.arange(number * task.batch, (number + 1) * task.batch)
    rows = np.asarray([order(task.shuffle, count, int(p) // count)[int(p) % count] for p in places])
    return {**task.whole, **{name: array[rows] for name, array in task.samples.items()}}


@lru_cache(maxsize=4)
def order(key: int | None, count: int, epoch: int) -> np.ndarray:
    """The samples' order in one pass: sorted by Philox's bits, which numpy promises to keep."""
    if key is None:
        return np.arange(count)
    bits = np.random.Philox(key=key, counter=[0, 0, epoch, 0]).random_raw(count)
    return np.argsort(bits, kind="stable")


# --- the run -----------------------------------------------------------------------------------------------


def run(
    task: Task,
    made: Step,
    artifact: "Artifact",
    folder: Path,
    *,
    backend: str,
    steps: int,
    resume: bool,
    every: int,
    watch: Callable[[int, int, float], None],
) -> Trained:
    """Takes steps, up to `steps` in total, with a checkpoint after every so many and at the end.

    A loss or a parameter that is not finite ends the run, and leaves the last good checkpoint. RunError: the
    folder cannot be used (B705, B722), there is no checkpoint (B723), or it is another run's (B721).
    """
    identity = {"run": _digest(task, made), "backend": backend}
    state = _begin(folder, identity, made, resume)
    if not resume:
        _keep(folder, identity, task, state)
    status = _ended(task, state)
    while status is None and len(state.losses) < steps:
        found = artifact.run({**state.carried, **batch(task, len(state.losses))})
        loss = float(found["loss"])
        moved = {name: found[f"{name}'"] for name in made.carried}
        if not (math.isfinite(loss) and all(np.all(np.isfinite(moved[name])) for name in task.parameters)):
            status = DIVERGED
            break
        state.move(moved, loss)
        watch(len(state.losses), steps, loss)
        status = _ended(task, state)
        if len(state.losses) % every == 0 and status is None:
            _keep(folder, identity, task, state)
    if status != DIVERGED:
        _keep(folder, identity, task, state)
    parameters = {name: state.carried[name] for name in task.parameters}
    return Trained(len(state.losses), tuple(state.losses), parameters, status or FINISHED)


def _ended(task: Task, state: _State) -> str | None:
    """Why a run ends early here, if it does."""
    losses = state.losses
    if losses and task.enough is not None and losses[-1] <= task.enough:
        return ENOUGH
    if task.patience is not None and len(losses) - 1 - state.best >= task.patience:
        return PATIENCE
    return None


def _digest(task: Task, made: Step) -> str:
    """What makes a run this one: the step, the data, and their order."""
    told = [print_graph(made.graph), str(task.batch), str(task.shuffle)]
    arrays = {**task.samples, **task.whole}
    told += [f"{name} {Tensor(arrays[name]).digest}" for name in sorted(arrays)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _keep(folder: Path, identity: Mapping[str, str], task: Task, state: _State) -> None:
    from banach.backends import weights

    held = {f"carried.{name}": array for name, array in state.carried.items()}
    held["losses"] = np.asarray(state.losses, np.float64)
    learnt = {name: state.carried[name] for name in task.parameters}
    files = {
        folder / CHECKPOINT: weights.to_bytes(held, json.dumps(identity, sort_keys=True)),
        folder / WEIGHTS: weights.to_bytes(learnt),
    }
    whole_file.write(files, folder)


def _begin(folder: Path, identity: Mapping[str, str], made: Step, resume: bool) -> _State:
    from banach.backends import weights

    path = folder / CHECKPOINT
    if not resume:
        if path.exists():
            fix = "add --resume, or give another folder"
            raise RunError(Diagnostic(FOLDER_IN_USE, f"`{folder}` holds a checkpoint already", fix=fix))
        ports = {port.name: port.default for port in made.graph.inputs}
        return _State({name: default.array for name in made.carried if (default := ports[name]) is not None})
    if not path.is_file():
        fix = "leave --resume away to begin"
        raise RunError(Diagnostic(NO_CHECKPOINT, f"there is no checkpoint in `{folder}`", fix=fix))
    held, note = weights.read(path)
    try:
        told = json.loads(note)
        carried = {name: held[f"carried.{name}"] for name in made.carried}
        losses = [float(x) for x in held["losses"]]
        same = all(told[key] == value for key, value in identity.items())
    except (KeyError, ValueError, TypeError):
        message = f"`{path}` is no checkpoint of this training"
        raise RunError(Diagnostic(OTHER_RUN, message, fix="give the folder of this spec's run")) from None
    if not same:
        what = "backend" if told["run"] == identity["run"] else "spec, or its data,"
        message = f"the {what} is another than when `{path}` was written"
        raise RunError(Diagnostic(OTHER_RUN, message, fix="begin anew in another folder"))
    return _State(carried, losses, losses.index(min(losses)) if losses else 0)


def backend_of(folder: Path) -> str | None:
    """The backend that a checkpoint in this folder was made with; None: there is none, or it is not ours."""
    from banach.backends import weights

    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        return str(json.loads(weights.read(path)[1])["backend"])
    except (KeyError, ValueError, TypeError):
        return None
