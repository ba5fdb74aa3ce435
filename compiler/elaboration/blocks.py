"""The body of a definition: one formula, or a block with local names and a derivative of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from banach.compiler import library, syntax
from banach.compiler.elaboration.rule import change
from banach.compiler.elaboration.things import Environment, Formula
from banach.compiler.expression import parse
from banach.compiler.source import Node, Scalar
from banach.compiler.spec import Block
from banach.ir.diagnostic import Diagnostic, SpecError


@dataclass(frozen=True, slots=True)
class Body:
    """What a definition says: its result, local names, and its derivative where that is given."""

    returns: syntax.Node
    where: tuple[tuple[str, syntax.Node], ...] = ()
    rule: syntax.Node | None = None

    @property
    def formulas(self) -> list[syntax.Node]:
        """Every formula."""
        rule = [self.rule] if self.rule else []
        return [self.returns, *(formula for _, formula in self.where), *rule]

    def names(self, parameters: Sequence[str]) -> set[str]:
        """The names that the body itself gives a meaning to, as a map of these parameters."""
        changes = map(change, parameters) if self.rule else ()
        return {*parameters, *(name for name, _ in self.where), *changes}

    def map(self, name: str, parameters: tuple[str, ...], names: Environment) -> Formula:
        """The map that this is the body of."""
        return Formula(name, parameters, self.returns, names, self.where, self.rule)


def read_body(node: Node) -> Body:
    """The body of a definition. SpecError: with every mistake in its form."""
    if isinstance(node, Scalar):
        return Body(parse(node))
    mistakes: list[Diagnostic] = []
    block = Block.read(node, mistakes)
    if block is None:
        raise SpecError(mistakes)
    rule = parse(block.derivative) if block.derivative else None
    return Body(parse(block.returns), library.table(block.where), rule)
