"""The text of a model as sections, every value with its place. Nothing is given a meaning yet."""

from dataclasses import dataclass, field
from typing import ClassVar

from banach.compiler.text.section import WRONG_FORM, Section, form, unknown_key
from banach.compiler.text.source import Mapping, Node, Scalar, Sequence, Source
from banach.ir.diagnostic import Code, Diagnostic, SpecError

VERSION = Code(
    "B130",
    "unknown-version",
    """A spec begins with `banach: 1`, the version of the language that it is written in.

    wrong    banach: 2
    right    banach: 1
""",
)


class Head(Section):
    """The sections of a spec."""

    title: ClassVar[str] = "spec"

    banach: Scalar
    name: Scalar | None = None
    doc: Scalar | None = None
    precision: Scalar | None = None
    library: Scalar | None = None
    sizes: Mapping | None = None
    inputs: Mapping | None = None
    parameters: Mapping | None = None
    assume: Mapping | None = None
    operators: Mapping | None = None
    schedules: Mapping | None = None
    scan: Mapping | None = None
    solve: Mapping | None = None
    outputs: Mapping | None = None
    train: Node | None = None
    require: Mapping | None = None
    system: Mapping | None = None


class System(Section):
    """What is known of a published system: its row, its verdicts, and a claim that tests of its own hold."""

    title: ClassVar[str] = "system"

    paper: Scalar
    covers: Scalar
    expects: Mapping | None = None
    claim: Scalar
    lacks: Scalar | None = None


class Range(Section):
    """What is known of a size before the run."""

    title: ClassVar[str] = "size"

    least: Scalar | None = None
    multiple: Scalar | None = None


class Parameter(Section):
    """A parameter that is more than one number."""

    title: ClassVar[str] = "parameter"

    type: Scalar | None = None
    value: Node | None = None
    file: Scalar | None = None
    columns: Node | None = None
    init: Scalar | None = None
    seed: Scalar | None = None
    trainable: Scalar | None = None
    follows: Scalar | None = None
    decay: Scalar | None = None
    stored: Scalar | None = None


class Training(Section):
    """How the trainable parameters are learnt from data, all or those that it `learns`."""

    title: ClassVar[str] = "train"

    loss: Scalar
    data: Mapping
    method: Scalar
    steps: Scalar
    learns: Node | None = None
    seed: Scalar | None = None
    stop: Mapping | None = None


class Ending(Section):
    """When training ends before its last step."""

    title: ClassVar[str] = "stop of training"

    loss: Scalar | None = None
    patience: Scalar | None = None


class Data(Section):
    """Data that are more than a file's name: chosen columns, or the type of one sample."""

    title: ClassVar[str] = "data set"

    file: Scalar
    columns: Node | None = None
    type: Scalar | None = None


class Stop(Section):
    """When an iteration ends."""

    title: ClassVar[str] = "stop"

    residual: Scalar
    most: Scalar


class Block(Section):
    """A map that needs more than one formula: parameters, local names, or iterations of its own."""

    title: ClassVar[str] = "operator"

    doc: Scalar | None = None
    parameters: Mapping | None = None
    where: Mapping | None = None
    scan: Mapping | None = None
    solve: Mapping | None = None
    returns: Scalar
    derivative: Scalar | None = None


class Iteration(Section):
    """An iteration that is written out in the spec."""

    title: ClassVar[str] = "solve"

    state: Mapping
    next: Mapping
    stop: Node
    where: Mapping | None = None
    equation: Mapping | None = None
    returns: Scalar | None = None
    report: Scalar | None = None
    gradient: Scalar | None = None


class Recurrence(Section):
    """A state carried along sequences, or for a number of steps."""

    title: ClassVar[str] = "scan"

    over: Mapping | None = None
    steps: Scalar | None = None
    state: Mapping
    next: Mapping
    where: Mapping | None = None
    gives: Mapping | None = None
    returns: Scalar | None = None


SOLVE_KEYS = ("method", "start", "stop", "report", "gradient")  # the rest of a solve are options of its page


@dataclass(frozen=True, slots=True)
class Method:
    """An iteration by a page of the library; `options` are those of the page, still unchecked."""

    method: Scalar
    start: Node | None
    stop: Stop | None
    report: Scalar | None
    options: tuple[tuple[Scalar, Scalar], ...]
    node: Mapping
    gradient: Scalar | None = None


@dataclass(frozen=True, slots=True)
class Solve:
    """An entry of `solve:`: its name, and one of the two ways to say it."""

    key: Scalar
    method: Method | None = None
    iteration: Iteration | None = None
    stop: Stop | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """A spec, read but not understood."""

    source: Source
    head: Head
    solves: tuple[Solve, ...] = field(default=())
    system: System | None = None

    @property
    def name(self) -> str:
        return (
            self.head.name.text
            if self.head.name
            else self.source.name.rsplit("/", 1)[-1].removesuffix(".yaml")
        )

    @property
    def phases(self) -> tuple[Node, ...]:
        """The phases of its training, one after the other; none: it has no training."""
        train = self.head.train
        return () if train is None else train.items if isinstance(train, Sequence) else (train,)


def spec(source: Source) -> Spec:
    """The sections of a text. SpecError: with every mistake in their form."""
    mistakes: list[Diagnostic] = []
    head = Head.read(source.root, mistakes)
    if head is None:
        raise SpecError(mistakes)
    if head.banach.value != 1:
        fix = "write `banach: 1`"
        mistakes.append(
            Diagnostic(VERSION, f"unknown version `{head.banach.text}`", head.banach.span, fix=fix)
        )
    if isinstance(head.train, Sequence) and not head.train.items:
        fix = "add a phase: a loss, data, a method and steps"
        mistakes.append(Diagnostic(WRONG_FORM, "this training has no phase", head.train.span, fix=fix))
    solves = solves_of(head.solve, mistakes)
    system = System.read(head.system, mistakes) if head.system else None
    if mistakes:
        raise SpecError(mistakes)
    return Spec(source, head, solves, system)


def solves_of(section: Mapping | None, mistakes: list[Diagnostic]) -> tuple[Solve, ...]:
    """The entries of `solve:`; what is wrong with their form goes to `mistakes`."""
    return tuple(found for key, node in section or () if (found := _solve(key, node, mistakes)))


def _solve(key: Scalar, node: Node, mistakes: list[Diagnostic]) -> Solve | None:
    if isinstance(node, Mapping) and node.get("state") is not None:
        iteration = Iteration.read(node, mistakes)
        stop = Stop.read(iteration.stop, mistakes) if iteration else None
        _check_report(iteration.report if iteration else None, mistakes)
        return Solve(key, iteration=iteration, stop=stop) if iteration and stop else None
    method = _method(node, mistakes)
    _check_report(method.report if method else None, mistakes)
    return Solve(key, method=method, stop=method.stop) if method else None


def _check_report(said: Scalar | None, mistakes: list[Diagnostic]) -> None:
    """`none` is the one word: whatever else is passed over would be reported against the spec's wish."""
    if said is not None and said.text != "none":
        message, fix = f"there is no report `{said.text}`", "write `report: none`, or drop it"
        mistakes.append(Diagnostic(WRONG_FORM, message, said.span, fix=fix))


def _method(node: Node, mistakes: list[Diagnostic]) -> Method | None:
    if not isinstance(node, Mapping):
        fix = "write `method:`, or `state:` and `next:`"
        mistakes.append(Diagnostic(WRONG_FORM, f"a solve is a mapping, not {form(node)}", node.span, fix=fix))
        return None
    before = len(mistakes)
    known = {key.text: value for key, value in node}
    method, start = known.get("method"), known.get("start")
    if not isinstance(method, Scalar):
        near = unknown_key(node.items[0][0], "solve", ["method", "state"]) if node.items else None
        fix = "write `method: fista(f, g)`, or `state:` and `next:`"
        span = node.items[0][0].span if node.items else node.span
        label = near.label if near and near.label else ""
        mistakes.append(
            Diagnostic(WRONG_FORM, "this solve has neither `method` nor `state`", span, label=label, fix=fix)
        )
        return None
    stop = Stop.read(known["stop"], mistakes) if "stop" in known else None
    options = []
    for key, value in node:
        if key.text in SOLVE_KEYS:
            continue
        if isinstance(value, Scalar):
            options.append((key, value))
        else:
            message = f"the option `{key.text}` takes one value, not {form(value)}"
            mistakes.append(Diagnostic(WRONG_FORM, message, value.span, fix="write a number or a formula"))
    if len(mistakes) > before:
        return None
    said = {key: part for key in ("report", "gradient") if isinstance(part := known.get(key), Scalar)}
    for key in ("report", "gradient"):
        if key in known and key not in said:
            message = f"`{key}` is one word, not {form(known[key])}"
            fix = f"write `{key}: {'none' if key == 'report' else 'implicit'}`"
            mistakes.append(Diagnostic(WRONG_FORM, message, known[key].span, fix=fix))
            return None
    return Method(method, start, stop, said.get("report"), tuple(options), node, said.get("gradient"))
