"""From the sections of a spec to one graph, and what the certificates need of each solve."""

from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from banach.compiler.elaboration import nested, training
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.complexes import carrier, is_complex, opened
from banach.compiler.elaboration.declarations import BAD_TYPE, LANES, size, type_formula, type_of
from banach.compiler.elaboration.included import Requirement, requirements
from banach.compiler.elaboration.problem import UNKNOWN_NAME
from banach.compiler.elaboration.scope import Scope, dtype_of
from banach.compiler.elaboration.sections import Sections, Stage, Weights
from banach.compiler.elaboration.things import Complex, Environment, Extent, Number, Tensor
from banach.compiler.room import with_room
from banach.compiler.spec import Spec
from banach.compiler.text.source import Mapping, Node, Scalar
from banach.ir.diagnostic import Diagnostic
from banach.ir.dims import Size, assume, named
from banach.ir.graph import Graph, Value, prune
from banach.ir.pairs import ALL_REAL, Pairs
from banach.ir.quantised import Quantised
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType
from banach.ir.vectorise import vectorise

PRECISIONS = ("float32", "float64", "mixed", "float16", "bfloat16")


@dataclass(frozen=True, slots=True, eq=False)
class Elaborated:
    """The graph of a spec and its claims. `lanes` tells whether a batch axis was added, `pairs` what is
    complex.

    `trainable` are the parameters that may change, with their places; `task` is what `train:` says.
    """

    spec: Spec
    graph: Graph
    claims: tuple[Claim, ...]
    precision: str
    lanes: bool
    names: Environment
    scope: Scope
    required: tuple[Requirement, ...] = ()
    trainable: Table[str, Span] = field(default_factory=dict)
    task: training.Task | None = None
    pairs: Pairs = ALL_REAL

    @property
    def quantised(self) -> Table[str, Quantised]:
        """What the file keeps in place of some constants, by their digests."""
        return self.scope.quantised


@with_room
def elaborate(
    spec: Spec,
    folder: Path | None = None,
    weights: Weights | None = None,
    stage: Stage = "model",
    phase: int = 0,
) -> Elaborated:
    """The graph of a spec. SpecError: every mistake that stands by itself.

    `weights` take the place of the trainable parameters' values. Those are constants of a model, and inputs
    with defaults where it is opened; for a task the data of a phase of `train:` are inputs as well.
    """
    return _Elaborator(spec, folder, weights, stage, phase).run()


class _Elaborator:
    def __init__(self, spec: Spec, folder: Path | None, weights: Weights | None, stage: Stage, phase: int):
        mistakes: list[Diagnostic] = []
        precision = _precision(spec, mistakes)
        self.spec, self.precision = spec, dtype_of(precision)
        self.scope = Scope(spec.name, self.precision, mixed=precision == "mixed")
        self.context = nested.context(self.scope, folder)
        self.sections = Sections(
            spec, self.context, self.scope.places, weights=weights, stage=stage, mistakes=mistakes
        )
        self.names = self.sections.names
        self.lanes: list[bool] = []
        self.complex: list[str] = []  # inputs that are complex numbers
        self.marks: dict[str, bool] = {}  # whether an input has a leading batch
        phases, whole, attempt = spec.phases, self.sections.whole, self.sections.attempt
        # The first phase's seed draws the initial values: they are the same in all phases.
        self.sections.seed = (
            attempt(lambda: training.seed_of(phases[0] if phases else None), None, whole) or 0
        )
        plan = lambda: training.Plan(phases[phase], mistakes) if stage == "task" else None  # noqa: E731
        self.plan = attempt(plan, None, whole)

    def run(self) -> Elaborated:
        sections = self.sections
        sections.pages()
        self._sizes(self.spec.head.sizes)
        self._inputs(self.spec.head.inputs)
        self._data(self.spec.head.inputs)
        sections.definitions()
        sections.check_weights()
        sections.assumptions()
        sections.iterations()
        for key in (*(key for key, _ in self.spec.head.scan or ()), *(s.key for s in self.spec.solves)):
            self.names.find(key.text)
        outputs, complex = self._outputs(self.spec.head.outputs)
        sections.check_names()
        task = self._task()
        sections.check()
        graph = prune(self.scope.build.finish(outputs))
        if any(self.lanes):
            marks = [*self.lanes, *[False] * (len(graph.inputs) - len(self.lanes))]
            graph, _ = vectorise(graph, marks, self._lane())
        required = *requirements(self.spec), *self.context.required
        made = self.precision, any(self.lanes), self.names, self.scope, required, sections.trainable, task
        pairs = Pairs(frozenset(self.complex), frozenset(complex))
        return Elaborated(self.spec, graph, (*sections.claims, *self.context.claims), *made, pairs)

    def _sizes(self, section: Mapping | None) -> None:
        bounds: dict[str, tuple[int, int]] = {}
        for key, node in section or ():
            self.sections.claim_name(key)
            found = self.sections.attempt(lambda key=key, node=node: size(key, node), key.text, key.span)
            if isinstance(found, int):
                self.names.known[key.text] = Number(Fraction(found))
            elif found is not None:
                self.names.known[key.text] = Extent(named(key.text))
                bounds[key.text] = found
        self.scope.build.contract = self.scope.contract = assume(bounds)

    def _inputs(self, section: Mapping | None) -> None:
        for key, node in section or ():
            self.sections.claim_name(key)
            self.sections.attempt(lambda key=key, node=node: self._input(key, node), key.text, key.span)

    def _input(self, key: Scalar, node: Node) -> Tensor | Complex:
        type, lanes = type_of(type_formula(node), self.names, self.context)
        if is_complex(type):
            self.complex.append(key.text)
        return self._declared(key, type, lanes)

    def _declared(self, key: Scalar, type: TensorType, lanes: bool) -> Tensor | Complex:
        self.lanes.append(lanes)
        self.marks[key.text] = lanes
        value = self.scope.build.input(key.text, carrier(type), place=key.span)
        return opened(value, type, key.text)

    def _data(self, inputs: Mapping | None) -> None:
        """The data of a training: for inputs of the model, or as inputs of the loss alone."""
        plan, sections, own = self.plan, self.sections, inputs.keys() if inputs else ()
        if plan is None:
            return
        folder = self.context.folder
        sections.guarded(lambda: plan.settle(any(self.lanes), self.names.known.get(LANES)))
        for key, node in plan.sets():
            read = lambda k=key, n=node: plan.read(k, n, self.names, self.context, folder)  # noqa: E731
            if key.text not in own:
                sections.claim_name(key)
                enter = lambda k=key, r=read: self._declared(k, *plan.declare(k, r(), self.context))  # noqa: E731
                sections.attempt(enter, key.text, node.span)
            else:
                sections.guarded(read)
        sections.guarded(lambda: plan.check_lengths(self.marks))

    def _task(self) -> training.Task | None:
        if self.plan is None or self.sections.mistakes:
            return None  # the loss may read what has failed
        sections = self.sections
        moved = sections.trainable, sections.followers, sections.initial
        parts = self.names, self.context, *moved, self.marks, self._lane()
        place = self.plan.section.loss.span
        return self.sections.attempt(lambda plan=self.plan: plan.task(*parts), None, place)

    def _lane(self) -> Size:
        found = self.names.known.get(LANES)
        return int(found.value) if isinstance(found, Number) else named(LANES)

    def _outputs(self, section: Mapping | None) -> tuple[dict[str, Value], list[str]]:
        """The outputs of the graph, and those that are complex numbers."""
        sections = self.sections
        outputs: dict[str, Value] = {}
        complex: list[str] = []
        if section is None and not sections.mistakes:
            fix = "add `outputs: {x: x}`"
            sections.mistakes.append(
                Diagnostic(UNKNOWN_NAME, "this spec has no outputs", sections.whole, fix=fix)
            )
        for key, node in section or ():
            found = sections.attempt(lambda node=node: sections.output(node), None, node.span)
            if found is not None:
                outputs[key.text], type = found
                complex += [key.text] if is_complex(type) else []
        for claim in sections.claims:
            if claim.reported:
                outputs |= {name: tensor.value for name, tensor in claim.reports().items()}
        return outputs | self.scope.reports, complex


def _precision(spec: Spec, mistakes: list[Diagnostic]) -> str:
    given = spec.head.precision
    if given is None or given.text in PRECISIONS:
        return given.text if given else "float32"
    fix = f"write one of {', '.join(PRECISIONS)}"
    mistakes.append(Diagnostic(BAD_TYPE, f"there is no precision `{given.text}`", given.span, fix=fix))
    return "float32"
