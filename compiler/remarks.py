"""What a person must be told of a certificate: refutations, and tolerances that cannot be reached."""

from collections.abc import Iterable

from banach.compiler.certificate import REFUTED, Certificate
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.problem import NAME_CLASH
from banach.compiler.elaboration.things import Number
from banach.compiler.elaboration.words.spoken import spoken
from banach.compiler.elaboration.words.word import FUNCTIONS
from banach.compiler.spec import Spec
from banach.ir.diagnostic import Code, Diagnostic
from banach.ir.span import Span

STEP_TOO_LARGE = Code(
    "B312",
    "step-too-large",
    """The step of an iteration lies beyond what its theorem allows, and the iteration is known to diverge.

    wrong    step: 3 / lipschitz(grad(f))
    right    step: 1 / lipschitz(grad(f))

For a function whose gradient has the Lipschitz constant L, gradient steps up to 2/L, and accelerated ones up
to 1/L, are proved to converge. `lipschitz(grad(f))` is a guaranteed upper bound of L.
""",
)
REFUTED_CLAIM = Code(
    "B313",
    "refuted",
    "The iteration, as it stands, is known to fail; the witness shows how. It is not compiled.\n",
)
REFUTED_CLASS = Code(
    "B316",
    "refuted-for-the-class",
    """The iteration fails for some function with the constants that are known, or declared, of the spec's
own function; the witness is such a function. Whether it fails for this very function is not known, so it is
compiled.
""",
)
BELOW_ROUNDING = Code(
    "B320",
    "tolerance-below-rounding",
    """The tolerance is so small that rounding alone keeps the residual above it, so the iteration may run
until `most`. Raise the tolerance, or write `precision: float64`.
""",
)


def shadowed(spec: Spec) -> Iterable[Diagnostic]:
    """Maps of the spec that take the name of a word: its formulas then speak of the map."""
    for key, _ in spec.head.operators or ():
        name = key.text.split("(")[0].strip()
        if name in FUNCTIONS or name in spoken():
            message = f"`{name}` is a word of the language; in this spec it means this map"
            yield Diagnostic(
                NAME_CLASH, message, key.span, fix="give the map another name", severity="warning"
            )


def remarks(certificate: Certificate, claim: Claim) -> Iterable[Diagnostic]:
    """What a person must be told of a certificate."""
    if certificate.verdict == REFUTED:
        yield _refutation(certificate, claim)
    reachable, tolerance = certificate.reachable, float(claim.recipe.tolerance)
    if reachable is not None and tolerance < reachable:
        span = claim.solve.stop.residual.span if claim.solve.stop else certificate.place
        message = f"the tolerance {tolerance:g} lies below what rounding allows, about {reachable:.2g}"
        fix = "raise the tolerance, or write `precision: float64`"
        yield Diagnostic(BELOW_ROUNDING, message, span, fix=fix, severity="warning")


def _refutation(certificate: Certificate, claim: Claim) -> Diagnostic:
    broken = next((h for h in certificate.hypotheses if h.place), None)
    step = claim.names.find("step")
    span: Span | None = claim.places.get("step") or (broken.place if broken else certificate.place)
    note = certificate.witness.note if certificate.witness else ""
    why = f"{certificate.statement} ({certificate.source}). Replayed: {note}"
    if isinstance(step, Number) and certificate.nearest:
        bound = certificate.nearest.rsplit(" ", 1)[-1]
        message = f"the step {float(step.value):.6g} is outside (0, {bound}]"
        lo, hi = certificate.lipschitz.to_floats() if certificate.lipschitz else (0.0, 0.0)
        label = f"must be ≤ 1/L = {bound} (L = {hi:.6g}, at least {lo:.6g})"
        fix = f"write `step: 1 / lipschitz(grad(f))`, or any number up to {bound}"
        return Diagnostic(STEP_TOO_LARGE, message, span, label=label, why=why, fix=fix)
    fix = certificate.nearest or "use another method"
    if certificate.scope == "class":
        if certificate.witness is not None and certificate.witness.kind == "moves":
            message = f"the iteration `{certificate.solve}` diverges for almost all inputs"
            return Diagnostic(REFUTED_CLAIM, message, span, why=why, fix=fix)
        message = (
            f"the iteration `{certificate.solve}` fails for some function with the constants that are known"
        )
        return Diagnostic(REFUTED_CLASS, message, span, why=why, fix=fix, severity="warning")
    message = f"the iteration `{certificate.solve}` diverges"
    return Diagnostic(REFUTED_CLAIM, message, span, why=why, fix=fix)
