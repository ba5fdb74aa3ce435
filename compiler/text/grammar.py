"""The parser of expressions: it climbs by binding power (Pratt 1973)."""

from collections.abc import Callable

from banach.compiler.text.literal import OutOfRange, number, out_of_range
from banach.compiler.text.syntax import (
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
    children,
)
from banach.compiler.text.tokens import Token, tokens
from banach.ir.diagnostic import Code, Diagnostic, SpecError
from banach.ir.span import Span

LONGEST = 10_000
DEEPEST = 100

UNEXPECTED = Code(
    "B120",
    "unexpected-token",
    """Something stands where the formula cannot have it: two values without an operator, an operator without
a value, or a comma outside brackets.

    wrong    y: 2 x
    right    y: 2 * x""",
)
UNBALANCED = Code(
    "B121",
    "unbalanced-bracket",
    """Every bracket that opens is closed by its own kind.

    wrong    x: prox(g, t)(y
    right    x: prox(g, t)(y)

If the value looks complete in the file, YAML has ended it early: at ` #`, which begins a comment, or inside
{...} at a comma. Put it in quotes.""",
)
UNFINISHED = Code(
    "B124",
    "unfinished-expression",
    """The formula ends where a value has to follow.

    wrong    y: a +
    right    y: a + b""",
)
TOO_LARGE = Code(
    "B125",
    "expression-too-large",
    """A formula has at most 10,000 characters, and at most 100 levels of operations in one another. Give the
parts names under `where:`.

    wrong    y: f(f(f(...)))
    right    y: repeat(f, 200)(x)""",
)
BAD_ARGUMENT = Code(
    "B126",
    "bad-argument",
    """Arguments by position come first, then those by name, each name once.

    wrong    K: conv2d(padding=circular, kernel)
    right    K: conv2d(kernel, padding=circular)""",
)

_CLOSER = {"(": ")", "[": "]"}


def parse_text(text: str, at: Callable[[int, int], Span]) -> Node:
    """The syntax tree of a text; `at(start, end)` places its characters.

    Raises SpecError with one diagnostic, the first mistake.
    """
    if len(text) > LONGEST:
        message = f"a formula of {len(text):,} characters; {LONGEST:,} are the most"
        raise SpecError([Diagnostic(TOO_LARGE, message, at(0, 1), fix="give its parts names under `where:`")])
    return _Parser(text, at).whole()


class _Parser:
    def __init__(self, text: str, at: Callable[[int, int], Span]):
        self.at = at
        self.tokens = tokens(text, at)
        self.position = 0
        self.open: list[Token] = []
        self.depth = 0

    @property
    def next(self) -> Token:
        return self.tokens[self.position]

    def take(self) -> Token:
        token = self.tokens[self.position]
        self.position += 1
        return token

    def accept(self, sign: str) -> bool:
        """Whether the next token is this sign; if so it is taken."""
        found = self.next.sign == sign
        self.position += found
        return found

    def whole(self) -> Node:
        node = self.expression()
        if self.next.kind != "end":
            raise self.surprise()
        # A chain a + b + c grows to the left without recursion here, but whoever walks the tree recurses.
        level: list[Node | Slice] = [node]
        for _ in range(DEEPEST + 1):
            level = [child for parent in level for child in children(parent)]
            if not level:
                return node
        raise self.too_deep(level[0].span)

    def too_deep(self, span: Span) -> SpecError:
        message = f"more than {DEEPEST} operations inside one another"
        return SpecError([Diagnostic(TOO_LARGE, message, span, fix="give the parts names under `where:`")])

    def expression(self) -> Node:
        return self.operation(CONDITIONAL)

    def operation(self, power: int) -> Node:
        """A value, and the operators behind it that bind at least as tightly as `power`."""
        self.depth += 1
        if self.depth > 2 * DEEPEST + 1:
            raise self.too_deep(self.at(self.next.start, self.next.stop))
        left = self.prefix(power)
        while True:
            op = self.next.sign
            binding = INFIX.get(op, -1)
            if binding < power:
                break
            self.position += 1
            if binding == CONDITIONAL:
                left = self.conditional(left)
            elif binding == COMPARISON:
                left = self.comparison(left, op)
            else:
                # A power binds tighter than a sign on its left and looser than one on its right: -x**-y.
                right = self.operation(SIGN if binding == POWER else binding + 1)
                left = Binary(op, left, right, left.span.through(right.span))
        self.depth -= 1
        return left

    def conditional(self, then: Node) -> Node:
        condition = self.operation(OR)
        if not self.accept("else"):
            if self.next.kind == "end":
                raise self.fault(UNFINISHED, "`if` without `else`", "write `a if c else b`")
            raise self.surprise()
        otherwise = self.operation(CONDITIONAL)
        return Conditional(condition, then, otherwise, then.span.through(otherwise.span))

    def comparison(self, left: Node, op: str) -> Node:
        middle = self.operation(SUM)
        node: Node = Compare(op, left, middle, left.span.through(middle.span))
        while INFIX.get(self.next.sign) == COMPARISON:
            op = self.take().text
            right = self.operation(SUM)
            link = Compare(op, middle, right, middle.span.through(right.span))
            node, middle = Binary("and", node, link, node.span.through(right.span)), right
        return node

    def prefix(self, power: int) -> Node:
        token = self.next
        if token.sign in ("+", "-"):
            self.position += 1
            operand = self.operation(SIGN)
            span = self.at(token.start, token.stop).through(operand.span)
            if isinstance(operand, Number):
                return Number(-operand.value if token.text == "-" else operand.value, span)
            return Unary(token.text, operand, span)
        if token.sign == "not":
            if power > NOT:
                raise self.fault(
                    UNEXPECTED, "`not` binds looser than the operator before it", "write `(not a)`"
                )
            self.position += 1
            operand = self.operation(NOT)
            return Unary("not", operand, self.at(token.start, token.stop).through(operand.span))
        return self.postfix(self.atom())

    def postfix(self, node: Node) -> Node:
        """Calls, indices and members."""
        while True:
            token = self.next
            if token.kind == "member":
                self.position += 1
                node = Attribute(node, token.text, node.span.through(self.at(token.start, token.stop)))
            elif token.sign == "(":
                node = self.call(node)
            elif token.sign == "[":
                self.begin()
                items = []
                while self.next.sign != "]" or not items:
                    items.append(self.subscript())
                    if not self.accept(","):
                        break
                node = Index(node, tuple(items), node.span.through(self.end()))
            else:
                return node

    def begin(self) -> Token:
        self.open.append(self.take())
        if len(self.open) > DEEPEST:
            raise self.too_deep(self.at(self.open[-1].start, self.open[-1].stop))
        return self.open[-1]

    def end(self) -> Span:
        """The closing bracket of the innermost one that is open."""
        if self.next.sign != _CLOSER[self.open[-1].text]:
            raise self.surprise()
        self.open.pop()
        token = self.take()
        return self.at(token.start, token.stop)

    def call(self, function: Node) -> Node:
        self.begin()
        arguments: list[Node] = []
        keywords: dict[str, Node] = {}
        while self.next.sign != ")":
            token = self.next
            if token.kind == "name" and self.tokens[self.position + 1].sign == "=":
                if token.text in keywords:
                    raise self.fault(BAD_ARGUMENT, f"`{token.text}=` is given twice", "give it once")
                self.position += 2
                value = self.expression()
                keywords[token.text] = _text(value) if token.text in _TEXTS else value
            elif keywords:
                message = "an argument by position stands behind one by name"
                raise self.fault(BAD_ARGUMENT, message, "put it before those by name, or give it a name")
            else:
                arguments.append(self.expression())
            if not self.accept(","):
                break
        return Call(function, tuple(arguments), tuple(keywords.items()), function.span.through(self.end()))

    def subscript(self) -> Node | Slice:
        start = self.next
        parts: list[Node | None] = [None]
        while True:
            if self.next.kind != "end" and self.next.sign not in (":", ",", "]"):
                parts[-1] = self.expression()
            if len(parts) == 3 or not self.accept(":"):
                break
            parts.append(None)
        if len(parts) == 1:
            if parts[0] is None:
                raise self.surprise()
            return parts[0]
        last = self.tokens[self.position - 1]
        step = parts[2] if len(parts) == 3 else None
        return Slice(parts[0], parts[1], step, self.at(start.start, last.stop))

    def atom(self) -> Node:
        token = self.next
        if token.sign in _CLOSER:
            return self.group()
        if token.kind not in ("name", "prime", "number", "text"):
            raise self.surprise()
        self.position += 1
        span = self.at(token.start, token.stop)
        if token.kind == "number":
            try:
                return Number(number(token.text), span)
            except OutOfRange:
                raise SpecError([out_of_range(span)]) from None
        if token.kind == "text":
            return Text(token.text, span)
        if token.text == "_":
            return Hole(span)
        return Name(token.text, span) if token.kind == "name" else Primed(token.text, span)

    def group(self) -> Node:
        """(a), a tuple or a list."""
        opener = self.begin()
        items, comma = [], False
        while self.next.sign != _CLOSER[opener.text]:
            items.append(self.expression())
            comma = self.accept(",")
            if not comma:
                break
        span = self.at(opener.start, opener.stop).through(self.end())
        if opener.text == "[":
            return List(tuple(items), span)
        return items[0] if len(items) == 1 and not comma else Tuple(tuple(items), span)

    def fault(self, code: Code, message: str, fix: str, label: str = "") -> SpecError:
        span = self.at(self.next.start, self.next.stop)
        return SpecError([Diagnostic(code, message, span, label, fix=fix)])

    def surprise(self) -> SpecError:
        """What is wrong with the next token, given that no rule takes it."""
        token = self.next
        before = self.tokens[self.position - 1] if self.position else None
        finished = before is not None and before.sign in ("", ")", "]")
        if token.kind == "end" and not self.open:
            return self.unfinished(before)
        if token.kind == "end" or (token.sign in (")", "]") and self.open and finished):
            return self.unclosed()
        if token.sign in (")", "]") and not self.open:
            return self.fault(UNBALANCED, f"`{token.text}` closes nothing", "delete it, or open it before")
        if token.sign == "=":
            message = "`=` names an argument, and stands only in a call"
            return self.fault(UNEXPECTED, message, "to compare, write `==`")
        if token.sign == "," and finished and not self.open:
            return self.fault(UNEXPECTED, "a comma outside brackets", "write a tuple as `(a, b)`")
        if token.sign == ":":
            return self.fault(UNEXPECTED, "`:` stands only in an index", "write a slice as `x[a:b]`")
        if token.sign == ".":
            return self.fault(UNEXPECTED, "this dot joins nothing", "write `x.name`, without a blank")
        if before is not None and finished:
            return self.neighbours(before)
        fix = f"write a value, or delete `{token.text}`"
        return self.fault(UNEXPECTED, f"no value before `{token.text}`", fix)

    def neighbours(self, before: Token) -> SpecError:
        """Two values with nothing between."""
        token = self.next
        if before.kind != "number":
            fix = "put an operator between, as in `a * b`"
        elif token.text.startswith("_") and token.text[1:].isdigit():
            fix = f"write `{before.text}{token.text.replace('_', '')}`: digits are not grouped"
        else:
            fix = f"write `{before.text} * {token.text}`"
        return self.fault(UNEXPECTED, f"no operator before `{token.text}`", fix)

    def unfinished(self, before: Token | None) -> SpecError:
        if before is None:
            return self.fault(UNFINISHED, "a formula is missing here", "write a formula, or delete the key")
        word = before.text
        if before.sign in ("", ")", "]"):
            return self.fault(UNFINISHED, "the formula ends too early", "write the rest of it")
        message = f"the formula ends behind `{word}`, where a value has to follow"
        return self.fault(UNFINISHED, message, f"write a value behind `{word}`, or delete `{word}`")

    def unclosed(self) -> SpecError:
        opener = self.open[-1]
        closer = _CLOSER[opener.text]
        token = self.next
        message = f"`{opener.text}` is not closed" + (f" before `{token.text}`" if token.text else "")
        note = (self.at(opener.start, opener.stop), "it opens here")
        span = self.at(token.start, max(token.stop, token.start + 1))
        return SpecError([Diagnostic(UNBALANCED, message, span, fix=f"write `{closer}`", notes=(note,))])


# Behind these a name is a text, and reads nothing: wrt=u, file=parts/layer.yaml.
_TEXTS = ("file", "output", "semiring", "wrt")


def _text(node: Node) -> Node:
    """Names with dots, strokes and slashes between them as one text; anything else as it is."""
    written = _written(node)
    return node if written is None else Text(written, node.span)


def _written(node: Node) -> str | None:
    match node:
        case Name(id):
            return id
        case Attribute(base, name):
            left, mark, right = _written(base), ".", name
        case Binary("/" | "-" as mark, base, last):
            left, right = _written(base), _written(last)
        case _:
            return None
    return None if left is None or right is None else f"{left}{mark}{right}"
