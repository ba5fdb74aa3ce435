"""A Fourier neural operator for flow through random rock: numpy's transform, pyamg's flow, two grids."""

import numpy as np
import pyamg
import pytest
from scipy.sparse import csr_matrix
from scipy.special import erf

import banach

N = 32


@pytest.fixture(scope="module")
def on_grid(model_file, tmp_path_factory):
    """n -> the model for n × n cells, without its training."""
    text, folder = model_file("fno_darcy").read_text("utf-8"), tmp_path_factory.mktemp("grids")

    def resized(n):
        path = folder / f"{n}.yaml"
        path.write_text(text.replace(f"n: {N},", f"n: {n},").partition("train:")[0], "utf-8")
        return path

    return resized


def by_numpy(model, a):
    """The operator from its definition, by numpy's real transform."""
    table = {
        name: model.elaborated.names.find(name).array for name in ("lift", "re", "im", "W", "bias", "read")
    }
    n, modes = a.shape[-1], table["re"].shape[2]
    wall = np.sin(np.pi * (np.arange(n) + 0.5) / n)
    around = np.outer(wall, wall)
    mean = a.mean((1, 2), keepdims=True)
    pairs = np.stack([a - mean, np.broadcast_to(around, a.shape)], axis=1)
    v = np.einsum("ci,bixy->bcxy", table["lift"], pairs)
    for layer in range(3):
        mixing = table["re"][layer] + 1j * table["im"][layer]
        spectrum = np.fft.rfft2(v)
        out = np.zeros_like(spectrum)
        for rows, part in ((slice(0, modes), mixing[:modes]), (slice(n - modes, n), mixing[modes:])):
            out[:, :, rows, :modes] = np.einsum("xyoi,bixy->boxy", part, spectrum[:, :, rows, :modes])
        z = np.fft.irfft2(out, s=(n, n)) + np.einsum("oi,bixy->boxy", table["W"][layer], v)
        z = z + table["bias"][layer][:, None, None]
        v = z * (1 + erf(z / np.sqrt(2))) / 2
    return np.exp(-mean) * around * np.einsum("c,bcxy->bxy", table["read"], v)


@pytest.mark.parametrize("n", [N, 45])
@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_it_is_numpys_operator_on_every_grid(backend, n, on_grid, model_data):
    model, a = banach.load(on_grid(n)), model_data.darcy_flows(3, n, 5)["a"]
    expected = by_numpy(model, a)
    found = model.compile(to=backend).run(a=a)["u"]
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_flows_are_pyamgs(model_data):
    """The same finite volumes, written as a matrix from cell to cell, by algebraic multigrid."""
    n = 24
    flows = model_data.darcy_flows(2, n, 5)
    for a, u in zip(flows["a"].astype(float), flows["u"]):
        k = np.pad(np.exp(a), 1, mode="constant")
        matrix = np.zeros((n, n, n, n))
        for i in range(n):
            for j in range(n):
                own = k[i + 1, j + 1]
                for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                    other = k[i + 1 + di, j + 1 + dj]
                    inside = 0 <= i + di < n and 0 <= j + dj < n
                    conductance = 2 * own * other / (own + other) if inside else 2 * own
                    matrix[i, j, i, j] += conductance
                    if inside:
                        matrix[i, j, i + di, j + dj] -= conductance
        solver = pyamg.ruge_stuben_solver(csr_matrix(matrix.reshape(n * n, n * n)))
        exact = solver.solve(np.full(n * n, 1 / n**2), tol=1e-12, accel="cg").reshape(n, n)
        assert np.abs(u - exact).max() <= 1e-6 * exact.max()


def test_one_seed_is_one_rock_on_every_grid(model_data):
    """Cells of a grid that is three times as fine have their middles where those of the coarse one do."""
    coarse, fine = model_data.darcy_flows(2, 16, 5), model_data.darcy_flows(2, 48, 5)
    np.testing.assert_allclose(fine["a"][:, 1::3, 1::3], coarse["a"], atol=1e-6)
    assert np.abs(fine["u"][:, 1::3, 1::3] - coarse["u"]).max() <= 0.05 * coarse["u"].max()


@pytest.mark.slow
def test_trained_on_one_grid_it_holds_on_one_twice_as_fine(model_file, on_grid, model_data, tmp_path):
    banach.load(model_file("fno_darcy")).train(tmp_path / "trained")
    off = {}
    for n in (N, 2 * N):
        flows = model_data.darcy_flows(32, n, 99)
        model = banach.load(on_grid(n), weights=tmp_path / "trained" / "weights.safetensors")
        found = {to: model.compile(to=to).run(a=flows["a"])["u"] for to in ("onnx", "fx")}
        assert np.abs(found["onnx"] - found["fx"]).max() <= 1e-5 * np.abs(found["fx"]).max()
        size = np.sqrt((flows["u"] ** 2).sum((1, 2)))
        off[n] = float(np.mean(np.sqrt(((found["onnx"] - flows["u"]) ** 2).sum((1, 2))) / size))
    assert off[N] <= 0.07 and abs(off[2 * N] - off[N]) <= 0.005
