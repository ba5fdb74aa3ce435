"""That a map is averaged, as a certificate states it, checked again in plain Python.

With T x = x - Σ b_i u_i, u_i ∈ ∂f_i(x + Σ_j D_ij u_j), f_i convex and <u_i, y_i> >= beta_i ‖u_i‖² for
differences of points (beta_i = 1/L_i for gradients, by Baillon and Haddad, else 0), the form
    ‖x‖² - ‖Tx‖² - (1 - a)/a ‖x - Tx‖² - Σ 2 b_i (<u_i, y_i> - beta_i ‖u_i‖²)
is uᵀ(N - b bᵀ/a)u with N = 2 diag(b beta) - diag(b) D - Dᵀ diag(b): where that is semidefinite, T is
a-averaged.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from banach.backends.onnx.rational import Number

_LARGEST = 16


def is_averaged(
    stated: Mapping[str, Any], trees: Mapping[str, Any], measure: Callable[[Any], Number]
) -> bool:
    """Whether the stated map is averaged with the stated constant, for the numbers as written and as
    stored.
    """
    a, beta = Fraction(stated["a"]), [Fraction(x) for x in stated["beta"]]
    r = len(beta)
    if not (0 < a < 1 and 0 < r <= _LARGEST and len(trees["smooth"]) == r and stated["versions"]):
        return False
    for own, tree in zip(beta, trees["smooth"]):
        bound = None if tree is None else measure(tree)
        if (
            own < 0
            or (bound is None and own > 0)
            or (bound is not None and (bound.unit or own * bound.hi > 1))
        ):
            return False
    return all(_form_is_semidefinite(version, beta, a) for version in stated["versions"])


def _form_is_semidefinite(version: Mapping[str, Any], beta: list[Fraction], a: Fraction) -> bool:
    b, D = [Fraction(x) for x in version["b"]], [[Fraction(x) for x in row] for row in version["D"]]
    r = range(len(beta))
    if len(b) != len(beta) or len(D) != len(beta) or any(len(row) != len(beta) for row in D) or min(b) <= 0:
        return False
    if any(D[i][j] for i in r for j in r if j > i):
        return False
    rest = [
        [2 * b[i] * beta[i] * (i == j) - b[i] * D[i][j] - b[j] * D[j][i] - b[i] * b[j] / a for j in r]
        for i in r
    ]
    while rest:
        (pivot, *row), *below = rest
        if pivot < 0 or (pivot == 0 and any(row)):
            return False
        if pivot == 0:
            rest = [line[1:] for line in below]
        else:
            rest = [[x - line[0] * y / pivot for x, y in zip(line[1:], row)] for line in below]
    return True
