"""Flow through real terrain by conjugate gradients with a V-cycle, against scipy's sparse solution."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

import banach

N = 128


def faces(k):
    """(down, right): harmonic means of neighbours, with the edge repeated."""
    tall, wide = np.pad(k, ((1, 1), (0, 0)), "edge"), np.pad(k, ((0, 0), (1, 1)), "edge")
    return 2 / (1 / tall[1:] + 1 / tall[:-1]), 2 / (1 / wide[:, 1:] + 1 / wide[:, :-1])


def matrix(down, right):
    """The sum over the faces of conductance times the square of the difference, as a sparse matrix."""
    m, n = right.shape[0], down.shape[1]

    def line(size):
        return sp.diags([np.ones(size), -np.ones(size)], [0, -1], shape=(size + 1, size))

    vertical, horizontal = sp.kron(line(m), sp.eye(n)), sp.kron(sp.eye(m), line(n))
    return (
        vertical.T @ sp.diags(down.ravel()) @ vertical + horizontal.T @ sp.diags(right.ravel()) @ horizontal
    ).tocsc()


@pytest.fixture(scope="module")
def problem(model_data):
    """(down, right, solution)"""
    z = model_data.terrain().astype(float)
    k = np.exp((z - z.mean()) / z.std())
    assert round(k.max() / k.min()) == 162
    down, right = faces(k)
    exact = spsolve(matrix(down, right), np.full(N * N, 1 / (N + 1) ** 2)).reshape(N, N)
    return down, right, exact


def test_the_peer_is_the_stated_one(problem):
    assert (problem[2].max(), problem[2].mean()) == pytest.approx((0.07823958, 0.03243191), abs=5e-9)


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_every_backend_equals_the_sparse_solution(backend, problem, compiled):
    result = compiled("darcy", backend).run()
    np.testing.assert_allclose(result["u"], problem[2], rtol=0, atol=1e-10)
    assert result["u.status"] == 0 and result["u.iterations"] <= 25


def test_certificate(model_file, problem):
    report = banach.load(model_file("darcy")).check()
    certificate = report.certificates["u"]
    assert report.ok and certificate.verdict == "proved"
    assert certificate.theorem == "preconditioned-conjugate-gradients"
    positive = [h for h in certificate.hypotheses if h.text in ("spectrum(A) > 0", "spectrum(M) > 0")]
    assert len(positive) == 2 and all(h.holds for h in positive)


def test_a_face_that_is_not_positive_is_refused(model_file):
    """Harmonic means of numbers of both signs: nothing bounds the cycle."""
    path = model_file("darcy")
    text = path.read_text("utf-8").replace("  k: exp(", "  k: -0.5 + exp(")
    with pytest.raises(banach.SpecError, match="B206"):
        banach.loads(text, folder=path.parent)


# --- the pages it stands on --------------------------------------------------------------------------------

SPEC = """banach: 1
precision: float64
sizes: {{m: {m}, n: {n}}}
inputs: {{b: "real[m, n]"}}
parameters:
  down: {{file: down.npy}}
  right: {{file: right.npy}}
operators:
  A: diffusion2d(down, right)
  V: multigrid2d(down, right, {levels})
solve:
  u: {{method: "preconditioned_cg(A, b, V)", start: "zeros(m, n)", stop: {{residual: 1e-10, most: 200}}}}
outputs: {{u: u, v: V(b)}}
require: {{u: converges}}
"""


def model(down, right, levels, folder):
    np.save(folder / "down.npy", down)
    np.save(folder / "right.npy", right)
    m, n = right.shape[0], down.shape[1]
    return banach.loads(SPEC.format(m=m, n=n, levels=levels), folder=folder)


def rough(m, n, size, seed=0):
    random = np.random.default_rng(seed)
    return np.exp(size * random.standard_normal((m + 1, n))), np.exp(
        size * random.standard_normal((m, n + 1))
    )


@pytest.mark.parametrize(("m", "n", "levels", "size"), [(4, 8, 1, 0.5), (4, 8, 3, 0.5), (4, 4, 3, 2)])
def test_a_cycle_is_positive_definite_within_its_bounds(m, n, levels, size, tmp_path):
    down, right = rough(m, n, size)
    found = model(down, right, levels, tmp_path)
    run, A = found.compile(to="onnx").run, matrix(down, right).toarray()
    V = np.stack([run(b=e.reshape(m, n))["v"].ravel() for e in np.eye(m * n)], axis=1)
    np.testing.assert_allclose(V, V.T, rtol=0, atol=1e-13 * np.abs(V).max())
    told = {}
    for hypothesis in found.check().certificates["u"].hypotheses:
        if hypothesis.text.startswith("spectrum"):
            told[hypothesis.text[9]] = [float(x) for x in hypothesis.value.strip("[]").split(",")]
    for name, dense in (("A", A), ("M", V)):
        values, (low, high) = np.linalg.eigvalsh(dense), told[name]
        assert 0 < low <= values[0] * (1 + 1e-5) and values[-1] <= high * (1 + 1e-5)


def test_the_number_of_iterations_hardly_depends_on_the_grid(tmp_path):
    size, counts = 0.5, []
    for levels in (5, 7):
        n = 2 ** (levels - 1)
        b = np.random.default_rng(1).standard_normal((n, n))
        result = model(*rough(n, n, size), levels, tmp_path).compile(to="onnx").run(b=b)
        exact = spsolve(matrix(*rough(n, n, size)), b.ravel()).reshape(n, n)
        np.testing.assert_allclose(result["u"], exact, rtol=0, atol=1e-8 * np.abs(exact).max())
        counts.append(int(result["u.iterations"]))
    assert max(counts) <= 30 and counts[-1] - counts[0] <= 8, counts
