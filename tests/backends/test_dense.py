"""Small linear algebra in both backends: both sides of the unrolling, pivots, conditions, batches."""

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from banach.backends.fx.lower import lower as to_fx
from banach.backends.onnx.lower import lower as to_onnx
from banach.backends.onnx.run import OnnxArtifact
from banach.ir.dims import named
from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph
from banach.ir.tensor_type import TensorType, TypeMismatch

Arrays = list[np.ndarray]


def single(name: str, dtype: str, *shapes: tuple, **attributes: object) -> Graph:
    build = Builder(name)
    operands = [build.input(f"x{i}", TensorType(dtype, shape)) for i, shape in enumerate(shapes)]
    return build.finish({"y": build.op(name, *operands, **attributes)})


def runs(graph: Graph, arguments: Arrays, reference: bool = True) -> Arrays:
    """The result by ONNX Runtime, by torch and by onnx's reference evaluator."""
    with np.errstate(all="ignore"):
        model = to_onnx(graph)
        feed = {port.name: x for port, x in zip(graph.inputs, arguments)}
        found = [
            OnnxArtifact(model).evaluate(arguments)[0],
            to_fx(graph)(*map(torch.tensor, arguments))[0].numpy(),
        ]
        return found + ([ReferenceEvaluator(model).run(None, feed)[0]] if reference else [])


def agree(graph: Graph, arguments: Arrays, close: float, reference: bool = True) -> None:
    with np.errstate(all="ignore"):
        (expected,) = evaluate(graph, arguments)
    for got in runs(graph, arguments, reference):
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(got, expected, rtol=close, atol=close)


def positive(random: np.random.Generator, n: int, condition: float) -> np.ndarray:
    q, _ = np.linalg.qr(random.standard_normal((n, n)))
    return (q * np.geomspace(1, 1 / condition, n)) @ q.T


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 2, 8, 9, 33])
def test_solve_needs_its_pivots(n: int, dtype: str) -> None:
    """A zero diagonal, so nothing goes without pivoting; a batch of systems with a named size."""
    random = np.random.default_rng(n)
    a = (np.roll(2 * np.eye(n), 1, axis=0) + 0.3 * random.standard_normal((3, n, n)) / n).astype(dtype)
    if n > 1:
        a[:, range(n), range(n)] = 0
    b = random.standard_normal((n, 2)).astype(dtype)
    graph = single("solve", dtype, (named("batch"), n, n), (n, 2))
    agree(graph, [a, b], 1e-12 if dtype == "float64" else 3e-6)


@pytest.mark.parametrize("n", [2, 9])
def test_equally_good_pivots_are_taken_one_by_one(n: int) -> None:
    signs = np.array([[1.0, 1.0], [1.0, -1.0]])
    a = signs if n == 2 else np.where(np.tri(n, dtype=bool), -1.0, 1.0)
    agree(single("solve", "float64", (n, n), (n, 1)), [a, np.arange(1.0, n + 1)[:, None]], 1e-12)


@pytest.mark.parametrize("n", [2, 9])
def test_a_large_negative_pivot_goes_before_a_small_positive_one(n: int) -> None:
    a = 1e-18 * np.eye(n) - np.roll(np.eye(n), 1, axis=0) + np.eye(n)[0]
    agree(single("solve", "float64", (n, n), (n, 1)), [a, np.arange(1.0, n + 1)[:, None]], 1e-12)


@pytest.mark.parametrize("condition", [1e3, 1e5, 1e7])
def test_solve_in_single_precision_keeps_the_digits_of_its_operands(condition: float) -> None:
    """The work is done in float64: what is lost is what rounding the result loses."""
    a = positive(np.random.default_rng(0), 8, condition).astype("float32")
    b = np.random.default_rng(1).standard_normal((8, 1)).astype("float32")
    exact = np.linalg.solve(a.astype(np.float64), b.astype(np.float64))
    (found,) = OnnxArtifact(to_onnx(single("solve", "float32", (8, 8), (8, 1)))).evaluate([a, b])
    assert np.abs(found - exact).max() <= 1e-7 * np.abs(exact).max()


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1e8, 1e14, 1e200])
@pytest.mark.parametrize("name", ["solve", "solve_positive"])
@pytest.mark.parametrize("n", [5, 9])
def test_digits_do_not_depend_on_the_unit_of_the_matrix(n: int, name: str, scale: float) -> None:
    a = positive(np.random.default_rng(n), n, 10)
    b = np.random.default_rng(0).standard_normal((n, 1))
    graph = single(name, "float64", (n, n), (n, 1))
    for found in runs(graph, [scale * a, scale * b]):
        np.testing.assert_allclose(found, np.linalg.solve(a, b), rtol=1e-12)


@pytest.mark.parametrize("n", [1, 5, 9])
def test_where_a_matrix_is_not_definite_no_solution_is_given(n: int) -> None:
    good = positive(np.random.default_rng(n), n, 100)
    bad = good.copy()
    bad[-1, -1] -= 2 * np.linalg.eigvalsh(good)[-1]
    a, b = np.stack([good, bad]), np.random.default_rng(0).standard_normal((n, 2))
    for found in runs(single("solve_positive", "float64", a.shape, b.shape), [a, b]):
        np.testing.assert_allclose(found[0], np.linalg.solve(good, b), rtol=1e-11)
        assert np.isnan(found[1]).all()


@pytest.mark.parametrize("n", [2, 9])
def test_a_singular_matrix_is_seen(n: int) -> None:
    a = np.stack([np.ones((n, n)), np.eye(n)])
    arguments = [a, np.arange(1.0, n + 1)[:, None]]
    graph = single("solve", "float64", a.shape, (n, 1))
    for found in [*runs(graph, arguments), *evaluate(graph, arguments)]:
        assert not np.all(np.isfinite(found[0]))
        np.testing.assert_allclose(found[1], arguments[1], rtol=1e-15)


@pytest.mark.parametrize("name", ["cholesky", "log_det"])
@pytest.mark.parametrize("n", [3, 9])
def test_a_matrix_that_is_not_positive_definite_is_seen(name: str, n: int) -> None:
    a = np.stack([np.diag([*[1.0] * (n - 1), -1.0]), 2 * np.eye(n)])
    graph = single(name, "float64", a.shape)
    for found in [*runs(graph, [a]), *evaluate(graph, [a])]:
        assert np.all(np.isnan(found[0])) and np.all(np.isfinite(found[1]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 8, 9, 40])
def test_cholesky_and_what_is_made_of_it(n: int, dtype: str) -> None:
    random = np.random.default_rng(n)
    a = np.stack([positive(random, n, 10.0), positive(random, n, 100.0)]).astype(dtype)
    close = 1e-12 if dtype == "float64" else 2e-5
    b = random.standard_normal((n, 2)).astype(dtype)
    agree(single("cholesky", dtype, a.shape), [a], close)
    agree(single("log_det", dtype, a.shape), [a], close)
    agree(single("inverse", dtype, a.shape), [a], close * 100)
    lower = np.linalg.cholesky(a)
    for adjoint in (False, True):
        agree(single("solve_triangular", dtype, a.shape, b.shape, adjoint=adjoint), [lower, b], close * 10)


def test_sizes_of_matrices_are_numbers() -> None:
    n = named("n")
    for shape in [(n, n), (2, 3), (0, 0), (2,)]:
        with pytest.raises(TypeMismatch):
            single("inverse", "float64", shape)


# --- factorisations ----------------------------------------------------------------------------------------


def symmetric(random: np.random.Generator, n: int) -> np.ndarray:
    """Eigenvalues at distances of 1, so that the vectors are well defined."""
    q, _ = np.linalg.qr(random.standard_normal((n, n)))
    return (q * (np.arange(n) - n / 3)) @ q.T


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 31])
def test_eigh(n: int, dtype: str) -> None:
    random = np.random.default_rng(n)
    a = np.stack([symmetric(random, n), symmetric(random, n)]).astype(dtype)
    close = 1e-11 if dtype == "float64" else 3e-4
    agree(single("eigh", dtype, (named("batch"), n, n)), [a], close, reference=n < 16)
    agree(single("eigenvalues", dtype, a.shape), [a], close, reference=n < 16)
    agree(single("project_psd", dtype, a.shape), [a], close, reference=n < 16)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (5, 1), (2, 2), (3, 3), (9, 4), (30, 17)])
def test_svd_and_qr(m: int, n: int, dtype: str) -> None:
    random = np.random.default_rng(n)
    u, _ = np.linalg.qr(random.standard_normal((2, m, n)))
    v, _ = np.linalg.qr(random.standard_normal((2, n, n)))
    a = ((u * np.arange(1.0, n + 1)) @ v).astype(dtype)
    close = 1e-11 if dtype == "float64" else 3e-4
    for name in ("svd", "singular_values", "qr"):
        agree(single(name, dtype, a.shape), [a], close, reference=n < 16)


@pytest.mark.parametrize("n", [2, 5, 8])
def test_eigenvalues_that_meet_and_matrices_of_low_rank(n: int) -> None:
    """Then the vectors are not defined, but the values are, and so is what the vectors make together."""
    random = np.random.default_rng(n)
    v = random.standard_normal((n, 1))
    for a in (
        np.zeros((n, n)),
        np.eye(n),
        np.ones((n, n)),
        v @ v.T,
        np.diag(np.arange(n) // 2 * 1.0),
        1e-160 * v @ v.T,
    ):
        (found,) = OnnxArtifact(to_onnx(single("eigh", "float64", (n, n)))).evaluate([a])
        values, vectors = found[0], found[1:]
        size = max(np.abs(a).max(), 1e-300)
        np.testing.assert_allclose(values, np.linalg.eigvalsh(a), atol=1e-14 * n * size)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), atol=1e-13)
        np.testing.assert_allclose((vectors * values) @ vectors.T, a, atol=1e-14 * n * size)
        agree(single("singular_values", "float64", (n, n)), [a], 1e-13)
        agree(single("project_psd", "float64", (n, n)), [a], 1e-13)


def test_small_singular_values_keep_their_digits() -> None:
    """One-sided rotations do; the eigenvalues of AᵀA would not have any left."""
    random = np.random.default_rng(0)
    q, _ = np.linalg.qr(random.standard_normal((6, 6)))
    scales = np.geomspace(1, 1e-12, 6)
    (found,) = OnnxArtifact(to_onnx(single("singular_values", "float64", (6, 6)))).evaluate([q * scales])
    np.testing.assert_allclose(found, scales, rtol=1e-13)


@pytest.mark.parametrize(
    "name", ["eigh", "eigenvalues", "project_psd", "svd", "singular_values", "qr", "inverse"]
)
def test_one_spoilt_matrix_of_a_batch(name: str) -> None:
    a = np.stack([np.diag([1.0, np.nan, 3.0]), np.diag([1.0, -2.5, 3.5]) + 0.1])
    graph = single(name, "float64", a.shape)
    (expected,) = evaluate(graph, [a])
    (found,) = OnnxArtifact(to_onnx(graph)).evaluate([a])
    assert np.any(np.isnan(expected[0])) and np.any(np.isnan(found[0]))
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12, atol=1e-13)
