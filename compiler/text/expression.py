"""Expressions: Python's arithmetic grammar, parsed and never executed.

This is the door: what a caller needs of the syntax tree, its parser and its printer.
"""

from banach.compiler.text.grammar import UNEXPECTED, UNFINISHED, parse_text
from banach.compiler.text.printing import to_text
from banach.compiler.text.signature import Signature, parse_signature
from banach.compiler.text.source import Mapping, Scalar, Sequence
from banach.compiler.text.syntax import (
    Attribute,
    Binary,
    Call,
    Compare,
    Conditional,
    Hole,
    Index,
    List,
    Name,
    Node,
    Number,
    Primed,
    Slice,
    Text,
    Tuple,
    Unary,
    children,
    names,
    primes,
    walk,
)
from banach.ir.diagnostic import Diagnostic, SpecError

__all__ = [
    "Attribute", "Binary", "Call", "Compare", "Conditional", "Hole", "Index", "List", "Name", "Node",
    "Number", "Primed", "Signature", "Slice", "Text", "Tuple", "Unary", "children", "names", "parse",
    "parse_signature", "parse_text", "primes", "to_text", "walk",
]  # fmt: skip


def parse(scalar: Scalar | Sequence | Mapping) -> Node:
    """The syntax tree of a scalar. Raises SpecError with one diagnostic, the first mistake of the formula.

    A scalar that is a number for YAML is a Number; `true` and `false` are names. A list or mapping of YAML
    is a mistake of the user's.
    """
    if not isinstance(scalar, Scalar):
        kind = "list" if isinstance(scalar, Sequence) else "mapping"
        fix = "write a formula; one that begins with a bracket stands in quotes"
        raise SpecError(
            [Diagnostic(UNEXPECTED, f"a {kind} stands where a formula has to", scalar.span, fix=fix)]
        )
    if isinstance(scalar.value, bool):
        return Name(scalar.text, scalar.span)
    if scalar.value is None and scalar.text:
        fix = "write a formula, or delete the key"
        raise SpecError([Diagnostic(UNFINISHED, f"`{scalar.text}` is no formula", scalar.span, fix=fix)])
    if not isinstance(scalar.value, str) and scalar.value is not None:
        return Number(scalar.value, scalar.span)
    return parse_text(scalar.text, scalar.places())
