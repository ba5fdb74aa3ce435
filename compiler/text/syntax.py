"""The syntax tree of an expression. Equality and hashes look at the mathematics, not at the place."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any

from banach.ir.span import Span

# How tightly operators bind, loosest first; a sign and a power are each other's neighbours, see grammar.
CONDITIONAL, OR, AND, NOT, COMPARISON, SUM, PRODUCT, SIGN, POWER, CALL = range(10)
INFIX = {
    "if": CONDITIONAL, "or": OR, "and": AND, "<": COMPARISON, "<=": COMPARISON, ">": COMPARISON,
    ">=": COMPARISON, "==": COMPARISON, "!=": COMPARISON, "+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT,
    "@": PRODUCT, "//": PRODUCT, "%": PRODUCT, "**": POWER,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number:
    """A literal with its sign: an int where it has neither point nor exponent, else an exact decimal."""

    value: int | Fraction
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A text in quotes: 'circular'."""

    value: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A name, in Unicode's NFKC form; `∞` is the name inf."""

    id: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Primed:
    """A state's new value: x'."""

    name: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Hole:
    """The argument that is left open in a partial application: _."""

    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """`op` is one of - + not. A sign before a literal is part of the Number."""

    op: str
    operand: "Node"
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """`op` is one of + - * / ** @ // % and or."""

    op: str
    left: "Node"
    right: "Node"
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """`op` is one of < <= > >= == !=. A chain a < b < c is the `and` of its two comparisons."""

    op: str
    left: "Node"
    right: "Node"
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """function(arguments, keyword=value)."""

    function: "Node"
    arguments: "tuple[Node, ...]"
    keywords: "tuple[tuple[str, Node], ...]"
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Slice:
    """start:stop:step inside an index; each may be left out."""

    start: "Node | None"
    stop: "Node | None"
    step: "Node | None"
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Index:
    """base[items]; an item is a node or a Slice."""

    base: "Node"
    items: "tuple[Node | Slice, ...]"
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Attribute:
    """base.name, where a name may be a number: x.iterations, net.0.weight, denoiser.onnx."""

    base: "Node"
    name: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Tuple:
    """(a, b), (a,) or ()."""

    items: "tuple[Node, ...]"
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class List:
    """[a, b]."""

    items: "tuple[Node, ...]"
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Conditional:
    """then if condition else otherwise."""

    condition: "Node"
    then: "Node"
    otherwise: "Node"
    span: Span = field(compare=False, repr=False)


Node = (
    Number
    | Text
    | Name
    | Primed
    | Hole
    | Unary
    | Binary
    | Compare
    | Call
    | Index
    | Attribute
    | Tuple
    | List
    | Conditional
)


def children(node: Node | Slice) -> "tuple[Node | Slice, ...]":
    """The parts of a node, in the order of the text."""
    match node:
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right) | Compare(_, left, right):
            return (left, right)
        case Call(function, arguments, keywords):
            return (function, *arguments, *(value for _, value in keywords))
        case Slice(start, stop, step):
            return tuple(part for part in (start, stop, step) if part is not None)
        case Index(base, items):
            return (base, *items)
        case Attribute(base):
            return (base,)
        case Tuple(items) | List(items):
            return items
        case Conditional(condition, then, otherwise):
            return (then, condition, otherwise)
        case _:
            return ()


def walk(node: Node | Slice) -> "Iterator[Node | Slice]":
    """The node and everything in it, in the order of the text."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack += reversed(children(top))


def rewrite(node: Node, change: Callable[[Node], Node]) -> Node:
    """The node with every part changed, inner ones first."""

    def rewritten(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(map(rewritten, part))
        if not isinstance(part, Node | Slice):
            return part
        made = type(part)(*(rewritten(getattr(part, field.name)) for field in fields(part)))
        return made if isinstance(made, Slice) else change(made)

    return rewritten(node)


def names(node: Node) -> tuple[str, ...]:
    """The names that an expression reads, once each, in the order of the text; primed ones are in `primes`.

    A function's name counts, an argument's keyword and what follows a dot do not.
    """
    return tuple(dict.fromkeys(part.id for part in walk(node) if isinstance(part, Name)))


def primes(node: Node) -> tuple[str, ...]:
    """The states whose new value an expression reads, once each, in the order of the text."""
    return tuple(dict.fromkeys(part.name for part in walk(node) if isinstance(part, Primed)))
