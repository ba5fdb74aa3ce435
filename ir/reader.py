"""The reader of printed graphs; ir/text.py has the grammar by example, and is the door to it."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import count
from typing import Any, NoReturn

import numpy as np

from banach.ir.dims import FREE, Assumptions, Size, assume, named
from banach.ir.graph import Graph, Op, Port
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import DTYPES, FLOATS, TensorType, numpy_dtype

NAME = r"[^\W\d][\w.']*"
_TOKEN = re.compile(
    rf"""(?P<space>\s+)
    | (?P<value>%\d+)
    | (?P<digest>\#[0-9a-f]{{64}})
    | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|-inf\b)
    | (?P<name>{NAME})
    | (?P<text>"(?:[^"\\]|\\.)*")
    | (?P<mark>//|\*\*|>=|[()\[\]{{}}<>,:=@+*/|])""",
    re.VERBOSE,
)


class BadText(Exception):
    """Text that is no graph; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int):
        self.line, self.column = line, column
        super().__init__(f"{line}:{column}: {message}")


_WORDS = {"true": True, "false": False, "none": None, "inf": math.inf, "nan": math.nan}


def filled(type: TensorType, numbers: list[Any]) -> Tensor:
    """The constant of this type with these entries. ValueError, TypeError, OverflowError: they do not fit."""
    shape = [size for size in type.shape if isinstance(size, int)]
    if len(shape) != type.rank:
        raise ValueError(f"a constant has no named size, as {type} has")
    return Tensor(np.array(numbers, numpy_dtype(type.dtype)).reshape(shape))


class Reader:
    """Reads one graph from a text, token by token: (kind, text, where it starts)."""

    def __init__(self, text: str, tensors: Mapping[str, Tensor]):
        self.text, self.tensors = text, tensors
        self.tokens = list(self._split())
        self.at = 0
        self.shared: dict[Any, Any] = {}  # one object for equal names, and for equal lists of types

    def _split(self) -> Iterator[tuple[str, str, int]]:
        start = 0
        while start < len(self.text):
            match = _TOKEN.match(self.text, start)
            if match is None:
                self.fail(f"{self.text[start]!r} starts nothing", start)
            if match.lastgroup != "space":
                yield str(match.lastgroup), match.group(), start
            start = match.end()
        yield "end", "the end of the text", start

    def fail(self, message: str, start: int | None = None) -> NoReturn:
        """BadText, at the next token unless told where."""
        where = self.tokens[self.at][2] if start is None else start
        before = self.text[:where]
        raise BadText(message, before.count("\n") + 1, where - (before.rfind("\n") + 1) + 1)

    def sees(self, word: str) -> bool:
        return self.tokens[self.at][1] == word and self.tokens[self.at][0] in ("mark", "name")

    def takes(self, word: str) -> bool:
        """Whether the next token is this one; if so, goes past it."""
        found = self.sees(word)
        self.at += found
        return found

    def need(self, word: str) -> None:
        if not self.takes(word):
            self.fail(f"`{word}` must stand here, not {self.tokens[self.at][1]}")

    def take(self, kind: str, what: str) -> str:
        """The next token, which must be of this kind."""
        found, text, _ = self.tokens[self.at]
        if found != kind:
            self.fail(f"{what} must stand here, not {text}")
        self.at += 1
        return text

    def several(self, read: Callable[[], Any], end: str) -> list[Any]:
        """What stands between commas, up to and past `end`; a comma may stand before it."""
        found: list[Any] = []
        while not self.takes(end):
            if found:
                self.need(",")
                if self.takes(end):
                    break
            found.append(read())
        return found

    # -- graphs --

    def whole(self) -> Graph:
        graph = self.graph()
        if self.tokens[self.at][0] != "end":
            self.fail(f"the graph has ended, but {self.tokens[self.at][1]} follows")
        return graph

    def graph(self) -> Graph:
        self.need("graph")
        name = self.name()
        self.need("(")
        numbers = count()
        inputs = self.several(lambda: self.port(next(numbers)), ")")
        contract = self.contract() if self.takes("where") else FREE
        self.need("{")
        ops: list[Op] = []
        known = len(inputs)
        while not self.takes("return"):
            ops.append(self.operation(known))
            known += len(ops[-1].types)
        outputs = self.several(lambda: self.pair(lambda: self.value(known)), "}")
        names, values = tuple(key for key, _ in outputs), tuple(value for _, value in outputs)
        return Graph(name, tuple(inputs), tuple(ops), values, names, contract)

    def contract(self) -> Assumptions:
        """`n >= 4, 2 | n`: for every name its least value, then a divisor if it has one."""
        bounds: dict[str, tuple[int, int]] = {}
        start = self.at
        while not bounds or self.takes(","):
            if self.tokens[self.at][0] == "number":
                divisor = self.whole_number()
                self.need("|")
                name = self.name()
                bounds[name] = (bounds.get(name, (1, 1))[0], divisor)
            else:
                name = self.name()
                self.need(">=")
                bounds[name] = (self.whole_number(), 1)
        try:
            return assume(bounds)
        except ValueError as wrong:
            self.at = start
            self.fail(str(wrong))

    def port(self, number: int) -> Port:
        self.defined(number)
        name, type = self.pair(self.type)
        return Port(name, type, self.tensor(self.type()) if self.takes("=") else None)

    def operation(self, known: int) -> Op:
        made = 0
        if not self.takes("_"):
            self.defined(known)
            made = 1
            while self.takes(","):
                self.defined(known + made)
                made += 1
        self.need("=")
        name = self.name()
        self.need("(")
        operands = self.several(lambda: self.value(known), ")")
        attributes = self.several(lambda: self.pair(self.attribute), "}") if self.takes("{") else []
        types = self.types() if self.takes(":") else []
        if len(types) != made:
            self.fail(f"{name} has {made} results and {len(types)} types")
        regions: list[Graph] = []
        if self.takes("with"):
            self.need("{")
            while not self.takes("}"):
                regions.append(self.graph())
        name, held = self.same(name), self.same(tuple(types))
        return Op(name, tuple(operands), tuple(attributes), tuple(regions), held, known)

    def same(self, thing: Any) -> Any:
        """The first of what has been read that is equal to this."""
        return self.shared.setdefault(thing, thing)

    def defined(self, number: int) -> None:
        """The value that is made here, whose number can only be the next one."""
        if self.tokens[self.at][1] != f"%{number}":
            self.fail(f"%{number} must stand here, not {self.tokens[self.at][1]}")
        self.at += 1

    def value(self, known: int) -> int:
        number = int(self.take("value", "a value")[1:])
        if number >= known:
            self.at -= 1
            self.fail(f"%{number} is not defined yet")
        return number

    def pair(self, read: Callable[[], Any]) -> tuple[str, Any]:
        name = self.name()
        self.need(":")
        return name, read()

    def name(self) -> str:
        kind = self.tokens[self.at][0]
        if kind == "text":
            return self.string()
        return self.take("name", "a name")

    def string(self) -> str:
        try:
            found = json.loads(self.tokens[self.at][1])
        except ValueError:
            self.fail(f"{self.tokens[self.at][1]} is no text in JSON's spelling")
        self.at += 1
        return found

    # -- types and sizes --

    def types(self) -> list[TensorType]:
        found = [self.type()]
        while self.takes(","):
            found.append(self.type())
        return found

    def type(self) -> TensorType:
        dtype = self.take("name", "a dtype")
        if dtype not in DTYPES:
            self.at -= 1
            self.fail(f"there is no dtype {dtype}; there are {', '.join(DTYPES)}")
        shape = self.several(self.size, "]") if self.takes("[") else []
        return TensorType(dtype, tuple(shape), self.name() if self.takes("@") else "euclidean")

    def size(self) -> Size:
        total = self.product()
        while self.takes("+"):
            total = total + self.product()
        return total

    def product(self) -> Size:
        total = self.power()
        while self.takes("*"):
            total = total * self.power()
        return total

    def power(self) -> Size:
        base = self.factor()
        power: Size = 1
        for _ in range(self.whole_number() if self.takes("**") else 1):
            power = power * base
        return power

    def factor(self) -> Size:
        if self.takes("("):
            above = self.size()
            self.need("//")
            below = self.size()
            if below == 0:
                self.fail("the denominator is 0")
            self.need(")")
            return above // below
        return self.whole_number() if self.tokens[self.at][0] == "number" else named(self.name())

    def whole_number(self) -> int:
        text = self.take("number", "a size")
        if not re.fullmatch(r"-?\d+", text):
            self.at -= 1
            self.fail(f"{text} is no whole number")
        return int(text)

    # -- attributes --

    def attribute(self) -> Any:
        kind, text, _ = self.tokens[self.at]
        if kind == "number":
            return self.number()
        if kind == "text":
            return self.string()
        if self.takes("("):
            return tuple(self.several(self.attribute, ")"))
        if self.takes("<"):
            size = self.size()
            self.need(">")
            return size
        if text in _WORDS:
            self.at += 1
            return _WORDS[text]
        return self.tensor(self.type())

    def number(self) -> int | float | Fraction:
        text = self.take("number", "a number")
        if not re.fullmatch(r"-?\d+", text):
            return float(text)
        if not self.takes("/"):
            return int(text)
        below = self.whole_number()
        if not below:
            self.at -= 1
            self.fail("the denominator is 0")
        return Fraction(int(text), below)

    def tensor(self, type: TensorType) -> Tensor:
        """The constant whose type has just been read."""
        if self.tokens[self.at][0] == "digest":
            return self.table(type)
        self.need("{")
        start = self.at
        entries = self.several(self.attribute, "}")
        kinds = {bool} if type.dtype == "bool" else {float} if type.dtype in FLOATS else {int}
        try:
            if any(entry.__class__ not in kinds for entry in entries):
                raise ValueError
            return filled(type, entries)
        except (ValueError, TypeError, OverflowError):
            self.at = start
            self.fail(f"these entries do not make a constant of type {type}")

    def table(self, type: TensorType) -> Tensor:
        found = self.tensors.get(self.tokens[self.at][1][1:])
        if found is None or found.type != type:
            self.fail(f"the table has no constant of type {type} with this digest")
        self.at += 1
        return found
