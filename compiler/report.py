"""What a check found, for a person, for a program and as an exit code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from banach.compiler.certificate import PROVED, REFUTED, Certificate
from banach.ir.diagnostic import Diagnostic, render

FINE, OURS, WRONG, REFUTATION, OPEN, NOT_CONVERGED = range(6)  # exit codes of the command line


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found: diagnostics, and a certificate for every solve."""

    spec: str
    diagnostics: tuple[Diagnostic, ...]
    certificates: Mapping[str, Certificate]
    texts: Mapping[str, str]

    @property
    def ok(self) -> bool:
        return self.exit_code() == FINE

    def exit_code(self, strict: bool = False) -> int:
        """The exit code of the command line: the gravest thing that was found."""
        verdicts = [c.verdict for c in self.certificates.values()]
        errors = [d for d in self.diagnostics if d.severity == "error"]
        if REFUTED in verdicts:
            return REFUTATION
        if any(not d.code.id.startswith("B33") for d in errors):
            return WRONG
        return OPEN if errors or (strict and any(v != PROVED for v in verdicts)) else FINE

    def to_json(self) -> dict[str, Any]:
        """The document of INTERFACE.md."""
        return {
            "spec": self.spec,
            "ok": self.ok,
            "diagnostics": [diagnostic_json(d) for d in self.diagnostics],
            "certificates": [c.to_json() for c in self.certificates.values()],
        }

    def __str__(self) -> str:
        return render(self.diagnostics, self.texts)


def diagnostic_json(d: Diagnostic) -> dict[str, Any]:
    """A diagnostic as one JSON object."""
    span = d.span
    return {
        "code": d.code.id,
        "name": d.code.name,
        "severity": d.severity,
        "message": d.message,
        "file": span.file if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
        "why": d.why,
        "fix": d.fix,
    }
