"""Specs that the command line writes: a new one to start from, and one with every default filled in."""

import re

from banach.compiler import library
from banach.compiler.pipeline import Model
from banach.compiler.text.source import Scalar
from banach.ir.diagnostic import Code, Diagnostic, SpecError, suggest

NO_EXAMPLE = Code(
    "B152",
    "no-example",
    "`banach new NAME --like PAGE` starts from the example of a solver; `banach list solvers` shows them.\n",
)


def new(name: str, like: str) -> str:
    """A commented spec that compiles, after a solver's example. SpecError: there is no such example."""
    page = library.find(like)
    if page is None or page.kind != "solver" or page.section.example is None:
        near = suggest(like, library.names("solver"))
        fix = f"write `--like {near}`" if near else "`banach list solvers` shows what there is"
        raise SpecError([Diagnostic(NO_EXAMPLE, f"there is no example of a solver `{like}`", fix=fix)])
    body = page.section.example.text.removeprefix("banach: 1\n").rstrip()
    notes = {
        "sizes:": "names for sizes; `any` leaves one open until the model runs",
        "parameters:": "numbers, formulas, lists, or files beside this spec: {file: A.npy}",
        "operators:": "maps and functions; `banach list` shows the library",
        "solve:": f"`banach explain {page.name}` shows options and theorems",
        "outputs:": "what the compiled model returns",
        "require:": "what must be proved before anything is compiled",
    }
    lines = []
    for line in body.splitlines():
        key = line.split(" ")[0]
        lines += [f"\n# {notes[key]}", line] if key in notes else [line]
    return f"banach: 1\nname: {name}\ndoc: >-\n  {page.doc}\n" + "\n".join(lines) + "\n"


def render(model: Model) -> str:
    """The spec's text with the options that it leaves to their defaults, each marked as such."""
    lines = model.text.splitlines()
    inserted: dict[int, list[str]] = {}
    for claim in model.elaborated.claims:
        method = claim.solve.method
        if method is None or claim.page is None:
            continue
        section = claim.page.section
        assert isinstance(section, library.SolverPage)
        given = {key.text for key, _ in method.options}
        key = method.node.items[0][0]
        indent = re.match(r"\s*", lines[key.span.line - 1])
        for option, default in section.options or ():
            if option.text not in given and isinstance(default, Scalar):
                pad = indent.group(0) if indent else ""
                told = f"{pad}{option.text}: {default.text}  # the default of {claim.page.name}"
                inserted.setdefault(method.method.span.end_line, []).append(told)
    rendered = []
    for number, line in enumerate(lines, 1):
        rendered += [line, *inserted.get(number, [])]
    return "\n".join(rendered) + "\n"
