"""An expression as text again."""

from banach.compiler.text.literal import number_text
from banach.compiler.text.syntax import (
    CALL,
    COMPARISON,
    CONDITIONAL,
    INFIX,
    NOT,
    OR,
    POWER,
    SIGN,
    SUM,
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
)


def to_text(node: Node) -> str:
    """The expression with as few parentheses as its reading needs: parse(to_text(n)) == n."""
    return _print(node)[0]


def _print(node: Node | Slice) -> tuple[str, int]:
    """The text, and how tightly its loosest operator binds."""
    match node:
        case Number(value):
            # A sign before a literal binds as any sign: (-1) ** 2.
            return number_text(value), SIGN if value < 0 else CALL
        case Text(value):
            return f'"{value}"' if "'" in value else f"'{value}'", CALL
        case Name(id):
            return id, CALL
        case Primed(name):
            return f"{name}'", CALL
        case Hole():
            return "_", CALL
        case Unary(op, operand):
            power = NOT if op == "not" else SIGN
            return ("not " if op == "not" else op) + _inside(operand, power), power
        case Binary("**", left, right):
            return f"{_inside(left, CALL)} ** {_inside(right, SIGN)}", POWER
        case Binary(op, left, right):
            power = INFIX[op]
            return f"{_inside(left, power)} {op} {_inside(right, power + 1)}", power
        case Compare(op, left, right):
            return f"{_inside(left, SUM)} {op} {_inside(right, SUM)}", COMPARISON
        case Conditional(condition, then, otherwise):
            return f"{_inside(then, OR)} if {_inside(condition, OR)} else {to_text(otherwise)}", CONDITIONAL
        case _:
            return _bracketed(node), CALL


def _bracketed(node: Node | Slice) -> str:
    match node:
        case Call(function, arguments, keywords):
            given = [to_text(a) for a in arguments] + [f"{name}={to_text(value)}" for name, value in keywords]
            return f"{_inside(function, CALL)}({', '.join(given)})"
        case Index(base, items):
            return f"{_inside(base, CALL)}[{', '.join(_print(item)[0] for item in items)}]"
        case Slice(start, stop, step):
            ends = ["" if end is None else to_text(end) for end in (start, stop)]
            return ":".join(ends) + (f":{to_text(step)}" if step is not None else "")
        case Attribute(base, name):
            text = _inside(base, CALL)
            dotted = isinstance(base, Name | Attribute | Call | Index | List | Tuple) or text.startswith("(")
            return f"{text}.{name}" if dotted else f"({text}).{name}"
        case Tuple(items):
            return f"({', '.join(map(to_text, items))}{',' if len(items) == 1 else ''})"
        case List(items):
            return f"[{', '.join(map(to_text, items))}]"
        case _:
            raise TypeError(node)


def _inside(node: Node, power: int) -> str:
    text, own = _print(node)
    return text if own >= power else f"({text})"
