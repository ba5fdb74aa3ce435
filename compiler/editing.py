"""What an editor asks of a text: its diagnostics, the page of a word, completions, where a name is defined.

Nothing here knows a protocol; `lsp` speaks it. Columns count from 1, as in a `Span`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from banach.compiler import library, telling
from banach.compiler.elaboration import guests
from banach.compiler.elaboration.words import spoken, vocabulary
from banach.compiler.pipeline import Model
from banach.compiler.spec import Head, spec
from banach.compiler.text import source
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


def shelf(text: str, name: str) -> Mapping[str, library.Page]:
    """The pages of installed packages and of the folder that a text names, as far as they can be read."""
    said = re.search(r"^library:[ ]*(\S+)[ ]*$", text, re.MULTILINE)
    try:
        if said is None or not Path(name).is_absolute():
            return guests.installed()
        head = spec(source.parse(f"banach: 1\nlibrary: {said.group(1)}\n", name)).head
        return guests.pages(head.library, Path(name).parent)
    except SpecError:
        return {}


def hover(text: str, name: str, line: int, column: int) -> str | None:
    """The page of a word, or the certificate of the solve that stands there."""
    for span, told in examine(text, name).verdicts:
        if span.line == line and span.column <= column:
            return told
    found = word_at(text, line, column)
    if found is None:
        return None
    page = shelf(text, name).get(found[0])
    if page is not None:
        return telling.page_of(page)
    try:
        return telling.explain(found[0])
    except SpecError:
        return None


def page_place(text: str, name: str, word: str) -> tuple[Path, Span] | None:
    """The file that has the page of a name, in the library or beside the text, and where it begins there."""
    page = library.find(word) if word.isidentifier() else None
    page = page or shelf(text, name).get(word)
    if page is None:
        return None
    file = (Path(name).parent if page.shelf is not None else library.ROOT.parent) / page.place.file
    return (file, page.place) if file.is_file() else None


def definition(text: str, word: str) -> tuple[int, int] | None:
    """Line and column of the key that defines a name in this text."""
    return next(((line, column) for name, _, line, column in symbols(text) if name == word), None)


def symbols(text: str) -> list[tuple[str, str, int, int]]:
    """The names that the keys of this text define, in order: name, section, line and column."""
    found: list[tuple[str, str, int, int]] = []
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        top = re.match(r"([a-z]+):", line)
        if top:
            section = top.group(1) if top.group(1) in _DEFINING else ""
            keys = re.finditer(r"[{,]\s*([^\W\d]\w*)\s*:", line)
        else:
            keys = re.finditer(r"^  ([^\W\d]\w*)\s*(?:\([^)]*\))?\s*:", line)
        if section:
            found += [(key.group(1), section, number, key.start(1) + 1) for key in keys]
    return found


def cures(text: str, name: str) -> list[tuple[Span, str, Diagnostic]]:
    """What a diagnostic says to write in place of what stands there: the place, the words, the diagnostic."""
    found = []
    for diagnostic in examine(text, name).diagnostics:
        words = re.fullmatch(r"write `([^`]+)`", diagnostic.fix)
        instead = re.search(r"`([^`]+)`", diagnostic.label)
        # Where the label names the words too, they are meant for exactly what is marked.
        if words and instead and words.group(1) == instead.group(1) and diagnostic.span is not None:
            found.append((diagnostic.span, words.group(1), diagnostic))
    return found


def completions(text: str, name: str, line: int) -> list[tuple[str, str]]:
    """Names that can stand here, each with a word on what it is: sections at the margin, else all names."""
    lines = text.split("\n")
    here = lines[line - 1] if 1 <= line <= len(lines) else ""
    if here[:1] not in (" ", "\t") and ":" not in here:
        return [(key, "section") for key in Head.model_fields]
    found = [(own, "defined here") for own, _, _, _ in symbols(text)]
    for kind in library.FOLDERS:
        found += [(page, kind) for page in library.names(kind)]
    found += [(page.name, page.kind) for page in shelf(text, name).values()]
    found += [(word, said.doc) for word, said in vocabulary.FUNCTIONS.items()]
    found += [(word, spoken.summary(word)) for word in spoken.spoken()]
    return list(dict(reversed(found)).items())[::-1]
