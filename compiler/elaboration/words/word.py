"""What a word of the language is: a function of this package that a formula can call.

A module enters its words by the decorator `word`; vocabulary.py, which imports those modules, speaks them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from banach.compiler.elaboration.complexes import UNIT
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.things import Identity, Table, Truth
from banach.ir.span import Span

Arguments = Sequence[Any]
Keywords = Mapping[str, Any]
Work = Callable[[Arguments, Keywords, Context, Span], Any]


@dataclass(frozen=True, slots=True)
class Word:
    """A word: how it is called, how many arguments it takes, and which keywords."""

    usage: str
    takes: tuple[int, int, tuple[str, ...]]
    doc: str
    work: Work


FUNCTIONS: dict[str, Word] = {}
CONSTANTS: dict[str, Any] = {
    "I": Identity(),
    "i": UNIT,
    "true": Truth(True),
    "false": Truth(False),
    "pi": Table(np.asarray(np.pi)),
}


def word(usage: str, least: int, most: int, *keywords: str) -> Callable[[Work], Work]:
    """Enters a function as a word, under the name that its usage begins with."""

    def enter(work: Work) -> Work:
        FUNCTIONS[usage.split("(")[0]] = Word(usage, (least, most, keywords), work.__doc__ or "", work)
        return work

    return enter
