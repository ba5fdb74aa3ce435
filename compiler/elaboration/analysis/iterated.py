"""An iteration that is written out, as polynomials in the states that it needs.

States that nobody reads before they are new are no states: they are put into the formulas that read them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.analysis.algebra import Algebra, Reading
from banach.compiler.elaboration.analysis.atoms import ONE, Applied, Own, Poly, Shape, State, Variable, Word
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.complexes import is_complex
from banach.compiler.elaboration.things import Number, Table, Tensor
from banach.compiler.text import syntax
from banach.ir.diagnostic import SpecError

_SCALES = 2  # of one state


class Iterated:
    """An iteration that is written out, as polynomials in the states that it needs."""

    def __init__(self, claim: Claim):
        recipe, types = claim.recipe, claim.solved.types
        self.recipe = recipe
        self.starts = dict(recipe.state)
        real = not any(is_complex(type) for type in types.values())
        self.algebra = Algebra(self._linear, self._shape, real)
        self.claim = claim
        states = {name: self.algebra.atom(State(name)) for name in self.starts}
        self.now = Names(self.algebra, dict(recipe.where), dict(recipe.next), self._own, states)
        self.update = {name: self.now.primed(name) for name in self.starts}
        self.live = self._live()
        returned = self.algebra.read(recipe.returns, self.now.reading)
        self.behind = not self._states(returned) <= set(self.live)
        if self.behind:
            later = Names(self.algebra, dict(recipe.where), {}, self._own, self.update)
            returned = self.algebra.read(recipe.returns, later.reading)
        self.returned = returned
        self.partial = set(self.algebra.partial)
        self.applied = [atom for atom in self.algebra.atoms if isinstance(atom, Applied)]
        self.scales = {name: self._scales(name) for name in self.live}
        self.misfits = list(self._misfits())
        self.words = {atom.id for atom in self.algebra.atoms if isinstance(atom, Word)}
        if self.misfits:
            self.words.add("grad")

    def _live(self) -> list[str]:
        left = list(self.starts)
        while True:
            read = set().union(*(self._states(self.update[name]) for name in left))
            if read >= set(left):
                return left
            left = [name for name in left if name in read]

    def _scales(self, state: str) -> list[Poly]:
        """The numbers by which maps read a state, besides 1: a dual may be the page's times a step."""
        (((own, _),), _) = self.algebra.atom(State(state))[0]
        found: dict[Poly, None] = {}
        for argument in (x for atom in self.applied for x in atom.arguments):
            for monomial, coefficient in argument:
                left = tuple(part for part in monomial if part[0] != own)
                factor: Poly = ((left, coefficient),)
                if dict(monomial).get(own) == 1 and factor != ONE and not self.moves(factor):
                    found[factor] = None
        return list(found)[:_SCALES]

    def _misfits(self) -> Iterator[Poly]:
        """½‖Ax − b‖² for every Aᵀ(Ax − b) that the formulas hold."""
        adjoint, word = Word("adjoint"), self.algebra.atom(Word("least_squares"))
        applied = [(atom.map, *atom.arguments) for atom in self.applied if len(atom.arguments) == 1]
        for outer, x in applied:
            match self.algebra.single(outer), self.algebra.single(x):
                case Applied(head, (map,)), Applied(inner) if map == inner:
                    for b in (b for other, b in applied if other == outer and not self.moves(b)):
                        if self.algebra.single(head) == adjoint:
                            yield self.algebra.atom(Applied(word, (map, b)))

    def _states(self, poly: Poly) -> set[str]:
        atoms = (self.algebra.atoms[number] for number in self.algebra.inside(poly))
        return {atom.id for atom in atoms if isinstance(atom, State)}

    def moves(self, poly: Poly) -> bool:
        """Whether a polynomial can differ from step to step."""
        atoms = (self.algebra.atoms[number] for number in self.algebra.inside(poly))
        return any(isinstance(atom, State | Variable) or atom == Word("k") for atom in atoms)

    def is_zeros(self, node: syntax.Node) -> bool:
        """Whether a formula is `zeros(..)`, where that is the word of the language."""
        called = isinstance(node, syntax.Call) and node.function == syntax.Name("zeros", node.span)
        return called and not self._own("zeros")

    def _own(self, id: str) -> bool:
        return self.recipe.names.find(id) is not None

    def _thing(self, id: str) -> object:
        try:
            return self.recipe.names.find(id)
        except SpecError:
            return None

    def _linear(self, id: str) -> bool:
        thing = self._thing(id)
        return isinstance(thing, Table | Tensor) and arithmetic.is_matrix(thing)

    def _shape(self, atom: State | Own) -> Shape:
        if isinstance(atom, State):
            return tuple(self.claim.solved.types[atom.id].shape)
        thing = self._thing(atom.id)
        if isinstance(thing, Number):
            return ()
        if isinstance(thing, Table | Tensor):
            return tuple(arithmetic.type_of(thing, self.claim.context.scope).shape)
        return None


@dataclass(slots=True)
class Names:
    """The names of a spec's or a page's formulas, each read once."""

    algebra: Algebra
    where: Mapping[str, syntax.Node]
    next: Mapping[str, syntax.Node]
    own: Callable[[str], bool] | Mapping[str, Poly | None]  # whether a spec defines a name; what a page's is
    states: Mapping[str, Poly]
    known: dict[str, Poly] = field(default_factory=dict)

    @property
    def reading(self) -> Reading:
        return Reading(self.name, self.primed)

    def name(self, id: str) -> Poly | None:
        if id in self.states:
            return self.states[id]
        if id in self.where:
            return self._once(id, self.where[id])
        if callable(self.own):
            return self.algebra.atom(Own(id)) if self.own(id) else None
        if id in self.own:
            bound = self.own[id]
            return self.algebra.atom(Variable(id)) if bound is None else bound
        return None

    def primed(self, name: str) -> Poly:
        return self._once(f"{name}'", self.next[name])

    def _once(self, key: str, formula: syntax.Node) -> Poly:
        if key not in self.known:
            self.known[key] = self.algebra.read(formula, self.reading)
        return self.known[key]
