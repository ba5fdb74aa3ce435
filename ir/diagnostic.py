"""What is said to a person whose spec, model or command is wrong."""

from collections.abc import Iterable
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
    """The spec or the command line is wrong; `diagnostics` holds everything that was found."""

    def __init__(self, diagnostics: Iterable[Diagnostic]):
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(f"{d.code.id} {d.message}" for d in self.diagnostics))


class RunError(Exception):
    """A run could not be made, or ended without an answer; `diagnostic` says why."""

    def __init__(self, diagnostic: Diagnostic):
        self.diagnostic = diagnostic
        super().__init__(f"{diagnostic.code.id} {diagnostic.message}")
