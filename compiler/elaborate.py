"""From the sections of a spec to one graph, and what the certificates need of each solve."""

from collections.abc import Callable
from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from banach.compiler import syntax
from banach.compiler.elaboration import arithmetic, assumption, claims, nested, training
from banach.compiler.elaboration.blocks import Body, read_body
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.declarations import (
    BAD_TYPE,
    LANES,
    size,
    type_of,
)
from banach.compiler.elaboration.definitions import free_in, in_order, parses
from banach.compiler.elaboration.parameters import parameter, trainable
from banach.compiler.elaboration.problem import (
    RECURSIVE,
    UNKNOWN_NAME,
    WRONG_KIND,
    Silent,
    refuse,
)
from banach.compiler.elaboration.recurrence import scan
from banach.compiler.elaboration.scope import Scope
from banach.compiler.elaboration.things import (
    Broken,
    Environment,
    Extent,
    Number,
    Pending,
    Tensor,
    describe,
)
from banach.compiler.expression import names as names_in
from banach.compiler.expression import parse, parse_signature, to_text
from banach.compiler.source import Mapping, Node, Scalar
from banach.compiler.spec import Recurrence, Solve, Spec
from banach.ir.diagnostic import Code, Diagnostic, SpecError
from banach.ir.dims import Size, assume, named
from banach.ir.graph import Graph, prune
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType
from banach.ir.vectorise import vectorise

NAME_CLASH = Code(
    "B208",
    "name-clash",
    "Two things in one spec bear the same name. Every name means one thing; rename one of them.\n",
)
PRECISIONS = ("float32", "float64")
Weights = Table[str, np.ndarray]
Stage = Literal["model", "opened", "task"]


@dataclass(frozen=True, slots=True, eq=False)
class Elaborated:
    """The graph of a spec and its claims. `lanes` tells whether a batch axis was added.

    `trainable` are the parameters that may change, with their places; `task` is what `train:` says.
    """

    spec: Spec
    graph: Graph
    claims: tuple[Claim, ...]
    precision: str
    lanes: bool
    names: Environment
    scope: Scope
    trainable: Table[str, Span] = field(default_factory=dict)
    task: training.Task | None = None


def elaborate(
    spec: Spec, folder: Path | None = None, weights: Weights | None = None, stage: Stage = "model"
) -> Elaborated:
    """The graph of a spec. SpecError: every mistake that stands by itself.

    `weights` take the place of the trainable parameters' values. Those are constants of a model, and inputs
    with defaults where it is opened; for a task the data of `train:` are inputs as well.
    """
    return _Elaborator(spec, folder, weights, stage).run()


class _Elaborator:
    def __init__(self, spec: Spec, folder: Path | None, weights: Weights | None, stage: Stage):
        self.spec, self.folder, self.weights, self.stage = spec, folder, weights, stage
        self.mistakes: list[Diagnostic] = []
        self.precision = self._precision()
        self.scope = Scope(spec.name, self.precision)
        self.context = nested.context(self.scope, folder)
        self.names = Environment()
        self.first: dict[str, Span] = self.scope.places
        self.lanes: list[bool] = []
        self.claims: list[Claim] = []
        self.free: list[syntax.Name] = []
        self.trainable: dict[str, Span] = {}
        self.marks: dict[str, bool] = {}  # whether an input has a leading batch
        train, whole = spec.head.train, spec.source.root.span
        self.seed = self._attempt(lambda: training.seed_of(train), None, whole) or 0
        plan = lambda: training.Plan(train, self.mistakes) if train and stage == "task" else None  # noqa: E731
        self.plan = self._attempt(plan, None, whole)

    def run(self) -> Elaborated:
        head = self.spec.head
        self._sizes(head.sizes)
        self._inputs(head.inputs)
        self._data(head.inputs)
        self._definitions()
        self._check_weights()
        self._assumptions(head.assume)
        self._iterations(head.scan)
        outputs = self._outputs(head.outputs)
        self._names_of_formulas()
        task = self._task()
        if self.mistakes:
            raise SpecError(sorted(self.mistakes, key=_by_place))
        graph = prune(self.scope.build.finish(outputs))
        if any(self.lanes):
            marks = [*self.lanes, *[False] * (len(graph.inputs) - len(self.lanes))]
            graph, _ = vectorise(graph, marks, self._lane())
        made = self.precision, any(self.lanes), self.names, self.scope, self.trainable, task
        return Elaborated(self.spec, graph, (*self.claims, *self.context.claims), *made)

    # --- sections -----------------------------------------------------------------------------------------

    def _precision(self) -> str:
        given = self.spec.head.precision
        if given is None or given.text in PRECISIONS:
            return given.text if given else "float32"
        fix = f"write one of {', '.join(PRECISIONS)}"
        self.mistakes.append(
            Diagnostic(BAD_TYPE, f"there is no precision `{given.text}`", given.span, fix=fix)
        )
        return "float32"

    def _sizes(self, section: Mapping | None) -> None:
        bounds: dict[str, tuple[int, int]] = {}
        for key, node in section or ():
            self._claim_name(key)
            found = self._attempt(lambda key=key, node=node: size(key, node), key.text, key.span)
            if isinstance(found, int):
                self.names.known[key.text] = Number(Fraction(found))
            elif found is not None:
                self.names.known[key.text] = Extent(named(key.text))
                bounds[key.text] = found
        self.scope.build.contract = self.scope.contract = assume(bounds)

    def _inputs(self, section: Mapping | None) -> None:
        for key, node in section or ():
            self._claim_name(key)
            self._attempt(lambda key=key, node=node: self._input(key, node), key.text, key.span)

    def _input(self, key: Scalar, node: Node) -> Tensor:
        if not isinstance(node, Scalar):
            raise refuse(BAD_TYPE, "the type of an input is one value", node.span, fix='write `x: "real[n]"`')
        type, lanes = type_of(parse(node), self.names, self.context)
        return self._declared(key, type, lanes)

    def _declared(self, key: Scalar, type: TensorType, lanes: bool) -> Tensor:
        self.lanes.append(lanes)
        self.marks[key.text] = lanes
        return Tensor(self.scope.build.input(key.text, type, place=key.span), key.text)

    def _data(self, inputs: Mapping | None) -> None:
        """The data of a training: for inputs of the model, or as inputs of the loss alone."""
        plan, own = self.plan, inputs.keys() if inputs else ()
        if plan is None:
            return
        self._guarded(lambda: plan.settle(any(self.lanes), self.names.known.get(LANES)))
        for key, node in plan.sets():
            read = lambda k=key, n=node: plan.read(k, n, self.names, self.context, self.folder)  # noqa: E731
            if key.text not in own:
                self._claim_name(key)
                enter = lambda k=key, r=read: self._declared(k, *plan.declare(k, r(), self.context))  # noqa: E731
                self._attempt(enter, key.text, node.span)
            else:
                self._guarded(read)
        self._guarded(lambda: plan.check_lengths(self.marks))

    def _task(self) -> training.Task | None:
        if self.plan is None or self.mistakes:
            return None  # the loss may read what has failed
        parts = self.names, self.context, self.trainable, self.marks, self._lane()
        return self._attempt(lambda plan=self.plan: plan.task(*parts), None, self.plan.section.loss.span)

    def _lane(self) -> Size:
        found = self.names.known.get(LANES)
        return int(found.value) if isinstance(found, Number) else named(LANES)

    def _definitions(self) -> None:
        """Parameters, operators and schedules: each is worked out when it is first read, or now."""
        head = self.spec.head
        work: dict[str, tuple[Callable[[], Any], tuple[str, ...], Span]] = {}
        for key, node in head.parameters or ():
            reads = names_in(parse(node)) if isinstance(node, Scalar) and parses(node) else ()
            work[key.text] = (lambda key=key, node=node: self._parameter(key, node), reads, key.span)
            self._claim_name(key)
        for section in (head.operators, head.schedules):
            for key, node in section or ():
                try:
                    signature = parse_signature(key)
                    body = read_body(node)
                except SpecError as wrong:
                    self._report(wrong)
                    self.names.known[key.text.split("(")[0].strip()] = Broken()
                    continue
                name, own = signature.name, body.names(signature.parameters or ())
                reads = tuple(n for part in body.formulas for n in names_in(part) if n not in own)
                self.free += [n for part in body.plain for n in free_in(part, own)]
                work[name] = (lambda s=signature, b=body: self._operator(s, b), reads, key.span)
                self._claim_name(key, name)
        order = in_order(work, self.names, self.mistakes)
        for name, (make, _, span) in work.items():
            if not isinstance(self.names.known.get(name), Broken):
                self.names.known[name] = self._pending(name, make, span)
        for name in order:  # what a definition reads comes before it, so that no chain is too long
            self.names.find(name)

    def _names_of_formulas(self) -> None:
        """That the names of a formula mean something is seen here, whether it is used or not."""
        for name in self.free:
            self._guarded(lambda name=name: self.context.evaluate(name, self.names, self.context))

    def _operator(self, signature: Any, body: Body) -> Any:
        map = body.map(signature.name, signature.parameters or (), self.names)
        if signature.parameters is not None:
            return map
        if body.rule is not None:
            fix = f"give `{signature.name}` its arguments, `{signature.name}(x)`, or drop the derivative"
            raise refuse(WRONG_KIND, "only a map of arguments has a derivative", body.rule.span, fix=fix)
        return self.context.apply(map, [], self.context, None)

    def _parameter(self, key: Scalar, node: Node) -> Any:
        thing = parameter(key, node, self.names, self.context, self.folder, self.seed)
        if not trainable(node):
            return thing
        self.trainable[key.text] = key.span
        thing = training.weighted(key, thing, self.weights, self.context)
        return training.opened(key, thing, self.context) if self.stage != "model" else thing

    def _check_weights(self) -> None:
        found, order = self.trainable, self.spec.head.parameters or ()
        self.trainable = {key.text: found[key.text] for key, _ in order if key.text in found}
        self._guarded(lambda: training.check_weights(self.weights or {}, self.trainable))

    def _solve(self, found: Solve) -> Any:
        claim = claims.claim(found, self.names, self.context, self.mistakes)
        self.claims.append(claim)
        self.names.known.update(claim.reports())
        return claim.solved.result

    def _assumptions(self, section: Mapping | None) -> None:
        for key, node in section or ():
            self._claim_name(key)
            self._attempt(lambda node=node: self._assumption(node), key.text, key.span)

    def _assumption(self, node: Node) -> Any:
        if not isinstance(node, Scalar):
            raise refuse(WRONG_KIND, "an assumption is one formula", node.span, fix="write one on each line")
        formula = parse(node)
        found = assumption.read(
            formula, to_text(formula), lambda part: self.context.evaluate(part, self.names, self.context)
        )
        self.context.assumed.known.append(found)
        bound = found.interval
        if bound is not None and bound.lo != bound.hi:
            end = bound.hi if isinstance(bound.lo, float) else bound.lo
            return Number(Fraction(end))
        return Broken()

    def _iterations(self, section: Mapping | None) -> None:
        """Scans and solves, each worked out when it is first read, or now: they may use each other."""
        work: dict[str, tuple[Callable[[], Any], Span]] = {}
        for key, node in section or ():
            work[key.text] = (lambda key=key, node=node: self._scan(key, node), key.span)
        for found in self.spec.solves:
            place = found.method.method.span if found.method else found.key.span
            work[found.key.text] = (lambda found=found: self._solve(found), place)
        for key in [*(key for key, _ in section or ()), *(found.key for found in self.spec.solves)]:
            self._claim_name(key)
        for name, (make, span) in work.items():
            self.names.known[name] = self._pending(name, make, span)
        for name in work:
            self.names.find(name)

    def _scan(self, key: Scalar, node: Node) -> Any:
        found = Recurrence.read(node, self.mistakes)
        if found is None:
            return Broken()
        parts = scan(key, found, self.names, self.context)
        self.names.known.update({name: thing for name, thing in parts.items() if name != key.text})
        return parts[key.text]

    def _outputs(self, section: Mapping | None) -> dict[str, Any]:
        outputs: dict[str, Any] = {}
        if section is None and not self.mistakes:
            fix = "add `outputs: {x: x}`"
            self.mistakes.append(
                Diagnostic(UNKNOWN_NAME, "this spec has no outputs", self.spec.source.root.span, fix=fix)
            )
        for key, node in section or ():
            value = self._attempt(lambda node=node: self._output(node), None, node.span)
            if value is not None:
                outputs[key.text] = value
        for claim in self.claims:
            if claim.reported:
                outputs |= {name: tensor.value for name, tensor in claim.reports().items()}
        return outputs | self.scope.reports

    def _output(self, node: Node) -> Any:
        if not isinstance(node, Scalar):
            raise refuse(
                WRONG_KIND,
                "an output is one formula",
                node.span,
                fix="write `x: x`, one formula for each output",
            )
        thing = self.context.evaluate(parse(node), self.names, self.context)
        if not arithmetic.is_tensor(thing):
            raise refuse(
                WRONG_KIND,
                f"an output is a tensor, not {describe(thing)}",
                node.span,
                fix="apply the map, or name a tensor",
            )
        return self.scope.value(thing, place=node.span)

    # --- mistakes -----------------------------------------------------------------------------------------

    def _pending(self, name: str, make: Callable[[], Any], span: Span) -> Pending:
        """A definition that is worked out when it is first read; what fails is reported at `span`."""
        return Pending(
            lambda: self._guarded(make, span), lambda: refuse(RECURSIVE, f"`{name}` needs itself", span)
        )

    def _attempt(self, work: Callable[[], Any], name: str | None, place: Span) -> Any | None:
        """Does the work; what fails is reported once, and its name broken."""
        result = self._guarded(work, place)
        if name is not None:
            self.names.known[name] = result
        return None if isinstance(result, Broken) else result

    def _guarded(self, work: Callable[[], Any], place: Span | None = None) -> Any:
        try:
            return work()
        except Silent:
            return Broken()
        except SpecError as wrong:
            self._report(wrong, place)
            return Broken()

    def _report(self, wrong: SpecError, place: Span | None = None) -> None:
        """Adds the mistakes; one in a page of the library is shown where the spec uses the page."""
        for found in wrong.diagnostics:
            inside = found.span
            if inside is not None and place is not None and inside.file != place.file:
                notes = (*found.notes, (inside, "the formula of the library stands here"))
                found = replace(found, span=place, notes=notes)
            if found not in self.mistakes:
                self.mistakes.append(found)

    def _claim_name(self, key: Scalar, name: str | None = None) -> None:
        name = name or key.text
        if name in self.first:
            notes = ((self.first[name], "it is first defined here"),)
            self.mistakes.append(
                Diagnostic(NAME_CLASH, f"`{name}` is defined twice", key.span, fix="rename one", notes=notes)
            )
        self.first.setdefault(name, key.span)


def _by_place(diagnostic: Diagnostic) -> tuple[int, int]:
    return (diagnostic.span.line, diagnostic.span.column) if diagnostic.span else (0, 0)
