"""Twelve models written straight from the equations of their papers, each against a direct numpy program."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.special

import banach

FOLDER = Path(__file__).parent / "papers"
draw = np.random.default_rng(3).standard_normal
A, B, TARGET, C = draw((8, 5)), draw(8), draw(12), draw((6, 3))
Arrays = dict[str, np.ndarray]
CASES: dict[str, tuple[Arrays, Callable[..., Arrays], float]] = {}


def case(tolerance: float = 1e-9, **inputs: np.ndarray) -> Callable[..., Callable[..., Arrays]]:
    """Enters a numpy program under its name, with what it and the model take."""

    def enter(program: Callable[..., Arrays]) -> Callable[..., Arrays]:
        CASES[program.__name__] = (inputs, program, tolerance)
        return program

    return enter


def soft(x: np.ndarray, t: float) -> np.ndarray:
    return np.sign(x) * np.maximum(np.abs(x) - t, 0)


def lasso() -> np.ndarray:
    """By coordinate descent: another method than those below."""
    x = np.zeros(5)
    for _ in range(20000):
        for i in range(5):
            rest = B - A @ x + A[:, i] * x[i]
            x[i] = soft(A[:, i] @ rest, 0.1) / (A[:, i] @ A[:, i])
    return x


@case(1e-7, A=A, b=B, L=np.asarray(np.linalg.norm(A, 2) ** 2 * 1.01))
def fista(**_: np.ndarray) -> Arrays:
    return {"x": lasso()}


@case(A=A, b=B)
def admm(**_: np.ndarray) -> Arrays:
    return {"x": lasso()}


@case(1e-8, b=TARGET)
def pdhg(b: np.ndarray) -> Arrays:
    """The dual is least squares in a box; the primal solution follows from it."""
    K = np.diff(np.eye(12), axis=0)
    found = scipy.optimize.lsq_linear(K.T, b, (-0.3, 0.3), tol=1e-15, method="bvls")
    return {"x": b - K.T @ found.x}


@case(1e-3, u=draw(2))
def halpern(u: np.ndarray) -> Arrays:
    return {"x": np.zeros(2)}


@case(c=draw(4))
def anderson(c: np.ndarray) -> Arrays:
    W = parameter("anderson", "W")
    return {"x": scipy.optimize.fsolve(lambda x: np.tanh(W @ x) + c - x, c, xtol=1e-14)}


@case(u=draw(3))
def deq(u: np.ndarray) -> Arrays:
    W, U = parameter("deq", "W"), parameter("deq", "U")
    z = scipy.optimize.fsolve(lambda z: np.tanh(W @ z + U @ u) - z, np.zeros(5), xtol=1e-14)
    bend = np.diag(1 - z**2)
    return {"z": z, "slope": U.T @ bend @ np.linalg.solve(np.eye(5) - W.T @ bend, z)}


@case(v=draw(16))
def fno(v: np.ndarray) -> Arrays:
    R = np.array([0.5, 0.3 - 0.2j, 0.1 + 0.4j, -0.2 + 0.1j])
    spectrum = np.zeros(9, complex)
    spectrum[:4] = R * np.fft.rfft(v)[:4]
    x = 0.7 * v + np.fft.irfft(spectrum, 16)
    return {"y": x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2}


@case(start=np.array([1.0, 0.3]))
def rk4(start: np.ndarray) -> Arrays:
    y, h = start, 0.05

    def f(y: np.ndarray) -> np.ndarray:
        return np.array([y[1], -np.sin(y[0])])

    for _ in range(200):
        a = f(y)
        b = f(y + h / 2 * a)
        c = f(y + h / 2 * b)
        y = y + h / 6 * (a + 2 * b + 2 * c + f(y + h * c))
    return {"y": y}


A3 = A[:, :3]
SHRUNK = np.linalg.solve(A3.T @ A3 + 2 * np.eye(3), A3.T @ B)


@case(1e-5, A=A3, b=B, C=C, d=C @ SHRUNK + 0.01 * draw(6))
def bilevel(A: np.ndarray, b: np.ndarray, C: np.ndarray, d: np.ndarray) -> Arrays:
    def fit(s: float) -> np.ndarray:
        return np.linalg.solve(A.T @ A + np.exp(s) * np.eye(3), A.T @ b)

    best = scipy.optimize.minimize_scalar(
        lambda s: ((C @ fit(s) - d) ** 2).sum(), bounds=(-6, 8), method="bounded", options={"xatol": 1e-12}
    )
    return {"s": np.asarray(best.x), "x": fit(best.x)}


CHANCES = np.abs(draw((2, 4, 4)))


@case(P=CHANCES / CHANCES.sum(-1, keepdims=True), r=draw((2, 4)))
def value_iteration(P: np.ndarray, r: np.ndarray) -> Arrays:
    """By policy iteration."""
    policy = np.zeros(4, int)
    for _ in range(50):
        v = np.linalg.solve(np.eye(4) - 0.9 * P[policy, range(4)], r[policy, range(4)])
        policy = (r + 0.9 * P @ v).argmax(0)
    return {"v": v, "policy": policy}


@case(b=draw(3))
def sgd(b: np.ndarray, noise: np.ndarray) -> Arrays:
    x = np.zeros(3)
    for k in range(50):
        x = x - (x - b + 0.5 * noise[k]) / (k + 2)
    return {"x": x}


def parameter(name: str, key: str) -> np.ndarray:
    return banach.load(FOLDER / f"{name}.yaml").elaborated.names.find(key).array


@pytest.mark.parametrize("name", CASES)
def test_a_paper(name: str) -> None:
    inputs, program, tolerance = CASES[name]
    model = banach.load(FOLDER / f"{name}.yaml")
    assert not [d for d in model.check().diagnostics if d.severity == "error"]
    first = model.compile(to="oracle").run(inputs)
    drawn = {"noise": first["noise"]} if name == "sgd" else {}
    wanted = program(**inputs, **drawn)
    for backend in ("oracle", "onnx"):
        found = model.compile(to=backend).run(inputs)
        assert all(found[key] == 0 for key in found if key.endswith(".status"))
        for key, value in wanted.items():
            np.testing.assert_allclose(found[key], value, atol=tolerance, rtol=tolerance)
        if drawn:
            np.testing.assert_allclose(found["noise"], first["noise"], atol=1e-6)


@pytest.mark.parametrize("backend", ["oracle", "onnx"])
def test_adam_with_minibatches(backend: str, tmp_path: Path) -> None:
    """Kingma & Ba 2015, algorithm 1, written out."""
    model = banach.load(FOLDER / "adam.yaml")
    model.train(tmp_path / backend, to=backend)
    from safetensors.numpy import load_file

    x = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5], [-1.0, 1.0]])
    y = np.array([1.0, 2.0, 0.0, -1.0])
    w, m, v = np.array([0.5, -0.5]), np.zeros(2), np.zeros(2)
    for t in range(1, 31):
        rows = slice(0, 2) if t % 2 else slice(2, 4)
        g = (2 * (x[rows] @ w - y[rows])[:, None] * x[rows]).mean(0)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(load_file(tmp_path / backend / "weights.safetensors")["w"], w, rtol=1e-7)


def test_every_paper_is_short_and_tried() -> None:
    papers = sorted(FOLDER.glob("*.yaml"))
    assert {path.stem for path in papers} == {*CASES, "adam"} and len(papers) == 12
    assert all(len(path.read_text(encoding="utf-8").splitlines()) < 40 for path in papers)
