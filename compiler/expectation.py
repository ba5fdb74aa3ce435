"""What a page of a published system expects, against what was found: its section `system:`."""

from collections.abc import Iterable

from banach.compiler.certificate import PROVED, REFUTED, UNKNOWN, Certificate
from banach.compiler.spec import Spec, System
from banach.compiler.text.source import Node, Scalar
from banach.ir.diagnostic import Code, Diagnostic, suggest

BAD_SYSTEM = Code(
    "B315",
    "bad-system",
    """The section `system:` names a row that is no whole number, a part of the paper that is none of whole,
core and part, a solve that is not there, or a verdict that no check can give.

    wrong    system: {paper: 14, covers: most, expects: {x: true}, claim: ...}
    right    system: {paper: 14, covers: core, expects: {x: proved}, claim: ...}
""",
)
UNEXPECTED_VERDICT = Code(
    "B332",
    "unexpected-verdict",
    """A published system expects another verdict than the one that was found. Either the page says something
else than the paper, or the checker has lost, or gained, a theorem: then the page says so under `expects:`.
""",
)
VERDICTS = (PROVED, REFUTED, UNKNOWN)
EXTENTS = ("whole", "core", "part")


def unmet(spec: Spec, certificates: Iterable[Certificate]) -> Iterable[Diagnostic]:
    """What is wrong with the section `system:`, and every verdict that is not the expected one."""
    system = spec.system
    if system is None:
        return
    yield from _form(system)
    found = {certificate.solve: certificate for certificate in certificates}
    for key, node in system.expects or ():
        certificate = found.get(key.text)
        if certificate is None:
            near = suggest(key.text, found)
            fix = f"write `{near}`" if near else f"the solves are: {', '.join(found) or 'none'}"
            yield Diagnostic(BAD_SYSTEM, f"there is no solve `{key.text}`", key.span, fix=fix)
        elif _text(node) not in VERDICTS:
            fix = f"write one of {', '.join(VERDICTS)}"
            yield Diagnostic(BAD_SYSTEM, f"no verdict is `{_text(node)}`", node.span, fix=fix)
        elif _text(node) != certificate.verdict:
            message = f"`{key.text}` is expected {_text(node)}, and found {certificate.verdict}"
            why, fix = (
                certificate.missing or "",
                f"write `{key.text}: {certificate.verdict}`, or mend the page",
            )
            yield Diagnostic(UNEXPECTED_VERDICT, message, node.span, why=why, fix=fix)


def _form(system: System) -> Iterable[Diagnostic]:
    paper, covers = system.paper, system.covers
    if not isinstance(paper.value, int) or isinstance(paper.value, bool) or paper.value < 1:
        message = f"a row is a whole number from 1 on, not `{paper.text}`"
        yield Diagnostic(
            BAD_SYSTEM, message, paper.span, fix="write its row in the list of published systems"
        )
    if covers.text.split(":")[0] not in EXTENTS:
        fix = f"write {', '.join(EXTENTS)}, or one of them, a colon, and what it is"
        yield Diagnostic(BAD_SYSTEM, f"a page does not cover `{covers.text}`", covers.span, fix=fix)


def _text(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else ""
