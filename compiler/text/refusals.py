"""What a spec's text may not hold, and what is said about it."""

import re
from typing import Any

from banach.compiler.text import flow
from banach.ir.diagnostic import Code, Diagnostic
from banach.ir.span import Span

LARGEST_FILE = 1_000_000
DEEPEST = 64
_LONGEST_LINE = 1000  # a longer line is not shown again as it should be

UNREADABLE = Code(
    "B101",
    "unreadable-file",
    """The spec's file cannot be read: it is missing, a directory, or closed to you.

    wrong    banach check models/
    right    banach check models/lasso.yaml""",
)
FILE_TOO_LARGE = Code(
    "B102",
    "file-too-large",
    """A spec has at most 1 MB of text. Numbers in bulk belong in a file beside it.

    wrong    A: [[0.1, 0.2, ...], ...]
    right    A: {file: A.npy}""",
)
NOT_UTF8 = Code(
    "B103",
    "not-utf8",
    """A spec is text in UTF-8. This file is in another encoding, or is no text at all.

    wrong    banach check lasso.npy
    right    iconv -f latin1 -t utf-8 old.yaml > lasso.yaml""",
)
CONTROL_CHARACTER = Code(
    "B104",
    "control-character",
    """The text holds a character that cannot be seen: a control code, an unusual line end, or a mark that
changes the direction of writing. Such a text says something else than it shows.

    wrong    step: 0.1<NUL>
    right    step: 0.1""",
)
YAML_SYNTAX = Code(
    "B105",
    "yaml-syntax",
    """The text is not YAML. Most often a value holds `: `, begins with @, `, %, [ or {, or a line is not in
line with its neighbours. A value in quotes is safe.

    wrong    x: [a, b] @ W
    right    x: "[a, b] @ W"
""",
)
TAB_INDENTATION = Code(
    "B106",
    "tab-indentation",
    """YAML counts indentation in spaces; a tab has no width that all agree on.

    wrong    solve:
             <tab>x: 1
    right    solve:
               x: 1""",
)
ALIAS = Code(
    "B107",
    "alias",
    """The language has no anchors (&name) and no aliases (*name): a value that is used twice has a name.

    wrong    f: &f l1(0.1)
             g: *f
    right    f: l1(0.1)
             g: f""",
)
TAG = Code(
    "B108",
    "tag",
    """The language has no YAML tags. A text is a text by its quotes, a type is written as `type:`.

    wrong    n: !!str 3
    right    n: "3\"""",
)
SECOND_DOCUMENT = Code(
    "B109",
    "second-document",
    """A file holds one spec: a second `---` begins another.

    wrong    name: a
             ---
             name: b
    right    two files""",
)
NESTED_TOO_DEEP = Code(
    "B110",
    "nested-too-deep",
    """A spec nests at most 64 levels deep. Give the inner part a name of its own.

    wrong    x: [[[[...]]]]
    right    inner: [...]""",
)
DUPLICATE_KEY = Code(
    "B111",
    "duplicate-key",
    """A key stands once in its mapping: YAML would silently keep the last one.

    wrong    step: 0.1
             step: 0.2
    right    step: 0.2""",
)
NOT_A_MAPPING = Code(
    "B112",
    "not-a-mapping",
    """A spec is a mapping from names to what they mean, and begins with `banach: 1`.

    wrong    - a
             - b
    right    banach: 1
             name: lasso""",
)
BAD_KEY = Code(
    "B114",
    "bad-key",
    """A key is a text. Numbers, true, false, null, lists and mappings cannot be keys, and there is no merge
key `<<`.

    wrong    1: zeros(n)
    right    x1: zeros(n)""",
)
FORMULA_CUT = Code(
    "B115",
    "formula-cut",
    """YAML has cut a formula in two.

Inside {...} and [...] YAML ends an item at every comma and bracket, and anywhere it takes `: ` for the end
of a key. A formula that holds one of these stands in block style, or in quotes.

    wrong    next: {x: prox(g, t)(y), s: 1}
    right    next: {x: "prox(g, t)(y)", s: 1}
    right    next:
               x: prox(g, t)(y)
               s: 1""",
)


def unreadable(path: str, reason: str) -> Diagnostic:
    return Diagnostic(UNREADABLE, f"cannot read {path}: {reason}", fix="give the path of a YAML file")


def too_large(name: str, size: int) -> Diagnostic:
    return Diagnostic(
        FILE_TOO_LARGE,
        f"{name} has {size:,} bytes; a spec has at most {LARGEST_FILE:,}",
        fix="keep numbers in a file beside the spec: `A: {file: A.npy}`",
    )


def not_utf8(name: str, data: bytes, offset: int) -> Diagnostic:
    line = data.count(b"\n", 0, offset) + 1
    column = len(data[data.rfind(b"\n", 0, offset) + 1 : offset].decode("utf-8")) + 1
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    return Diagnostic(
        NOT_UTF8,
        f"the byte 0x{data[offset]:02x} is not UTF-8" + (": this looks like UTF-16" if utf16 else ""),
        Span(name, line, column, line, column + 1),
        fix="save the file as UTF-8",
    )


def control(text: str, name: str, offset: int) -> Diagnostic:
    span = _point(text, name, offset)
    return Diagnostic(
        CONTROL_CHARACTER, f"the character U+{ord(text[offset]):04X} cannot be seen", span, fix="delete it"
    )


def alias(word: str, span: Span) -> Diagnostic:
    return Diagnostic(
        ALIAS,
        f"`{word}` is an alias of YAML, which the language does not have",
        span,
        fix=f"name the value where it stands and write `{word[1:]}`",
    )


def anchor(word: str, span: Span) -> Diagnostic:
    message = f"`&{word}` is an anchor of YAML, which the language does not have"
    return Diagnostic(ALIAS, message, span, fix=f"delete `&{word}` and use the value's own name")


def tag(word: str, span: Span) -> Diagnostic:
    word = word.replace("tag:yaml.org,2002:", "!!")
    message = f"`{word}` is a tag of YAML, which the language does not have"
    return Diagnostic(TAG, message, span, fix="delete the tag; put a text in quotes")


def second_document(span: Span) -> Diagnostic:
    return Diagnostic(SECOND_DOCUMENT, "a second document begins here", span, fix="give it a file of its own")


def too_deep(span: Span) -> Diagnostic:
    message = f"more than {DEEPEST} levels of nesting"
    return Diagnostic(NESTED_TOO_DEEP, message, span, fix="give the inner part a name of its own")


def duplicate(key: str, span: Span, first: Span) -> Diagnostic:
    return Diagnostic(
        DUPLICATE_KEY,
        f"the key `{key}` stands twice",
        span,
        fix="delete one of the two",
        notes=((first, "it stands here first"),),
    )


def not_a_mapping(name: str, span: Span | None) -> Diagnostic:
    if span is None:
        return Diagnostic(
            NOT_A_MAPPING, "the spec is empty", Span(name, 1, 1, 1, 1), fix="begin with `banach: 1`"
        )
    begin = Span(name, span.line, span.column, span.line, span.column + 1)
    return Diagnostic(
        NOT_A_MAPPING,
        "the spec is not a mapping of names",
        begin,
        fix="begin with `banach: 1`, then `name: ...`",
    )


def structured_key(span: Span) -> Diagnostic:
    return Diagnostic(
        BAD_KEY, "a list or mapping cannot be a key", span, fix="write a name, or quote the formula"
    )


def merge_key(span: Span) -> Diagnostic:
    return Diagnostic(BAD_KEY, "the language has no merge key `<<`", span, fix="write the pairs out")


def constant_key(text: str, span: Span) -> Diagnostic:
    what = f"`{text}`" if text else "nothing"
    return Diagnostic(
        BAD_KEY, f"{what} cannot be a key: it is not a text", span, fix=f'write `"{text}"` or a name'
    )


def cut(line: str, span: Span) -> Diagnostic:
    """`line` is the user's line with the formula in quotes."""
    return Diagnostic(
        FORMULA_CUT,
        "YAML has cut this formula in two",
        span,
        "one formula",
        "inside {...} and [...] YAML ends an item at every comma and bracket",
        f"write `{line}`, or use block style",
    )


def cut_by_comment(line: str, span: Span) -> Diagnostic:
    """`line` is the user's line with all that stands before and behind the ` #` in quotes."""
    return Diagnostic(
        FORMULA_CUT,
        "YAML has cut this formula in two",
        span,
        "a bracket is open here",
        "` #` begins a comment, unless it stands in quotes",
        f"write `{line}`, or close the bracket before the comment",
    )


def follows(found: Diagnostic, before: list[Diagnostic]) -> bool:
    """Whether YAML stumbles over the rest of a formula that a comment has cut, which has been told."""
    last = before[-1] if before else None
    return bool(
        last
        and last.code is FORMULA_CUT
        and last.span
        and found.span
        and found.span.line == last.span.line + 1
    )


def place(text: str, offset: int) -> tuple[int, int]:
    """The line and column, from 1, of a character."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _point(text: str, name: str, offset: int) -> Span:
    line, column = place(text, offset)
    return Span(name, line, column, line, column + 1)


def syntax(text: str, name: str, error: Any, last: int) -> Diagnostic:
    """What YAML's own complaint means for a person; `last` is the offset of the last thing that was read."""
    problem = str(getattr(error, "problem", None) or error)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    opener = getattr(error, "context_mark", None)
    offset = min(mark.index, len(text)) if mark else 0
    span = _point(text, name, offset)
    first = text.rfind("\n", 0, offset) + 1
    tab = re.compile(r" *\t[ \t]*").match(text, first)
    if tab and tab.end() >= offset:
        at = text.index("\t", first)
        return Diagnostic(
            TAB_INDENTATION,
            "a tab stands in the indentation",
            _point(text, name, at),
            fix="indent with spaces",
        )
    if "nesting" in problem:
        return too_deep(span)
    if "mapping values are not allowed" in problem:
        if ":" not in text[first:offset] and text[first : first + 1] == " ":
            message = "this line is indented beneath a line that already has a value"
            return Diagnostic(YAML_SYNTAX, message, span, fix="indent it as the line above")
        return _value_not_quoted(text, span, first, "YAML takes `: ` for the end of a key")
    if re.search("expected ',' or|expected <block end>|expected key|found character", problem):
        found = _flow_mistake(text, name, offset, last, opener)
        if found:
            return found
    if opener and "end of stream" in problem and text[opener.index : opener.index + 1] in ("'", '"'):
        span = _point(text, name, opener.index)
        return Diagnostic(YAML_SYNTAX, "this quote is never closed", span, fix="close it on the same line")
    if (
        opener
        and "expected ',' or" in problem
        and (bracket := text[opener.index : opener.index + 1]) in _CLOSERS
    ):
        place = _point(text, name, opener.index)
        message, fix = f"this `{bracket}` is never closed", f"close it with `{_CLOSERS[bracket]}`"
        return Diagnostic(YAML_SYNTAX, message, place, fix=fix, notes=((span, "YAML reads on to here"),))
    if opener and "could not find expected ':'" in problem and opener.index < first:
        fix, span = "write `name: value`", _line(text, name, opener.index)
        return Diagnostic(YAML_SYNTAX, "this line has no `: `", span, fix=fix)
    for pattern, message, fix in _PROBLEMS:
        if re.search(pattern, problem):
            return Diagnostic(YAML_SYNTAX, message, span, fix=fix)
    return Diagnostic(YAML_SYNTAX, f"this is not YAML: {problem}", span, fix="put the value in quotes")


_CLOSERS = {"[": "]", "{": "}"}
_PROBLEMS = (
    ("could not find expected ':'", "this line has no `: `", "write `name: value`"),
    ("expected ',' or", "a list or mapping is not closed before this", "close it with `]` or `}`"),
    ("cannot start any token", "a value cannot begin with this character", "put the value in quotes"),
    ("unknown escape", "no such escape in double quotes", "use single quotes, where a backslash is itself"),
    ("tag", "the language has no tags of YAML", "put a text in quotes"),
    (
        "block end|expected key|document start",
        "this line is not in line with its neighbours",
        "mend the indentation",
    ),
    ("not allowed", "this cannot stand here", "begin a new line, indented with spaces"),
)


def _line(text: str, name: str, offset: int) -> Span:
    """The whole of what stands in a line from an offset on."""
    end = text.find("\n", offset)
    return Span(name, *place(text, offset), *place(text, end if end >= 0 else len(text)))


def _value_not_quoted(text: str, span: Span, first: int, why: str) -> Diagnostic:
    message = "this value has to be in quotes"
    end = text.find("\n", first)
    line = text[first : end if end >= 0 else len(text)]
    pair = re.match(r"\s*+(?:- )*+[^:]*+:\s++(?=\S)", line)
    fix = "put the value in quotes"
    if pair and len(line) <= _LONGEST_LINE:
        fix = f"write `{flow.quoted_line(text, (first + pair.end(), first + len(line.rstrip())))}`"
    return Diagnostic(YAML_SYNTAX, message, span, why=why, fix=fix)


def _flow_mistake(text: str, name: str, offset: int, last: int, opener: Any) -> Diagnostic | None:
    """A formula with brackets inside {...} or [...], or a formula that begins with a bracket."""
    character = text[offset : offset + 1]
    inside = opener is not None and text[opener.index : opener.index + 1] in ("{", "[")
    if opener is not None and inside and character in ("[", "{") and opener.index < last < offset:
        end = flow.extent(text, last)
        span = Span(name, *place(text, last), *place(text, end))
        return cut(flow.quoted_line(text, (last, end)), span)
    first = text.rfind("\n", 0, offset) + 1
    why = "YAML ends the value before this"
    if character in "@`%" and re.search(r":[ \t]+$", text[first:offset]):
        why = f"no value of YAML begins with `{character}`"
    if not inside and re.match(r"\s*+(?:- )*+[^:\n]*+:\s++[\[{'\"@`%]", text[first : offset + 1]):
        return _value_not_quoted(text, _point(text, name, offset), first, why)
    return None
