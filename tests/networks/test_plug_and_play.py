"""A denoiser in the place of a proximal map: proved where its layers allow, and unknown where they do not."""

import numpy as np
import pytest
from networks import denoiser, mlp, reference, save

import banach
from banach.compiler.pipeline import Model

SPEC = """\
banach: 1
name: restored
sizes: {n: 6}
inputs: {y: "real[n]"}
parameters:
  A: [[2, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0.5], [0, 0, 1, 0, 0, 0],
      [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0.5], [0, 0, 0, 0, 0, 1]]
operators:
  f: least_squares(A, y)
  denoise: onnx(file=denoiser.onnx)
solve:
  x:
    method: plug_and_play(f, denoise)
    start: zeros(n)
    stop: {residual: 1e-6, most: 1000}
outputs: {x: x}
"""
A = np.eye(6) + np.diag([1, 0, 0, 0, 0, 0])
A[1, 5] = A[4, 5] = 0.5


def loaded(folder, norm, text=SPEC) -> Model:
    save(mlp(norm=norm), folder, "denoiser.onnx")
    return banach.loads(text, folder=folder)


def test_a_contraction_is_proved(tmp_path):
    report = loaded(tmp_path, 0.9, SPEC + "require: {x: converges}\n").check()
    found = report.certificates["x"]
    assert report.ok and found.verdict == "proved" and found.theorem == "plug-and-play-contraction"
    values = np.linalg.svd(A)[1] ** 2
    step = 1 / values.max()
    forward = max(abs(1 - step * values.min()), abs(1 - step * values.max()))
    assert found.upper_factor == pytest.approx(0.9**3 * forward, rel=1e-3)


def test_a_free_denoiser_is_unknown_and_the_hypothesis_is_named(tmp_path):
    report = loaded(tmp_path, 3.0).check()
    found = report.certificates["x"]
    assert found.verdict == "unknown" and "lipschitz(D) * forward < 1" in found.missing
    assert not loaded(tmp_path, 3.0, SPEC + "require: {x: converges}\n").check().ok


def test_a_nonexpansive_denoiser_is_proved_where_the_step_is_relaxed(tmp_path):
    """Without strong convexity there is no contraction, but an averaged map."""
    text = SPEC.replace("  A: [[2, 0", "  A: [[0, 0").replace(
        "method: plug_and_play(f, denoise)", "method: plug_and_play(f, denoise)\n    relaxation: 0.5"
    )
    found = loaded(tmp_path, 0.9999, text).check().certificates["x"]
    assert found.verdict == "proved"
    free = loaded(tmp_path, 1.5, text).check().certificates["x"]
    assert free.verdict == "unknown" and "lipschitz(D)" in free.missing


def test_an_assumption_about_a_network_is_named(tmp_path):
    text = SPEC + "assume: {q: lipschitz(denoise) <= 0.8}\nrequire: {x: converges}\n"
    found = loaded(tmp_path, 3.0, text).check().certificates["x"]
    assert found.verdict == "proved" and "lipschitz(denoise) <= 0.8" in found.assumptions


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_it_runs_to_the_fixed_point(backend, tmp_path):
    y = np.random.default_rng(0).standard_normal(6).astype(np.float32)
    found = loaded(tmp_path, 0.9).compile(to=backend).run(y=y)
    model, x, step = mlp("float64", norm=0.9), np.zeros(6), 1 / np.linalg.norm(A, 2) ** 2
    for _ in range(2000):
        x = reference(model, (x - step * A.T @ (A @ x - y))[None])[0][0]
    assert found["x.status"] == 0
    np.testing.assert_allclose(found["x"], x, rtol=1e-4, atol=1e-5)


def test_the_written_file_is_verified_and_the_same_each_time(tmp_path, banach_command):
    save(mlp(norm=0.9), tmp_path, "denoiser.onnx")
    (tmp_path / "s.yaml").write_text(SPEC + "require: {x: converges}\n")
    for name in ("a.onnx", "b.onnx"):
        said = banach_command("compile", tmp_path / "s.yaml", "-o", tmp_path / name)
        assert said.code == 0, said.err
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    said = banach_command("verify", tmp_path / "a.onnx")
    assert said.code == 0 and "the certificate holds" in said.out, said


def test_the_gradient_through_the_solve(tmp_path):
    """The implicit derivative in the data, against differences of the run."""
    text = SPEC.replace("name: restored", "name: restored\nprecision: float64").replace("1e-6", "1e-13")
    save(mlp("float64", norm=0.9), tmp_path, "denoiser.onnx")
    model = banach.loads(text.replace("outputs: {x: x}", "outputs: {x: sum(x**2)}"), folder=tmp_path)
    run, random = model.compile(to="oracle"), np.random.default_rng(1)
    y, d, h = random.standard_normal(6), random.standard_normal(6), 1e-6
    slope = (run.run(y=y + h * d)["x"] - run.run(y=y - h * d)["x"]) / (2 * h)
    for backend in ("oracle", "onnx"):
        gradient = model.reverse("x", "y").compile(to=backend).run(y=y)["d.y"]
        assert np.sum(gradient * d) == pytest.approx(slope, rel=1e-5)


def test_a_convolutional_denoiser(tmp_path):
    """Its bound is that of sums of sizes, 1 + part·‖layers‖."""
    save(denoiser(), tmp_path, "denoiser.onnx")
    text = """
banach: 1
name: images
sizes: {n: 8}
inputs: {y: "real[1, n, n]"}
operators:
  f: sq_l2(y)
  net: onnx(file=denoiser.onnx)
  denoise: 0.4 * net
solve:
  x:
    method: plug_and_play(f, denoise)
    step: 0.5
    start: zeros(1, n, n)
    stop: {residual: 1e-6, most: 500}
outputs: {x: x}
"""
    found = banach.loads(text, folder=tmp_path)
    certificate = found.check().certificates["x"]
    assert certificate.verdict == "proved", certificate
    y = np.random.default_rng(2).standard_normal((1, 8, 8)).astype(np.float32)
    made = [found.compile(to=backend).run(y=y)["x"] for backend in ("oracle", "onnx", "fx")]
    for x in made[1:]:
        np.testing.assert_allclose(x, made[0], rtol=1e-4, atol=1e-5)
