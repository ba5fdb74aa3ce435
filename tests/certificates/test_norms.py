"""Norms, singular values and eigenvalues against exact characteristic polynomials."""

from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx, fmpz_mat

from banach.compiler.facts import norms, rounding
from banach.compiler.facts.norms import (
    is_psd,
    logarithmic_norm,
    negative_direction,
    smallest_singular,
    spectral_norm,
    spectrum,
    top_direction,
)
from banach.compiler.facts.symbol import circulant_symbol, roots_of_unity
from banach.ir.exact import Interval


def exact(x: float) -> Fraction:
    return Fraction(float(x))


def stretch(a: np.ndarray, v: list[float]) -> Fraction:
    """‖av‖²/‖v‖², by FLINT."""
    whole = [[exact(x) for x in row] for row in [*a, v]]
    unit = max(x.denominator for row in whole for x in row)
    *rows, w = [[int(x * unit) for x in row] for row in whole]
    image, w = fmpz_mat(rows) * fmpz_mat([[x] for x in w]), fmpz_mat([w])
    top, bottom = (image.transpose() * image)[0, 0], (w * w.transpose())[0, 0]
    return Fraction(int(top), int(bottom)) / unit**2


@pytest.mark.parametrize("seed", range(12))
def test_the_greatest_singular_value_is_enclosed(families, roots, seed):
    for name, a in families(seed, 32 if seed < 4 else 12):
        truth, bound = roots.squares(a), spectral_norm(a)
        assert truth.all_at_most(bound.hi**2), f"{name}: below the truth"
        assert truth.any_at_least(bound.lo**2), f"{name}: lower end above the truth"
        assert bound.hi <= bound.lo * (1 + Fraction(1, 10**11)), f"{name}: loose"
        v, squared = top_direction(a)
        assert stretch(a, v) == squared


@pytest.mark.parametrize("seed", range(100, 128))
def test_five_hundred_matrices_of_up_to_64_rows(families, roots, seed):
    """18 of each kind, ill-conditioned and denormal ones among them: exactly, so by more than 200 bits."""
    for name, a in families(seed, 64):
        truth, bound = roots.squares(a), spectral_norm(a)
        assert truth.all_at_most(bound.hi**2) and truth.any_at_least(bound.lo**2), f"{name}: below the truth"
        assert bound.hi <= bound.lo * (1 + Fraction(1, 10**11)), f"{name}: loose"
        least = smallest_singular(a)
        assert least.lo == 0 or truth.all_at_least(least.lo**2), f"{name}: above the truth"


def test_512_by_512_within_a_hundredth():
    """Between the image of a vector, which is exact, and the bound lies the truth."""
    rng = np.random.default_rng(7)
    for a in (rng.standard_normal((512, 512)), rng.standard_normal((512, 512)) * np.logspace(0, -12, 512)):
        v, squared = top_direction(a)
        assert stretch(a, v) == squared
        assert squared <= spectral_norm(a).hi ** 2 <= squared * Fraction(1.01) ** 2


@pytest.mark.parametrize("seed", range(12))
def test_the_least_singular_value_is_enclosed(families, roots, seed):
    for name, a in families(seed, 32 if seed < 4 else 12):
        truth, bound = roots.squares(a), smallest_singular(a)
        if a.shape[0] < a.shape[1]:
            assert bound == Interval.of(0)
            continue
        assert bound.lo == 0 or truth.all_at_least(bound.lo**2), f"{name}: above the truth"
        assert truth.any_at_most(bound.hi**2), f"{name}: upper end below the truth"
        if name in ("square", "tall", "orthogonal", "flat spectrum", "huge", "single precision"):
            assert bound.hi <= bound.lo * (1 + Fraction(1, 10**4)), f"{name}: loose"


@pytest.mark.parametrize("seed", range(12))
def test_eigenvalues_of_symmetric_matrices_are_enclosed(families, roots, seed):
    for name, a in families(seed, 16):
        if a.shape[0] != a.shape[1] or name == "huge":
            continue
        s = np.asarray(a + a.T, dtype=float)
        truth, (least, greatest) = roots.eigenvalues(s), spectrum(s)
        assert truth.all_at_least(least.lo) and truth.any_at_most(least.hi), name
        assert truth.all_at_most(greatest.hi) and truth.any_at_least(greatest.lo), name
        size = max(abs(least).hi, abs(greatest).hi)
        assert least.hi - least.lo <= size / 10**11 and greatest.hi - greatest.lo <= size / 10**11, name
        assert is_psd(s) == truth.all_at_least(Fraction(0)), name
        measure = logarithmic_norm(a)
        if np.array_equal(s - np.asarray(a, float), np.asarray(a, float).T):  # then the sum was exact
            assert truth.all_at_most(2 * measure.hi) and truth.any_at_least(2 * measure.lo), name


@pytest.mark.parametrize("seed", range(6))
def test_the_logarithmic_norm_counts_the_rounding_of_the_symmetric_part(roots, seed):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((6, 6)) * 10.0 ** rng.integers(-9, 9, (6, 6))
    unit = 2**140
    whole = [[int(exact(x) * unit) for x in row] for row in w]
    assert all(Fraction(k, unit) == exact(x) for r, s in zip(whole, w) for k, x in zip(r, s))
    twice = fmpz_mat(whole) + fmpz_mat(whole).transpose()
    truth, bound = roots(twice, -141), logarithmic_norm(w)
    assert truth.all_at_most(bound.hi) and truth.any_at_least(bound.lo)
    assert bound.hi - bound.lo <= abs(bound).hi / 10**12


@pytest.mark.parametrize("seed", range(8))
def test_semidefiniteness_is_decided_at_the_boundary(roots, seed):
    rng = np.random.default_rng(seed)
    half = rng.integers(-5, 6, (7, 4)).astype(float)
    s = half @ half.T  # exactly singular
    assert is_psd(s) is True
    s[0, 0] = np.nextafter(s[0, 0], 0)
    assert is_psd(s) is roots.eigenvalues(s).all_at_least(Fraction(0))
    s -= np.eye(7)
    witness = negative_direction(s)
    assert witness is not None
    v, quotient = witness
    w = np.array([exact(x) for x in v])
    assert w @ _exactly(s) @ w == quotient * (w @ w)
    assert quotient < 0 and is_psd(s) is False
    assert negative_direction(np.eye(3)) is None


def test_nice_matrices_get_their_exact_values():
    n = 6
    hadamard = np.array([[1.0, 1], [1, -1]])
    laplacian = np.diag([1.0] + [2.0] * (n - 2) + [1.0]) - np.eye(n, k=1) - np.eye(n, k=-1)
    averaging = np.array([[0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [0.5, 0.25, 0.25]])
    assert spectral_norm(np.eye(n)) == smallest_singular(np.eye(n)) == Interval.of(1)
    assert spectral_norm(np.diag([0.1, -0.3])) == Interval.of(0.3)
    assert smallest_singular(np.diag([0.1, -0.3])) == Interval.of(0.1)
    assert spectral_norm(averaging) == Interval.of(1)
    assert spectral_norm(np.kron(hadamard, hadamard)) == Interval.of(2)
    assert smallest_singular(np.kron(hadamard, hadamard)) == Interval.of(2)
    assert spectrum(laplacian)[0] == Interval.of(0) and is_psd(laplacian) is True
    assert spectrum(np.diag([3.0, -2, 5])) == (Interval.of(-2), Interval.of(5))
    assert spectral_norm(np.zeros((3, 2))) == spectral_norm(np.zeros((0, 2))) == Interval.of(0)
    assert spectral_norm(np.diag([1e300, 1e-300])) == Interval.of(1e300)
    assert logarithmic_norm(np.zeros((2, 2))) == Interval.of(0)
    assert spectral_norm(np.array([[5e-324]])) == Interval.of(5e-324)


def test_bad_matrices_are_refused():
    for bad, said in (
        (np.array([[1, np.nan]]), "entry \\[0, 1\\] is nan"),
        (np.array([[np.inf]]), "finite"),
        (np.ones(3), "shape \\[3\\]"),
        (np.array([[1j]]), "real"),
        (np.array([[2**60 + 1]]), "exactly"),
    ):
        with pytest.raises(ValueError, match=said):
            spectral_norm(bad)
    with pytest.raises(ValueError, match="symmetric"):
        spectrum(np.array([[0.0, 1], [0, 0]]))
    with pytest.raises(ValueError, match="square"):
        is_psd(np.ones((2, 3)))
    with pytest.raises(ValueError, match="square"):
        logarithmic_norm(np.ones((2, 3)))
    with pytest.raises(ValueError, match="columns"):
        smallest_singular(np.ones((3, 0)))


def test_a_matrix_is_bounded_once_whatever_its_layout():
    a = np.random.default_rng(5).standard_normal((40, 30))
    assert top_direction(a)[0] is top_direction(np.asfortranarray(a))[0]
    assert spectral_norm(a.reshape(30, 40)) != spectral_norm(a)


# --- the error bounds themselves ------------------------------------------------------------------------


def _exactly(a: np.ndarray) -> np.ndarray:
    return np.array([[exact(x) for x in row] for row in a], dtype=object)


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_of_a_product_covers_its_error(families, seed):
    """In the Frobenius norm, which is larger than the 2-norm that is promised."""
    for name, a in families(seed, 8):
        b = rounding.scaled(np.asarray(a, dtype=float))[0]
        e = _exactly(b)
        g, error = rounding.gram(b)
        assert ((_exactly(g) - e.T @ e) ** 2).sum() <= error**2, name
        away = _exactly(b @ b.T) - e @ e.T
        assert (away**2).sum() <= rounding.product_error(b, b.T) ** 2, name


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_of_sizes_covers_them(families, roots, seed):
    for name, a in families(seed, 8):
        b = rounding.scaled(np.asarray(a, dtype=float))[0]
        assert roots.squares(np.abs(b)).all_at_most(rounding.squared_size(b)), name


def test_a_factor_of_an_indefinite_matrix_is_not_believed(roots):
    """A float Cholesky completes for matrices that are not quite definite; its residual must admit it."""
    rng, fooled = np.random.default_rng(0), 0
    for _ in range(400):
        half = rng.standard_normal((6, 5))
        m = half @ half.T
        m = np.triu(m) + np.triu(m, 1).T
        remainder = rounding._cholesky_residual(m)
        if remainder is None:
            continue
        truth = roots.eigenvalues(m)
        fooled += not truth.all_at_least(Fraction(0))
        assert truth.all_at_least(-remainder)
    assert fooled > 20


@pytest.mark.parametrize("seed", range(5))
def test_a_poor_factor_proves_less_but_nothing_false(roots, monkeypatch, seed):
    """Nothing is asked of LAPACK: whatever it returns as the factor, the residual tells how far off it is."""
    rng = np.random.default_rng(seed)
    l = np.tril(rng.standard_normal((6, 6)))
    l[5, 5] = 0
    m = l @ l.T
    m = np.tril(m) + np.tril(m, -1).T - np.eye(6) * 10.0 ** rng.integers(-12, 2)
    monkeypatch.setattr(np.linalg, "cholesky", lambda _: l)
    truth, remainder = roots.eigenvalues(m), rounding._cholesky_residual(m)
    assert remainder is not None and truth.all_at_least(-remainder)
    assert not truth.all_at_least(Fraction(0))


def test_integers_beyond_float64_are_not_summed_in_it():
    a = 2.0**30 + 1
    turn = np.array([[a, 1.0], [-1.0, a]])  # a multiple of an orthogonal matrix, by sqrt(2^60 + 2^31 + 2)
    assert spectral_norm(turn).hi ** 2 >= 2**60 + 2**31 + 2 >= spectral_norm(turn).lo ** 2
    assert smallest_singular(turn).lo ** 2 <= 2**60 + 2**31 + 2


def test_elimination_stops_at_a_zero_pivot_with_a_full_row():
    def psd(rows):
        return norms._exactly_psd(np.array(rows, dtype=object))

    for rows in ([[0]], [[0, 0], [0, 1]], [[1, 1], [1, 1]], [[2, 1, 0], [1, 2, 1], [0, 1, 2]]):
        assert psd(rows)
    for rows in ([[-1]], [[0, 1], [1, 5]], [[1, 2], [2, 1]], [[1, 1, 0], [1, 1, 1], [0, 1, 9]]):
        assert not psd(rows)


# --- circular convolutions ------------------------------------------------------------------------------


def test_roots_of_unity_are_within_their_bound():
    ctx.prec = 200
    for n in (1, 2, 3, 7, 64, 360):
        cos, sin = roots_of_unity(n)
        for k in range(n):
            angle = arb(2 * k) / n
            assert abs(angle.cos_pi() - arb(cos[k])) <= arb(2) ** -53
            assert abs(angle.sin_pi() - arb(sin[k])) <= arb(2) ** -53


@pytest.mark.parametrize("seed", range(10))
def test_the_symbol_of_a_kernel_encloses_the_singular_values_of_its_matrix(roots, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 13))
    c = rng.standard_normal(n) * 10.0 ** rng.integers(-300, 300)
    matrix = c[(np.arange(n)[:, None] - np.arange(n)) % n]
    truth, (least, greatest) = roots.squares(matrix), circulant_symbol(c)
    assert truth.all_at_least(least.lo**2) and truth.any_at_most(least.hi**2)
    assert truth.all_at_most(greatest.hi**2) and truth.any_at_least(greatest.lo**2)
    assert greatest.hi <= greatest.lo * (1 + Fraction(1, 10**12))


def test_the_symbol_of_a_plane_kernel_encloses_the_singular_values_of_its_matrix(roots):
    c = np.random.default_rng(3).standard_normal((4, 5))
    columns = [np.roll(c, (i, j), (0, 1)).ravel() for i in range(4) for j in range(5)]
    truth, (least, greatest) = roots.squares(np.array(columns)), circulant_symbol(c)
    assert truth.all_at_least(least.lo**2) and truth.any_at_most(least.hi**2)
    assert truth.all_at_most(greatest.hi**2) and truth.any_at_least(greatest.lo**2)


def test_nice_kernels_get_their_exact_symbols():
    assert circulant_symbol([0.25, 0.5, 0.25, 0])[1] == Interval.of(1)
    assert circulant_symbol([1.0, -1, 0, 0, 0])[0] == Interval.of(0)
    assert circulant_symbol(np.zeros(4)) == (Interval.of(0), Interval.of(0))
    with pytest.raises(ValueError, match="entries"):
        circulant_symbol([])


# --- size -----------------------------------------------------------------------------------------------


def test_a_layer_of_256_is_bounded_tightly():
    a = np.random.default_rng(9).standard_normal((256, 256))
    bound = spectral_norm(a)
    v, squared = top_direction(a)
    assert stretch(a, v) == squared  # so the lower end is true, and the upper one not loose:
    assert bound.lo**2 <= squared <= bound.hi**2
    assert bound.hi <= bound.lo * (1 + Fraction(1, 10**10))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 130))
def test_many_more_matrices_are_enclosed(families, roots, seed):
    for name, a in families(seed, 48):
        truth, bound = roots.squares(a), spectral_norm(a)
        assert truth.all_at_most(bound.hi**2) and truth.any_at_least(bound.lo**2), name
        least = smallest_singular(a)
        assert truth.all_at_least(least.lo**2) or least.lo == 0, name
        assert truth.any_at_most(least.hi**2) or a.shape[0] < a.shape[1], name
