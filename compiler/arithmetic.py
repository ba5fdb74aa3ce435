"""What is left of a proof in the arithmetic that the model runs in."""

from dataclasses import replace

from banach.compiler.certificate import PROVED, UNKNOWN, Certificate
from banach.compiler.elaboration.claims import Claim
from banach.ir.tensor_type import ROUNDOFF

HALF = ("float16", "bfloat16")
_AGAIN = "k counts from where the part in float32 ends"


def outlasting(certificate: Certificate, claim: Claim, precision: str) -> Certificate:
    """The certificate as far as it holds of a solve in this precision.

    Where it starts again after a part in float32, nothing is kept that speaks of the start: no trip bound, no
    distance. In half precision a proof is withdrawn where rounding alone may keep the residual up: there it
    is no small thing that a theorem may leave out.
    """
    if certificate.verdict != PROVED:
        return certificate
    if claim.solved.again:
        proviso = f"{certificate.proviso}, and {_AGAIN}" if certificate.proviso else _AGAIN
        certificate = replace(certificate, iterations=None, residual_tree=None, bound=None, proviso=proviso)
    if precision not in HALF:
        return certificate
    floor, tolerance = _floor(certificate, precision), float(claim.recipe.tolerance)
    if tolerance >= floor:
        return certificate
    missing = f"in {precision} rounding alone may keep the residual at {floor:.2g}, above {tolerance:g}"
    numbers = {"factor": None, "factor_tree": None, "iterations": None, "residual_tree": None}
    return replace(certificate, verdict=UNKNOWN, derivation=None, missing=missing, **numbers)


def _floor(certificate: Certificate, precision: str) -> float:
    """2d/(1 - q) for d a rounding of an iterate of size 1, or 4d where no factor is known."""
    unit, factor = ROUNDOFF[precision], certificate.upper_factor
    return 4 * unit if factor is None else 2 * unit / (1 - factor)
