"""What theorems promise of every step, held against the steps themselves."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize

import banach
from banach.compiler.certificate import Certificate

A = np.array([[2, 1, 0], [0, 1, 1], [1, 0, 3], [1, 1, 1], [0, 2, 1.0]])
B = np.array([1, -2, 3, 0.5, 1])


def trace(text: str, count: int) -> tuple[Certificate, list[np.ndarray]]:
    """The certificate of a spec's solve `x`, and its first iterates, in float64."""
    model = banach.loads(f"banach: 1\nprecision: float64\n{text}\noutputs: {{x: x}}\n")
    run = model.compile(to="oracle").run
    steps = [run({"x.max_iterations": k, "x.tolerance": 1e-300})["x"] for k in range(count + 1)]
    return model.check().certificates["x"], steps


def linear(method: str, H: np.ndarray, b: np.ndarray, count: int) -> tuple[Certificate, list[np.ndarray]]:
    return trace(
        f"""
parameters:
  H: {H.tolist()}
  b: {b.tolist()}
solve:
  x: {{method: "{method}", start: zeros({H.shape[1]}), stop: {{residual: 1e-14, most: 100}}}}""",
        count,
    )


def minimised(method: str, f: str, count: int, start: str, g: str = "free()") -> tuple:
    return trace(
        f"""
operators:
  f: {f}
  g: {g}
solve:
  x: {{method: "{method}", start: "{start}", stop: {{residual: 1e-14, most: 100}}}}""",
        count,
    )


@pytest.mark.parametrize("seed", range(3))
def test_gmres_and_minres_keep_their_bounds_and_find_the_least_residual(seed: int) -> None:
    """Every iterate is the best of its Krylov space, by least squares on a basis of it."""
    random = np.random.default_rng(seed)
    G, b = random.standard_normal((6, 6)), random.standard_normal(6)
    cases = {"gmres": G + 4 * np.eye(6), "minres": G + G.T + np.diag([9, -9, 7, 0, 0, 4])}
    for name, H in cases.items():
        certificate, steps = linear(f"{name}(H, b)", H, b, 6)
        assert certificate.verdict == "proved"
        q, first = certificate.upper_factor, np.linalg.norm(b)
        for k, x in enumerate(steps):
            size = np.linalg.norm(b - H @ x)
            limit = q**k if name == "gmres" else 2 * q ** (k - 1)
            assert size <= limit * first * (1 + 1e-9) + 1e-12
            space = (
                np.stack([np.linalg.matrix_power(H, j + 1) @ b for j in range(k)], 1) if k else b[:, None] * 0
            )
            reach = np.linalg.norm(b - space @ np.linalg.lstsq(space, b, rcond=1e-13)[0])
            assert size == pytest.approx(reach, rel=1e-5, abs=1e-9)


def test_gmres_restarts() -> None:
    """With a restart after every step, it takes minimal residual steps."""
    H, b = np.array([[3, 1, 0], [-1, 2, 1], [0, -2, 4.0]]), np.array([1, 2, 3.0])
    model = linear("gmres(H, b)", H, b, 0)
    text = "gmres(H, b)"
    certificate, steps = trace(
        f"""
parameters:
  H: {H.tolist()}
  b: {b.tolist()}
solve:
  x: {{method: "{text}", restart: 1, start: zeros(3), stop: {{residual: 1e-14, most: 100}}}}""",
        8,
    )
    assert certificate.upper_factor == model[0].upper_factor
    x = np.zeros(3)
    for found in steps[1:]:
        r = b - H @ x
        x = x + (r @ H @ r) / np.sum((H @ r) ** 2) * r
        np.testing.assert_allclose(found, x, atol=1e-12)


@pytest.mark.parametrize("name", ["sor", "ssor", "two_grid", "preconditioned_cg"])
@pytest.mark.parametrize("seed", range(2))
def test_the_error_falls_in_the_norm_of_the_matrix(name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    G, b = random.standard_normal((6, 6)), random.standard_normal(6)
    H = G @ G.T + np.eye(6)
    P = random.standard_normal((6, 2)).round(2)
    method = {
        "two_grid": f"two_grid(H, {P.tolist()}, b)",
        "preconditioned_cg": "preconditioned_cg(H, b, diagonal([1, 2, 3, 1, 2, 3]))",
    }
    certificate, steps = linear(method.get(name, f"{name}(H, b)"), H, b, 12)
    assert certificate.verdict == "proved"
    solution = np.linalg.solve(H, b)
    errors = [np.sqrt((x - solution) @ H @ (x - solution)) for x in steps]
    q = certificate.upper_factor or 1
    for k, (before, after) in enumerate(pairwise(errors)):
        assert after <= (q if name == "two_grid" else 1) * before * (1 + 1e-9) + 1e-12
        if name == "preconditioned_cg":
            assert after <= 2 * q ** (k + 1) * errors[0] * (1 + 1e-9) + 1e-12


def test_kaczmarz_comes_nearer_to_every_solution() -> None:
    random = np.random.default_rng(0)
    H, b = random.standard_normal((3, 6)), random.standard_normal(3)
    certificate, steps = linear("kaczmarz(H, b)", H, b, 30)
    assert certificate.verdict == "proved"
    nearest = np.linalg.pinv(H) @ b
    distances = [np.linalg.norm(x - nearest) for x in steps]
    assert all(after <= before + 1e-12 for before, after in pairwise(distances))


@pytest.mark.parametrize("slack", [1, 10])
def test_safeguarded_methods_keep_their_bound(slack: int) -> None:
    """‖T(x) − x‖ of anderson and ‖∇f‖ of lbfgs at the last good point, which is what the solve reports.

    Trials that the limit refuses are among the steps: with slack 1 and a small `accept` there are many.
    """
    W = np.random.default_rng(0).standard_normal((5, 5))
    W = 0.95 * W / np.linalg.norm(W, 2)
    D = np.diag([1, 3, 10, 20.0])
    texts = {
        "anderson": f"""
parameters: {{W: {W.tolist()}}}
operators:
  T(x): tanh(W @ x) + [3, -2, 1, 0, 5]
solve:
  x:
    method: anderson(T)
    slack: {slack}
    accept: 0.5
    start: zeros(5)
    stop: {{residual: 1e-14, most: 100}}""",
        "lbfgs": f"""
operators:
  f: logistic({D.tolist()}, [1, -1, 1, 1]) + ridge(1)
solve:
  x:
    method: lbfgs(f)
    slack: {slack}
    accept: 0.5
    start: ones(4)
    stop: {{residual: 1e-14, most: 100}}""",
    }
    for text in texts.values():
        model = banach.loads(f"banach: 1\nprecision: float64\n{text}\noutputs: {{x: x}}\n")
        certificate = model.check().certificates["x"]
        assert certificate.verdict == "proved"
        run, q = model.compile(to="oracle").run, certificate.upper_factor
        sizes = [run({"x.max_iterations": k, "x.tolerance": 1e-300})["x.residual"] for k in range(1, 40)]
        for k, size in enumerate(sizes, 1):
            assert size <= slack * q ** (2 * ((k - 3) // 2)) * sizes[0] * (1 + 1e-9) + 1e-13
        assert sizes[-1] < 1e-3 * sizes[0]


def misfit(H: np.ndarray, b: np.ndarray, x: np.ndarray) -> float:
    return float(np.sum((H @ x - b) ** 2) / 2)


def test_bounds_of_smooth_minimisation_are_kept() -> None:
    """The objective gap on least squares with a small curvature, against what each page promises."""
    H = A @ np.diag([1, 0.3, 0.05])
    best = np.linalg.lstsq(H, B, rcond=None)[0]
    least = misfit(H, B, best)

    def gap(x: np.ndarray) -> float:
        return misfit(H, B, x) - least

    far, L = best @ best, np.linalg.norm(H, 2) ** 2
    f = f"least_squares({H.tolist()}, {B.tolist()})"
    _, steps = minimised("chambolle_dossal(f, g)", f, 40, "zeros(3)")
    for k, x in enumerate(steps[1:], 1):
        assert gap(x) <= 9 * L * far / (2 * (k + 2) ** 2) * (1 + 1e-6)
    certificate, steps = minimised("backtracking(f)", f, 40, "zeros(3)")
    assert certificate.verdict == "proved"
    taken = 0
    for before, x in pairwise(steps):
        taken += bool(np.any(before != x))
        assert not taken or gap(x) <= far / (2 * taken * min(1, 0.25 / L)) * (1 + 1e-6)
    certificate, steps = minimised("triple_momentum(f)", f, 60, "zeros(3)")
    q = certificate.upper_factor
    kappa = np.linalg.cond(H) ** 2
    for k, x in enumerate(steps):
        assert np.linalg.norm(x - best) <= 2 * kappa * q**k * np.sqrt(far) + 1e-9
    _, steps = minimised("restarted_fista(f, g)", f"{f} + ridge(1)", 91, "zeros(3)")
    whole = np.vstack([H, np.eye(3)])
    padded = np.concatenate([B, np.zeros(3)])
    ridge = np.linalg.lstsq(whole, padded, rcond=None)[0]
    least = misfit(whole, padded, ridge)

    def cost(x: np.ndarray) -> float:
        return misfit(whole, padded, x) - least

    for first, last in ((0, 30), (30, 60), (60, 90)):
        factor = 4 * (L + 1) / np.linalg.eigvalsh(H.T @ H + np.eye(3))[0] / 31**2
        assert cost(steps[last]) <= factor * cost(steps[first]) * (1 + 1e-6) + 1e-12


def test_bounds_on_the_simplex_are_kept() -> None:
    random = np.random.default_rng(0)
    H, b = random.standard_normal((5, 4)), 3 * random.standard_normal(5)
    L = np.linalg.norm(H, 2) ** 2

    def cost(x: np.ndarray) -> float:
        return misfit(H, b, x)

    f = f"least_squares({H.tolist()}, {b.tolist()})"
    limit = minimize(
        cost,
        np.full(4, 0.25),
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    best = np.maximum(limit.x, 0)
    _, steps = minimised("frank_wolfe(f, 1)", f, 60, "zeros(4)")
    for k, x in enumerate(steps[1:], 1):
        assert cost(x) - limit.fun <= 4 * L / (k + 2) * (1 + 1e-6)
    _, steps = minimised("mirror_descent(f)", f, 60, "ones(4)")
    entropy = np.sum(best[best > 0] * np.log(4 * best[best > 0]))
    for k, x in enumerate(steps[1:], 1):
        assert cost(x) - limit.fun <= entropy * L / k * (1 + 1e-6) + 1e-9


def test_sinkhorn_contracts_hilberts_metric() -> None:
    K = np.array([[1, 0.1, 0.4], [0.3, 1, 0.2], [0.9, 0.6, 0.1]])
    rows, columns = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    certificate, plans = trace(
        f"""
parameters: {{K: {K.tolist()}, rows: {rows.tolist()}, columns: {columns.tolist()}}}
solve:
  x: {{method: "sinkhorn(K, rows, columns)", start: "[1, 5, 0.1]", stop: {{residual: 1e-12, most: 99}}}}""",
        60,
    )
    scales = [np.log(plan / K)[:, 0] for plan in plans]  # log u, up to a constant
    apart = [np.ptp(u - scales[-1]) for u in scales[:8]]
    assert certificate.upper_factor == pytest.approx((9 / 11) ** 2, rel=1e-9)
    for before, after in pairwise(apart):
        assert after <= certificate.upper_factor * before + 1e-12


@pytest.mark.parametrize("skew", [1.0, 0.6])
def test_fast_extragradient_keeps_its_bound(skew: float) -> None:
    random = np.random.default_rng(0)
    G = random.standard_normal((4, 4))
    M = skew * (G - G.T) + (1 - skew) * G @ G.T
    M = M / np.linalg.norm(M, 2)
    b = random.standard_normal(4)
    solution = np.linalg.lstsq(M, -b, rcond=None)[0]
    certificate, steps = trace(
        f"""
operators:
  F: affine_map({M.tolist()}, {b.tolist()})
solve:
  x: {{method: fast_extragradient(F), start: zeros(4), stop: {{residual: 1e-14, most: 100}}}}""",
        60,
    )
    assert certificate.verdict == "proved" or skew < 1
    for k, x in enumerate(steps[1:], 1):
        assert np.sum((M @ x + b) ** 2) <= 4 * solution @ solution / k**2 * (1 + 1e-6)
