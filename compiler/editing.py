"""What an editor asks of a text: its diagnostics, the page of a word, completions, where a name is defined.

Nothing here knows a protocol; `lsp` speaks it. Columns count from 1, as in a `Span`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from banach.compiler import library, telling
from banach.compiler.elaboration.words import spoken, vocabulary
from banach.compiler.pipeline import Model
from banach.compiler.spec import Head
from banach.ir.diagnostic import Diagnostic, SpecError
from banach.ir.span import Span

_WORD = re.compile(r"[^\W\d]\w*")
# The sections whose keys define names.
_DEFINING = ("sizes", "inputs", "parameters", "assume", "operators", "schedules", "scan", "solve")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in a text: mistakes, and a verdict for every solve, at its place."""

    diagnostics: tuple[Diagnostic, ...]
    verdicts: tuple[tuple[Span, str], ...]


@lru_cache(maxsize=32)
def examine(text: str, name: str) -> Finding:
    """Checks a text. The last texts are remembered, so going back and forth costs nothing."""
    folder = Path(name).parent if Path(name).is_absolute() else None
    try:
        report = Model(text, name, folder).check()
    except SpecError as wrong:
        return Finding(wrong.diagnostics, ())
    verdicts = tuple(
        (certificate.place, telling.certificate(certificate, verbose=True))
        for certificate in report.certificates.values()
        if certificate.place is not None
    )
    return Finding(report.diagnostics, verdicts)


def word_at(text: str, line: int, column: int) -> tuple[str, int, int] | None:
    """The word that a position touches, and its columns."""
    lines = text.split("\n")
    if not 1 <= line <= len(lines):
        return None
    for found in _WORD.finditer(lines[line - 1]):
        if found.start() < column <= found.end() + 1:
            return found.group(), found.start() + 1, found.end() + 1
    return None


def hover(text: str, name: str, line: int, column: int) -> str | None:
    """The page of a word, or the certificate of the solve that stands there."""
    for span, told in examine(text, name).verdicts:
        if span.line == line and span.column <= column:
            return told
    found = word_at(text, line, column)
    if found is None:
        return None
    try:
        return telling.explain(found[0])
    except SpecError:
        return None


def definition(text: str, word: str) -> tuple[int, int] | None:
    """Line and column of the key that defines a name in this text."""
    section, inside = "", False
    for number, line in enumerate(text.split("\n"), 1):
        top = re.match(r"([a-z]+):", line)
        if top:
            section, inside = top.group(1), top.group(1) in _DEFINING
            for entry in re.finditer(r"[{,]\s*([^\W\d]\w*)\s*:", line):
                if inside and entry.group(1) == word:
                    return number, entry.start(1) + 1
            continue
        key = re.match(r"  ([^\W\d]\w*)\s*(\([^)]*\))?\s*:", line)
        if inside and key and key.group(1) == word and section:
            return number, key.start(1) + 1
    return None


def completions(text: str, line: int) -> list[tuple[str, str]]:
    """Names that can stand here, each with a word on what it is: sections at the margin, else all names."""
    lines = text.split("\n")
    here = lines[line - 1] if 1 <= line <= len(lines) else ""
    if here[:1] not in (" ", "\t") and ":" not in here:
        return [(key, "section") for key in Head.model_fields]
    found = [(name, "defined here") for name in _defined(text)]
    for kind in library.FOLDERS:
        found += [(name, kind) for name in library.names(kind)]
    found += [(name, word.doc) for name, word in vocabulary.FUNCTIONS.items()]
    found += [(name, spoken.summary(name)) for name in spoken.spoken()]
    return list(dict(reversed(found)).items())[::-1]


def _defined(text: str) -> list[str]:
    """The names that the keys of this text define, in order."""
    names: dict[str, None] = {}
    inside = False
    for line in text.split("\n"):
        top = re.match(r"([a-z]+):", line)
        if top:
            inside = top.group(1) in _DEFINING
            entries = re.findall(r"[{,]\s*([^\W\d]\w*)\s*:", line) if inside else []
            names.update(dict.fromkeys(entries))
            continue
        key = re.match(r"  ([^\W\d]\w*)\s*(\([^)]*\))?\s*:", line)
        if inside and key:
            names[key.group(1)] = None
    return list(names)
