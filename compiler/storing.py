"""Proofs that do not outlast that weights are stored in fewer bits: whose fault it is."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from banach.compiler.certificate import PROVED, Certificate
from banach.compiler.certify import certify
from banach.compiler.elaborate import Elaborated

_TOLD = "it is proved for the weights as they are given, and not as they are stored in int8"


def told(
    certificates: Sequence[Certificate], elaborated: Elaborated, given: Callable[[], Elaborated]
) -> list[Certificate]:
    """The certificates, with the reason where `given`, the same spec with its weights as given, is proved."""
    if not elaborated.quantised or all(c.verdict == PROVED for c in certificates):
        return list(certificates)
    proved = {c.solve for c in certify(given())[0] if c.verdict == PROVED}
    return [
        replace(c, missing=f"{_TOLD}: {c.missing}" if c.missing else _TOLD)
        if c.verdict != PROVED and c.solve in proved
        else c
        for c in certificates
    ]
