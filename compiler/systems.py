"""The published systems: a page each in specs/systems, and what the tests last found of its claim.

`specs/claims.yaml` is written by the tests (`pytest tests/systems --record`): for every page the digest of
its text, and whether its claim held. A page that has changed since is not vouched for.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from banach.compiler import library
from banach.compiler.spec import spec
from banach.compiler.text import source

FOLDER = library.ROOT / "systems"
RECORD = library.ROOT / "claims.yaml"
HOLDS, FAILS, UNTESTED = "holds", "fails", "not tested"


@dataclass(frozen=True, slots=True)
class Published:
    """A page of a published system, with what it expects, and whether its claim holds."""

    name: str
    doc: str
    paper: int
    covers: str
    verdicts: Mapping[str, str]
    claim: str
    lacks: str
    held: str

    @property
    def line(self) -> str:
        """The page in one line."""
        verdicts = ", ".join(f"{solve} {verdict}" for solve, verdict in self.verdicts.items())
        parts = [f"row {self.paper}, {self.covers}", verdicts or "no solve", f"claim {self.held}"]
        return "; ".join([*parts, f"lacks {self.lacks}"] if self.lacks else parts)

    def to_json(self) -> dict[str, Any]:
        names = ("name", "doc", "paper", "covers", "verdicts", "claim", "held", "lacks")
        return {name: getattr(self, name) for name in names}


def systems() -> Iterator[Published]:
    """The published systems by row. SpecError: a page is no spec."""
    return iter(sorted((_read(path) for path in FOLDER.glob("*.yaml")), key=lambda page: page.paper))


def find(name: str) -> Published | None:
    """The published system of a name."""
    path = FOLDER / f"{name}.yaml"
    return _read(path) if path in set(FOLDER.glob("*.yaml")) else None


def digest(path: Path) -> str:
    """What stands for the text of a page in the record."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@cache
def record() -> Mapping[str, Mapping[str, Any]]:
    """What the tests last found, by page."""
    return yaml.safe_load(RECORD.read_text("utf-8")) or {} if RECORD.exists() else {}


def _read(path: Path) -> Published:
    found = spec(source.parse(source.read_text(str(path)), path.name))
    system, head = found.system, found.head
    assert system is not None, f"{path.name} has no section `system:`"
    told = record().get(path.stem, {})
    current = told.get("page") == digest(path)
    return Published(
        name=path.stem,
        doc=" ".join(head.doc.text.split()) if head.doc else "",
        paper=int(system.paper.text),
        covers=system.covers.text,
        verdicts={key.text: getattr(node, "text", "") for key, node in system.expects or ()},
        claim=" ".join(system.claim.text.split()),
        lacks=" ".join(system.lacks.text.split()) if system.lacks else "",
        held=told.get("claim", UNTESTED) if current else UNTESTED,
    )
