"""A quadratic Lyapunov function that a certificate states, checked again in plain Python.

The second of two implementations, on purpose: it shares no code with the compiler that found it. For
functions with f - mu/2‖·‖² convex and L-smooth gradients, h = f - mu/2‖·‖² and s = ∇f(y) - mu·y satisfy
    h_a - h_b - <s_b, y_a - y_b> - ‖s_a - s_b‖²/(2(L - mu)) >= 0
at any two points. Write z for the state, the s of this step and those of the next, all measured from the
minimiser. With V = [state s]ᵀ P [state s] + p·h it is enough that two forms in z are positive definite,
    q²V - V⁺ - Σ λ·(left side of a pair)   and   V - ‖state‖² - Σ ν·(left side of a pair),
that no λ or ν is negative, and that the h cancel in both: then V >= ‖state‖², and V falls by q² in every
step.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from banach.backends.onnx.rational import BINARY, Number, Refused, rounded

Form = list[Number]
Matrix = list[Form]
_LARGEST = 16


def falls(stated: Mapping[str, Any], trees: Mapping[str, Any], measure: Callable[[Any], Number]) -> bool:
    """Whether the stated numbers prove the stated factor of every stated system. Refused: they have no
    sense.
    """
    of, factor = stated["of"], Fraction(stated["factor"])
    classes = [_curvature(pair, measure) for pair in trees["classes"]]
    P = [[Fraction(x) for x in row] for row in stated["P"]]
    values = [Fraction(x) for x in stated["values"]]
    step, low = ({(a, b): Fraction(m) for a, b, m in stated[key]} for key in ("decrease", "lower"))
    n, r = len(stated["states"]), len(of)
    sound = 0 < factor < 1 and r > 0 and n + 2 * r <= _LARGEST and len(P) == n + r == len(P[0])
    sound = sound and len(values) == r and set(of) == set(range(len(classes))) and bool(trees["systems"])
    sound = sound and all(P[i][j] == P[j][i] for i in range(n + r) for j in range(i))
    if not sound or not _pairs_fit(step, of, 2) or not _pairs_fit(low, of, 1):
        return False
    if not _cancel(step, [*(factor**2 * v for v in values), *(-v for v in values)]) or not _cancel(
        low, values
    ):
        return False
    for system in trees["systems"]:
        blocks = {name: [[_plain(measure(x)) for x in row] for row in system[name]] for name in "ABCD"}
        if not _shaped(blocks, n, r):
            return False
        now, later, points = _window(blocks, of, classes)
        least = [[_number(x - (i == j and i < n)) for j, x in enumerate(row)] for i, row in enumerate(P)]
        whole = [[_number(x) for x in row] for row in P]
        decrease = _plus(
            _spread(whole, now), _number(factor**2), _spread(whole, later), _number(Fraction(-1))
        )
        lower = _spread(least, now)
        for form, multipliers in ((decrease, step), (lower, low)):
            for (a, b), m in multipliers.items():
                pair = _pair(points, a, b, classes[of[max(a, b) % r]])
                form[:] = _plus(form, _number(Fraction(1)), pair, _number(-m))
        lower = [row[: n + r] for row in lower[: n + r]]
        if not (_definite(decrease) and _definite(lower)):
            return False
    return True


def _curvature(pair: Sequence[Any], measure: Callable[[Any], Number]) -> tuple[Fraction, Fraction | None]:
    """(mu, L) of a class that holds the function: short numbers, and what they are to bound."""
    mu = Fraction(pair[0][0])
    if mu < 0 or (mu > 0 and not mu <= _plain(measure(pair[0][1])).lo):
        raise Refused("a function that is not as strongly convex as stated")
    if pair[1] is None:
        return mu, None
    smooth = Fraction(pair[1][0])
    if not (mu < smooth and _plain(measure(pair[1][1])).hi <= smooth):
        raise Refused("a function that is not as smooth as stated")
    return mu, smooth


def _pairs_fit(multipliers: Mapping[tuple[int, int], Fraction], of: Sequence[int], steps: int) -> bool:
    """Only pairs of points of one function, -1 being the minimiser, and nothing negative."""
    r = len(of)
    return all(
        m >= 0
        and a != b
        and min(a, b) >= -1
        and max(a, b) < steps * r
        and (min(a, b) < 0 or of[a % r] == of[b % r])
        for (a, b), m in multipliers.items()
    )


def _cancel(multipliers: Mapping[tuple[int, int], Fraction], own: Sequence[Fraction]) -> bool:
    left = list(own)
    for (a, b), m in multipliers.items():
        if a >= 0:
            left[a] -= m
        if b >= 0:
            left[b] += m
    return not any(left)


def _shaped(blocks: Mapping[str, Matrix], n: int, r: int) -> bool:
    shapes = {"A": (n, n), "B": (n, r), "C": (r, n), "D": (r, r)}
    fits = all(
        len(blocks[k]) == rows and all(len(row) == columns for row in blocks[k])
        for k, (rows, columns) in shapes.items()
    )
    return fits and all(x.lo == 0 == x.hi for i, row in enumerate(blocks["D"]) for x in row[i + 1 :])


def _window(
    blocks: Mapping[str, Matrix], of: Sequence[int], classes: Sequence[tuple[Fraction, Fraction | None]]
) -> tuple[Matrix, Matrix, list[tuple[Form, Form]]]:
    """State and s of this step, of the next, and the points (y, s) of both, as forms in z."""
    n, r = len(blocks["A"]), len(of)
    unit = [[_number(Fraction(i == j)) for j in range(n + 2 * r)] for i in range(n + 2 * r)]
    state, ends, points = unit[:n], [], []
    for first in (n, n + r):
        slopes = unit[first : first + r]
        ends.append(state + slopes)
        gradients: Matrix = []
        for i, s in enumerate(slopes):
            mu, own = _number(classes[of[i]][0]), blocks["D"][i][i]
            y = _combined([*blocks["C"][i], *blocks["D"][i][:i], own], [*state, *gradients, s])
            rest = BINARY["-"](_number(Fraction(1)), BINARY["*"](own, mu))  # y (1 - D_ii mu) is the sum
            if not rest.lo > 0:
                raise Refused("an evaluation that is not determined by its point")
            y = [rounded(BINARY["/"](x, rest)) for x in y]
            gradients.append(_combined([_number(Fraction(1)), mu], [s, y]))
            points.append((y, s))
        rows = zip(blocks["A"], blocks["B"])
        state = [_combined([*a, *b], [*state, *gradients]) for a, b in rows]
    return ends[0], ends[1], points


def _pair(
    points: list[tuple[Form, Form]], a: int, b: int, curvature: tuple[Fraction, Fraction | None]
) -> Matrix:
    """-<s_b, y_a - y_b> - ‖s_a - s_b‖²/(2(L - mu)), a symmetric matrix."""
    nothing = [_number(Fraction(0))] * len(points[0][0])
    (y, s), (z, t) = (points[i] if i >= 0 else (nothing, nothing) for i in (a, b))
    minus = _number(Fraction(-1))
    move, turn = (
        _combined([_number(Fraction(1)), minus], [y, z]),
        _combined([_number(Fraction(1)), minus], [s, t]),
    )
    half = _number(Fraction(-1, 2))
    found = _plus(_outer(t, move), half, _outer(move, t), half)
    if curvature[1] is None:
        return found
    return _plus(
        found, _number(Fraction(1)), _outer(turn, turn), _number(-1 / (2 * (curvature[1] - curvature[0])))
    )


# --- forms of intervals ---------------------------------------------------------------------------------


def _number(x: Fraction) -> Number:
    return Number(Fraction(x), Fraction(x))


def _plain(x: Number) -> Number:
    if x.unit:
        raise Refused("a coefficient with a unit")
    return x


def _combined(factors: Sequence[Number], forms: Sequence[Form]) -> Form:
    total = [_number(Fraction(0))] * len(forms[0])
    for factor, form in zip(factors, forms, strict=True):
        total = [rounded(BINARY["+"](t, BINARY["*"](factor, x))) for t, x in zip(total, form)]
    return total


def _outer(a: Form, b: Form) -> Matrix:
    return [[BINARY["*"](x, y) for y in b] for x in a]


def _plus(a: Matrix, f: Number, b: Matrix, g: Number) -> Matrix:
    return [_combined([f, g], [x, y]) for x, y in zip(a, b)]


def _spread(P: Matrix, rows: Matrix) -> Matrix:
    """ZᵀPZ for the forms Z."""
    half = [_combined(row, rows) for row in P]
    columns = list(zip(*rows))
    return [_combined(list(column), half) for column in columns]


def _definite(matrix: Matrix) -> bool:
    """Every pivot of L D Lᵀ is positive, for every matrix between the ends."""
    rest = [list(row) for row in matrix]
    while rest:
        (pivot, *row), *below = rest
        if not pivot.lo > 0:
            return False
        scaled = [rounded(BINARY["/"](x, pivot)) for x in row]
        rest = [
            [rounded(BINARY["-"](x, BINARY["*"](line[0], y))) for x, y in zip(line[1:], scaled)]
            for line in below
        ]
    return True
