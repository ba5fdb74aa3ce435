"""`precision: mixed`, float16 and bfloat16: what runs, and what is left of the proof."""

import re
from dataclasses import replace

import numpy as np
import pytest

import banach
from banach.backends.onnx.verifier import verify
from banach.compiler import library
from banach.ir.evaluate import evaluate
from banach.ir.graph import prune
from banach.ir.tensor_type import numpy_dtype

N = 16
SPEC = """
banach: 1
precision: %s
sizes: {n: 16, batch: any}
inputs: {u: "real[batch, n]"}
parameters:
  W: {file: W.npy}
operators:
  F(z, u): tanh(W @ z + u)
solve:
  z: {method: "picard(F(_, u))", start: zeros(n), stop: {residual: %g, most: %d}}
outputs: {z: z}
"""
BACKENDS = ("oracle", "onnx", "fx")
QUICK = ("picard", "fista", "cg", "anderson", "pdhg")
SOLVERS = [
    pytest.param(page, id=page.name, marks=() if page.name in QUICK else pytest.mark.slow)
    for page in library.pages("solver")
    if page.section.example
]


@pytest.fixture
def made(tmp_path):
    """(precision, tolerance, most) -> the model of a contraction with factor 0.9."""

    def make(precision, tolerance, most=2000):
        matrix = weights()
        np.save(tmp_path / "W.npy", matrix)
        return banach.loads(SPEC % (precision, tolerance, most), folder=tmp_path)

    return make


def weights():
    matrix = np.random.default_rng(0).standard_normal((N, N))
    return matrix * 0.9 / np.linalg.norm(matrix, 2)


def fixed_point(u, W=None):
    z, W = np.zeros_like(u, dtype=float), weights() if W is None else W
    for _ in range(3000):
        z = np.tanh(z @ W.T + u)
    return z


U = 0.1 * np.random.default_rng(1).standard_normal((3, N))


@pytest.mark.parametrize("backend", BACKENDS)
def test_mixed_reaches_what_float32_cannot(made, backend):
    model = made("mixed", 1e-12)
    report = model.check()
    assert report.certificates["z"].verdict == "proved" and not report.diagnostics
    found = model.compile(to=backend).run(u=U)
    assert found["z"].dtype == np.float64 and np.all(found["z.status"] == 0)
    np.testing.assert_allclose(found["z"], fixed_point(U), rtol=0, atol=1e-11)
    wide = made("float64", 1e-12).compile(to=backend).run(u=U)
    assert np.all(np.abs(found["z.iterations"] - wide["z.iterations"]) <= 3), "no more steps than in float64"


def test_about_half_of_the_steps_are_in_float32(made):
    graph = made("mixed", 1e-12).graph
    loops = [op for op in graph.ops if op.name == "fix"]
    assert [op.types[0].dtype for op in loops] == ["float32", "float64"]
    counts = prune(replace(graph, outputs=tuple(op.results[1] for op in loops), output_names=("a", "b")))
    first, second = evaluate(counts, [U, *(port.default.array for port in graph.inputs[1:])])
    assert np.all(first >= 0.35 * (first + second)) and np.all(second > 0)


def test_the_residual_is_of_float64(made):
    """What ends the solve is ‖F(z) - z‖ of the z before: numpy finds the same number in double precision."""
    found = made("mixed", 1e-9).compile().run(u=U)
    after = np.linalg.norm(np.tanh(found["z"] @ weights().T + U) - found["z"], axis=1)
    assert np.all(after <= 0.9 * found["z.residual"] * (1 + 1e-6))


def test_mixed_keeps_nothing_that_speaks_of_the_start(made, tmp_path):
    mixed, wide = (made(p, 1e-9).check().certificates["z"] for p in ("mixed", "float64"))
    assert wide.iterations is not None and mixed.iterations is None and mixed.bound is None
    assert mixed.upper_factor == wide.upper_factor
    assert "k counts from where the part in float32 ends" in mixed.proviso
    assert verify(made("mixed", 1e-9).compile(tmp_path / "mixed.onnx").model).ok


@pytest.mark.parametrize("most", [0, 1, 2, 7])
def test_no_more_steps_than_are_allowed(made, most):
    found = made("mixed", 1e-12, 100).compile().run({"u": U, "z.max_iterations": most})
    assert np.all(found["z.iterations"] == most) and np.all(found["z.status"] == 1)
    z = np.zeros((3, N))
    for _ in range(most):
        z = np.tanh(z @ weights().T + U)
    np.testing.assert_allclose(found["z"], z, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_float32_cannot_hold_starts_over_in_float64(backend):
    """x ← x/2 + b with b = 1e60: infinite in float32."""
    text = """
banach: 1
precision: mixed
sizes: {n: 2}
inputs: {b: "real[n]"}
solve:
  x:
    state: {x: zeros(n)}
    next: {x: 0.5 * x + b}
    stop: {residual: norm(x' - x) <= 1e48, most: 200}
outputs: {x: x}
"""
    found = banach.loads(text).compile(to=backend).run(b=np.array([1e60, -1e60]))
    assert found["x.status"] == 0
    np.testing.assert_allclose(found["x"], [2e60, -2e60], rtol=1e-11)


def test_its_gradient_is_the_implicit_one_in_float64(made):
    found = made("mixed", 1e-12).reverse(output="z", wrt="u").compile().run({"u": U, "d.z": np.ones((3, N))})
    z = fixed_point(U)
    for i in range(3):
        slope = 1 - z[i] ** 2
        jacobian = slope[:, None] * weights()
        expected = np.linalg.solve((np.eye(N) - jacobian).T, np.ones(N)) * slope
        np.testing.assert_allclose(found["d.u"][i], expected, rtol=1e-8)


@pytest.mark.parametrize("page", SOLVERS)
def test_every_solver_answers_as_in_float64(page):
    """Pages whose iteration cannot start elsewhere run in float64 throughout."""
    models = [banach.loads(re.sub("^banach: 1\n", f"banach: 1\nprecision: {p}\n", page.section.example.text))
              for p in ("mixed", "float64")]  # fmt: skip
    mixed, wide = (model.check().certificates["x"].verdict for model in models)
    assert mixed == wide
    mixed, wide = (model.compile(to="oracle").run() for model in models)
    assert mixed["x.status"] == wide["x.status"] == 0
    np.testing.assert_allclose(mixed["x"], wide["x"], rtol=1e-3, atol=1e-4)


def test_an_anchored_iteration_is_not_begun_twice():
    page = next(page for page in library.pages("solver") if page.name == "halpern")
    assert page.section.example is not None
    text = page.section.example.text.replace("banach: 1\n", "banach: 1\nprecision: mixed\n", 1)
    assert [op.types[0].dtype for op in banach.loads(text).graph.ops if op.name == "fix"] == ["float64"]


@pytest.mark.parametrize(("precision", "tolerance"), [("float16", 0.03), ("bfloat16", 0.3)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision(made, precision, tolerance, backend):
    model = made(precision, tolerance)
    assert model.check().certificates["z"].verdict == "proved"
    if (precision, backend) == ("bfloat16", "onnx"):
        return  # ONNX Runtime has no bfloat16 on a CPU
    dtype = model.graph.inputs[0].type.dtype
    found = model.compile(to=backend).run(u=U.astype(np.float32).astype(numpy_dtype(dtype)))
    assert found["z"].dtype == numpy_dtype(dtype) and np.all(found["z.status"] == 0)
    # Off by the stop and by rounding: (tolerance + u·√n)·q/(1 - q), and what the weights lost.
    assert np.abs(found["z"].astype(float) - fixed_point(U)).max() <= 10 * tolerance


@pytest.mark.parametrize(("precision", "unit"), [("float16", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_in_half_precision_a_proof_ends_where_rounding_begins(made, precision, unit):
    """For 2u/(1 - q), with q = 0.9 as the weights are stored."""
    floor = 2 * unit / 0.1
    assert made(precision, 1.1 * floor).check().certificates["z"].verdict == "proved"
    certificate = made(precision, 0.9 * floor).check().certificates["z"]
    assert certificate.verdict == "unknown" and certificate.upper_factor is None
    assert certificate.missing.startswith(f"in {precision} rounding alone may keep the residual at")


def test_what_is_proved_in_half_precision_is_proved_of_the_stored_weights(made):
    certificate = made("float16", 0.1).check().certificates["z"]
    norm = np.linalg.norm(weights().astype(np.float16).astype(float), 2)
    assert norm * (1 - 1e-9) <= certificate.upper_factor <= norm * (1 + 1e-6)
    assert verify(made("float16", 0.1).compile().model).ok


@pytest.mark.parametrize(("precision", "tolerance"), [("mixed", 1e-10), ("float16", 0.02), ("bfloat16", 0.2)])
def test_complex_numbers_in_every_precision(precision, tolerance):
    """x = i·x/2 + b has the solution b/(1 - i/2)."""
    text = f"""
banach: 1
precision: {precision}
sizes: {{n: 3}}
inputs: {{b: "complex[n]"}}
operators: {{"T(x)": "0.5 * i * x + b"}}
solve: {{x: {{method: picard(T), start: b, stop: {{residual: {tolerance}, most: 200}}}}}}
outputs: {{x: x}}
"""
    model, b = banach.loads(text), np.array([1, 1j, 1 + 1j])
    assert model.check().certificates["x"].verdict == "proved"
    for backend in ("oracle", "fx"):
        found = model.compile(to=backend).run(b=b)
        assert found["x.status"] == 0 and np.abs(found["x"] - b / (1 - 0.5j)).max() <= 2 * tolerance
