"""The independent checker: it never believes a false bound, and believes those that the compiler finds."""

import ast
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from banach.backends.onnx import proof
from banach.compiler.facts.norms import smallest_singular, spectral_norm
from banach.ir.exact import Interval

# relative distances from the truth at which a claim is tried
NEAR = [Fraction(k) * Fraction(1, 10**e) for k in (-1, 1) for e in (15, 14, 12, 9, 3)] + [Fraction(0)]


def ends(a: Interval) -> tuple[Fraction, Fraction]:
    return Fraction(a.lo), Fraction(a.hi)


def test_it_imports_nothing_but_the_standard_library():
    tree = ast.parse(Path(proof.__file__).read_text())
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert all(name.split(".")[0] in sys.stdlib_module_names for name in names)


@pytest.mark.parametrize("exact_up_to", [0, 32])
@pytest.mark.parametrize("seed", range(8))
def test_a_bound_is_believed_only_if_it_is_true(families, roots, monkeypatch, seed, exact_up_to):
    monkeypatch.setattr(proof, "_EXACT", exact_up_to)
    for name, a in families(seed, 10):
        truth, rows = roots.squares(a), np.asarray(a, float).tolist()
        (_, hi), (_, high) = ends(spectral_norm(a)), ends(smallest_singular(a))
        for distance in NEAR:
            claim = hi * (1 + distance)
            if proof.norm_at_most(rows, claim):
                assert truth.all_at_most(claim**2), f"{name}: ‖A‖ <= {float(claim)} is false"
            claim = high * (1 + distance)
            if proof.smallest_at_least(rows, claim):
                assert truth.all_at_least(claim**2), f"{name}: smallest >= {float(claim)} is false"
                assert a.shape[0] >= a.shape[1] or claim <= 0


@pytest.mark.parametrize("seed", range(4))
def test_elimination_in_integers_decides_exactly(families, roots, seed):
    for name, a in families(seed, 9):
        truth, rows = roots.squares(a), np.asarray(a, float).tolist()
        (lo, hi), (low, high) = ends(spectral_norm(a)), ends(smallest_singular(a))
        for claim in (lo, hi, hi * 2):
            assert proof.norm_at_most(rows, claim) == truth.all_at_most(claim**2), name
        for claim in (low, high, high / 2):
            if a.shape[0] >= a.shape[1] and claim > 0:
                assert proof.smallest_at_least(rows, claim) == truth.all_at_least(claim**2), name


@pytest.mark.parametrize("n", [40, 64])
def test_bounds_of_the_compiler_are_believed(n):
    rng = np.random.default_rng(n)
    for shape in ((n, n), (n, n + 30), (n + 30, n)):
        a = rng.standard_normal(shape)
        lo, hi = ends(spectral_norm(a))
        assert proof.norm_at_most(a.tolist(), hi * (1 + Fraction(1, 10**10)))
        assert not proof.norm_at_most(a.tolist(), lo * (1 - Fraction(1, 10**13)))
        low, high = ends(smallest_singular(a))
        if low:
            assert proof.smallest_at_least(a.tolist(), low * (1 - Fraction(1, 10**6)))
            assert not proof.smallest_at_least(a.tolist(), high * (1 + Fraction(1, 10**9)))


@pytest.mark.parametrize("n", [33, 34])
def test_floats_alone_never_prove_a_false_bound(roots, monkeypatch, n):
    """Just above and below the truth, where every rounding counts, for matrices too large to eliminate."""
    for seed in range(6):
        a = np.random.default_rng(seed).standard_normal((n, n))
        truth, near = roots.squares(a), ends(spectral_norm(a))[0]
        for k in range(-40, 40, 5):
            claim = near * (1 + Fraction(k, 2**53))
            assert not proof.norm_at_most(a.tolist(), claim) or truth.all_at_most(claim**2)


def test_nice_claims_are_proved_at_equality():
    averaging, half = [[0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [0.5, 0.25, 0.25]], Fraction(1, 2)
    assert proof.norm_at_most(averaging * 1, Fraction(1))
    assert not proof.norm_at_most(averaging, 1 - Fraction(1, 10**30))
    large = np.eye(100)[::-1].tolist()
    assert proof.norm_at_most(large, Fraction(1)) and proof.smallest_at_least(large, Fraction(1))
    assert proof.smallest_at_least([[0.5, 0.0], [0.0, 3.0], [0.0, 4.0]], half)
    assert not proof.smallest_at_least([[0.5, 0.0], [0.0, 3.0], [0.0, 4.0]], half + Fraction(1, 10**30))
    assert not proof.smallest_at_least([[1.0, 1.0], [0.0, 1.0]], Fraction(1))  # zero pivot, full row
    assert proof.norm_at_most([], Fraction(0)) and proof.norm_at_most([[0.0, 0.0]], Fraction(0))
    assert not proof.smallest_at_least([[0.0]], Fraction(1, 10**300))
    assert not proof.smallest_at_least([[1.0, 0.0]], Fraction(1, 10**300))
    assert proof.smallest_at_least([[1.0, 0.0]], Fraction(0))


def test_sums_are_compared_exactly():
    tenths = [0.1, -0.2, 0.3]
    total = sum((abs(Fraction(x)) for x in tenths), Fraction(0))
    assert proof.abs_sum_at_most(tenths, total)
    assert not proof.abs_sum_at_most(tenths, total - Fraction(1, 10**300))
    assert proof.abs_sum_at_most([], Fraction(0))
    assert proof.abs_sum_at_most([5e-324, 1e308], Fraction(2) ** 1024)


@pytest.mark.parametrize("bad", [[[float("nan")]], [[float("inf")]], [[1.0], [1.0, 2.0]]])
def test_what_is_no_matrix_of_numbers_is_not_believed(bad):
    assert not proof.norm_at_most(bad, Fraction(10**400))
    assert not proof.smallest_at_least(bad, Fraction(-1))
    assert not proof.abs_sum_at_most([float("nan")], Fraction(1))
    assert not proof.norm_at_most([[1.0]], Fraction(-2))


def test_a_layer_of_256_is_checked():
    a = np.random.default_rng(9).standard_normal((256, 256))
    (_, hi), rows = ends(spectral_norm(a)), a.tolist()
    assert proof.norm_at_most(rows, hi * (1 + Fraction(1, 10**9)))
