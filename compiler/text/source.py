"""The YAML text of a spec, read into nodes that know their places.

YAML is taken as a notation for mappings, sequences and scalars, and nothing else: no aliases, no tags, one
document, keys that are texts. Each is refused on the event stream, before anything is built from it.
"""

import re
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from banach.compiler.text import flow, refusals
from banach.compiler.text.literal import OutOfRange, constant, out_of_range
from banach.compiler.text.places import offsets
from banach.compiler.text.refusals import DEEPEST, LARGEST_FILE
from banach.ir.diagnostic import Diagnostic, SpecError
from banach.ir.span import Span

MOST_MISTAKES = 50
# YAML's printable characters, less three line ends that editors do not show as such, and less the marks that
# make a text look different from what it says.
_FORBIDDEN = re.compile(
    "[^\\t\\n\\x20-\\x7e\\xa0-\\u2027\\u202f-\\u2065\\u206a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\\U00010000-\\U0010ffff]"
)
_COMMENT = re.compile("[ \\t]++#")

Value = str | int | Fraction | bool | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text without structure. `text` is what YAML reads; `raw` is how it stands in the file.

    `value` is the constant that a plain scalar spells (bool, int, exact decimal, None), else the text.
    `style` is "" for a plain scalar, else the first character of its notation: one of ' " | >.
    """

    text: str
    span: Span
    quoted: bool
    value: Value
    raw: str = field(repr=False)
    style: str = field(repr=False)

    def at(self, start: int, end: int) -> Span:
        """Where characters start..end (exclusive) of `text` stand in the file. For many, use `places()`."""
        return self.places()(start, end)

    def places(self) -> Callable[[int, int], Span]:
        """The function `at`, with its table made once."""
        file, line, column = self.span.file, self.span.line, self.span.column
        if self.raw == self.text and "\n" not in self.text:
            return lambda start, end: Span(file, line, column + start, line, column + end)
        table = offsets(self.raw, self.text, self.style)
        breaks = [i for i, c in enumerate(self.raw) if c == "\n"]

        def place(index: int) -> tuple[int, int]:
            offset = table[min(max(index, 0), len(table) - 1)]
            row = bisect_left(breaks, offset)
            return line + row, offset - breaks[row - 1] if row else column + offset

        return lambda start, end: Span(file, *place(start), *place(end))


@dataclass(frozen=True, slots=True)
class Sequence:
    """Nodes in order."""

    items: "tuple[Node, ...]"
    span: Span

    def __iter__(self) -> "Iterator[Node]":
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Pairs in the order of the text; every key is a text, and occurs once."""

    items: "tuple[tuple[Scalar, Node], ...]"
    span: Span

    def get(self, key: str) -> "Node | None":
        """The node under a key, or None."""
        return next((node for name, node in self.items if name.text == key), None)

    def keys(self) -> tuple[str, ...]:
        """The keys' texts, in the order of the text."""
        return tuple(name.text for name, _ in self.items)

    def __iter__(self) -> "Iterator[tuple[Scalar, Node]]":
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Source:
    """A spec's text and its tree."""

    name: str
    text: str
    root: Mapping


def to_python(node: Node) -> Any:
    """The node as dicts, lists and constants."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [to_python(item) for item in node.items]
    return {key.text: to_python(value) for key, value in node.items}


def read(path: str | Path) -> Source:
    """Read and parse a spec's file. Raises SpecError, with all that was found."""
    return parse(read_text(path), str(path))


def read_text(path: str | Path) -> str:
    """The text of a file, every line ended by a newline sign alone: UTF-8, at most 1 MB. Raises SpecError."""
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise SpecError([refusals.unreadable(str(path), kind)])
        if status.st_size > LARGEST_FILE:
            raise SpecError([refusals.too_large(str(path), status.st_size)])
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError([refusals.unreadable(str(path), reason.lower())]) from None
    try:
        return _plain(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SpecError([refusals.not_utf8(str(path), data, error.start)]) from None


def _plain(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def parse(text: str, name: str) -> Source:
    """Parse a spec's text; `name` is the file's name in every span. Raises SpecError, with all it found."""
    text = _plain(text)
    if len(text) > LARGEST_FILE:
        raise SpecError([refusals.too_large(name, len(text))])
    strange = [refusals.control(text, name, m.start()) for _, m in zip(range(10), _FORBIDDEN.finditer(text))]
    if strange:
        raise SpecError(strange)
    reader = _Reader(text, name)
    root = reader.run()
    if reader.mistakes:
        raise SpecError(reader.mistakes)
    if not isinstance(root, Mapping):
        raise SpecError([refusals.not_a_mapping(name, None if root is None else root.span)])
    return Source(name, text, root)


class _Frame:
    """A collection that is not closed yet."""

    __slots__ = ("event", "items", "key", "seen")

    def __init__(self, event: Any):
        self.event = event
        self.items: list[Any] = []
        self.key: Scalar | None = None
        self.seen: dict[str, Span] = {}


class _Stop(Exception):
    """Nothing after this point can be read."""


class _Reader:
    """Builds the tree from YAML's events, with a stack of its own: depth costs no recursion."""

    def __init__(self, text: str, name: str):
        self.text = text
        self.name = name
        self.mistakes: list[Diagnostic] = []
        self.stack: list[_Frame] = []
        self.root: Node | None = None
        self.documents = 0
        # The end of the last formula that YAML has cut: its pieces are no mistakes of their own.
        self.cut_until = 0
        self.cuts: list[tuple[int, int, Span]] = []
        self.last = 0

    def run(self) -> Node | None:
        loader = getattr(yaml, "CLoader", yaml.Loader)
        try:
            for event in yaml.parse(self.text, Loader=loader):
                self.take(event)
        except _Stop:
            pass
        except yaml.YAMLError as error:
            found = refusals.syntax(self.text, self.name, error, self.last)
            if not refusals.follows(found, self.mistakes):
                self.mistakes.append(found)
        self.report_cuts()
        return self.root

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self.last = event.start_mark.index
            self.check_event(event)
            self.add(self.scalar(event))
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self.last = event.start_mark.index
            self.check_event(event)
            if len(self.stack) == DEEPEST:
                self.report(refusals.too_deep(self.span(event)))
                raise _Stop
            self.stack.append(_Frame(event))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.close(event)
        elif isinstance(event, yaml.AliasEvent):
            word = self.text[event.start_mark.index : event.end_mark.index]
            self.report(refusals.alias(word, self.span(event)))
            self.add(Scalar(word, self.span(event), False, word, word, ""))
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.report(refusals.second_document(self.span(event)))
                raise _Stop

    def check_event(self, event: Any) -> None:
        if event.anchor is not None:
            self.report(refusals.anchor(event.anchor, self.span(event)))
        elif event.tag is not None:
            self.report(refusals.tag(event.tag, self.span(event)))

    def scalar(self, event: Any) -> Scalar:
        start, end = event.start_mark.index, event.end_mark.index
        style = event.style if event.style in ("'", '"', "|", ">") else ""
        value: Value = event.value
        span = self.span(event)
        if not style and event.tag is None:
            try:
                value = constant(event.value)
            except OutOfRange:
                self.report(out_of_range(span))
        raw = self.text[start:end]
        if event.anchor is not None or event.tag is not None:
            raw, style = event.value, ""
        if not style and self.stack and self.stack[-1].event.flow_style and start >= self.cut_until:
            self.check_cut(event.value, start, span)
        elif not style and _COMMENT.match(self.text, end) and flow.unbalanced(event.value):
            stop = self.text.find("\n", end)
            line = flow.quoted_line(self.text, (start, stop if stop >= 0 else len(self.text)))
            self.report(refusals.cut_by_comment(line, span))
        return Scalar(event.value, span, bool(style), value, raw, style)

    def check_cut(self, text: str, start: int, span: Span) -> None:
        if not flow.unbalanced(text):
            return
        self.cut_until = flow.extent(self.text, start)
        self.cuts.append((start, self.cut_until, span))

    def report_cuts(self) -> None:
        """One diagnostic for each formula that was cut; all those of a line share the line to type."""
        typed: dict[int, str] = {}
        for _, end, span in self.cuts[: max(0, MOST_MISTAKES - len(self.mistakes))]:
            if span.line not in typed:
                near = [(a, b) for a, b, s in self.cuts if s.line == span.line]
                typed[span.line] = flow.quoted_line(self.text, *near)
            whole = Span(span.file, span.line, span.column, *refusals.place(self.text, end))
            self.mistakes.append(refusals.cut(typed[span.line], whole))
        self.mistakes.sort(key=lambda m: (m.span.line, m.span.column) if m.span else (0, 0))

    def add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        if isinstance(frame.event, yaml.SequenceStartEvent):
            frame.items.append(node)
        elif frame.key is None:
            frame.key = self.key(frame, node)
        else:
            frame.items.append((frame.key, node))
            frame.key = None

    def key(self, frame: _Frame, node: Node) -> Scalar:
        """The node as a key, checked; a stand-in where it cannot be one, so that reading goes on."""
        part_of_formula = self.last < self.cut_until
        if not isinstance(node, Scalar):
            self.report(refusals.structured_key(node.span))
            return Scalar("", node.span, True, "", "", "")
        if part_of_formula:
            return node
        if node.text == "<<" and not node.quoted:
            self.report(refusals.merge_key(node.span))
        elif not isinstance(node.value, str):
            self.report(refusals.constant_key(node.text, node.span))
        elif node.text in frame.seen:
            self.report(refusals.duplicate(node.text, node.span, frame.seen[node.text]))
        frame.seen.setdefault(node.text, node.span)
        return node

    def close(self, event: Any) -> None:
        frame = self.stack.pop()
        start, end = frame.event.start_mark, event.end_mark
        last = frame.items[-1] if frame.items else None
        if last is not None and not frame.event.flow_style:
            # A block ends where its last item does, not where YAML notices it, which may be lines below.
            tail = (last[1] if isinstance(last, tuple) else last).span
            span = Span(self.name, start.line + 1, start.column + 1, tail.end_line, tail.end_column)
        else:
            span = Span(self.name, start.line + 1, start.column + 1, end.line + 1, end.column + 1)
        kind = Sequence if isinstance(frame.event, yaml.SequenceStartEvent) else Mapping
        self.add(kind(tuple(frame.items), span))

    def span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        if isinstance(event, yaml.ScalarEvent) and event.style in ("|", ">"):
            raw = self.text[start.index : end.index].rstrip()
            row = raw.count("\n")
            column = len(raw) - raw.rfind("\n") if row else start.column + len(raw) + 1
            return Span(self.name, start.line + 1, start.column + 1, start.line + 1 + row, column)
        return Span(self.name, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

    def report(self, mistake: Diagnostic) -> None:
        self.mistakes.append(mistake)
        if len(self.mistakes) >= MOST_MISTAKES:
            raise _Stop
