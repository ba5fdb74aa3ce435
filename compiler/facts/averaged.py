"""The averagedness of a map that is made of gradients and proximal maps, in closed form and exact.

Map      T x = x - Σ b_i u_i with u_i ∈ ∂f_i(y_i), y_i = x + Σ_j<=i D_ij u_j, b_i > 0, f_i convex, and
         beta_i = 1/L_i where ∇f_i is L_i-Lipschitz, else 0
Claim    T is a-averaged if N - b bᵀ/a is positive semidefinite, N = 2 diag(b_i beta_i) - diag(b) D - Dᵀ
         diag(b)
Proof    For differences of two points, <u_i, y_i> >= beta_i ‖u_i‖² (Baillon & Haddad). With weights 2 b_i the
         x cancel:
             ‖x‖² - ‖Tx‖² - (1 - a)/a ‖x - Tx‖² - Σ 2 b_i (<u_i, y_i> - beta_i ‖u_i‖²) = uᵀ(N - b bᵀ/a) u
Cases    a gradient step gL/2; a proximal map 1/2; forward-backward 2 beta/(4 beta - g); two proximal maps
         2/3; Douglas and Rachford 1/2, and Davis and Yin 2 beta/(4 beta - g), all times a relaxation
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from banach.compiler.facts.elimination import reduce

Rows = Sequence[Sequence[Fraction]]


@dataclass(frozen=True, slots=True)
class Parts:
    """b: [r], D: [r, r] lower triangular, beta: [r]."""

    b: tuple[Fraction, ...]
    D: tuple[tuple[Fraction, ...], ...]
    beta: tuple[Fraction, ...]

    @property
    def N(self) -> list[list[Fraction]]:
        r = range(len(self.b))
        found = [[-self.b[i] * self.D[i][j] - self.b[j] * self.D[j][i] for j in r] for i in r]
        for i in r:
            found[i][i] += 2 * self.b[i] * self.beta[i]
        return found


def averagedness(parts: Parts) -> Fraction | None:
    """The least a for which the claim holds; None: there is none."""
    if not parts.b or any(b <= 0 for b in parts.b):
        return None
    v = _solved(parts.N, parts.b)
    if v is None:
        return None
    a = sum((x * y for x, y in zip(parts.b, v)), Fraction(0))  # N v = b: N - b bᵀ/a >= 0 from a = bᵀv on
    return a if a > 0 and is_averaged(parts, a) else None


def is_averaged(parts: Parts, a: Fraction) -> bool:
    """Whether the claim holds for a > 0, exactly."""
    if a <= 0 or any(b <= 0 for b in parts.b) or any(beta < 0 for beta in parts.beta):
        return False
    return _semidefinite([[x - p * q / a for x, q in zip(row, parts.b)] for row, p in zip(parts.N, parts.b)])


def _solved(rows: Rows, right: Sequence[Fraction]) -> list[Fraction] | None:
    """Some v with N v = b, by elimination; None: there is none."""
    table = [[*row, b] for row, b in zip(rows, right)]
    pivots = reduce(table, len(rows))
    if any(row[-1] for row in table[len(pivots) :]):
        return None
    found = [Fraction(0)] * len(rows)
    for i, column in enumerate(pivots):
        found[column] = table[i][-1]
    return found


def _semidefinite(rows: Rows) -> bool:
    """No negative pivot, and a zero pivot only above a zero row."""
    rest = [list(row) for row in rows]
    while rest:
        (pivot, *row), *below = rest
        if pivot < 0 or (pivot == 0 and any(row)):
            return False
        if pivot == 0:
            rest = [line[1:] for line in below]
        else:
            rest = [[x - line[0] * y / pivot for x, y in zip(line[1:], row)] for line in below]
    return True
