"""A page's equations in other words: compared as polynomials, under bindings that the formulas suggest.

A map is suggested by a map that is applied in the same way, and a number by its coefficient. Whatever was
suggested, the equations must then be equal.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, permutations, product

from banach.compiler import library
from banach.compiler.elaboration.analysis.algebra import NotAlgebra
from banach.compiler.elaboration.analysis.atoms import ONE, Applied, Poly, Variable, Word
from banach.compiler.elaboration.analysis.back import write
from banach.compiler.elaboration.analysis.iterated import Iterated, Names
from banach.compiler.elaboration.region import Formulas
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse

_MOST_STATES = 4
_SAID = {"adjoint", "exp", "floor", "grad", "mask", "max", "min", "prox", "reshape", "sum"}
_GUESSES = 48  # bindings of maps that are tried for one order of the states, and scales of the states

Bindings = dict[str, Poly]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What stands for a page's parameters; `behind`: what is returned is the page's, one step before."""

    bindings: Mapping[str, syntax.Node]
    same_stop: bool
    behind: bool


def rewritten(
    page: library.Page, state: Formulas, update: Mapping[str, syntax.Node], spec: Iterated
) -> Rewritten | None:
    """How the iteration is the page's, whose states start and go on like this. None: no way is seen."""
    section = page.section
    assert isinstance(section, library.SolverPage)
    if len(state) != len(spec.live) or len(state) > _MOST_STATES:
        return None
    if not _called([*update.values(), *(formula for _, formula in page.where)]) <= spec.words:
        return None
    variables = [*page.parameters, *(key.text for key, _ in section.options or ())]
    for order in permutations(spec.live):
        for factors in islice(product(*([ONE, *spec.scales[name]] for name in order)), _GUESSES):
            states = {name: (own, by) for (name, _), own, by in zip(state, order, factors)}
            try:
                found = _Attempt(page, spec, states, update, variables).search(dict(state))
            except (NotAlgebra, RecursionError):
                continue
            if found is not None:
                return found
    return None


class _Attempt:
    """One pairing of the page's states with those of the spec."""

    def __init__(
        self,
        page: library.Page,
        spec: Iterated,
        states: dict[str, tuple[str, Poly]],
        update: Mapping[str, syntax.Node],
        variables: list[str],
    ):
        self.page, self.spec, self.states, self.variables = page, spec, states, variables
        self.algebra, self.where, self.update = spec.algebra, dict(page.where), update
        self.values = {name: self._scaled(spec.now.states[own], by) for name, (own, by) in states.items()}

    def _scaled(self, poly: Poly, by: Poly) -> Poly:
        return poly if by == ONE else self.algebra.times(by, poly)

    def _updated(self, state: str) -> Poly:
        """What the spec makes of the page's state."""
        own, by = self.states[state]
        return self._scaled(self.spec.update[own], by)

    def names(self, bound: Mapping[str, Poly], start: Poly | None) -> Names:
        known: dict[str, Poly | None] = {name: bound.get(name) for name in self.variables}
        known["start"] = start
        return Names(self.algebra, self.where, self.update, known, self.values)

    def search(self, starts: Mapping[str, syntax.Node]) -> Rewritten | None:
        begun = [
            own
            for name, (own, by) in self.states.items()
            if by == ONE and starts[name] == syntax.Name("start", starts[name].span)
        ]
        if not begun:
            return None
        node = self.spec.starts[begun[0]]
        for start in self._starts(node):
            if not self._begins(starts, start):
                continue
            for maps in islice(self._maps(start), _GUESSES):
                bound = self._numbers(maps, start)
                if bound is not None and self._equal(bound, start):
                    return self._told(bound, node, start)
        return None

    def _starts(self, node: syntax.Node) -> Iterator[Poly]:
        """What the start is in the formulas: itself, or nothing at all where it is zero."""
        yield self.algebra.read(node, self.spec.now.reading)
        if self.spec.is_zeros(node):
            yield ()

    def _begins(self, starts: Mapping[str, syntax.Node], start: Poly) -> bool:
        """Whether every state starts as the page says."""
        self.algebra.strict = False
        try:
            for name, formula in starts.items():
                spelt, by = self.states[name]
                own = self.spec.starts[spelt]
                page = self.algebra.read(formula, self.names({}, start).reading)
                told = self._scaled(self.algebra.read(own, self.spec.now.reading), by)
                if page != told and not (self.spec.is_zeros(own) and not page):
                    return False
        finally:
            self.algebra.strict = True
        return True

    # --- suggestions -------------------------------------------------------------------------------------

    def _maps(self, start: Poly) -> Iterator[Bindings]:
        """Bindings of what is applied, or is an argument where a map is made."""
        names = self.names({}, start)
        inside = {number for name in self.states for number in self.algebra.inside(names.primed(name))}
        atoms = [self.algebra.atoms[number] for number in sorted(inside)]
        patterns = [atom for atom in atoms if isinstance(atom, Applied) and self._speaks(atom)]
        yield from self._unified(patterns, {})

    def _speaks(self, atom: Applied) -> bool:
        return any(self._variable(part) for part in (atom.map, *atom.arguments))

    def _variable(self, poly: Poly) -> str | None:
        single = self.algebra.single(poly)
        return single.id if isinstance(single, Variable) else None

    def _unified(self, patterns: list[Applied], bound: Bindings) -> Iterator[Bindings]:
        if not patterns:
            yield bound
            return
        first, *rest = patterns
        named = (self._variable(part) for part in (first.map, *first.arguments))
        missing = [name for name in named if name and name not in bound]
        if not missing:
            yield from self._unified(rest, bound)
            return
        for atom in self.spec.applied:
            found = self._unify(first, atom, bound)
            if found is not None:
                yield from self._unified(rest, found)
        if self.algebra.single(first.map) == Word("grad"):
            for misfit in self.spec.misfits:
                yield from self._unified(rest, {**bound, missing[0]: misfit})

    def _unify(self, pattern: Applied, atom: Applied, bound: Bindings) -> Bindings | None:
        if len(pattern.arguments) != len(atom.arguments) or pattern.keywords or atom.keywords:
            return None
        if self._variable(pattern.map):  # which stands for no word of the language
            if isinstance(self.algebra.single(atom.map), Word | None):
                return None
        elif isinstance(self.algebra.single(pattern.map), Word) and pattern.map != atom.map:
            return None
        found = dict(bound)
        for own, other in zip((pattern.map, *pattern.arguments), (atom.map, *atom.arguments)):
            name = self._variable(own)
            if name and (self.spec.moves(other) or found.setdefault(name, other) != other):
                return None
        return found

    def _numbers(self, bound: Bindings, start: Poly) -> Bindings | None:
        """The bindings with the numbers that stand as coefficients."""
        bound = dict(bound)
        for _ in self.variables:
            missing = [name for name in self.variables if name not in bound]
            if not missing:
                return bound
            names = self.names(bound, start)
            pages = {name: names.primed(name) for name in self.states}
            found = next((v for name in missing if (v := self._coefficient(name, pages)) is not None), None)
            if found is None:
                return None
            bound.update([found])
        return bound if all(name in bound for name in self.variables) else None

    def _coefficient(self, name: str, pages: Mapping[str, Poly]) -> tuple[str, Poly] | None:
        (((variable, _),), _) = self.algebra.atom(Variable(name))[0]
        for state, page in pages.items():
            spec = self._updated(state)
            for monomial, coefficient in page:
                rest = tuple(part for part in monomial if part[0] != variable)
                if dict(monomial).get(variable) != 1 or not rest or self._unbound(rest):
                    continue
                known = tuple(term for term in page if variable not in dict(term[0]))
                held = self.algebra.sum(self._quotient(spec, rest), _negative(self._quotient(known, rest)))
                if held and not self.spec.moves(held) and self.algebra.is_number(held):
                    return name, self.algebra.times((((), 1 / coefficient),), held)
        return None

    def _unbound(self, monomial: tuple[tuple[int, int], ...]) -> bool:
        atoms = self.algebra.inside(((monomial, Fraction(1)),))
        return any(isinstance(self.algebra.atoms[number], Variable) for number in atoms)

    def _quotient(self, poly: Poly, rest: tuple[tuple[int, int], ...]) -> Poly:
        """The terms that are `rest` times what does not move, over `rest`."""
        found = []
        for monomial, coefficient in poly:
            powers = dict(monomial)
            if all(powers.get(atom, 0) == power for atom, power in rest):
                left = tuple(part for part in monomial if part not in rest)
                if not self.spec.moves(((left, Fraction(1)),)):
                    found.append((left, coefficient))
        return self.algebra.sum(tuple(found)) if found else ()

    # --- the proof ---------------------------------------------------------------------------------------

    def _equal(self, bound: Bindings, start: Poly) -> bool:
        """Whether the equations are the same, and the spec's have a value wherever the page's have one."""
        algebra = self.algebra
        algebra.partial.clear()
        names = self.names(bound, start)
        section = self.page.section
        assert isinstance(section, library.SolverPage)
        if not all(algebra.same(names.primed(name), self._updated(name)) for name in self.states):
            return False
        if not algebra.same(algebra.read(parse(section.returns), names.reading), self.spec.returned):
            return False
        met = (number for poly in (*bound.values(), start) for number in algebra.inside(poly))
        return self.spec.partial <= algebra.partial | set(met)

    def _told(self, bound: Bindings, start: syntax.Node, begun: Poly) -> Rewritten:
        place = self.spec.recipe.next[0][1].span
        nodes = {name: write(self.algebra.atoms, poly, place) for name, poly in bound.items()}
        return Rewritten({**nodes, "start": start}, self._same_stop(bound, begun), self.spec.behind)

    def _same_stop(self, bound: Bindings, start: Poly) -> bool:
        section, recipe = self.page.section, self.spec.recipe
        assert isinstance(section, library.SolverPage)
        if (section.scale is None) != (recipe.scale is None):
            return False
        names = self.names(bound, start).reading
        pairs = [(section.residual, recipe.size), (section.scale, recipe.scale)]
        try:
            return all(
                self.algebra.same(
                    self.algebra.read(parse(own), names), self.algebra.read(other, self.spec.now.reading)
                )
                for own, other in pairs
                if own is not None and other is not None
            )
        except NotAlgebra:
            return False


def _called(formulas: Iterable[syntax.Node]) -> set[str]:
    """The words of a page that are applied, as far as a spec must say them too."""
    calls = (part for node in formulas for part in syntax.walk(node) if isinstance(part, syntax.Call))
    return {call.function.id for call in calls if isinstance(call.function, syntax.Name)} & _SAID


def _negative(poly: Poly) -> Poly:
    return tuple((monomial, -coefficient) for monomial, coefficient in poly)
