"""Matrices that are hard on bounds, and an oracle that knows their singular values exactly.

The oracle is FLINT's integer arithmetic. A matrix of floats is an integer matrix K times a power of two, and
the characteristic polynomial p of KᵀK has real roots only: p(x + y) = Π(y + (x - root)). So all roots are at
most x if and only if p(x + y) has no negative coefficient in y, and all are below x if all coefficients are
positive (Descartes).
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from flint import fmpq, fmpq_poly, fmpz_mat


@pytest.fixture(scope="session")
def families():
    """(seed, largest size) -> pairs of a name and a matrix."""
    return _families


@pytest.fixture(scope="session")
def roots():
    """The oracle: see `Roots`."""
    return Roots


def _families(seed: int, largest: int = 32) -> Iterator[tuple[str, np.ndarray]]:
    """One matrix of each kind, of random size."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, largest + 1))
    m = int(rng.integers(1, 9))
    normal = rng.standard_normal
    yield "square", normal((n, n))
    yield "tall", normal((n + m, n))
    yield "wide", normal((m, n))
    yield "integers", rng.integers(-9, 10, (n, n)).astype(float)
    yield "sparse", normal((n, n)) * (rng.random((n, n)) < 0.2)
    yield "rank deficient", rng.integers(-3, 4, (n, m)).astype(float) @ rng.integers(-3, 4, (m, n))
    yield "nearly rank one", np.outer(normal(n), normal(n)) + 1e-13 * normal((n, n))
    left, right = np.linalg.qr(normal((n, n)))[0], np.linalg.qr(normal((n, n)))[0]
    yield "orthogonal", left
    yield "ill-conditioned", left * np.logspace(0, -14, n) @ right
    yield "flat spectrum", left * np.where(np.arange(n) % 2, 1.0, 1 - 1e-9) @ right
    yield "Hilbert", 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0)
    yield "denormal", normal((n, n)) * 2.0**-1070
    yield "huge", normal((n, n)) * 1e306
    yield "graded rows", normal((n, n)) * np.logspace(0, -40, n)[:, None]
    yield "circulant", normal(n)[(np.arange(n)[:, None] - np.arange(n)) % n]
    yield "single precision", normal((n, n)).astype(np.float32)
    yield "permutation", 0.75 * np.eye(n)[rng.permutation(n)]
    yield "averaging", np.full((n, n), 0.125)


def integer_form(a: np.ndarray) -> tuple[fmpz_mat, int]:
    """(k, e) with a = k·2^e, from Python's own ratios."""
    ratios = [[float(x).as_integer_ratio() for x in row] for row in a]
    e = max(d.bit_length() - 1 for row in ratios for _, d in row)
    return fmpz_mat([[p << (e - d.bit_length() + 1) for p, d in row] for row in ratios]), -e


class Roots:
    """The real roots of the characteristic polynomial of an integer matrix that is symmetric, times 2^e."""

    def __init__(self, k: fmpz_mat, e: int):
        self.p = fmpq_poly(k.charpoly())
        self.scale = Fraction(2) ** e

    @classmethod
    def squares(cls, a: np.ndarray) -> "Roots":
        """The squared singular values of a: [m, n], all n of them."""
        k, e = integer_form(a)
        return cls(k.transpose() * k, 2 * e)

    @classmethod
    def eigenvalues(cls, s: np.ndarray) -> "Roots":
        return cls(*integer_form(s))

    def all_at_most(self, x: Fraction) -> bool:
        return all(c >= 0 for c in self._shifted(x, 1))

    def any_at_least(self, x: Fraction) -> bool:
        return not all(c > 0 for c in self._shifted(x, 1))

    def any_at_most(self, x: Fraction) -> bool:
        return not all(c * (-1) ** self.p.degree() > 0 for c in self._shifted(x, -1))

    def all_at_least(self, x: Fraction) -> bool:
        return all(c * (-1) ** self.p.degree() >= 0 for c in self._shifted(x, -1))

    def _shifted(self, x: Fraction, sign: int) -> list[fmpq]:
        x = x / self.scale
        return self.p(fmpq_poly([fmpq(x.numerator, x.denominator), sign])).coeffs()
