"""Row 3: scipy's sparse solution of the five-point Laplacian, and the same cycle by sparse matrices."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

SIZES = (15, 31, 63, 127)


def laplacian(n):
    line = sp.diags([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], [-1, 0, 1])
    return (n + 1) ** 2 * (sp.kron(line, sp.eye(n)) + sp.kron(sp.eye(n), line)).tocsc()


def right_side(n, seed=3):
    return np.random.default_rng(seed).standard_normal((n, n))


@pytest.fixture(scope="module")
def runs():
    """(page, n) -> how to run the page on an n × n grid, without the dense copy, which is for n = 15."""
    made = {}

    def run(page, n):
        if n not in made:
            sized = page.changed(("n: 15}", f"n: {n}}}"), ("  V: V15\n", f"  V: V{n}\n"), *WITHOUT)
            made[n] = sized.model.compile(to="onnx").run
        return made[n]

    return run


# The matrix of the cycle is for small grids: 127² unknowns make 2.6e8 entries.
WITHOUT = (
    (
        "  dense:\n    method: picard(T)\n    start: zeros(n * n)\n    stop: {residual: 1e-12, most: 200}\n",
        "",
    ),
    ("  dense: reshape(dense, n, n)\n", ""),
    ("require: {dense: converges}\n", ""),
    ("  units: reshape(eye(n * n), n * n, 1, n, n)\n", ""),
    ("  E: transpose(reshape(error(units), n * n, n * n))\n", ""),
    ("  T(x): E @ x + reshape(V(grid(f)), n * n)\n", ""),
)


def test_every_backend_reaches_scipys_solution(page):
    f = right_side(15)
    found = page.run(f=f)
    exact = spsolve(laplacian(15), f.ravel()).reshape(15, 15)
    for name, close in (("u", 1e-7), ("dense", 1e-10)):
        np.testing.assert_allclose(found[name], exact, rtol=0, atol=close * np.abs(exact).max())
        assert found[f"{name}.status"] == 0


def test_the_number_of_cycles_does_not_depend_on_the_grid(page, runs):
    counts = []
    for n in SIZES:
        f = right_side(n)
        found = runs(page, n)(f=f)
        exact = spsolve(laplacian(n), f.ravel()).reshape(n, n)
        np.testing.assert_allclose(found["u"], exact, rtol=0, atol=1e-7 * np.abs(exact).max())
        counts.append(int(found["u.iterations"]))
    assert max(counts) - min(counts) <= 1 and max(counts) <= 20


@pytest.mark.parametrize("n", [31, 63])
def test_the_factor_of_many_cycles(page, runs, n):
    f, run = right_side(n), runs(page, n)
    residuals = [
        run({"f": f, "u.max_iterations": most, "u.tolerance": 1e-15})["u.residual"] for most in (8, 12, 16)
    ]
    factors = [(new / old) ** 0.25 for old, new in itertools.pairwise(residuals)]
    assert all(0.2 < factor <= 0.40 for factor in factors)


def test_the_cycle_is_linear(page, runs):
    run = runs(page, 15)
    f, g = right_side(15, 1), right_side(15, 2)
    both, one, two = (run(f=h)["cycled"] for h in (2 * f - 3 * g, f, g))
    assert np.abs(both - 2 * one + 3 * two).max() <= 1e-12 * np.abs(both).max()


def test_the_certificate_is_of_the_matrix_of_the_cycle(page, runs):
    """Columns of I - V A by sparse matrices, not by the page's convolutions."""
    run, A, columns = runs(page, 15), laplacian(15), []
    for unit in np.eye(225):
        columns.append(unit - run(f=(A @ unit).reshape(15, 15))["cycled"].ravel())
    E = np.array(columns).T
    norm, radius = np.linalg.norm(E, 2), max(abs(np.linalg.eigvals(E)))
    assert norm * (1 - 1e-9) <= page.certificates["dense"].upper_factor <= norm * (1 + 1e-6) < 1
    assert radius <= 0.36
