"""Why a gradient method fails: a mode of a quadratic that grows, or an orbit of the class that comes back.

On f = λ/2·x² every gradient is λ·y, and the states follow ξ⁺ = M ξ. Where f itself is quadratic and λ one of
its eigenvalues, this very iteration does so along the eigenvector: refuted(instance). Where only constants of
f are known, functions that have them are its class, and one of them for which the method fails refutes the
class.
"""

import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler.certificate import Witness
from banach.compiler.elaboration.analysis.coefficient import Coefficient
from banach.compiler.elaboration.analysis.linear_form import LinearForm
from banach.compiler.elaboration.claims import Claim
from banach.compiler.facts import quantity as q
from banach.compiler.facts import stability
from banach.compiler.facts.cycle import Cycle, cycle
from banach.compiler.facts.stability import Side
from banach.ir.exact import Interval

Rows = list[list[Fraction]]
Blocks = dict[str, list[list[Coefficient]]]
_STEPS = 60


def failure(
    form: LinearForm, blocks: Blocks, mu: q.Quantity, smooth: q.Quantity, claim: Claim
) -> tuple[str, Witness] | None:
    """(scope, witness) for a method with gradients of one function; None: no failure was found."""
    exact = _exactly(blocks)
    returned = [form.returned.at(name).rational for name in form.states]
    if exact is None or mu.unit or smooth.unit or len(form.functions) != 1 or None in returned:
        return None
    seen = [Fraction(x or 0) for x in returned]
    quadratic = claim.context.fact("quadratic", form.functions[0], claim.context, None) is True
    if quadratic and "assumed" not in json.dumps(smooth.tree):
        return _own_mode(exact, blocks, seen, smooth.interval)
    ends = _ends(mu, smooth)
    if ends is None:
        return None
    for curvature in ends[::-1]:
        matrix = _mode(exact, curvature)
        if stability.side(stability.observed(matrix, [seen])[0]) is Side.BEYOND:
            return "class", _growing(matrix, curvature, "the function")
    low, high = ends
    if quadratic or len(form.evaluations) > 1 or not low < high:
        return None
    b = [row[0] for row in exact["B"]]
    found = cycle(exact["A"], b, exact["C"][0], low, high)
    if found is None or not _shows(found, exact["A"], b, seen):
        return None
    return "class", _returning(found, form, low, high)


def _shows(found: Cycle, A: Rows, b: list[Fraction], seen: list[Fraction]) -> bool:
    """Whether what is returned along the orbit is ever another point than the minimiser, 0."""
    state = list(found.state)
    for _, u in found.points:
        if sum((x * y for x, y in zip(seen, state)), Fraction(0)):
            return True
        state = [sum((x * y for x, y in zip(row, state)), c * u) for row, c in zip(A, b)]
    return False


def _exactly(blocks: Blocks) -> dict[str, Rows] | None:
    found = {name: [[x.rational for x in row] for row in rows] for name, rows in blocks.items()}
    if any(x is None for rows in found.values() for row in rows for x in row):
        return None
    return {name: [[Fraction(x or 0) for x in row] for row in rows] for name, rows in found.items()}


def _ends(mu: q.Quantity, smooth: q.Quantity) -> tuple[Fraction, Fraction] | None:
    """(mu, L) such that every function between belongs to the class: declared bounds, or what f attains
    itself.
    """
    declared = "assumed" in json.dumps(smooth.tree)
    high = smooth.interval.hi if declared else smooth.interval.lo
    low = mu.interval.lo
    if isinstance(high, float) or high <= 0:
        return None
    low = Fraction(0) if isinstance(low, float) or low < 0 else Fraction(low)
    return (low, Fraction(high)) if low <= high else None


def _mode(exact: dict[str, Rows], curvature: Fraction) -> Rows:
    """M with ξ⁺ = M ξ on f = curvature/2·x²."""
    return _fed(exact, curvature, Fraction(0))


def _fed(blocks: Any, curvature: Any, zero: Any) -> Any:
    states = range(len(blocks["A"]))
    slopes: list[Any] = []
    for c, d in zip(blocks["C"], blocks["D"]):
        y = [sum((x * s[j] for x, s in zip(d, slopes)), c[j]) for j in states]
        slopes.append([curvature * v for v in y])
    pairs = zip(blocks["A"], blocks["B"])
    return [[sum((x * s[j] for x, s in zip(b, slopes)), a[j]) for j in states] for a, b in pairs]


def _own_mode(
    exact: dict[str, Rows], blocks: Blocks, seen: list[Fraction], smooth: Interval
) -> tuple[str, Witness] | None:
    """The mode of f's own greatest eigenvalue, which lies in `smooth`, with all numbers as written and as
    stored.
    """
    if not smooth.is_finite or not smooth.lo > 0:
        return None
    either = {
        name: [[x.written.interval.hull(x.stored.interval) for x in row] for row in rows]
        for name, rows in blocks.items()
    }
    curvature = Fraction(smooth.lo)
    shown, _ = stability.observed(_mode(exact, curvature), [seen])
    point = smooth.is_point and stability.side(shown) is Side.BEYOND
    whole = len(shown) == len(seen)  # nothing of a mode is hidden from what is returned
    if not point and not (whole and stability.surely_beyond(_fed(either, smooth, Interval.of(0)))):
        return None
    return "instance", _growing(_mode(exact, curvature), curvature, "the eigenvector")


def _growing(matrix: Rows, curvature: Fraction, where: str) -> Witness:
    """The orbit of the direction that grows most."""
    floats = np.array([[float(x) for x in row] for row in matrix])
    values, vectors = np.linalg.eig(floats)
    top = int(np.argmax(np.abs(values)))
    v = np.real(vectors[:, top]) + np.imag(vectors[:, top])
    start = [Fraction(round(x * 2**20), 2**20) for x in (v / np.abs(v).max()).tolist()]
    state, growth = start, []
    for _ in range(_STEPS):
        growth.append(float(max(map(abs, state))))
        state = [
            Fraction(x).limit_denominator(2**60)
            for x in stability.product(matrix, [[s] for s in state])
            for x in x
        ]
    size = abs(values[top])
    note = (
        f"along {where} of curvature {float(curvature):.6g} the states follow a matrix with an eigenvalue "
        f"of size {size:.6g}: no start with a part in it converges"
    )
    data = {"curvature": str(curvature), "matrix": [[str(x) for x in row] for row in matrix]}
    return Witness("mode", tuple(map(float, start)), (len(start),), tuple(growth), note, data)


def _returning(found: Cycle, form: LinearForm, mu: Fraction, smooth: Fraction) -> Witness:
    points: Sequence[tuple[Fraction, Fraction]] = found.points
    note = (
        f"a function of one variable with slopes between {float(mu):.6g} and {float(smooth):.6g} and its "
        f"minimiser at 0, whose gradient is a polygon, leads back in {len(points)} steps"
    )
    data = {
        "states": dict(zip(form.states, map(str, found.state))),
        "points": [[str(y), str(u)] for y, u in points],
        "slopes": [str(mu), str(smooth)],
    }
    growth = tuple(float(abs(y)) for y, _ in (*points, points[0]))
    return Witness("cycle", tuple(map(float, found.state)), (len(found.state),), growth, note, data)
