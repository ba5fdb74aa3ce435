"""What the meaning of a formula depends on, besides its names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from banach.compiler.elaboration.analysis.assumption import Assumptions
from banach.compiler.elaboration.scope import Scope
from banach.compiler.elaboration.things import Environment, Formula, Map
from banach.compiler.text import syntax
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType


@dataclass(frozen=True, slots=True)
class Context:
    """Where operations go (`scope`), and the type of the unknown of the solve around, if any (`domain`).

    `evaluate` and `apply` are those of formulas.py, `fact` that of measure.py, `iterate` that of nested.py,
    handed down so that lower modules can call them. `claims` gathers the solves inside maps, `required` what
    included specs require.
    """

    scope: Scope
    evaluate: Callable[[syntax.Node, Environment, "Context"], Any]
    apply: Callable[[Map, Sequence[Any], "Context", Span | None], Any]
    fact: Callable[..., Any]
    iterate: Callable[[Formula, Environment, "Context"], None]
    folder: Path | None = None  # of the spec
    naming: str = ""  # the definition that is being worked out: what it makes is named after it
    domain: TensorType | None = None
    argument: TensorType | None = (
        None  # of the map that is asked about, where it is not applied to the unknown
    )
    assumed: Assumptions = field(default_factory=Assumptions)
    claims: list[Any] = field(default_factory=list)
    required: list[Any] = field(default_factory=list)
    including: tuple[Path, ...] = ()  # the files that are being worked out, outermost first

    def within(self, scope: Scope) -> "Context":
        """The same, with operations going elsewhere."""
        return replace(self, scope=scope)

    def about(self, domain: TensorType) -> "Context":
        """The same, about an unknown of this type."""
        return replace(self, domain=domain, argument=None)

    def taking(self, argument: TensorType | None) -> "Context":
        """The same, about a map whose argument is of this type."""
        return replace(self, argument=argument)
