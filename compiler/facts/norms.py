"""Norms, singular values and eigenvalues of the weights of a model, enclosed rigorously.

Every answer is an `Interval` that holds the exact value for the matrix as stored. Lower ends of a largest
value (upper ends of a least one) are attained by a vector and evaluated in integers; the other ends come from
a verified Cholesky factor (`rounding.least_eigenvalue`), or exactly from sums of sizes where those are as
good: hence identities, permutations, diagonal and nonnegative circulant matrices, Hadamard matrices and
Laplacians get their exact value. A matrix seen before is not bounded again: answers are kept by the digest of
its bytes.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import wraps
from typing import TypeVar

import numpy as np

from banach.compiler.facts.rounding import (
    TINY,
    UNIT,
    float64,
    gram,
    integers,
    least_eigenvalue,
    power_of_two,
    product_error,
    root_above,
    root_below,
    scaled,
    squared_size,
)
from banach.ir.exact import Interval
from banach.ir.tensor import digest

Answer = TypeVar("Answer")

_KEPT = 4096  # answers that each function remembers
_EXACT_PSD = 24  # largest matrix whose sign an exact elimination decides
_NEAR = 1 + Fraction(1, 10**9)  # a bound this close may turn out to be the exact value


def _per_matrix(bound: Callable[[np.ndarray], Answer]) -> Callable[[object], Answer]:
    """Check the matrix, make it float64, and answer from memory if its bytes and shape were seen before."""
    known: dict[str | None, Answer] = {}

    @wraps(bound)
    def answer(matrix: object) -> Answer:
        given = np.asarray(matrix)
        key = digest(given) if given.dtype != object else None
        if key is None or key not in known:
            if len(known) >= _KEPT:
                known.pop(next(iter(known)), None)
            known[key] = bound(float64(given, 2))
        return known[key]

    return answer


# --- the largest singular value -----------------------------------------------------------------------


def spectral_norm(matrix: object) -> Interval:
    """‖A‖2 = max ‖Av‖/‖v‖ of A: [m, n]; 0 if A is empty. ValueError for NaN and infinities."""
    upper, _, lower = _top(matrix)
    return Interval(root_below(lower), root_above(upper)) if upper else Interval.of(0)


def top_direction(matrix: object) -> tuple[list[float], Fraction]:
    """(v, ‖Av‖²/‖v‖²): a vector [n] that A stretches nearly most, and by how much, exactly."""
    _, v, lower = _top(matrix)
    return v, lower


@_per_matrix
def _top(a: np.ndarray) -> tuple[Fraction, list[float], Fraction]:
    """(upper bound of ‖A‖², v, ‖Av‖²/‖v‖²).

    With a = 2^e (b + d), ‖d‖ <= lost, and G = fl(bᵀb) (b the tall one of b, bᵀ):
    ‖b‖² = max vᵀbᵀbv <= -(least eigenvalue of -G) + error of G.
    """
    if not a.any():
        return Fraction(0), [1.0] * a.shape[1], Fraction(0)
    b, e, lost = scaled(a)
    wide = b.shape[0] < b.shape[1]
    g, error = gram(b.T if wide else b)
    floor, v = least_eigenvalue(-g)
    cheap = squared_size(b)
    upper_of_b = min(cheap, max(-floor, Fraction(0)) + error)
    k, unit = integers(a)
    v, lower = _best_stretch(k, b.T @ v if wide else v, max)
    upper = (root_above(upper_of_b) + lost) ** 2 if lost else upper_of_b
    upper, lower = upper * power_of_two(2 * e), lower * power_of_two(2 * unit)
    exact = [_gram_sums(k, wide), _sums(k) if cheap <= upper_of_b * _NEAR else None]
    return min([upper, *(x * power_of_two(2 * unit) for x in exact if x is not None)]), v, lower


def _best_stretch(k: np.ndarray, v: np.ndarray, choose: Callable) -> tuple[list[float], Fraction]:
    """The better of v and its rounded signs, exact for nice matrices: (v, ‖kv‖²/‖v‖²) in integers."""
    v = v if np.isfinite(v).all() and v.any() else np.ones_like(v)
    found = []
    for candidate in (np.rint(v / np.abs(v).max()), v):
        w, _ = integers(candidate)
        image = k @ w
        found.append((Fraction(int(image @ image), int(w @ w)), candidate.tolist()))
    value, best = choose(found, key=lambda pair: pair[0])
    return best, value


def _sums(k: np.ndarray) -> Fraction:
    """‖k‖1 ‖k‖inf >= ‖k‖2², in integers."""
    size = abs(k)
    return Fraction(int(size.sum(axis=0).max()) * int(size.sum(axis=1).max()))


def _gram_sums(k: np.ndarray, wide: bool) -> Fraction | None:
    """‖kᵀk‖inf >= ‖k‖2², where that product of integers is exact in float64: all sums stay below 2^53.

    Equality for a multiple of an orthogonal matrix. None if the integers are too large.
    """
    g = _integer_gram(k.T if wide else k)
    return None if g is None else Fraction(float(np.abs(g).sum(axis=1).max()))


def _integer_gram(k: np.ndarray) -> np.ndarray | None:
    m, n = k.shape
    if max(m, 1) * n * max(int(abs(k).max(initial=0)), 1) ** 2 >= 2**53:
        return None
    f = k.astype(np.float64)
    return f.T @ f


# --- the least singular value -------------------------------------------------------------------------


@_per_matrix
def smallest_singular(a: np.ndarray) -> Interval:
    """min ‖Av‖/‖v‖ over v: [n], A: [m, n]; 0 if m < n. ValueError for NaN and infinities, or if n = 0.

    From any X with ‖I - XA‖ <= r < 1:  (1 - r)‖v‖ <= ‖XAv‖ <= ‖X‖‖Av‖,  so  min ‖Av‖/‖v‖ >= (1 - r)/‖X‖.
    It keeps its digits up to a condition number of about 1e13, where a Cholesky factor of AᵀA ends at 1e7.
    """
    m, n = a.shape
    if n == 0:
        raise ValueError("a matrix without columns has no singular value")
    if m < n or not a.any():
        return Interval.of(0)
    b, e, lost = scaled(a)
    x = _left_inverse(b)
    k, unit = integers(a)
    _, upper = _best_stretch(k, _least_direction(b, x), min)
    lower = Fraction(0)
    if x is not None:
        away = _distance_from_identity(x, b)
        lower = max(lower, (1 - away) / spectral_norm(x).hi - lost) * power_of_two(e)
    exact = root_below(max(_gram_floor(k), _monomial_floor(k))) * power_of_two(unit)
    return Interval(max(lower, exact), root_above(upper) * power_of_two(unit)).simplify()


def _left_inverse(b: np.ndarray) -> np.ndarray | None:
    """An approximate X with Xb = I; None if b has too little rank for one."""
    q, r = np.linalg.qr(b)
    try:
        with np.errstate(all="ignore"):
            x = np.linalg.solve(r, q.T)
    except np.linalg.LinAlgError:
        return None
    return x if np.abs(x).max() < 2.0**400 else None


def _least_direction(b: np.ndarray, x: np.ndarray | None) -> np.ndarray:
    """A direction that b shrinks nearly most; any finite nonzero answer will do."""
    if x is None:
        return np.linalg.svd(b)[2][-1]
    v = np.random.default_rng(0).standard_normal(b.shape[1])
    for _ in range(40):
        v = x @ (x.T @ v)
        v = v / np.abs(v).max()
    return v


def _distance_from_identity(x: np.ndarray, b: np.ndarray) -> Fraction:
    """A bound of ‖I - xb‖2: r = fl(I - fl(xb)) is within u|r| + TINY and the error of the product."""
    r = np.eye(len(x)) - x @ b
    return (1 + UNIT) * root_above(squared_size(r)) + len(x) * TINY + product_error(x, b)


def _gram_floor(k: np.ndarray) -> Fraction:
    """Gershgorin for kᵀk: min_i (g_ii - Σ_j≠i |g_ij|) <= σ², in integers; 0 where they are too large."""
    g = _integer_gram(k)
    if g is None:
        return Fraction(0)
    return max(Fraction(float((2 * np.diag(g) - np.abs(g).sum(axis=1)).min())), Fraction(0))


def _monomial_floor(k: np.ndarray) -> Fraction:
    """σ² of a matrix with one nonzero entry in each column and at most one in each row: the least square."""
    full = k != 0
    if not ((full.sum(axis=0) == 1).all() and (full.sum(axis=1) <= 1).all()):
        return Fraction(0)
    return Fraction(int(abs(k).sum(axis=0).min())) ** 2


# --- eigenvalues of symmetric matrices ----------------------------------------------------------------


def spectrum(matrix: object) -> tuple[Interval, Interval]:
    """(least, greatest) eigenvalue of S: [n, n], n >= 1; ValueError unless S is exactly symmetric."""
    return _least(matrix), -_least(-float64(matrix, 2))


def logarithmic_norm(matrix: object) -> Interval:
    """The greatest eigenvalue of (W + Wᵀ)/2 of W: [n, n], the logarithmic 2-norm; I - W is strongly monotone
    with 1 minus this."""
    w = float64(matrix, 2)
    if w.shape[0] != w.shape[1]:
        raise ValueError(f"a logarithmic norm needs a square matrix, not {list(w.shape)}")
    if not w.any():
        return Interval.of(0)
    # h = fl(b + bᵀ) has the exact error d (Knuth's two-sum), symmetric too: |eigenvalue shift| <= ‖d‖inf.
    b, e, lost = scaled(w)
    h = b + b.T
    back = h - b
    d = (b - (h - back)) + (b.T - back)
    shift = 2 * lost + root_above(squared_size(d)) if d.any() else 2 * lost
    return (spectrum(h)[1] + Interval(-shift, shift)) * power_of_two(e - 1)


def is_psd(matrix: object) -> bool | None:
    """Is vᵀSv >= 0 for all v? True and False are proved, None is unknown; S as for `spectrum`."""
    sign = _least(matrix).ge(0)
    a = float64(matrix, 2)
    return _exactly_psd(integers(a)[0]) if sign is None and len(a) <= _EXACT_PSD else sign


def negative_direction(matrix: object) -> tuple[list[float], Fraction] | None:
    """(v, vᵀSv/vᵀv) with the exact quotient below 0: the witness that S is not positive semidefinite."""
    _, v, value = _bottom(float64(matrix, 2))
    return (v, value) if value < 0 else None


def _least(matrix: object) -> Interval:
    lower, _, upper = _bottom(matrix)
    return Interval(lower, upper).simplify()


@_per_matrix
def _bottom(a: np.ndarray) -> tuple[Fraction, list[float], Fraction]:
    """(lower bound of the least eigenvalue, v, vᵀSv/vᵀv)."""
    n = len(a)
    if a.shape != (n, n) or not n:
        raise ValueError(f"eigenvalue bounds need a square matrix, not {list(a.shape)}")
    if not np.array_equal(a, a.T):
        raise ValueError("eigenvalue bounds need an exactly symmetric matrix; give (S + Sᵀ)/2")
    if not a.any():
        return Fraction(0), [1.0] * n, Fraction(0)
    b, e, lost = scaled(a)
    floor, v = least_eigenvalue(b)
    k, unit = integers(a)
    found = []
    for candidate in (np.rint(v / np.abs(v).max()), v):
        w, _ = integers(candidate)
        found.append((Fraction(int(w @ (k @ w)), int(w @ w)), candidate.tolist()))
    upper, v = min(found, key=lambda pair: pair[0])
    # Gershgorin, in integers: s_ii - Σ_j≠i |s_ij| is at most the least eigenvalue for some i
    diagonal, size = np.diag(k), abs(k)
    discs = Fraction(int((diagonal - size.sum(axis=1) + np.diag(size)).min())) * power_of_two(unit)
    return max((floor - lost) * power_of_two(e), discs), v, upper * power_of_two(unit)


def _exactly_psd(k: np.ndarray) -> bool:
    """Sylvester's inertia by elimination in Q: no negative pivot, and a zero pivot only above a zero row."""
    s = [[Fraction(int(x)) for x in row] for row in k]
    while s:
        (pivot, *row), rest = s[0], s[1:]
        if pivot < 0 or (pivot == 0 and any(row)):
            return False
        if pivot == 0:
            s = [line[1:] for line in rest]
        else:
            s = [[x - line[0] / pivot * y for x, y in zip(line[1:], row)] for line in rest]
    return True
