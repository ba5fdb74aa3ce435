"""The words of an expression, and what is no word of the language."""

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from banach.compiler.text.literal import NUMBER
from banach.ir.diagnostic import Code, Diagnostic, SpecError
from banach.ir.span import Span

STRAY_CHARACTER = Code(
    "B122",
    "stray-character",
    """A character that means nothing in an expression.

    wrong    x: a $ b
    right    x: a * b""",
)
FOREIGN_SYNTAX = Code(
    "B123",
    "foreign-syntax",
    """A spelling from mathematics or from another programming language. Expressions have Python's arithmetic
grammar: + - * / ** @ // %, comparisons, and, or, not, calls, indices, tuples, `a if c else b`.

    wrong    y: x^2 && z
    right    y: x**2 and z""",
)
BAD_PRIME = Code(
    "B128",
    "bad-prime",
    """A prime is written once, right behind the name of a state, and means its new value. A text in quotes
stands apart from what is before it.

    wrong    y: x'' + f(x)'
    right    y: x' + f(x')""",
)
UNCLOSED_TEXT = Code(
    "B129",
    "unclosed-text",
    """A text in quotes is closed by the same quote.

    wrong    K: conv2d(k, padding='circular)
    right    K: conv2d(k, padding='circular')""",
)

# Spellings that people bring along, and what to write here.
FOREIGN = {
    "^": "**", "&&": "and", "||": "or", "!": "not", "&": "and", "|": "`or`, or `abs(x)`",
    "=>": ">=", "=<": "<=", "<>": "!=",
    "===": "==", "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "∕": "/", "−": "-", "–": "-", "≤": "<=",
    "≥": ">=", "≠": "!=", "∧": "and", "∨": "or", "¬": "not", "√": "sqrt(...)", "∇": "grad(f)", "‖": "norm(x)",
    "∑": "sum(...)", "∏": "prod(...)", "∘": "compose(f, g)", "→": "a map with a name, `F(x): ...`",
    "->": "a map with a name, `F(x): ...`", ":=": "a name of its own for the value", "’": "'", "‘": "'",
    "′": "'", "“": "'", "”": "'", "+=": "an equation for the name", "-=": "an equation for the name",
    "*=": "an equation for the name", "/=": "an equation for the name", ".*": "*", "./": "/", ".^": "**",
    "?": "`a if c else b`", ";": ",",
}  # fmt: skip
_PYTHON = {
    "lambda": "a map with a name, `F(x): ...`, or a hole, `F(_, y)`; for λ write `λ` or `lam`",
    "for": "one operation on the whole array, or a map with a name",
    "in": "a comparison",
    "is": "==",
    "True": "true",
    "False": "false",
    "None": "nothing: leave the argument out",
    "yield": "a `solve` or `scan`",
    "await": "a call",
}
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))
KEYWORDS = frozenset({"and", "or", "not", "if", "else"})

_FOREIGN = "|".join(re.escape(s) for s in sorted(FOREIGN, key=len, reverse=True))
_WORD = "[^\\W\\d][\\w\u0300-\u036f]*"
_TOKEN = re.compile(
    rf"(?P<blank>[ \t\n]+)|(?P<name>{_WORD})|(?P<number>{NUMBER})"
    rf"|(?P<foreign>(?:{_FOREIGN})(?!=)|=<|=>|===|!(?!=)|[-+*/]=(?!=))"
    r"|(?P<sign>\*\*|//|<=|>=|==|!=|[-+*/@%<>()\[\],.:=])|(?P<quote>['\"])|(?P<infinity>∞)|(?P<stray>.)",
    re.DOTALL,
)
_MEMBER = re.compile(r"\.[ \t]*([\w\u0300-\u036f]+)")


class Token(NamedTuple):
    """`kind` is name, prime, number, text, member (.name), sign, keyword or end; `text` is what it says.

    `sign` is the text of a sign or keyword, and "" for every other token, whatever it says.
    """

    kind: str
    text: str
    start: int
    stop: int
    sign: str = ""


def tokens(text: str, at: Callable[[int, int], Span]) -> list[Token]:
    """The words of an expression, and an end. Raises SpecError at the first character that is none."""
    found: list[Token] = []
    i = 0
    while i < len(text):
        before = found[-1] if found and found[-1].stop == i else None
        if text[i] == "." and before and (before.kind in ("name", "member") or before.sign in (")", "]")):
            member = _MEMBER.match(text, i)
            if member:
                found.append(Token("member", member.group(1), i, member.end()))
                i = member.end()
                continue
        match = _TOKEN.match(text, i)
        assert match is not None
        kind, word, stop = str(match.lastgroup), match.group(), match.end()
        if kind == "quote":
            found.append(_quote(text, i, found, at))
        elif kind == "name":
            found.append(_name(word, i, text, at))
        elif kind == "infinity":
            found.append(Token("name", "inf", i, stop))
        elif kind == "sign":
            found.append(Token(kind, word, i, stop, word))
        elif kind == "number":
            found.append(Token(kind, word, i, stop))
        elif kind != "blank":
            raise SpecError([_stranger(word, at(i, stop))])
        i = max(stop, found[-1].stop if found else 0)
    found.append(Token("end", "", len(text.rstrip()), len(text.rstrip())))
    return found


def _name(word: str, start: int, text: str, at: Callable[[int, int], Span]) -> Token:
    stop = start + len(word)
    if word.isascii():
        if word in KEYWORDS:
            return Token("keyword", word, start, stop, word)
        if word in _PYTHON:
            raise SpecError([_foreign(word, _PYTHON[word], at(start, stop))])
        if text[stop : stop + 1] in ("'", '"') and word in ("f", "r", "b", "F", "R", "B", "rb", "fr"):
            close = text.find(text[stop], stop + 1)
            if text[stop] == '"' or (close > stop + 1 and text[stop + 1].isalpha() and word == "f"):
                whole = at(start, close + 1 if close > 0 else stop + 1)
                raise SpecError([_foreign(text[start : stop + 1], "the text in quotes alone", whole)])
        return Token("name", word, start, stop)
    for offset, character in enumerate(word):
        if character in _SUPERSCRIPTS:
            span = at(start + offset, start + offset + 1)
            raise SpecError([_foreign(character, f"**{_SUPERSCRIPTS[character]}", span)])
    word = unicodedata.normalize("NFKC", word)
    if not word.isidentifier():
        raise SpecError([_stranger(text[start:stop], at(start, stop))])
    return Token("name", word, start, stop)


def _quote(text: str, start: int, found: list[Token], at: Callable[[int, int], Span]) -> Token:
    """A prime, where the quote stands right behind a name; else a text."""
    before = found[-1] if found and found[-1].stop == start else None
    if text[start] == "'" and before and before.kind == "name":
        del found[-1]
        return Token("prime", before.text, before.start, start + 1)
    if before and (before.kind in ("prime", "member", "number", "text") or before.sign in (")", "]")):
        fix = "write the prime once, behind the name of a state"
        place = at(start, start + 1)
        raise SpecError([Diagnostic(BAD_PRIME, "a prime belongs to the name of a state", place, fix=fix)])
    stop = text.find(text[start], start + 1) + 1
    if stop == 0:
        message, fix = "the text that begins here is never closed", f"close it with `{text[start]}`"
        raise SpecError([Diagnostic(UNCLOSED_TEXT, message, at(start, start + 1), fix=fix)])
    return Token("text", text[start + 1 : stop - 1], start, stop)


def _stranger(word: str, span: Span) -> Diagnostic:
    if word in FOREIGN:
        return _foreign(word, FOREIGN[word], span)
    if word[0] in _SUPERSCRIPTS:
        return _foreign(word, f"**{_SUPERSCRIPTS[word[0]]}", span)
    if word in "{}":
        return _foreign(word, "a mapping of YAML, with a key for each part", span)
    name = unicodedata.name(word[0], "").lower()
    detail = f" ({name})" if name and not word.isascii() else ""
    return Diagnostic(STRAY_CHARACTER, f"`{word}`{detail} means nothing in a formula", span, fix="delete it")


def _foreign(word: str, cure: str, span: Span) -> Diagnostic:
    cure = cure if " " in cure else f"`{cure}`"
    return Diagnostic(FOREIGN_SYNTAX, f"`{word}` is not of this language", span, fix=f"write {cure}")
