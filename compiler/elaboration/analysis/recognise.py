"""An iteration that is written out gets the theorems of the page whose equations it is.

Names do not matter, only the equations: the states of the page are matched with those of the spec, and its
parameters and options with the formulas that stand in their places. Sums and products match in either order.
Where that finds nothing, `rewritten` compares the equations as polynomials.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations

from banach.compiler import library
from banach.compiler.elaboration import updates
from banach.compiler.elaboration.analysis.algebra import NotAlgebra
from banach.compiler.elaboration.analysis.iterated import Iterated
from banach.compiler.elaboration.analysis.rewritten import rewritten
from banach.compiler.elaboration.arithmetic import type_of
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.complexes import is_complex
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.iteration import Recipe
from banach.compiler.elaboration.region import Formulas, pending
from banach.compiler.elaboration.things import Complex, Environment, Formula, Table, Tensor
from banach.compiler.elaboration.words.vocabulary import Spoken
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse, to_text
from banach.ir.diagnostic import SpecError

_MOST_STATES = 5
Bindings = dict[str, syntax.Node]


@dataclass(frozen=True, slots=True)
class Match:
    """A page, what stands for its parameters and options, and whether the spec stops as the page does."""

    page: library.Page
    bindings: Mapping[str, syntax.Node]
    same_stop: bool
    reworded: bool = False
    behind: bool = False  # whether what is returned is the page's, one step before


def spelt_pages(claim: Claim) -> list[tuple[library.Page, Claim]]:
    """The pages whose equations an iteration spells out, each with the claim in the page's own names.

    Any iteration of one state is Picard's, whatever map it applies, if that is the same map in every step.
    """
    recipe, context = claim.recipe, claim.context
    if not recipe.plain:
        return []
    found = []
    complex = any(is_complex(type) for type in claim.solved.types.values())
    for match in recognise(recipe, claim):
        if complex and not match.page.complex:
            continue
        names = recipe.names.inner({})
        for name, formula in recipe.where:  # as the iteration reads them
            names.known[name] = pending(name, formula, names, context)
        try:
            known = {name: context.evaluate(node, names, context) for name, node in match.bindings.items()}
        except SpecError:
            if not match.reworded:
                raise
            continue  # a guess that means nothing
        if any(isinstance(thing, Spoken) for thing in known.values()):
            continue  # a word of the language is applied, and stands for no map by itself
        if not _numbers_are_numbers(match.page, known, context):
            continue
        places = {name: node.span for name, node in match.bindings.items()}
        told = replace(claim, names=Environment(known), places=places)
        told = replace(told, own_stop=not match.same_stop, reworded=match.reworded, behind=match.behind)
        found.append((match.page, told))
    formulas = [node for _, node in (*recipe.next, *recipe.where)]
    counted = any("k" in syntax.names(node) for node in formulas)
    picard = library.find("picard")
    itself = to_text(recipe.returns) == recipe.state[0][0]
    told_already = any(page is picard and not told.own_stop for page, told in found)
    if len(recipe.state) == 1 and itself and not counted and picard is not None and not told_already:
        (name, body), (_, start) = recipe.next[0], recipe.state[0]
        map = Formula("T", (name,), body, recipe.names, recipe.where)
        known = {"T": map, "start": context.evaluate(start, recipe.names, context)}
        moves = to_text(recipe.size) == f"norm({name}' - {name})" and recipe.scale is None
        found.append((picard, replace(claim, names=Environment(known), own_stop=not moves)))
    return found


def _numbers_are_numbers(page: library.Page, known: Mapping[str, object], context: Context) -> bool:
    """Whether steps and weights, which a page means to be real numbers, are: no vectors, and none complex."""
    assert isinstance(page.section, library.SolverPage)
    options = {key.text for key, _ in page.section.options or ()}
    for name, thing in known.items():
        if isinstance(thing, Complex | Table | Tensor):
            shape = type_of(thing, context.scope).shape
            if (isinstance(thing, Complex) and not shape) or (name in options and shape):
                return False
    return True


def recognise(recipe: Recipe, claim: Claim) -> Iterator[Match]:
    """The pages of the library that the iteration spells out, or those that it says in other words."""
    pages = [page for page in library.pages("solver") if not page.section.operators]  # type: ignore[union-attr]
    spelt = [match for page in pages if (match := _match(page, recipe)) is not None]
    yield from spelt or _rewritten(pages, claim)


def _rewritten(pages: list[library.Page], claim: Claim) -> Iterator[Match]:
    try:
        spec = Iterated(claim)
    except (NotAlgebra, RecursionError):
        return
    for page in pages:
        state, update, held = _equations(page)
        found = rewritten(page, state, update, spec) if page.theorems and not held else None
        if found is not None:
            yield Match(page, found.bindings, found.same_stop, True, found.behind)


def _match(page: library.Page, recipe: Recipe) -> Match | None:
    section = page.section
    assert isinstance(section, library.SolverPage)
    state, update, held = _equations(page)
    count = len(state)
    if held or count != len(recipe.state) or count > _MOST_STATES:
        return None
    variables = {*page.parameters, *(key.text for key, _ in section.options or ()), "start"}
    local, own = dict(page.where), dict(recipe.where)
    starts, nexts = dict(recipe.state), dict(recipe.next)
    for order in permutations(name for name, _ in recipe.state):
        renamed = dict(zip((name for name, _ in state), order))
        match = _Matcher(variables, renamed, local, own, recipe.names)
        pairs = [(parse(section.returns), recipe.returns)]
        pairs += [(start, starts[renamed[name]]) for name, start in state]
        pairs += [(formula, nexts[renamed[name]]) for name, formula in update.items()]
        for bindings in match.all(pairs, {}):
            if variables <= {*bindings, "start"}:
                return Match(page, bindings, _same_stop(match, section, recipe, bindings))
    return None


@cache
def _equations(page: library.Page) -> tuple[Formulas, dict[str, syntax.Node], bool]:
    """Where the states of a page start, their equations, and whether `every` holds some of them.

    A page lasts as long as the program.
    """
    assert isinstance(page.section, library.SolverPage)
    update, periods = updates.equations(page.section.next)
    return library.table(page.section.state), update, bool(periods)


def _same_stop(match: "_Matcher", section: library.SolverPage, recipe: Recipe, bindings: Bindings) -> bool:
    pairs = [(parse(section.residual), recipe.size)]
    if (section.scale is None) != (recipe.scale is None):
        return False
    if section.scale is not None and recipe.scale is not None:
        pairs.append((parse(section.scale), recipe.scale))
    return next(match.all(pairs, bindings), None) is not None


@dataclass(frozen=True, slots=True)
class _Matcher:
    """Matches formulas of a page with formulas of a spec, under one pairing of their states."""

    variables: set[str]
    states: Mapping[str, str]
    local: Mapping[str, syntax.Node]  # the page's `where`
    own: Mapping[str, syntax.Node]  # the spec's `where`
    names: Environment  # what the spec itself defines

    def all(self, pairs: list[tuple[syntax.Node, syntax.Node]], bound: Bindings) -> Iterator[Bindings]:
        """Every way to match the pairs together."""
        if not pairs:
            yield bound
            return
        (page, spec), *rest = pairs
        for found in self.one(page, spec, bound):
            yield from self.all(rest, found)

    def one(self, page: syntax.Node, spec: syntax.Node, bound: Bindings) -> Iterator[Bindings]:
        """Every way to match a formula of the page with one of the spec."""
        if isinstance(page, syntax.Name) and page.id in self.local:
            page = self.local[page.id]
        if isinstance(page, syntax.Name) and page.id in self.variables:
            yield from self._bind(page.id, spec, bound)
            return
        if isinstance(spec, syntax.Name) and spec.id in self.own:
            spec = self.own[spec.id]
        match page, spec:
            case syntax.Name(a), syntax.Name(b):
                if self.states[a] == b if a in self.states else a == b and self._means_the_same(b):
                    yield bound
            case syntax.Primed(a), syntax.Primed(b):
                if self.states.get(a, a) == b:
                    yield bound
            case syntax.Number(a), syntax.Number(b):
                if a == b:
                    yield bound
            case syntax.Binary(a, left, right), syntax.Binary(b, first, second) if a == b:
                yield from self.all([(left, first), (right, second)], bound)
                if a in ("+", "*"):
                    yield from self.all([(left, second), (right, first)], bound)
            case _:
                yield from self._parts(page, spec, bound)

    def _parts(self, page: syntax.Node, spec: syntax.Node, bound: Bindings) -> Iterator[Bindings]:
        """Formulas of one kind match part by part."""
        inner, outer = syntax.children(page), syntax.children(spec)
        if type(page) is not type(spec) or len(inner) != len(outer) or _head(page) != _head(spec):
            return
        pairs = list(zip(inner, outer))
        if any(isinstance(part, syntax.Slice) for pair in pairs for part in pair):
            return
        yield from self.all(pairs, bound)  # type: ignore[arg-type]

    def _bind(self, name: str, spec: syntax.Node, bound: Bindings) -> Iterator[Bindings]:
        """A parameter stands for one formula throughout, and that formula for one value in every step."""
        spec = self._spelt(spec)
        if name in bound:
            if to_text(bound[name]) == to_text(spec):
                yield bound
            return
        if not self._moves(spec):
            yield {**bound, name: spec}

    def _means_the_same(self, word: str) -> bool:
        """Whether a word of the language is not defined anew by the spec; `k` is the count in every step."""
        hidden = word in self.states.values() or word in self.own
        return not hidden and (word == "k" or self.names.find(word) is None)

    def _moves(self, spec: syntax.Node) -> bool:
        """Whether a formula's value can differ from step to step, also through the spec's `where`."""
        pending, seen = [spec], set()
        while pending:
            node = pending.pop()
            if syntax.primes(node):
                return True
            for name in syntax.names(node):
                if name == "k" or name in self.states.values():
                    return True
                if name in self.own and name not in seen:
                    seen.add(name)
                    pending.append(self.own[name])
        return False

    def _spelt(self, spec: syntax.Node) -> syntax.Node:
        while isinstance(spec, syntax.Name) and spec.id in self.own:
            spec = self.own[spec.id]
        return spec


def _head(node: syntax.Node) -> tuple[object, ...]:
    """What a node is, besides its parts."""
    match node:
        case syntax.Unary(op) | syntax.Binary(op) | syntax.Compare(op):
            return (op,)
        case syntax.Call(_, arguments, keywords):
            return (len(arguments), tuple(key for key, _ in keywords))
        case syntax.Attribute(_, name) | syntax.Text(name):
            return (name,)
        case _:
            return ()
