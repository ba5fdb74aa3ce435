"""What the command line tells a person: certificates in words, pages, lists, and the state of the machine."""

import importlib
import inspect
import pkgutil
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from banach.compiler import library, systems
from banach.compiler.certificate import PROVED, REFUTED, Adjoint, Certificate
from banach.compiler.elaboration import guests
from banach.compiler.elaboration.words import spoken, vocabulary
from banach.compiler.inference.rule import rules
from banach.ir.diagnostic import Code, Diagnostic, SpecError, suggest
from banach.ir.graph import PRIMITIVES
from banach.ir.shelf import pages

NO_PAGE = Code(
    "B151", "no-page", "`banach explain` knows diagnostics, names of the library, theorems, and words.\n"
)
KINDS = (
    "operators",
    "functions",
    "solvers",
    "schedules",
    "stops",
    "systems",
    "theorems",
    "words",
    "diagnostics",
)
_PACKAGES = ("banach.ir", "banach.compiler", "banach.backends")
_PARTS = ("numpy", "networkx", "pydantic", "pyyaml", "onnx", "onnxruntime", "torch", "safetensors", "pillow")


def version() -> str:
    return metadata.version("banach")


def certificate(found: Certificate, verbose: bool) -> str:
    """A certificate in a few lines."""
    verdict = found.verdict
    if found.scope:
        verdict += f" ({found.scope})"
    if found.verdict == PROVED and found.assumptions:
        verdict += f" (assuming {', '.join(found.assumptions)})"
    lines = [f"{found.solve}: {verdict}"]
    if found.theorem:
        lines.append(f"  theorem     {found.theorem}: {found.statement}")
        lines.append(f"  source      {found.source}")
    if found.verdict == PROVED:
        lines.extend(_claim(found))
    for text, label in ((found.missing, "missing"), (found.nearest, "provable")):
        if text:
            lines.append(f"  {label:11} {text}")
    if found.witness and found.verdict == REFUTED:
        lines.append(f"  witness     {found.witness.note}")
    if verbose and found.adjoint:
        lines.append(f"  adjoint     {_adjoint(found.adjoint)}")
    if verbose and found.derivation:
        lines.extend(
            f"  {'derivation' if not i else '':11} {line}" for i, line in enumerate(found.derivation.lines)
        )
    if verbose or found.verdict != PROVED:
        lines.extend(f"  {_mark(h.holds):11} {h.text}{_sides(h)}" for h in found.hypotheses)
    return "\n".join(lines)


def _claim(found: Certificate) -> Iterator[str]:
    yield f"  claim       {found.quantity}: {found.rate}" + (
        f", at most {found.bound}" if found.bound else ""
    )
    if found.lipschitz:
        lo, hi = found.lipschitz.to_floats()
        yield f"  constant    L ≤ {hi:.7g}" + (f" (at least {lo:.7g})" if lo > 0 else "")
    if found.upper_factor is not None:
        yield f"  factor      ≤ {found.upper_factor:.6g} in the norm {found.norm}"
    if found.iterations is not None:
        told = f"≤ {found.iterations} to a residual of {_decimal(found.tolerance)}"
        yield f"  iterations  {told}, in exact arithmetic"
    if found.proviso:
        yield f"  given that  {found.proviso}"


def _adjoint(found: Adjoint) -> str:
    """What is known of the implicit gradient's iteration."""
    if found.missing:
        return f"unknown: {found.missing}"
    most = f", ≤ {found.iterations} iterations" if found.iterations is not None else ""
    return f"proved: factor ≤ {found.factor:.6g} in the norm dual to {found.norm}{most}"


def _decimal(fraction: str) -> str:
    top, _, bottom = fraction.partition("/")
    return f"{int(top) / int(bottom or 1):g}"


def _mark(holds: bool | None) -> str:
    return {True: "holds", False: "fails", None: "open"}[holds]


def _sides(h: Any) -> str:
    if not h.value:
        return f"   [{h.origin}]"
    return f"   [{h.value} against {h.bound}{f', margin {h.margin}' if h.margin else ''}]"


# --- pages ------------------------------------------------------------------------------------------------


def explain(name: str) -> str:
    """The page of a name. SpecError: there is none."""
    if name[:1] == "B" and name[1:].isdigit():
        code = next((code for code in codes() if code.id == name), None)
        if code:
            return f"{code.id} {code.name}\n\n{code.page.strip()}"
    page = library.find(name) or guests.installed().get(name) if name.replace("_", "").isalnum() else None
    if page:
        return page_of(page)
    system = systems.find(name) if name.isidentifier() else None
    if system:
        return _system(system)
    if name in vocabulary.FUNCTIONS:
        word = vocabulary.FUNCTIONS[name]
        return f"{word.usage}\n\n{word.doc}"
    if name in spoken.spoken():
        return f"{spoken.usage(name)}\n\n{inspect.cleandoc(pages(PRIMITIVES)[name].__doc__)}"
    for solver in library.pages("solver"):
        for theorem in solver.theorems:
            if theorem.name == name:
                return _theorem(theorem, solver.name)
    for rule in rules().values():
        if name in (rule.name, rule.theorem):
            return f"theorem {rule.theorem} (of any iteration of its form)\n\n{rule.page}"
    for code in codes():
        if code.name == name:
            return f"{code.id} {code.name}\n\n{code.page.strip()}"
    known = [n for found in listing(None).values() for n, _ in found]
    near = suggest(name, known)
    fix = f"write `banach explain {near}`" if near else "`banach list` shows what there is"
    raise SpecError([Diagnostic(NO_PAGE, f"there is no page `{name}`", fix=fix)])


def page_of(page: library.Page) -> str:
    """A page of the library, as it is read by people."""
    from banach.compiler.text.expression import to_text

    lines = [f"{page.kind} {page.name}({', '.join(page.parameters)})", "", page.doc, ""]
    for name, (parameters, body) in page.formulas.items():
        lines.append(f"  {name}({', '.join(parameters)}) = {to_text(body)}")
    section = page.section
    solver = isinstance(section, library.SolverPage)
    for title in ("options", *(("state", "where", "next", "equation") if solver else ())):
        rows = library.table(getattr(section, title))
        lines += [f"  {title:9} {name}: {to_text(body)}" for name, body in rows]
    if isinstance(section, library.SolverPage):
        scale = f" against {section.scale.text}" if section.scale else ""
        lines.append(f"  residual  {section.residual.text}{scale}")
    if isinstance(section, library.FunctionPage) and section.needs is not None:
        lines.append(f"  needs     {section.needs.text}")
    for name, (parameters, body) in page.facts.items():
        told = f"{name}({', '.join(parameters)})" if parameters else name
        lines.append(f"  fact      {told}: {to_text(body)}")
    for theorem in page.theorems:
        lines += ["", _theorem(theorem, page.name)]
    for rule in page.refutations:
        conditions = " and ".join(to_text(node) for node in rule.hypotheses)
        lines += ["", f"refuted if {conditions} ({rule.name})", f"  {rule.doc}"]
    return "\n".join([*lines, "", f"source: {section.source.text}"])


def _system(found: systems.Published) -> str:
    lines = [f"system {found.name}, specs/systems/{found.name}.yaml", "", found.doc, "", f"  {found.line}"]
    return "\n".join([*lines, f"  claim: {found.claim}"])


def _theorem(theorem: library.Theorem, owner: str) -> str:
    from banach.compiler.text.expression import to_text

    lines = [f"theorem {theorem.name} (of {owner})", f"  {theorem.doc}"]
    lines += [f"  where {name} = {to_text(body)}" for name, body in theorem.where]
    lines += [f"  if    {to_text(node)}" for node in theorem.hypotheses]
    for key in type(theorem.conclusion).model_fields:
        scalar = getattr(theorem.conclusion, key)
        if scalar is not None:
            lines.append(f"  then  {key}: {scalar.text}")
    return "\n".join([*lines, f"  source: {theorem.source}"])


def codes() -> Iterator[Code]:
    """Every kind of diagnostic, by number; parts whose libraries are missing are left out."""
    found: dict[str, Code] = {}
    for package in _PACKAGES:
        root = importlib.import_module(package)
        for info in pkgutil.walk_packages(root.__path__, f"{package}."):
            if info.name.endswith("__main__"):
                continue
            try:
                module = importlib.import_module(info.name)
            except ImportError:
                continue
            found.update({thing.id: thing for thing in vars(module).values() if isinstance(thing, Code)})
    return iter(sorted(found.values(), key=lambda code: code.id))


def guests_of(folder: str | Path | None) -> Mapping[str, library.Page]:
    """The pages of installed packages, and of a folder if one is named. SpecError: one is wrong."""
    return guests.installed() if folder is None else guests.beside(Path(folder))


def listing(kind: str | None, folder: str | Path | None = None) -> dict[str, list[tuple[str, str]]]:
    """What there is of a kind, or of every kind but diagnostics: names with a line each.

    Pages are those of the library, of installed packages, and of `folder` if one is named. SpecError: it has
    a page that is wrong.
    """
    kinds = [kind] if kind else [k for k in KINDS if k != "diagnostics"]
    found = {k: list(_LISTS[k]()) for k in kinds}
    for page in guests_of(folder).values():
        if f"{page.kind}s" in found:
            found[f"{page.kind}s"].append((page.name, f"{page.doc} ({page.trusted})"))
    return found


def _pages(kind: str) -> Iterator[tuple[str, str]]:
    for page in library.pages(kind):
        yield page.name, f"{page.doc} (complex too)" if page.complex else page.doc


def _theorems() -> Iterator[tuple[str, str]]:
    for solver in library.pages("solver"):
        for theorem in solver.theorems:
            yield theorem.name, theorem.doc
    for rule in rules().values():
        yield rule.theorem, rule.doc


def _words() -> Iterator[tuple[str, str]]:
    for word in vocabulary.FUNCTIONS.values():
        yield word.usage, word.doc
    for name in sorted(spoken.spoken()):
        yield spoken.usage(name), spoken.summary(name)


_LISTS: dict[str, Any] = {
    "operators": lambda: _pages("operator"),
    "functions": lambda: _pages("function"),
    "solvers": lambda: _pages("solver"),
    "schedules": lambda: _pages("schedule"),
    "stops": lambda: _pages("stop"),
    "systems": lambda: ((page.name, page.line) for page in systems.systems()),
    "theorems": _theorems,
    "words": lambda: _words(),
    "diagnostics": lambda: ((code.id, code.name) for code in codes()),
}


# --- the machine ------------------------------------------------------------------------------------------


def doctor() -> dict[str, str]:
    """What is installed, and which backends work."""
    found = {"banach": version(), "python": platform.python_version()}
    for name in _PARTS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    found["backends"] = ", ".join(_backends(found))
    try:
        import onnxruntime

        found["providers"] = ", ".join(onnxruntime.get_available_providers())
    except ImportError:
        found["providers"] = 'none: pip install "banach[cpu]"'
    return found


def _backends(found: dict[str, str]) -> Iterator[str]:
    yield "oracle"
    if found["onnxruntime"] != "not installed":
        yield "onnx"
    if found["torch"] != "not installed":
        yield "fx"
