"""What is said to a person whose spec, model or command is wrong."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from banach.ir.span import Span


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of mistake. Declared beside the check that finds it; `banach explain ID` prints `page`.

    Ranges: B1xx text and spec, B2xx types and shapes, B3xx certificate, B4xx derivative,
    B5xx optimisation, B6xx backend, B7xx run time, B9xx a bug of ours.
    """

    id: str
    name: str
    page: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: the fault in `message`, the user's own words at `span`, the cure in `fix`.

    `label` stands beneath the caret; `why` names the rule and its source; `notes` are second places
    (where the other shape comes from, say). `severity` is "error" or "warning".
    """

    code: Code
    message: str
    span: Span | None = None
    label: str = ""
    why: str = ""
    fix: str = ""
    notes: tuple[tuple[Span, str], ...] = field(default=())
    severity: str = "error"


class SpecError(Exception):
    """The spec or the command line is wrong; `diagnostics` holds everything that was found.

    `texts` has the texts of files other than the spec in which mistakes are.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic], texts: Mapping[str, str] | None = None):
        self.diagnostics = tuple(diagnostics)
        self.texts = dict(texts or {})
        super().__init__("\n".join(f"{d.code.id} {d.message}" for d in self.diagnostics))


class RunError(Exception):
    """A run could not be made, or ended without an answer; `diagnostics` say why, the first of them first."""

    def __init__(self, diagnostic: Diagnostic, *more: Diagnostic):
        self.diagnostics = (diagnostic, *more)
        super().__init__("\n".join(f"{d.code.id} {d.message}" for d in self.diagnostics))

    @property
    def diagnostic(self) -> Diagnostic:
        return self.diagnostics[0]


WINDOW = 100  # columns of the user's line that are shown; a longer line is cropped round the caret
TAB = 4
HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})  # a terminal may obey or hide these
COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "gutter": "\x1b[1;34m", "help": "\x1b[1;36m"}


def render(diagnostics: Iterable[Diagnostic], texts: Mapping[str, str], colour: bool = False) -> str:
    """What a person reads: one block for each diagnostic, an empty line between two.

    `texts` gives the text of each file that a span names; a file that is not there shows its place alone.
    Nothing of a hostile text reaches the terminal raw: control characters are shown escaped.
    """
    lines = {file: text.split("\n") for file, text in texts.items()}
    return "\n\n".join("\n".join(_block(d, lines, colour)) for d in diagnostics)


def _block(diagnostic: Diagnostic, lines: Mapping[str, list[str]], colour: bool) -> Iterable[str]:
    spans = [s for s in (diagnostic.span, *(s for s, _ in diagnostic.notes)) if s]
    margin = max((len(str(s.line)) for s in spans), default=1)
    bar = _paint(" " * margin + " |", "gutter", colour)
    title = f"{diagnostic.severity}[{diagnostic.code.id}] {diagnostic.code.name}"
    yield _paint(title, diagnostic.severity, colour) + f": {visible(diagnostic.message)}"
    if diagnostic.span:
        label = visible(diagnostic.label)
        yield from _excerpt(diagnostic.span, label, diagnostic.severity, lines, margin, colour)
        if diagnostic.why or diagnostic.fix:
            yield bar
    if diagnostic.why:
        equals = _paint(" " * margin + " = why:", "gutter", colour)
        yield f"{equals} {_lines(diagnostic.why, margin + 8)}"
    for span, words in diagnostic.notes:
        yield f"{_paint('note', 'help', colour)}: {visible(words)}"
        yield from _excerpt(span, "", "help", lines, margin, colour)
    if diagnostic.fix:
        yield f"{_paint('help', 'help', colour)}: {_lines(diagnostic.fix, 6)}"


def _excerpt(
    span: Span, label: str, tint: str, lines: Mapping[str, list[str]], margin: int, colour: bool
) -> Iterable[str]:
    """The place, the user's line, and carets under the span (under its first line, if it has several)."""
    yield f"{_paint(' ' * margin + '-->', 'gutter', colour)} {visible(str(span))}"
    text = lines.get(span.file)
    if text is None:
        return
    line = text[span.line - 1].rstrip("\r") if 1 <= span.line <= len(text) else ""
    first = min(max(span.column, 1), len(line) + 1) - 1
    last = span.end_column - 1 if span.end_line == span.line else len(line)
    shown, start, stop = _window(line, first, max(min(last, len(line)), first))
    bar = _paint(" " * margin + " |", "gutter", colour)
    yield bar
    yield f"{_paint(f'{span.line:>{margin}} |', 'gutter', colour)} {shown}".rstrip()
    carets = "^" * max(stop - start, 1)
    yield f"{bar} {' ' * start}{_paint(f'{carets} {label}'.rstrip(), tint, colour)}"


def _window(line: str, first: int, last: int) -> tuple[str, int, int]:
    """The part of a line to show, and the display columns (from 0) at which the carets start and stop."""
    # Cut by characters first: a line of a megabyte costs no more than a short one.
    left = max(0, first - WINDOW)
    cells = [_cell(c) for c in line[left : first + WINDOW]]
    widths = [_width(cell) for cell in cells]
    begin, end = first - left, min(last - left, len(cells))
    if left == 0 and sum(widths) <= WINDOW and last <= len(cells) and len(line) <= first + WINDOW:
        low, high = 0, len(cells)
    else:
        low = begin
        while low > 0 and sum(widths[low - 1 : begin]) <= WINDOW // 3:
            low -= 1
        high, room = low, WINDOW
        while high < len(cells) and widths[high] <= room:
            room -= widths[high]
            high += 1
    head = "…" if left + low > 0 else ""
    tail = "…" if left + high < len(line) else ""
    start = len(head) + sum(widths[low:begin])
    stop = start + sum(widths[begin : min(end, high)])
    return head + "".join(cells[low:high]) + tail, start, stop


def visible(text: str) -> str:
    """The text with everything that a terminal would obey or hide written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_cell(c) if c != "\t" else "\\t" for c in text)


def _cell(character: str) -> str:
    if character == "\t":
        return " " * TAB
    if unicodedata.category(character) not in HIDDEN:
        return character
    if character == "\n":
        return "\\n"
    point = ord(character)
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}" if point < 65536 else f"\\U{point:08x}"


def _width(cell: str) -> int:
    """Columns of a terminal that a cell takes: two for a wide character, none for a combining mark."""
    if cell.isascii():
        return len(cell)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in cell
    )


def _lines(text: str, indent: int) -> str:
    """Prose that may have several lines, each after the first set in by `indent`."""
    return ("\n" + " " * indent).join(visible(line) for line in text.split("\n"))


def _paint(text: str, tint: str, colour: bool) -> str:
    return f"{COLOURS[tint]}{text}\x1b[0m" if colour else text


def suggest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` most likely misspells, for "did you mean"; None if no one is near.

    Near is a third of the name's length in edits (insert, delete, replace, swap two neighbours), at least
    one; the first of equals wins. Case is no edit.
    """
    if len(name) > 80:
        return None
    limit = max(1, len(name) // 3)
    best, found = limit + 1, None
    for candidate in candidates:
        if candidate == name or abs(len(candidate) - len(name)) >= best:
            continue
        distance = _edits(name.lower(), candidate.lower())
        # One edit turns every name of one letter into every other: only its case may differ.
        if distance < best and distance < max(len(name), 1):
            best, found = distance, candidate
    return found


def _edits(a: str, b: str) -> int:
    """Edit distance with swaps of neighbours (optimal string alignment), in O(|a||b|)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            cost = min(row[j - 1] + 1, before[j] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]
