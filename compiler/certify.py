"""From claims to certificates: theorems of the page are matched, in exact arithmetic."""

import math
from collections.abc import Iterable
from dataclasses import replace
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Any

from banach.compiler import library
from banach.compiler.arithmetic import outlasting
from banach.compiler.certificate import PROVED, REFUTED, UNKNOWN, Adjoint, Certificate, Hypothesis
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration import guests
from banach.compiler.elaboration.analysis import constants, measure
from banach.compiler.elaboration.analysis.recognise import spelt_pages
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.replay import witness
from banach.compiler.elaboration.things import Environment, Gradient, Number
from banach.compiler.facts import quantity as q
from banach.compiler.inference.adjoint import with_adjoint
from banach.compiler.inference.rule import rules
from banach.compiler.remarks import remarks
from banach.compiler.room import with_room
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse
from banach.compiler.text.source import Scalar
from banach.ir.diagnostic import Code, Diagnostic, SpecError, suggest
from banach.ir.exact import Bound, round_float
from banach.ir.tensor_type import ROUNDOFF

BAD_REQUIREMENT = Code(
    "B314",
    "bad-requirement",
    """A requirement speaks of something that is no solve, or asks for what cannot be stated of it.

    right    require: {x: converges}
""",
)
NOT_SHOWN = Code(
    "B331",
    "requirement-not-shown",
    """The spec requires a solve to converge, and that could be neither proved nor refuted. The message names
the hypothesis that is missing, and the nearest parameter that would be proved.
""",
)
_LONGEST = 1 << 40  # a trip bound beyond this is no bound


@with_room
def certify(elaborated: Elaborated) -> tuple[list[Certificate], list[Diagnostic]]:
    """A certificate for every solve, and what is to be said of them.

    A solve inside a map stands for all the places where the map is applied: it gets the worst of theirs.
    """
    certificates: dict[str, Certificate] = {}
    diagnostics: dict[Diagnostic, None] = {}
    for claim in elaborated.claims:
        certificate = replace(_certify(claim, elaborated), inside=claim.recipe.nested)
        certificate = outlasting(certificate, claim, elaborated.precision)
        known = certificates.get(certificate.solve, certificate)
        certificates[certificate.solve] = _of_both(known, certificate)
        diagnostics.update(dict.fromkeys(remarks(certificate, claim)))
    return list(certificates.values()), list(diagnostics)


def _of_both(one: Certificate, other: Certificate) -> Certificate:
    """What holds at two places: the weaker certificate, with the assumptions of both."""
    trusted = dict.fromkeys((*one.assumptions, *other.assumptions))
    return replace(max(one, other, key=_weakness), assumptions=tuple(trusted))


def _weakness(certificate: Certificate) -> tuple[float, ...]:
    """What says less comes later: refuted after unknown after proved, no bound after a large one."""
    rank = (PROVED, UNKNOWN, REFUTED).index(certificate.verdict)
    ends = certificate.iterations, certificate.upper_factor
    return rank, *(math.inf if end is None else end for end in ends)


def requirements(elaborated: Elaborated, certificates: Iterable[Certificate]) -> Iterable[Diagnostic]:
    """What is required and the certificates do not give."""
    verdicts = {certificate.solve: certificate for certificate in certificates}
    for required in elaborated.required:
        certificate, word = verdicts.get(required.solve), required.word
        if certificate is None:
            near = suggest(required.solve, verdicts)
            fix = f"write `{near}`" if near else f"the solves are: {', '.join(verdicts) or 'none'}"
            message = f"there is no solve `{required.solve}`"
            yield Diagnostic(BAD_REQUIREMENT, message, required.place, fix=fix)
        elif not isinstance(word, Scalar) or word.text != "converges":
            yield Diagnostic(BAD_REQUIREMENT, "this cannot be required", word.span, fix="write `converges`")
        elif certificate.verdict == UNKNOWN:
            message = f"that `{required.solve}` converges could not be shown"
            fix = (
                f"use {certificate.nearest}"
                if certificate.nearest
                else "see `banach check -v`, or drop the requirement"
            )
            place = required.place if required.notes else word.span
            why = certificate.missing or ""
            yield Diagnostic(NOT_SHOWN, message, place, why=why, fix=fix, notes=required.notes)


def _certify(claim: Claim, elaborated: Elaborated) -> Certificate:
    """The best that a page says of a claim: of its own page, or of any whose equations it spells out."""
    claim.context.assumed.used.clear()
    plain = claim.recipe.plain
    if not plain and claim.page is None:  # the theorems of a page are about all that it says
        missing = "no theorem covers held work or old values yet"
        return Certificate(claim.recipe.name, UNKNOWN, missing=missing, place=claim.recipe.place)
    pages = [(claim.page, claim)] if claim.page else spelt_pages(claim)
    found = [told for page, local in pages for told in _spelt(page, local, elaborated)]
    found = [replace(certificate, assumptions=tuple(claim.context.assumed.used)) for certificate in found]
    reworded = any(told.reworded for _, told in pages)
    settled = any(c.verdict == REFUTED or (c.verdict == PROVED and (c.factor or not reworded)) for c in found)
    if plain and not settled:
        found += _by_rules(claim, elaborated)
    if not found:
        missing = "no theorem covers an iteration of this form yet"
        return Certificate(claim.recipe.name, UNKNOWN, missing=missing, place=claim.recipe.place)
    best = min(found, key=_rank)
    relied = (*best.assumptions, *claim.solved.rules)
    best = with_adjoint(best, claim)
    return replace(best, assumptions=guests.trusted(relied, claim.page, elaborated.graph))


def _spelt(page: library.Page, claim: Claim, elaborated: Elaborated) -> list[Certificate]:
    """What a page says, if it can be asked at all about what a guess put in place of its parameters."""
    try:
        return [_by_page(page, claim, elaborated)]
    except SpecError:
        if not claim.reworded:
            raise
        return []


def _rank(certificate: Certificate) -> tuple[int, bool]:
    """Proofs first, those with a factor before others; then refutations."""
    proved = certificate.verdict == PROVED
    return (PROVED, REFUTED, UNKNOWN).index(certificate.verdict), proved and certificate.factor is None


def _by_rules(claim: Claim, elaborated: Elaborated) -> Iterable[Certificate]:
    """What the rules say, up to the first that proves a factor."""
    for rule in rules().values():
        claim.context.assumed.used.clear()
        certificate = rule.verdict(claim, elaborated)
        if certificate is not None:
            yield replace(certificate, assumptions=tuple(claim.context.assumed.used))
            if certificate.verdict == PROVED and certificate.factor is not None:
                return


def _by_page(page: library.Page, claim: Claim, elaborated: Elaborated) -> Certificate:
    names = claim.names
    attempts = [_attempt(theorem, claim, names, elaborated) for theorem in page.theorems]
    proved = next((attempt for attempt in attempts if attempt.verdict == PROVED), None)
    if proved:
        return proved
    refuted = next((r for rule in page.refutations if (r := _refute(rule, claim, names, elaborated))), None)
    closest = min(attempts, key=lambda a: sum(h.holds is not True for h in a.hypotheses), default=None)
    if refuted:
        return _with_nearest(refuted, closest)
    if closest is None:
        missing = f"no theorem is known for {page.name}"
        return Certificate(claim.recipe.name, UNKNOWN, missing=missing, place=claim.recipe.place)
    return closest


def _attempt(
    theorem: library.Theorem, claim: Claim, names: Environment, elaborated: Elaborated
) -> Certificate:
    if claim.solved.again and theorem.reads("start"):
        missing = f"`{theorem.name}` speaks of the start, and in mixed precision a solve starts again"
        return Certificate(verdict=UNKNOWN, missing=missing, **claim.stated)
    local, context = _measured(theorem.where, names, claim), claim.context
    judgements = [measure.judge(node, local, context) for node in theorem.hypotheses]
    hypotheses = [
        _hypothesis(judgement, node, claim) for judgement, node in zip(judgements, theorem.hypotheses)
    ]
    conclusion, constant = theorem.conclusion, _of_gradient(names, claim)
    certificate: dict[str, Any] = dict(
        theorem=theorem.name,
        statement=theorem.doc,
        source=theorem.source,
        quantity=conclusion.quantity.text,
        rate=conclusion.rate.text if conclusion.rate else None,
        bound=conclusion.bound.text if conclusion.bound else None,
        norm=conclusion.norm.text if conclusion.norm else "l2",
        proviso=_proviso(conclusion, claim),
        hypotheses=tuple(hypotheses),
        lipschitz=constant.interval if constant else None,
        lipschitz_tree=constant.tree if constant else None,
        **claim.stated,
    )
    failing = next((h for h in hypotheses if h.holds is not True), None)
    if failing:
        missing = _reason(failing)
        nearest = _nearest(judgements)
        return Certificate(verdict=UNKNOWN, missing=missing, nearest=nearest, **certificate)
    rounded = _judge_stored(theorem, local, claim, elaborated.precision)
    if rounded:
        stored = f"as stored in {elaborated.precision}"
        missing = f"`{rounded}` holds for the numbers as written, but not {stored}"
        return Certificate(verdict=UNKNOWN, missing=missing, **certificate)
    factor = measure.quantity(parse(conclusion.factor), local, context) if conclusion.factor else None
    iterations, tree = _trips(conclusion, local, claim)
    return Certificate(
        verdict=PROVED,
        factor=factor.interval if factor else None,
        factor_tree=factor.tree if factor else None,
        iterations=iterations,
        residual_tree=tree,
        adjoint=_stated_adjoint(conclusion, local, claim),
        reachable=_reachable(factor, claim, elaborated.precision),
        **certificate,
    )


def _proviso(conclusion: library.ConclusionSection, claim: Claim) -> str | None:
    said = [conclusion.proviso.text] if conclusion.proviso else []
    if claim.behind:
        said.append("what is returned is what the theorem speaks of, one step before")
    return "; ".join(said) or None


def _stated_adjoint(
    conclusion: library.ConclusionSection, names: Environment, claim: Claim
) -> Adjoint | None:
    """What the theorem says of the equation's derivative."""
    if conclusion.adjoint is None:
        return None
    found = measure.quantity(parse(conclusion.adjoint), names, claim.context)
    bounded = not found.unit and not isinstance(found.interval.hi, float)
    return Adjoint(PROVED, found.interval.to_floats()[1], tree=found.tree) if bounded else None


def _measured(where: Iterable[tuple[str, syntax.Node]], names: Environment, claim: Claim) -> Environment:
    """The local quantities of a theorem."""
    for name, formula in where:
        names = names.inner({name: measure.quantity(formula, names, claim.context)})
    return names


def _hypothesis(judgement: measure.Judgement, node: syntax.Node, claim: Claim) -> Hypothesis:
    left, right = judgement.left, judgement.right
    margin = None
    if left and right and left.unit == right.unit:
        low, high = (right.interval - left.interval).to_floats()
        slack = low if judgement.op in ("<", "<=") else -high
        margin = f"{slack:.6g}"
    return Hypothesis(
        judgement.text,
        judgement.holds,
        str(left) if left else "",
        str(right) if right else "",
        margin,
        judgement.origin,
        claim.places.get(judgement.subject),
        (judgement.op, left.tree, right.tree) if left and right else (),
    )


def _judge_stored(theorem: library.Theorem, names: Environment, claim: Claim, precision: str) -> str | None:
    """The first hypothesis that fails for the options as the model stores them."""
    stored = {}
    for name in claim.places:
        thing = claim.names.find(name)
        if isinstance(thing, Number):
            stored[name] = Number(Fraction(round_float(thing.value, precision)))
    inner = names.inner(stored)
    for node in theorem.hypotheses:
        judgement = measure.judge(node, inner, claim.context)
        if judgement.holds is not True:
            return judgement.text
    return None


def _trips(conclusion: library.ConclusionSection, names: Environment, claim: Claim) -> tuple[int | None, Any]:
    """The least k at which the bound of the residual is below the tolerance: no run takes more iterations."""
    if conclusion.residual is None or claim.own_stop:
        return None, None
    formula, tolerance = parse(conclusion.residual), claim.recipe.tolerance
    precision = claim.context.scope.precision
    tolerance = min(tolerance, round_float(tolerance, precision))  # the model compares with what it holds
    formula, names = measure.settled(formula, "k", names, claim.context)

    def bound(k: int) -> q.Quantity:
        count = replace(q.number(k), tree=["trips"])  # the checker puts the certified number there
        return measure.quantity(formula, names.inner({"k": count}), claim.context)

    def enough(k: int) -> bool:
        return bound(k).interval.hi <= tolerance

    first = bound(1)
    if first.unit or not first.interval.is_finite:
        return None, None
    high = 1
    while not enough(high):
        high *= 2
        if high > _LONGEST:
            return None, None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high, bound(high).tree


def _reachable(factor: q.Quantity | None, claim: Claim, precision: str) -> float | None:
    """Below this, rounding alone may hold the residual up: 2d/(1 - q), for d a rounding of the iterate.

    The iterate's size is taken as 1, relative to the residual's own scale; it is an estimate, not a bound.
    """
    unit = Fraction(ROUNDOFF[precision])
    if factor is None or claim.recipe.scale is not None:
        return float(4 * unit)
    slack = 1 - factor.interval.hi if not isinstance(factor.interval.hi, float) else Fraction(0)
    return float(2 * unit / slack) if slack > 0 else None


def _refute(
    rule: library.Refutation, claim: Claim, names: Environment, elaborated: Elaborated
) -> Certificate | None:
    """The refutation, if its hypotheses hold for sure and its witness runs away when replayed."""
    local, context = _measured(rule.where, names, claim), claim.context
    judgements = [measure.judge(node, local, context) for node in rule.hypotheses]
    if any(judgement.holds is not True for judgement in judgements):
        return None
    found, constant = witness(rule, local, claim), _of_gradient(names, claim)
    if found is None:
        return None
    return Certificate(
        verdict=REFUTED,
        scope="instance",
        theorem=rule.name,
        statement=rule.doc,
        source=rule.source,
        hypotheses=tuple(_hypothesis(j, n, claim) for j, n in zip(judgements, rule.hypotheses)),
        lipschitz=constant.interval if constant else None,
        lipschitz_tree=constant.tree if constant else None,
        witness=found,
        **claim.stated,
    )


def _with_nearest(refuted: Certificate, closest: Certificate | None) -> Certificate:

    if closest is None:
        return refuted
    failing = next((h for h in closest.hypotheses if h.holds is not True), None)
    return replace(refuted, nearest=closest.nearest, missing=_reason(failing) if failing else None)


def _reason(failing: Hypothesis) -> str:
    told = "fails" if failing.holds is False else "could not be shown"
    sides = f": {failing.value} against {failing.bound}" if failing.value else ""
    return f"`{failing.text}` {told}{sides}"


def _nearest(judgements: Iterable[measure.Judgement]) -> str | None:
    """The value of an option that would be proved: the bound of the first condition on it that fails."""
    for judgement in judgements:
        if (
            judgement.holds is not True
            and judgement.subject
            and judgement.right
            and judgement.op in ("<", "<=")
        ):
            bound = judgement.right
            if bound.interval.lo > 0 and bound.interval.lo != math.inf:
                number = _rounded_down(bound.interval.lo)
                units = " ".join(f"{name}^{power}" for name, power in bound.unit)
                return f"{judgement.subject} {judgement.op} {number}{' ' + units if units else ''}"
    return None


def _rounded_down(bound: Bound) -> str:
    """Six digits that are below the bound also after they were stored in float32: to be typed as they are."""
    short = Context(prec=6, rounding=ROUND_FLOOR)
    below = Fraction(bound) * (1 - Fraction(ROUNDOFF["float32"]) * 2)
    return f"{short.divide(Decimal(below.numerator), Decimal(below.denominator)):g}"


def _of_gradient(names: Environment, claim: Claim) -> q.Quantity | None:
    """The Lipschitz constant that the claim is about: of the smooth function's gradient, or of the map."""
    for name, known in (("f", lambda f: Gradient(f)), ("T", lambda T: T), ("A", lambda A: A)):
        thing = names.find(name)
        if thing is not None:
            try:
                found = constants.lipschitz(known(thing), claim.context, None)
            except SpecError:
                return None
            bounded = not found.unit and not isinstance(found.interval.hi, float)
            return found if bounded else None
    return None
