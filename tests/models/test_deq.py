"""A deep equilibrium layer: every sample of a batch stops by itself, at scipy's root."""

import math
import re

import numpy as np
import pytest
import yaml
from scipy.optimize import root

import banach
from banach.compiler import library

PIXELS, H = 64, 48


def drawn(name):
    """`init: normal(0, scale)` as documented: Box and Muller on Philox's bits, stored in float32."""
    spec = yaml.safe_load((library.ROOT / "models" / "deq.yaml").read_text())
    given = spec["parameters"][name]
    shape = tuple(spec["sizes"][size] for size in re.findall(r"\w+", given["type"])[1:])
    scale = float(re.fullmatch(r"normal\(0, (.*)\)", given["init"])[1])
    count = math.prod(shape)
    bits = np.random.Philox(key=given["seed"]).random_raw(2 * count)
    flat = ((bits >> np.uint64(11)) * 2.0**-53).reshape(2, count)
    normal = np.sqrt(-2 * np.log1p(-flat[0])) * np.cos(2 * np.pi * flat[1])
    return (scale * normal).reshape(shape).astype(np.float32).astype(np.float64)


W, U, B = drawn("W"), drawn("U"), drawn("b")


@pytest.fixture(scope="module")
def batch():
    """Samples of very different sizes, so that they stop after different counts."""
    drawn = (
        np.random.default_rng(3).standard_normal((6, PIXELS)) * np.array([0, 0.01, 0.3, 1, 3, 30])[:, None]
    )
    return drawn.astype(np.float32)


def fixed_point(x):
    return root(lambda z: np.tanh(W @ z + U @ x + B) - z, np.zeros(H), tol=1e-13).x


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_a_batch_equals_scipy_and_its_solo_runs(backend, batch, compiled, model_file):
    artifact = compiled("deq", backend)
    result = artifact.run(x=batch)
    counts = result["z.iterations"]
    assert result["z"].shape == (6, H) and counts.shape == (6,) and len(set(counts.tolist())) >= 4
    certificate = banach.load(model_file("deq")).check().certificates["z"]
    assert np.all(counts <= certificate.iterations) and np.all(result["z.status"] == 0)
    assert np.all(result["z.residual"] <= 1e-5)
    for i, x in enumerate(batch):
        # ‖z - z*‖ <= q/(1 - q) · residual, for the certified q.
        q = certificate.upper_factor
        assert np.linalg.norm(result["z"][i] - fixed_point(x)) <= q / (1 - q) * 1e-5 + 1e-6
        alone = artifact.run(x=batch[i : i + 1])
        assert alone["z.iterations"] == counts[i]
        np.testing.assert_allclose(alone["z"][0], result["z"][i], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_other_samples_do_not_matter(backend, batch, compiled):
    artifact = compiled("deq", backend)
    there = artifact.run(x=batch)
    back = artifact.run(x=batch[::-1].copy())
    np.testing.assert_array_equal(there["z.iterations"], back["z.iterations"][::-1])
    np.testing.assert_allclose(there["z"], back["z"][::-1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_a_sick_sample_stops_alone(backend, batch, compiled):
    """NaN in one sample: it says 2, and the others are as they were."""
    sick = batch.copy()
    sick[2, 5] = np.nan
    result = compiled("deq", backend).run(x=sick)
    assert result["z.status"].tolist() == [0, 0, 2, 0, 0, 0]
    kept = [0, 1, 3, 4, 5]
    well = compiled("deq", backend).run(x=batch)
    np.testing.assert_allclose(result["z"][kept], well["z"][kept], rtol=1e-6, atol=1e-6)


def test_the_batch_axis_is_symbolic(batch, compiled):
    artifact = compiled("deq", "onnx")
    (value,) = [v for v in artifact.model.graph.input if v.name == "x"]
    assert [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] == ["batch", PIXELS]
    (value,) = [v for v in artifact.model.graph.output if v.name == "z"]
    assert [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] == ["batch", H]
    for size in (1, 2, 7):
        assert artifact.run(x=np.zeros((size, PIXELS)))["z"].shape == (size, H)


def test_a_wrong_batch_is_refused(compiled):
    for shape in ((PIXELS,), (2, PIXELS + 1), (1, 2, PIXELS)):
        with pytest.raises(banach.RunError, match="B702"):
            compiled("deq", "onnx").run(x=np.zeros(shape))
    with pytest.raises(banach.RunError, match="B703"):
        compiled("deq", "onnx").run(x=np.zeros((1, PIXELS), complex))
    with pytest.raises(banach.RunError, match="B701"):
        compiled("deq", "onnx").run()
    with pytest.raises(banach.RunError, match="B701"):
        compiled("deq", "onnx").run(x=np.zeros((1, PIXELS)), y=1)


def test_certificate(model_file):
    certificate = banach.load(model_file("deq")).check().certificates["z"]
    norm = np.linalg.norm(W, 2)
    assert (
        certificate.verdict == "proved" and certificate.theorem == "banach" and certificate.rate == "linear"
    )
    assert norm * (1 - 1e-12) <= certificate.upper_factor <= min(0.9, norm * (1 + 1e-6))
    # No move from 0 is longer than √48, since tanh is below 1: √48·q^(k-1) <= 1e-5 at the bound, not before.
    bound = certificate.iterations
    # Storing the iterate moves it by 2^-24·√48 at most, and the residual by twice that over 1 - q.
    left = 1e-5 - 2 * 2**-24 * math.sqrt(H) / (1 - norm)
    assert math.sqrt(H) * norm ** (bound - 1) <= left < math.sqrt(H) * norm ** (bound - 2) * 1.001


def test_options_travel_as_inputs(batch, compiled):
    artifact = compiled("deq", "onnx")
    loose = artifact.run({"x": batch, "z.tolerance": 0.5})
    tight = artifact.run(x=batch)
    assert np.all(loose["z.iterations"] <= tight["z.iterations"])
    assert loose["z.iterations"].sum() < tight["z.iterations"].sum() / 2
    short = artifact.run({"x": batch, "z.max_iterations": 2})
    assert np.all(short["z.iterations"] <= 2) and set(short["z.status"].tolist()) <= {0, 1}
    assert 1 in short["z.status"]


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_the_derivative_is_that_of_finite_differences(backend, batch, model_file, compiled):
    """⟨g, dz/dx · v⟩ by our adjoint, against scipy's roots at x ± h·v, and the closed form Uᵀ(I - DW)⁻ᵀ..."""
    derivative = banach.load(model_file("deq")).reverse(output="z", wrt="x")
    artifact = derivative.compile(to=backend)
    random = np.random.default_rng(5)
    g = random.standard_normal((3, H)).astype(np.float32)
    x = batch[1:4]
    result = artifact.run({"x": x, "d.z": g})
    assert set(result) == {"d.x"} and result["d.x"].shape == (3, PIXELS)
    for i in range(3):
        v = random.standard_normal(PIXELS)
        h = 1e-5
        difference = (fixed_point(x[i] + h * v) - fixed_point(x[i] - h * v)) / (2 * h)
        assert result["d.x"][i] @ v == pytest.approx(g[i] @ difference, rel=2e-3, abs=1e-3)
        z = fixed_point(x[i])
        slope = np.diag(1 - z**2)
        exact = U.T @ slope @ np.linalg.solve((np.eye(H) - slope @ W).T, g[i].astype(float))
        np.testing.assert_allclose(result["d.x"][i], exact, rtol=1e-3, atol=2e-4)
