"""Training: one step as a graph, the order of samples, and the run with its checkpoints."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """One step as a graph. `carried` names its first inputs: the parameters that are learnt, the optimiser's
    `own` state, and the parameters that follow; its outputs are those under their names with a prime, and
    `loss`."""

    graph: Graph
    carried: tuple[str, ...]
    own: tuple[str, ...]

    @property
    def defaults(self) -> Arrays:
        """What there is before the first step: of what is carried, and of parameters that stand still."""
        return {port.name: port.default.array for port in self.graph.inputs if port.default is not None}


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
    """What a checkpoint holds: the weights, the optimiser's own state, and the losses of all steps; those of
    the present phase begin at `since`."""

    weights: Arrays
    own: Arrays
    losses: list[float] = field(default_factory=list)
    phase: int = 0
    since: int = 0
    best: int = 0  # the first step of the phase with its least loss

    def move(self, found: Mapping[str, np.ndarray], made: Step, loss: float) -> None:
        """Takes over what a step has made."""
        for name in made.carried:
            (self.own if name in made.own else self.weights)[name] = found[f"{name}'"]
        self.losses.append(loss)
        if loss < self.losses[self.best]:
            self.best = len(self.losses) - 1

    def enter(self, made: Step) -> None:
        """Begins the next phase, with the weights as they are."""
        self.phase, self.since, self.best = self.phase + 1, len(self.losses), len(self.losses)
        self.own = {name: made.defaults[name] for name in made.own}


def elaborated(
    spec: Spec, folder: Path | None, weights: Weights | None
) -> tuple[Elaborated, tuple[Task, ...]]:
    """A spec as a model, and the phases of its training. SpecError: the mistakes of both."""
    mistakes, texts, tasks = [], {}, []
    made = None
    try:
        made = elaborate(spec, folder, weights)
    except SpecError as wrong:
        mistakes, texts = [*wrong.diagnostics], wrong.texts
    for number, phase in enumerate(spec.phases):
        try:
            task = elaborate(spec, folder, weights, "task", number).task
            tasks += [task] if task is not None else []
        except SpecError as wrong:
            lines = range(phase.span.line, phase.span.end_line + 1)
            mistakes += [d for d in wrong.diagnostics if made or (d.span and d.span.line in lines)]
    if made is None or mistakes:
        raise SpecError(dict.fromkeys(mistakes), texts)
    return made, tuple(tasks)


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
    own = tuple(_states(task, optimiser.forward))
    names = [*own, *task.parameters]
    held = dict(zip(names, start(optimiser, initial), strict=True))
    order = [*task.parameters, *own]
    build = Builder(f"train.{loss.name}", loss.contract)
    carried = {name: build.input(name, t, Tensor(held[name])) for name, t in _typed(order, names, whole)}
    followers = {
        name: follower for name, follower in task.followers.items() if follower.of in task.parameters
    }
    for name, follower in followers.items():
        carried[name] = build.input(
            name, carried[follower.of].type, Tensor(task.initial[name]), follower.place
        )
    rest = [
        carried.get(port.name) or build.input(port.name, port.type, port.default, port.place)
        for port in loss.inputs[count:]
    ]
    *fresh, number = build.inline(whole, [*(carried[name] for name in names), *rest])
    moved = dict(zip(names, fresh, strict=True))
    for name, follower in followers.items():
        moved[name] = follower.decay * carried[name] + (1 - follower.decay) * moved[follower.of]
    graph = build.finish({**{f"{name}'": moved[name] for name in carried}, "loss": number})
    return Step(graph, tuple(carried), own)


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
    tasks: Sequence[Task],
    made: Sequence[Step],
    compiled: Callable[[int], "Artifact"],
    folder: Path,
    *,
    backend: str,
    steps: int | None,
    resume: bool,
    every: int,
    watch: Callable[[int, int, float], None],
) -> Trained:
    """Takes the steps of all phases, or `steps` in total, with a checkpoint after every so many.

    `compiled` makes the step of a phase run. A loss or a parameter that is not finite ends the run, and
    leaves the last good checkpoint. RunError: the folder cannot be used (B705, B722), there is no checkpoint
    (B723), or it is another run's (B721).
    """
    identity = {"run": _digest(tasks, made), "backend": backend}
    state = _begin(folder, identity, tasks[0].initial, made, resume)
    if not resume:
        _keep(folder, identity, state)
    total = sum(task.steps for task in tasks) if steps is None else steps

    def stepped() -> None:
        watch(len(state.losses), total, state.losses[-1])
        if len(state.losses) % every == 0:
            _keep(folder, identity, state)

    while True:
        task, last = tasks[state.phase], state.phase == len(tasks) - 1
        # Where the steps are given, the last phase takes what is left of them.
        end = total if last and steps is not None else min(total, state.since + task.steps)
        status = _phase(state, task, made[state.phase], compiled(state.phase), end, stepped)
        if status == DIVERGED:
            break
        _keep(folder, identity, state)
        if last or len(state.losses) >= total:
            break
        state.enter(made[state.phase + 1])
    return Trained(len(state.losses), tuple(state.losses), state.weights, status or FINISHED)


def _phase(
    state: _State, task: Task, made: Step, artifact: "Artifact", end: int, stepped: Callable[[], None]
) -> str | None:
    """Takes steps until there are `end`; gives the reason if it ends before."""
    inputs = {port.name for port in artifact.inputs}
    status = _ended(task, state)
    while status is None and len(state.losses) < end:
        weights = {name: array for name, array in state.weights.items() if name in inputs}
        found = artifact.run({**weights, **state.own, **batch(task, len(state.losses) - state.since)})
        loss = float(found["loss"])
        fresh = [found[f"{name}'"] for name in made.carried if name not in made.own]
        if not (math.isfinite(loss) and all(np.all(np.isfinite(array)) for array in fresh)):
            return DIVERGED
        state.move(found, made, loss)
        stepped()
        status = _ended(task, state)
    return status


def _ended(task: Task, state: _State) -> str | None:
    """Why a phase ends early here, if it does."""
    if len(state.losses) == state.since:
        return None
    if task.enough is not None and state.losses[-1] <= task.enough:
        return ENOUGH
    stale = len(state.losses) - 1 - state.best
    return PATIENCE if task.patience is not None and stale >= task.patience else None


def _digest(tasks: Sequence[Task], made: Sequence[Step]) -> str:
    """What makes a run this one: the steps, the data, and their order."""
    told = []
    for task, step in zip(tasks, made, strict=True):
        told += [print_graph(step.graph), str(task.batch), str(task.shuffle)]
        arrays = {**task.samples, **task.whole}
        told += [f"{name} {Tensor(arrays[name]).digest}" for name in sorted(arrays)]
    # Of a phase that is not the last the number of steps belongs to what follows it.
    told += [f"{task.steps} {task.enough} {task.patience}" for task in tasks[:-1]]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _keep(folder: Path, identity: Mapping[str, str], state: _State) -> None:
    from banach.backends import weights

    held = {f"weights.{name}": array for name, array in state.weights.items()}
    held |= {f"own.{name}": array for name, array in state.own.items()}
    held["losses"] = np.asarray(state.losses, np.float64)
    held["phase"] = np.asarray([state.phase, state.since], np.int64)
    files = {
        folder / CHECKPOINT: weights.to_bytes(held, json.dumps(identity, sort_keys=True)),
        folder / WEIGHTS: weights.to_bytes(state.weights),
    }
    whole_file.write(files, folder)


def _begin(
    folder: Path,
    identity: Mapping[str, str],
    initial: Mapping[str, np.ndarray],
    made: Sequence[Step],
    resume: bool,
) -> _State:
    from banach.backends import weights

    path, first = folder / CHECKPOINT, made[0]
    if not resume:
        if path.exists():
            fix = "add --resume, or give another folder"
            raise RunError(Diagnostic(FOLDER_IN_USE, f"`{folder}` holds a checkpoint already", fix=fix))
        return _State(dict(initial), {name: first.defaults[name] for name in first.own})
    if not path.is_file():
        fix = "leave --resume away to begin"
        raise RunError(Diagnostic(NO_CHECKPOINT, f"there is no checkpoint in `{folder}`", fix=fix))
    held, note = weights.read(path)
    try:
        told = json.loads(note)
        phase, since = (int(number) for number in held["phase"])
        kept = {name: held[f"weights.{name}"] for name in initial}
        own = {name: held[f"own.{name}"] for name in made[phase].own}
        losses = [float(x) for x in held["losses"]]
        same = all(told[key] == value for key, value in identity.items())
        if phase < 0 or not 0 <= since <= len(losses):
            raise ValueError("no such phase")
    except (KeyError, ValueError, TypeError, IndexError):
        message = f"`{path}` is no checkpoint of this training"
        raise RunError(Diagnostic(OTHER_RUN, message, fix="give the folder of this spec's run")) from None
    if not same:
        what = "backend" if told["run"] == identity["run"] else "spec, or its data,"
        message = f"the {what} is another than when `{path}` was written"
        raise RunError(Diagnostic(OTHER_RUN, message, fix="begin anew in another folder"))
    here = losses[since:]
    return _State(kept, own, losses, phase, since, since + here.index(min(here)) if here else since)


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
