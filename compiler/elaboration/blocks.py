"""The body of a definition: one formula, or a block: local names, iterations and a derivative of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from banach.compiler import library
from banach.compiler.elaboration.definitions import parses
from banach.compiler.elaboration.rule import change
from banach.compiler.elaboration.things import Environment, Formula
from banach.compiler.spec import Block, Recurrence, Solve, solves_of
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse
from banach.compiler.text.source import Mapping, Node, Scalar
from banach.ir.diagnostic import Diagnostic, SpecError


@dataclass(frozen=True, slots=True)
class Body:
    """What a definition says: its result, local names, scans and solves, and its derivative if given."""

    returns: syntax.Node
    where: tuple[tuple[str, syntax.Node], ...] = ()
    rule: syntax.Node | None = None
    scans: tuple[tuple[Scalar, Recurrence], ...] = ()
    solves: tuple[Solve, ...] = ()
    sections: tuple[Mapping, ...] = ()  # `scan:` and `solve:` as they stand
    parameters: tuple[tuple[Scalar, Node], ...] = ()

    @property
    def plain(self) -> list[syntax.Node]:
        """The formulas outside the iterations."""
        rule = [self.rule] if self.rule else []
        return [self.returns, *(formula for _, formula in self.where), *rule]

    @property
    def formulas(self) -> list[syntax.Node]:
        """Every formula, those of the iterations too."""
        inside = [scalar for section in self.sections for scalar in _scalars(section)]
        return [*self.plain, *(parse(scalar) for scalar in inside if parses(scalar))]

    def names(self, parameters: Sequence[str]) -> set[str]:
        """The names that the body itself gives a meaning to, as a map of these parameters."""
        changes = map(change, parameters) if self.rule else ()
        inside = (key.text for section in self.sections for key in _keys(section))
        own = (key.text for key, _ in self.parameters)
        return {*parameters, *own, *(name for name, _ in self.where), *changes, *inside}

    def map(self, name: str, parameters: tuple[str, ...], names: Environment) -> Formula:
        """The map that this is the body of."""
        own = self.where, self.rule, self.scans, self.solves
        return Formula(name, parameters, self.returns, names, *own)


def read_body(node: Node) -> Body:
    """The body of a definition. SpecError: with every mistake in its form."""
    if isinstance(node, Scalar):
        return Body(parse(node))
    mistakes: list[Diagnostic] = []
    block = Block.read(node, mistakes)
    if block is None:
        raise SpecError(mistakes)
    scans = [(key, found) for key, part in block.scan or () if (found := Recurrence.read(part, mistakes))]
    solves = solves_of(block.solve, mistakes)
    if mistakes:
        raise SpecError(mistakes)
    rule = parse(block.derivative) if block.derivative else None
    sections = tuple(section for section in (block.scan, block.solve) if section is not None)
    parts = library.table(block.where), rule, tuple(scans), solves, sections, tuple(block.parameters or ())
    return Body(parse(block.returns), *parts)


def _keys(section: Mapping) -> Iterator[Scalar]:
    for key, node in section:
        yield key
        if isinstance(node, Mapping):
            yield from _keys(node)


def _scalars(section: Mapping) -> Iterator[Scalar]:
    for _, node in section:
        if isinstance(node, Scalar):
            yield node
        elif isinstance(node, Mapping):
            yield from _scalars(node)
