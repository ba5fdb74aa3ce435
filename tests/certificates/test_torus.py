"""Norms of convolutions with zeros around the signal, against dense matrices that numpy decomposes."""

import numpy as np
import pytest

import banach
from banach.compiler.facts.torus import convolution_norm


def dense(k: np.ndarray, n: tuple[int, ...], pad: int = 0, stride: int = 1) -> np.ndarray:
    """The matrix of x: [c, *n] ↦ y: [d, ...], entry by entry from the definition."""
    d, c, *m = k.shape
    out = [(size + 2 * pad - own) // stride + 1 for size, own in zip(n, m)]
    matrix = np.zeros((d, *out, c, *n))
    for o in np.ndindex(d, *out):
        for a in np.ndindex(c, *m):
            place = [p * stride + i - pad for p, i in zip(o[1:], a[1:])]
            if all(0 <= q < size for q, size in zip(place, n)):
                matrix[(*o, a[0], *place)] += k[(o[0], *a)]
    return matrix.reshape(d * int(np.prod(out)), -1)


KERNELS = {
    "ones": np.ones((1, 1, 3, 3)),
    "laplacian": np.array([[[[0, 1, 0], [1, -4, 1], [0, 1, 0.0]]]]),
    "difference": np.array([[[-1, 1.0]]]),
    "channels": np.random.default_rng(0).standard_normal((3, 2, 3, 3)),
    "one out": np.random.default_rng(1).standard_normal((1, 4, 5)),
    "one in": np.random.default_rng(2).standard_normal((4, 1, 3, 2)),
    "large numbers": 1e200 * np.random.default_rng(3).standard_normal((2, 2, 3)),
    "small numbers": 1e-200 * np.random.default_rng(4).standard_normal((2, 2, 3)),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("pad", "stride"), [(0, 1), (1, 1), (2, 2)])
def test_no_signal_is_stretched_more(name: str, pad: int, stride: int) -> None:
    k = KERNELS[name]
    scale = np.abs(k).max()
    bound = float(convolution_norm(k).hi) / scale
    for size in (5, 12):
        found = np.linalg.norm(dense(k / scale, (size,) * (k.ndim - 2), pad, stride), 2)
        assert found <= bound * (1 + 1e-12)


@pytest.mark.parametrize(("name", "exact"), [("ones", 9), ("laplacian", 8), ("difference", 2)])
def test_the_bound_is_close(name: str, exact: float) -> None:
    assert exact <= float(convolution_norm(KERNELS[name]).hi) <= exact * 1.006


def test_a_grid_of_the_signals_own_frequencies_would_miss_the_greatest() -> None:
    """A kernel whose symbol peaks between the frequencies of a signal of 4 places."""
    k = np.array([[[1, 0.0, -1, 0, 1]]])
    padded = np.zeros(5)
    padded[:5] = k[0, 0]
    coarse = np.abs(np.fft.fft(padded)).max()  # of the five places themselves
    assert coarse < np.linalg.norm(dense(k, (40,), 4), 2) <= float(convolution_norm(k).hi) <= 3.02


@pytest.mark.parametrize("seed", range(30))
def test_the_symbol_never_exceeds_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 5, 2 + int(rng.integers(1, 3))))
    k = rng.standard_normal(shape) * rng.choice([0, 1], shape)
    bound = float(convolution_norm(k).hi)
    for t in rng.uniform(0, 2 * np.pi, (300, len(shape) - 2)):
        symbol = sum(
            (k[(slice(None), slice(None), *a)] * np.exp(-1j * np.dot(a, t)) for a in np.ndindex(*shape[2:])),
            np.zeros(shape[:2], complex),
        )
        assert np.linalg.norm(symbol, 2) <= bound * (1 + 1e-12)


def test_a_filter_in_a_step_is_bounded_by_it() -> None:
    """Σ|k| is 12, the symbol's greatest value 8: only that makes 0.12·K a contraction."""
    text = """
banach: 1
inputs: {u: "real[1, 6, 6]"}
parameters: {k: [[[[-1, 2, -1], [2, 0, -2], [1, -2, 1]]]]}
operators: {T(x): "0.1 * convolve(pad(pad(x, axis=1, before=1, after=1), axis=2, before=1, after=1), k) + u"}
solve: {x: {method: picard(T), start: u, stop: {residual: 1e-5, most: 300}}}
outputs: {x: x}
"""
    found = banach.loads(text).check().certificates["x"]
    true = np.linalg.norm(dense(np.array([[[[-1, 2, -1], [2, 0, -2], [1, -2, 1.0]]]]), (6, 6), 1), 2)
    assert found.verdict == "proved" and 0.1 * true <= found.upper_factor < 1
