"""The sections of a spec in one graph: each name gets its meaning where it is first read, and every mistake
that stands by itself is kept."""

from collections.abc import Callable
from collections.abc import Mapping as Named
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from banach.compiler.elaboration import arithmetic, claims, followers, guests, training
from banach.compiler.elaboration.analysis import assumption
from banach.compiler.elaboration.blocks import Body, read_body
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.complexes import carried
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.definitions import free_in, in_order, parses
from banach.compiler.elaboration.followers import Follower
from banach.compiler.elaboration.parameters import parameter, trainable
from banach.compiler.elaboration.problem import NAME_CLASH, RECURSIVE, WRONG_KIND, Silent, refuse
from banach.compiler.elaboration.quantising import as_stored
from banach.compiler.elaboration.recurrence import scan
from banach.compiler.elaboration.things import (
    Broken,
    Complex,
    Environment,
    Formula,
    Number,
    Pending,
    Several,
    Table,
    describe,
)
from banach.compiler.spec import Recurrence, Solve, Spec
from banach.compiler.text import syntax
from banach.compiler.text.expression import names as names_in
from banach.compiler.text.expression import parse, parse_signature, to_text
from banach.compiler.text.source import Node, Scalar
from banach.ir.diagnostic import Diagnostic, SpecError
from banach.ir.graph import Value
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType, numpy_dtype

Weights = Named[str, np.ndarray]
Stage = Literal["model", "given", "opened", "task"]


@dataclass(slots=True, eq=False)
class Sections:
    """What a spec says, as far as it has been read.

    `first` has where each name is defined. `weights` take the place of the trainable parameters' values,
    which are inputs where the model is "opened", and for a "task"; a model as "given" has every weight as it
    was before it was stored. `seed` draws their initial values. `within` is the name of
    the map that the spec is included as, if it is.
    """

    spec: Spec
    context: Context
    first: dict[str, Span]
    weights: Weights | None = None
    stage: Stage = "model"
    seed: int = 0
    within: str | None = None
    kept: dict[str, Any] = field(default_factory=dict)  # what parameters are, if that has been worked out
    names: Environment = field(default_factory=Environment)
    mistakes: list[Diagnostic] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    trainable: dict[str, Span] = field(default_factory=dict)
    followers: dict[str, Follower] = field(default_factory=dict)
    initial: dict[str, np.ndarray] = field(default_factory=dict)  # of parameters that a training may move
    furnished: dict[str, Span] = field(default_factory=dict)  # parameters of blocks, whether read or not
    free: list[syntax.Name] = field(default_factory=list)  # what formulas read from outside themselves

    @property
    def whole(self) -> Span:
        """The whole text."""
        return self.spec.source.root.span

    def pages(self) -> None:
        """Pages from elsewhere as names, before any other. SpecError: one is wrong."""
        shelf = guests.pages(self.spec.head.library, self.context.folder)
        self.names.known.update(shelf)
        self.first.update({name: page.place for name, page in shelf.items()})

    def definitions(self) -> None:
        """Parameters, operators and schedules: each is worked out when it is first read, or now."""
        head = self.spec.head
        work: dict[str, tuple[Callable[[], Any], tuple[str, ...], Span]] = {}
        for key, node in head.parameters or ():
            reads = names_in(parse(node)) if isinstance(node, Scalar) and parses(node) else ()
            work[key.text] = (lambda key=key, node=node: self._parameter(key, node), reads, key.span)
            self.claim_name(key)
        for section in (head.operators, head.schedules):
            for key, node in section or ():
                try:
                    signature = parse_signature(key)
                    body = read_body(node)
                except SpecError as wrong:
                    self.report(wrong)
                    self.names.known[key.text.split("(")[0].strip()] = Broken()
                    continue
                name, own = signature.name, body.names(signature.parameters or ())
                reads = tuple(n for part in body.formulas for n in names_in(part) if n not in own)
                self.free += [n for part in body.plain for n in free_in(part, own)]
                work[name] = (lambda s=signature, b=body: self._operator(s, b), reads, key.span)
                self.claim_name(key, name)
        order = in_order(work, self.names, self.mistakes)
        for name, (make, _, span) in work.items():
            if not isinstance(self.names.known.get(name), Broken):
                self.names.known[name] = self._pending(name, make, span)
        for name in order:  # what a definition reads comes before it, so that no chain is too long
            self.names.find(name)

    def _operator(self, signature: Any, body: Body) -> Any:
        name = f"{self.within}.{signature.name}" if self.within else signature.name
        map = body.map(name, signature.parameters or (), self.names)
        if signature.parameters is not None:
            return self._furnished(map, body, map.name, 0) if body.parameters else map
        if body.parameters:
            place, fix = body.parameters[0][0].span, f"give it arguments, `{signature.name}(x)`"
            raise refuse(WRONG_KIND, "only a map has parameters of its own", place, fix=fix)
        if body.rule is not None:
            fix = f"give `{signature.name}` its arguments, `{signature.name}(x)`, or drop the derivative"
            raise refuse(WRONG_KIND, "only a map of arguments has a derivative", body.rule.span, fix=fix)
        return self.context.apply(map, [], replace(self.context, naming=signature.name), None)

    def _furnished(self, map: Formula, body: Body, prefix: str, number: int) -> Formula:
        """The map with the parameters of its block, each worked out where it is first read; copy `number`."""
        own: dict[str, Any] = {}
        for key, node in body.parameters:
            full = replace(key, text=f"{prefix}.{key.text}")
            if full.text in self.furnished:
                fix = "give each of them a definition of its own"
                raise refuse(WRONG_KIND, f"there are two parameters `{full.text}`", key.span, fix=fix)
            self.furnished[full.text] = key.span
            work = lambda key=full, node=node: self._parameter(key, node, number)  # noqa: E731
            own[key.text] = self._pending(full.text, work, key.span)
        fresh = lambda prefix, number: self._furnished(map, body, prefix, number)  # noqa: E731
        return replace(map, names=self.names.inner(own), fresh=fresh)

    def _parameter(self, key: Scalar, node: Node, copy: int = 0) -> Any:
        if key.text in self.kept:
            return self.kept[key.text]
        leader = followers.leader(node, self.spec.head.parameters, self.names, self.context)
        source = node if leader is None else leader.node
        thing = parameter(key, source, self.names, self.context, self.context.folder, self.seed, copy)
        if (leader is not None or trainable(node)) and not self.within:
            if leader is None:
                self.trainable[key.text] = key.span
            else:
                self.followers[key.text] = Follower(leader.name, leader.decay, key.span)
            held = training.weighted(key, carried(thing), self.weights, self.context)
            self.initial[key.text] = np.asarray(
                arithmetic.as_array(held), numpy_dtype(self.context.scope.precision)
            )
            if self.stage in ("opened", "task"):
                held = training.opened(key, held, self.context)
            thing = Complex(held) if isinstance(thing, Complex) else held
            if self.stage in ("opened", "task"):
                return thing
        if self.stage != "given":
            thing = as_stored(key, node, thing, self.context)
        return self._parameter_within(key, thing) if self.within else thing

    def _parameter_within(self, key: Scalar, thing: Any) -> Any:
        """A parameter of an included spec, which is named after it."""
        if isinstance(thing, Table):
            thing = replace(thing, label=f"{self.within}.{key.text}")
        if isinstance(thing, Complex):
            thing = Complex(self._parameter_within(key, thing.pairs))
        if isinstance(thing, Table | Number | Complex):
            self.kept[key.text] = thing
        return thing

    def check_weights(self) -> None:
        """That the weights are those of trainable parameters."""
        found, order = self.trainable, self.spec.head.parameters or ()
        known = {key.text: found[key.text] for key, _ in order if key.text in found}
        self.trainable = known
        held = known | {name: follower.place for name, follower in self.followers.items()}
        self.guarded(lambda: training.check_weights(self.weights or {}, held | self.furnished))

    def check_names(self) -> None:
        """That the names of a formula mean something is seen here, whether it is used or not."""
        for name in self.free:
            self.guarded(lambda name=name: self.context.evaluate(name, self.names, self.context))

    def assumptions(self) -> None:
        """What the spec asks to be trusted."""
        for key, node in self.spec.head.assume or ():
            self.claim_name(key)
            self.attempt(lambda node=node: self._assumption(node), key.text, key.span)

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

    def iterations(self) -> None:
        """Scans and solves, each worked out when it is first read: they may use each other."""
        work: dict[str, tuple[Callable[[], Any], Span]] = {}
        section = self.spec.head.scan
        for key, node in section or ():
            work[key.text] = (lambda key=key, node=node: self._scan(key, node), key.span)
        for found in self.spec.solves:
            place = found.method.method.span if found.method else found.key.span
            work[found.key.text] = (lambda found=found: self._solve(found), place)
        for key in [*(key for key, _ in section or ()), *(found.key for found in self.spec.solves)]:
            if not self.claim_name(key):  # what reads the name keeps silent
                work.pop(key.text, None)
                self.names.known[key.text] = Broken()
        for name, (make, span) in work.items():
            self.names.known[name] = self._pending(name, make, span)

    def _scan(self, key: Scalar, node: Node) -> Any:
        found = Recurrence.read(node, self.mistakes)
        if found is None:
            return Broken()
        parts = scan(key, found, self.names, self.context)
        self.names.known.update({name: thing for name, thing in parts.items() if name != key.text})
        return parts[key.text]

    def _solve(self, found: Solve) -> Any:
        claim = claims.claim(found, self.names, self.context, self.mistakes, self.within)
        self.claims.append(claim)
        self.names.known.update(claim.reports(found.key.text))
        return claim.solved.result

    def output(self, node: Node) -> tuple[Value, TensorType]:
        """The value of an output, and its type in the language."""
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
                fix="name each of them" if isinstance(thing, Several) else "apply the map, or name a tensor",
            )
        value = self.context.scope.value(carried(thing), place=node.span)
        return value, arithmetic.type_of(thing, self.context.scope)

    # --- mistakes -----------------------------------------------------------------------------------------

    def _pending(self, name: str, make: Callable[[], Any], span: Span) -> Pending:
        """A definition that is worked out when it is first read; what fails is reported at `span`."""
        fix = "what feeds back is one solve, with all that changes among its states"
        circle = lambda: refuse(RECURSIVE, f"`{name}` needs itself", span, fix=fix)  # noqa: E731
        return Pending(lambda: self.guarded(make, span), circle)

    def attempt(self, work: Callable[[], Any], name: str | None, place: Span) -> Any | None:
        """Does the work and names the result; what fails is kept as a mistake, and its name is broken."""
        result = self.guarded(work, place)
        if name is not None:
            self.names.known[name] = result
        return None if isinstance(result, Broken) else result

    def guarded(self, work: Callable[[], Any], place: Span | None = None) -> Any:
        """Does the work; what fails is kept as a mistake."""
        try:
            return work()
        except Silent:
            return Broken()
        except SpecError as wrong:
            self.report(wrong, place)
            return Broken()

    def report(self, wrong: SpecError, place: Span | None = None) -> None:
        """Keeps the mistakes; one in another file is shown where the spec uses that."""
        for found in wrong.diagnostics:
            inside = found.span
            if inside is not None and place is not None and inside.file != place.file:
                notes = (*found.notes, (inside, "it stands here"))
                found = replace(found, span=place, notes=notes)
            if found not in self.mistakes:
                self.mistakes.append(found)

    def claim_name(self, key: Scalar, name: str | None = None) -> bool:
        """Gives a name its one meaning: a second is a mistake. Whether it is the first."""
        name = name or key.text
        free = name not in self.first
        if not free:
            notes = ((self.first[name], "it is first defined here"),)
            self.mistakes.append(
                Diagnostic(NAME_CLASH, f"`{name}` is defined twice", key.span, fix="rename one", notes=notes)
            )
        self.first.setdefault(name, key.span)
        return free

    def check(self) -> None:
        """SpecError: every mistake, in the order of the text."""
        if self.mistakes:
            raise SpecError(sorted(self.mistakes, key=_by_place))


def _by_place(diagnostic: Diagnostic) -> tuple[int, int]:
    return (diagnostic.span.line, diagnostic.span.column) if diagnostic.span else (0, 0)
