"""Weights in int8: what is stored, what it stands for, and that proofs speak of just that."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import banach
from banach.backends.onnx.run import load
from banach.backends.onnx.verifier import verify
from banach.ir.diagnostic import SpecError

N = 24
SPEC = """
banach: 1
sizes: {n: 24, batch: any}
inputs: {u: "real[batch, n]"}
parameters:
  W: {file: W.npy%s}
operators:
  F(z, u): tanh(W @ z + u)
solve:
  z: {method: "picard(F(_, u))", start: zeros(n), stop: {residual: 1e-6, most: 2000}}
outputs: {z: z}
"""


def drawn(norm, seed=0):
    matrix = np.random.default_rng(seed).standard_normal((N, N))
    return (matrix * norm / np.linalg.norm(matrix, 2)).astype(np.float32)


def by_hand(matrix):
    """What int8 keeps of a matrix, in double precision: row by row, the largest entry at 127."""
    scale = (np.abs(matrix.astype(np.float64)).max(axis=1) / 127).astype(np.float32)
    numbers = np.rint(matrix.astype(np.float64) / scale[:, None].astype(np.float64))
    assert np.abs(numbers).max() == 127
    return numbers, scale


@pytest.fixture
def made(tmp_path):
    """(matrix, how it is stored, head) -> the model of a layer with these weights."""

    def make(matrix, stored=", stored: int8", head=""):
        np.save(tmp_path / "W.npy", matrix)
        return banach.loads(SPEC.replace("sizes", f"{head}sizes", 1) % stored, folder=tmp_path)

    return make


@pytest.mark.parametrize("head", ["", "precision: float64\n"])
def test_the_file_holds_the_bytes_and_runs_with_what_they_stand_for(made, tmp_path, head):
    matrix = drawn(0.8)
    numbers, scale = by_hand(matrix)
    target = tmp_path / "layer.onnx"
    model = made(matrix, head=head)
    model.compile(target)
    file = onnx.load(target)
    kept = [numpy_helper.to_array(t) for t in file.graph.initializer]
    (bytes_,) = [a for a in kept if a.dtype == np.int8]
    assert np.array_equal(bytes_, numbers) or np.array_equal(bytes_, numbers.T)
    assert any(a.shape == (N,) and np.array_equal(a, scale) for a in kept)
    assert not any(a.shape == (N, N) and a.dtype.kind == "f" for a in kept), "no float copy beside it"
    weights = (numbers.astype(np.float32) * scale[:, None]).astype(np.float64)
    u = np.random.default_rng(1).standard_normal((3, N)).astype(np.float32)
    z = np.zeros((3, N))
    for _ in range(500):
        z = np.tanh(z @ weights.T + u)
    for artifact in (load(target), model.compile(to="fx"), model.compile(to="oracle")):
        found = artifact.run(u=u)
        assert np.all(found["z.status"] == 0)
        np.testing.assert_allclose(found["z"], z, rtol=0, atol=3e-5)
    assert np.abs(z - _fixed(matrix, u)).max() > 1e-4, "the rounding of the weights is seen in the answer"


def _fixed(matrix, u):
    z = np.zeros((3, N))
    for _ in range(500):
        z = np.tanh(z @ matrix.astype(np.float64).T + u)
    return z


def test_the_norm_is_that_of_the_stored_weights_and_is_proved_again(made, tmp_path):
    matrix = drawn(0.8, seed=3)
    numbers, scale = by_hand(matrix)
    norm = np.linalg.norm(numbers.astype(np.float32).astype(np.float64) * scale[:, None], 2)
    model = made(matrix)
    certificate = model.check().certificates["z"]
    assert certificate.verdict == "proved"
    assert norm * (1 - 1e-6) <= certificate.upper_factor <= norm * (1 + 1e-6)
    assert abs(norm - np.linalg.norm(matrix, 2)) > 1e-5
    found = verify(model.compile(tmp_path / "layer.onnx").model)
    assert found.ok and any("spectral norm of `W`" in line for line in found.checked)


@pytest.mark.parametrize("which", ["numbers", "scale"])
def test_a_changed_byte_is_found(made, which):
    model = made(drawn(0.8)).compile().model
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        if array.dtype == np.int8 if which == "numbers" else array.shape == (N,):
            array.flat[5] += 1
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    failed = verify(model).failed
    assert any("weight" in line and "has changed" in line for line in failed)
    assert any("spectral norm" in line and "not bounded" in line for line in failed)


def past_one():
    """A matrix with norm below 1 that its int8 form takes beyond."""
    for seed in range(100):
        matrix = drawn(0.9999, seed)
        numbers, scale = by_hand(matrix)
        if np.linalg.norm(numbers * scale[:, None].astype(np.float64), 2) > 1.0001:
            return matrix
    raise AssertionError("no such matrix")


def test_a_proof_that_does_not_outlast_the_rounding_is_withdrawn(made):
    matrix = past_one()
    assert made(matrix, stored="").check().certificates["z"].verdict == "proved"
    certificate = made(matrix).check().certificates["z"]
    assert certificate.verdict == "unknown"
    told = "it is proved for the weights as they are given, and not as they are stored in int8: `lipschitz(T)"
    assert certificate.missing.startswith(told)


def test_what_is_required_is_not_compiled_without_the_proof(made, tmp_path):
    model = made(past_one(), head="require: {z: converges}\n")
    with pytest.raises(SpecError) as refused:
        model.compile(tmp_path / "layer.onnx")
    assert "not as they are stored in int8" in refused.value.diagnostics[0].why
    assert not (tmp_path / "layer.onnx").exists()


def test_a_symmetric_matrix_stays_symmetric():
    random = np.random.default_rng(5).standard_normal((6, 6))
    symmetric = (random @ random.T + np.eye(6)).tolist()
    text = f"""
banach: 1
sizes: {{n: 6}}
inputs: {{b: "real[n]"}}
parameters: {{A: {{value: {symmetric}, stored: int8}}}}
solve:
  x: {{method: "cg(A, b)", start: zeros(n), stop: {{residual: 1e-4, most: 100}}}}
outputs: {{x: x}}
"""
    model = banach.loads(text)
    assert model.check().certificates["x"].verdict == "proved"
    stored = np.rint(symmetric / np.abs(symmetric).max() * 127) * (np.abs(symmetric).max() / 127)
    b = np.ones(6, np.float32)
    np.testing.assert_allclose(model.compile().run(b=b)["x"], np.linalg.solve(stored, b), rtol=2e-2)


def test_a_row_of_zeros_stays_one(made):
    matrix = drawn(0.8)
    matrix[7] = 0
    u = np.ones((1, N), np.float32)
    found = made(matrix).compile().run(u=u)["z"]
    assert np.all(np.isfinite(found)) and found[0, 7] == np.tanh(np.float32(1))


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        ("{value: [[1.0]], stored: int4}", "a weight is stored as int8"),
        ("{value: [1.5, 2.0], stored: int8}", r"only matrices of reals are stored in int8, not real\[2\]"),
        ("{value: 2, stored: int8}", "only matrices of reals"),
    ],
)
def test_what_cannot_be_stored_so(parameter, told):
    text = f"banach: 1\nparameters: {{p: {parameter}}}\ninputs: {{x: real}}\noutputs: {{y: x * sum(p)}}\n"
    with pytest.raises(SpecError, match=told):
        banach.loads(text)
