"""The library: pages in the language, found by their file's name in the folders of specs/."""

from collections.abc import Iterator
from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import Field

from banach.compiler.text import source, syntax
from banach.compiler.text.expression import parse
from banach.compiler.text.section import Section
from banach.compiler.text.signature import Signature, parse_signature
from banach.compiler.text.source import Mapping, Node, Scalar, Sequence
from banach.ir.diagnostic import Code, Diagnostic, SpecError
from banach.ir.span import Span

BAD_PAGE = Code(
    "B140",
    "bad-page",
    """A page of the library cannot be read: its file does not hold exactly one page of its own name, or a
section of it is wrong.

A page stands in a file of its name: solvers/fista.yaml holds `solver fista(f, g):`, in specs/, in the
folder that a spec names by `library:`, or in an installed package.
""",
)

FOLDERS = {
    "operator": "operators",
    "function": "functions",
    "solver": "solvers",
    "schedule": "schedules",
    "stop": "stops",
}
ROOT = Path(__file__).resolve().parent.parent / "specs"

T = TypeVar("T", bound=Section)
Definition = tuple[tuple[str, ...], syntax.Node]  # parameters and body


class _PageSection(Section):
    title: ClassVar[str] = "page"

    doc: Scalar
    source: Scalar
    options: Mapping | None = None  # what may be left out, with its default
    where: Mapping | None = None
    facts: Mapping | None = None
    example: Scalar | None = None
    domain: Scalar | None = None  # the type of what the example is applied to, real[3] if nothing is said
    within: Scalar | None = None  # where a function has a value: `x > 0`; everywhere if nothing is said
    beyond: Mapping | None = None
    complex: Scalar | None = None  # `true`: formulas, facts and theorems hold of complex numbers as well


class OperatorPage(_PageSection):
    """A map: what it returns, and its adjoint where it is linear."""

    title: ClassVar[str] = "operator page"


class FunctionPage(_PageSection):
    """A real-valued function: its value, and its gradient and prox where they have a formula."""

    title: ClassVar[str] = "function page"

    needs: Scalar | None = None  # what its arguments have to be, or no point has a value: `low <= high`


class SchedulePage(_PageSection):
    """A number for every step k = 0, 1, 2, ..."""

    title: ClassVar[str] = "schedule page"


class StopPage(_PageSection):
    """A number to stop by, of the values of states and of what the iteration was given."""

    title: ClassVar[str] = "stop page"

    returns: Scalar


class SolverPage(_PageSection):
    """An iteration with its options, equations, residual, theorems and refutations."""

    title: ClassVar[str] = "solver page"

    asks: Mapping | None = None
    operators: Mapping | None = None  # maps with blocks of their own, where a step needs a scan
    state: Mapping
    next: Mapping
    equation: Mapping | None = None
    residual: Scalar
    scale: Scalar | None = None
    returns: Scalar
    theorems: Sequence | None = None
    refuted: Sequence | None = None


class TheoremSection(Section):
    """A theorem: hypotheses, conclusion, source."""

    title: ClassVar[str] = "theorem"

    name: Scalar
    doc: Scalar
    hypotheses: Sequence = Field(alias="if")
    where: Mapping | None = None
    concludes: Mapping = Field(alias="then")
    source: Scalar


class ConclusionSection(Section):
    """What a theorem promises."""

    title: ClassVar[str] = "conclusion"

    quantity: Scalar
    rate: Scalar | None = None
    factor: Scalar | None = None
    bound: Scalar | None = None
    residual: Scalar | None = None
    norm: Scalar | None = None
    adjoint: Scalar | None = None  # a bound below 1 of the equation's derivative, in l2
    proviso: Scalar | None = None


class RefutationSection(Section):
    """When an iteration is known to fail, and from where."""

    title: ClassVar[str] = "refutation"

    name: Scalar
    doc: Scalar
    hypotheses: Sequence = Field(alias="if")
    where: Mapping | None = None
    direction: Scalar
    scale: Scalar
    source: Scalar


_MODELS: dict[str, type[_PageSection]] = {
    "operator": OperatorPage,
    "function": FunctionPage,
    "solver": SolverPage,
    "schedule": SchedulePage,
    "stop": StopPage,
}


@dataclass(frozen=True, slots=True, eq=False)
class Theorem:
    """A theorem of a page; each hypothesis with its text as written."""

    name: str
    doc: str
    hypotheses: tuple[syntax.Node, ...]
    where: tuple[tuple[str, syntax.Node], ...]
    conclusion: ConclusionSection
    source: str

    def reads(self, name: str) -> bool:
        """Whether a hypothesis, or what one is made of, speaks of a name."""
        formulas = (*self.hypotheses, *(formula for _, formula in self.where))
        return any(name in syntax.names(node) for node in formulas)


@dataclass(frozen=True, slots=True, eq=False)
class Refutation:
    """Hypotheses under which an iteration diverges from `scale` times `direction`."""

    name: str
    doc: str
    hypotheses: tuple[syntax.Node, ...]
    where: tuple[tuple[str, syntax.Node], ...]
    direction: syntax.Node
    scale: syntax.Node
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A page of the library. `formulas` are its maps by name: value, gradient, prox, returns, adjoint."""

    kind: str
    name: str
    parameters: tuple[str, ...]
    section: _PageSection
    where: tuple[tuple[str, syntax.Node], ...]
    facts: dict[str, Definition]
    formulas: dict[str, Definition]
    theorems: tuple[Theorem, ...] = ()
    refutations: tuple[Refutation, ...] = ()
    place: Span = field(kw_only=True)
    shelf: Table[str, "Page"] | None = None  # of a page from elsewhere: those that it may use beside ours

    @property
    def trusted(self) -> str:
        """What a verdict trusts that uses the page; "" for one of ours, which tests have attacked."""
        return f"the page {self.place.file}" if self.shelf is not None else ""

    @property
    def doc(self) -> str:
        return self.section.doc.text

    @property
    def complex(self) -> bool:
        """Whether the page says that it holds of complex numbers as well as of reals."""
        told = self.section.complex
        return told is not None and told.value is True


def names(kind: str) -> list[str]:
    """The names of all pages of a kind, in order."""
    return sorted(path.stem for path in (ROOT / FOLDERS[kind]).glob("*.yaml"))


@cache
def find(name: str) -> Page | None:
    """The page of a name, of whatever kind. SpecError: it cannot be read."""
    for kind, folder in FOLDERS.items():
        path = ROOT / folder / f"{name}.yaml"
        if path.is_file():
            return read_page(source.read_text(path), f"specs/{folder}/{path.name}", kind, name)
    return None


def pages(kind: str) -> Iterator[Page]:
    """Every page of a kind."""
    for name in names(kind):
        page = find(name)
        if page is not None:
            yield page


def read_page(text: str, label: str, kind: str, name: str, shelf: Table[str, Page] | None = None) -> Page:
    """The page of a kind and name in a text, whose places are in `label`. SpecError: it holds another."""
    read = source.parse(text, label)
    known = {key.text: (key, node) for key, node in read.root}
    heads = [pair for text, pair in known.items() if text not in ("banach", "library")]
    if len(heads) != 1 or "banach" not in known:
        raise _bad(read.root, f"{read.name} does not hold exactly one page")
    key, node = heads[0]
    signature = parse_signature(key)
    if (signature.word, signature.name) != (kind, name) or not isinstance(node, Mapping):
        raise _bad(key, f"{read.name} holds `{key.text}`, not the {kind} {name}")
    return replace(_page(kind, signature, node), place=key.span, shelf=shelf)


def _page(kind: str, signature: Signature, node: Mapping) -> Page:
    mistakes: list[Diagnostic] = []
    formulas, rest = {}, []
    for key, value in node:
        if "(" in key.text and isinstance(value, Scalar):
            inner = parse_signature(key)
            formulas[inner.name] = (inner.parameters or (), parse(value))
        else:
            rest.append((key, value))
    section = _MODELS[kind].read(Mapping(tuple(rest), node.span), mistakes)
    if section is None:
        raise SpecError(mistakes)
    theorems: list[Theorem] = []
    refutations: list[Refutation] = []
    if isinstance(section, SolverPage):
        theorems = [_theorem(item) for item in section.theorems or ()]
        refutations = [_refutation(item) for item in section.refuted or ()]
    facts = {}
    for key, value in section.facts or ():
        inner = parse_signature(key)
        facts[inner.name] = (inner.parameters or (), parse(_scalar(value)))
    where = table(section.where)
    return Page(
        kind,
        signature.name,
        signature.parameters or (),
        section,
        where,
        facts,
        formulas,
        tuple(theorems),
        tuple(refutations),
        place=node.span,
    )


def table(node: Mapping | None) -> tuple[tuple[str, syntax.Node], ...]:
    """The formulas of a mapping, by name, in order."""
    return tuple((key.text, parse(value)) for key, value in node or ())


def _theorem(node: Node) -> Theorem:
    section = _section(TheoremSection, node)
    return Theorem(
        section.name.text,
        section.doc.text,
        tuple(parse(_scalar(item)) for item in section.hypotheses),
        table(section.where),
        _section(ConclusionSection, section.concludes),
        section.source.text,
    )


def _refutation(node: Node) -> Refutation:
    section = _section(RefutationSection, node)
    return Refutation(
        section.name.text,
        section.doc.text,
        tuple(parse(_scalar(item)) for item in section.hypotheses),
        table(section.where),
        parse(section.direction),
        parse(section.scale),
        section.source.text,
    )


def _section(model: type[T], node: Node) -> T:
    mistakes: list[Diagnostic] = []
    section = model.read(node, mistakes)
    if section is None:
        raise SpecError(mistakes)
    return section


def _scalar(node: Node) -> Scalar:
    if not isinstance(node, Scalar):
        raise _bad(node, "a formula is wanted here")
    return node


def _bad(node: Node, message: str) -> SpecError:
    fix = "write one page, named after its file: `solver fista(f, g):` stands in solvers/fista.yaml"
    return SpecError([Diagnostic(BAD_PAGE, message, node.span, fix=fix)])
