"""Complex numbers in formulas, states, derivatives and files, against numpy's complex arithmetic."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import banach
from banach.backends.onnx.run import load
from banach.backends.onnx.verifier import verify

BACKENDS = ["oracle", "onnx", "fx"]
RANDOM = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape) + 1j * RANDOM.standard_normal(shape)


Z, W, A, B, X = drawn(4), drawn(4), drawn(3, 4), drawn(2, 4, 3), RANDOM.standard_normal(4)
ROTATED = 0.3 * np.exp(0.7j)


def mixed(u: np.ndarray) -> np.ndarray:
    return ROTATED * u + np.conj(u) / (2 - 1j)


TABLE: list[tuple[str, Any]] = [
    ("z + w", Z + W),
    ("x + z", X + Z),
    ("x - 2 * z", X - 2 * Z),
    ("-z", -Z),
    ("z * w", Z * W),
    ("x * z", X * Z),
    ("A * z", A * Z),
    ("z / w", Z / W),
    ("x / w", X / W),
    ("z / x", Z / X),
    ("z**3", Z**3),
    ("z**-1", 1 / Z),
    ("A @ z", A @ Z),
    ("A @ x", A @ X),
    ("stack(x, x) @ z[0:2]", np.stack([X, X], -1) @ Z[:2]),
    ("A @ transpose(conj(A))", A @ A.conj().T),
    ("transpose(A, 1, 0)", A.T),
    ("stack(x, 2 * x) @ A[0:2]", np.stack([X, 2 * X], -1) @ A[:2]),
    ("B @ A", B @ A),
    ("adjoint(A) @ (A @ z)", A.conj().T @ A @ Z),
    ("adjoint((2 + i) * A[:, 0:3]) @ z[0:3]", ((2 + 1j) * A[:, :3]).conj().T @ Z[:3]),
    ("real(z) + imag(w)", Z.real + W.imag),
    ("conj(z)", Z.conj()),
    ("abs(z)", np.abs(Z)),
    ("norm(z)", np.linalg.norm(Z)),
    ("norm(A, axis=0)", np.linalg.norm(A, axis=0)),
    ("dot(z, w)", np.vdot(Z, W).real),
    ("sum(conj(z) * w)", np.vdot(Z, W)),
    ("sum(A, axis=0)", A.sum(0)),
    ("mean(A)", A.mean()),
    ("exp(z)", np.exp(Z)),
    ("mixed(z)", mixed(Z)),
    ("z[0]", Z[0]),
    ("A[1:, 2]", A[1:, 2]),
    ("stack(z, x)", np.stack([Z, X], -1)),
    ("reshape(A, 2, 6)", A.reshape(2, 6)),
    ("concatenate(x, z)", np.concatenate([X, Z])),
    ("take(A, [2, 0], axis=0)", A[[2, 0]]),
    ("cumsum(A, axis=1)", np.cumsum(A, axis=1)),
    ("roll(A, axis=0, shift=1)", np.roll(A, 1, axis=0)),
    ("w if x > 0 else z", np.where(X > 0, W, Z)),
    ("dft(z)", np.fft.fft(Z, norm="ortho")),
    ("dft_adjoint(dft(A))", A),
    ("dft(z, modes=2)", np.fft.fft(Z, norm="ortho")[:2]),
    ("z == conj(z * 1)", Z.conj() == Z),
    ("z != w", Z != W),
    ("complex(x, real(z))", X + 1j * Z.real),
    ("complex(x)", X + 0j),
    ("2 + 3 * i", 2 + 3j),
    ("[1, 2 * i, 3] * z[0:3]", np.array([1, 2j, 3]) * Z[:3]),
    ("soft_threshold(z, 0.5)", Z * np.maximum(1 - 0.5 / np.abs(Z), 0)),
    ("solve(A[:, 0:3], z[0:3])", np.linalg.solve(A[:, :3], Z[:3])),
    ("solve(real(A[:, 0:3]), z[0:3])", np.linalg.solve(A[:, :3].real, Z[:3])),
    ("circulant(z) @ w", np.fft.ifft(np.fft.fft(Z) * np.fft.fft(W))),
    ("jvp(mixed, z)(w)", mixed(W)),
    ("vjp(mixed, z)(w)", np.conj(ROTATED) * W + np.conj(W) / (2 - 1j)),
    ("grad(size)(z)", 4 * np.sum(np.abs(Z) ** 2) * Z),
    ("hvp(size, z)(w)", 8 * np.vdot(Z, W).real * Z + 4 * np.sum(np.abs(Z) ** 2) * W),
]
SPEC = """
banach: 1
name: table
precision: float64
sizes: {n: 4}
inputs: {z: "complex[n]", w: "complex[n]", A: "complex[3, n]", B: "complex[2, n, 3]", x: "real[n]"}
operators:
  mixed(u): 0.3 * exp(0.7 * i) * u + conj(u) / (2 - i)
  size(u): norm(u)**4
outputs:
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_formula_means_what_numpy_means(backend: str) -> None:
    text = SPEC + "".join(f'  y{i}: "{formula}"\n' for i, (formula, _) in enumerate(TABLE))
    found = banach.loads(text).compile(to=backend).run(z=Z, w=W, A=A, B=B, x=X)
    for i, (formula, wanted) in enumerate(TABLE):
        assert found[f"y{i}"].dtype.kind == np.asarray(wanted).dtype.kind, formula
        np.testing.assert_allclose(found[f"y{i}"], wanted, rtol=1e-10, atol=1e-12, err_msg=formula)


# --- solves -----------------------------------------------------------------------------------------------

SOLVES = """
banach: 1
name: solves
precision: float64
sizes: {n: 3}
inputs: {b: "complex[n]", c: "complex[4]", C: "complex[4, n]"}
parameters:
  H: "[[4, 1 + i, 0], [1 - i, 3, 0.5 * i], [0, -0.5 * i, 2]]"
operators:
  f: least_squares(C, c)
  g: l1(0.3)
  T(x): 0.3 * exp(0.7 * i) * conj(x) + dft(x) / 3 + b
solve:
  x:
    method: cg(H, b)
    start: complex(zeros(n))
    stop: {residual: 1e-12, most: 100}
  y:
    method: fista(f, g)
    start: complex(zeros(n))
    stop: {residual: 1e-12, most: 5000}
  z:
    state: {z: complex(zeros(n))}
    next: {z: T(z)}
    stop: {residual: norm(z' - z) <= 1e-12, most: 300}
outputs: {x: x, y: y, z: z, size: abs(z)}
require: {x: converges, y: converges, z: converges}
"""
TRANSFORM = np.fft.fft(np.eye(3), norm="ortho")


def fixed_point(b: np.ndarray) -> np.ndarray:
    """z = R conj(z) + F z / 3 + b as a real system of twice the size."""
    step = lambda z: 0.3 * np.exp(0.7j) * z.conj() + TRANSFORM @ z / 3  # noqa: E731
    units = [*np.eye(3), *(1j * np.eye(3))]
    matrix = np.array([np.concatenate([step(u).real, step(u).imag]) for u in units]).T
    found = np.linalg.solve(np.eye(6) - matrix, np.concatenate([b.real, b.imag]))
    return found[:3] + 1j * found[3:]


@pytest.mark.parametrize("backend", BACKENDS)
def test_solves_find_complex_solutions(backend: str, tmp_path: Path) -> None:
    model = banach.loads(SOLVES)
    assert model.check().ok, str(model.check())
    given = {"b": drawn(3), "c": drawn(4), "C": drawn(4, 3)}
    artifact = model.compile(to=backend)
    found = artifact.run(given)
    hermitian = np.array([[4, 1 + 1j, 0], [1 - 1j, 3, 0.5j], [0, -0.5j, 2]])
    np.testing.assert_allclose(found["x"], np.linalg.solve(hermitian, given["b"]), atol=1e-10)
    np.testing.assert_allclose(found["z"], fixed_point(given["b"]), atol=1e-10)
    np.testing.assert_allclose(found["size"], np.abs(found["z"]), atol=1e-12)
    # 0 is in C*(C y - c) + 0.3 ∂‖y‖₁
    y, slope = found["y"], given["C"].conj().T @ (given["C"] @ found["y"] - given["c"])
    away = np.abs(y) > 1e-8
    np.testing.assert_allclose(slope[away], -0.3 * y[away] / np.abs(y[away]), atol=1e-8)
    assert np.all(np.abs(slope[~away]) <= 0.3 + 1e-8)
    if backend == "onnx":
        assert not verify(artifact.model).failed


def test_bounds_are_those_of_the_real_map() -> None:
    """A rotation by a known number, and a matrix, are bounded by their size, and to a few ulps."""
    text = SOLVES.replace("T(x): 0.3", "S(x): (0.3 + 0.4 * i) * H @ x / 6 + b\n  T(x): 0.3")
    text = text.replace("next: {z: T(z)}", "next: {z: S(z)}")
    found = banach.loads(text).check().certificates["z"]
    hermitian = np.array([[4, 1 + 1j, 0], [1 - 1j, 3, 0.5j], [0, -0.5j, 2]])
    wanted = 0.5 * np.linalg.norm(hermitian, 2) / 6
    assert found.verdict == "proved" and wanted * (1 - 1e-12) <= found.upper_factor <= wanted * (1 + 1e-6)


DESCENT = """
banach: 1
precision: float64
sizes: {n: 3}
inputs: {c: "complex[n]"}
operators:
  f: sq_l2(c)
  D: (1 + 0.5 * i) * I
solve:
  x:
    state: {x: complex(zeros(n))}
    next: {x: STEP}
    stop: {residual: norm(x' - x) <= 1e-8, most: 60}
outputs: {x: x}
"""


@pytest.mark.parametrize(
    ("step", "moves"),
    [
        ("x - 0.5 * grad(f)(x)", lambda x: 0.5 * x),
        ("x - (0.5 + 0.1 * i) * grad(f)(x)", lambda x: (0.5 - 0.1j) * x),
        (
            "x - (0.5 + 1.5 * i) * grad(f)(x)",
            lambda x: (0.5 - 1.5j) * x,
        ),  # its real part would be a fine step
        ("x - 0.5 * i * grad(f)(x)", lambda x: (1 - 0.5j) * x),
        ("x - 0.5 * D(grad(f)(x))", lambda x: (0.5 - 0.25j) * x),
        ("x - 0.5 * D(grad(f)(x)) - i * x", lambda x: (0.5 - 1.25j) * x),
        ("x - conj(i * x) - 0.5 * i * grad(f)(x)", lambda x: x - np.conj(1j * x) - 0.5j * x),
        ("0.6 * conj(i * x) + 0.3 * grad(f)(x)", lambda x: 0.6 * np.conj(1j * x) + 0.3 * x),
    ],
)
def test_a_complex_step_is_taken_for_no_real_one(step: str, moves: Any) -> None:
    """The step is linear over the reals, and its eigenvalues say whether it converges."""
    columns = [[moves(unit).real, moves(unit).imag] for unit in (1 + 0j, 1j)]
    radius = np.abs(np.linalg.eigvals(np.array(columns).T)).max()
    found = banach.loads(DESCENT.replace("STEP", step)).check().certificates["x"]
    assert found.verdict == ("proved" if radius < 1 else "refuted")


SYMMETRY = """
banach: 1
precision: float64
sizes: {n: 3}
parameters:
  H: "[[4, 1 + i, 0], [1 - i, 3, 0.5 * i], [0, -0.5 * i, 2]]"
  S: "[[4, 1 + i, 0], [1 + i, 3, 0], [0, 0, 2]]"
inputs: {b: "complex[n]"}
operators:
  M: "MAP"
solve:
  x:
    method: cg(M, b)
    start: complex(zeros(n))
    stop: {residual: 1e-8, most: 60}
outputs: {x: x}
"""


@pytest.mark.parametrize(
    ("map", "verdict"),
    [
        ("matrix(H)", "proved"),
        ("2 * H", "proved"),
        ("adjoint(S) @ S", "proved"),
        ("matrix(S)", "unknown"),  # symmetric, not Hermitian
        ("(1 + 0.1 * i) * matrix(H)", "unknown"),
    ],
)
def test_a_hermitian_matrix_is_a_symmetric_map(map: str, verdict: str) -> None:
    assert banach.loads(SYMMETRY.replace("MAP", map)).check().certificates["x"].verdict == verdict


def test_a_map_scaled_entry_by_entry_is_not_its_own_adjoint() -> None:
    text = """
banach: 1
precision: float64
inputs: {x: "real[3]", z: "complex[3]"}
operators:
  K: "[1, 2, 3] * laplacian_like"
  L: "[i, 2, 3 + i] * laplacian_like"
  laplacian_like: matrix([[2, -1, 0], [-1, 2, -1], [0, -1, 2]])
outputs: {y: adjoint(K)(x), w: adjoint(L)(z)}
"""
    x, z = RANDOM.standard_normal(3), drawn(3)
    found = banach.loads(text).compile(to="oracle").run(x=x, z=z)
    matrix = np.array([[2, -1, 0], [-1, 2, -1], [0, -1, 2.0]])
    np.testing.assert_allclose(found["y"], (np.diag([1, 2, 3.0]) @ matrix).T @ x)
    np.testing.assert_allclose(found["w"], (np.diag([1j, 2, 3 + 1j]) @ matrix).conj().T @ z)


# --- states, samples, parameters, other specs -------------------------------------------------------------

SCAN = """
banach: 1
name: scan
precision: float64
sizes: {batch: any, T: 5, n: 2}
inputs: {s: "complex[batch, T, n]", x: "real[batch, n]"}
parameters:
  a: {file: a.npy}
scan:
  h:
    over: {u: s}
    state: {h: complex(x), old: 0 * i * x}
    where: {back: "history(h, 2)[1]"}
    next:
      h: a * h + u + 0.1 * i * back
      every(2):
        old: conj(h)
    gives: {seen: h' + old', size: norm(h')}
outputs: {h: h, seen: h.seen, size: h.size}
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_scans_carry_complex_states(backend: str, tmp_path: Path) -> None:
    a, s, x = 0.5 * np.exp(1j * np.arange(2)), drawn(3, 5, 2), RANDOM.standard_normal((3, 2))
    np.save(tmp_path / "a.npy", a)
    (tmp_path / "scan.yaml").write_text(SCAN)
    found = banach.load(tmp_path / "scan.yaml").compile(to=backend).run(s=s, x=x)
    for row in range(3):
        values, old = [x[row] + 0j] * 2, np.zeros(2, complex)
        for t in range(5):
            old = values[-1].conj() if t % 2 == 0 else old
            values.append(a * values[-1] + s[row, t] + 0.1j * values[-2])
            np.testing.assert_allclose(found["seen"][row, t], values[-1] + old, rtol=1e-12)
            np.testing.assert_allclose(found["size"][row, t], np.linalg.norm(values[-1]), rtol=1e-12)
        np.testing.assert_allclose(found["h"][row], values[-1], rtol=1e-12)


def test_another_spec_takes_and_gives_complex_numbers(tmp_path: Path) -> None:
    part = 'banach: 1\nname: part\ninputs: {u: "complex[3]"}\noutputs: {v: i * u, w: abs(u)}\n'
    (tmp_path / "part.yaml").write_text(part)
    whole = (
        'banach: 1\ninputs: {z: "complex[3]"}\noperators: {P: include(file=part.yaml)}\n'
        'outputs: {v: "P(z)[0]", w: "P(z)[1]"}\n'
    )
    (tmp_path / "whole.yaml").write_text(whole)
    z = drawn(3)
    found = banach.load(tmp_path / "whole.yaml").compile(to="oracle").run(z=z)
    assert found["v"].dtype == np.complex64
    np.testing.assert_allclose(found["v"], 1j * z, rtol=1e-6)
    np.testing.assert_allclose(found["w"], np.abs(z), rtol=1e-6)


def test_complex_parameters_are_drawn_and_train() -> None:
    text = """
banach: 1
name: trained
precision: float64
sizes: {batch: any, n: 3}
inputs: {x: "real[batch, n]"}
parameters:
  c: {type: "complex[n]", init: "normal(0, 1)", seed: 4, trainable: true}
outputs: {y: abs(sum(c * x))}
train:
  loss: (abs(sum(c * x)) - y)**2
  data:
    x: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    y: [1.0, 2.0, 0.5]
  method: sgd(0.1)
  steps: 60
"""
    model = banach.loads(text)
    eye = np.eye(3)
    before = model.compile(to="oracle").run(x=eye)["y"]
    assert np.abs(before - [1, 2, 0.5]).max() > 0.1
    step = model.train_step().compile(to="onnx")
    state = {port.name: port.default.array for port in step.inputs if port.default is not None}
    for number in range(60):
        state |= model.train_step().batch(number)
        found = step.run(state)
        state |= {name[:-1]: array for name, array in found.items() if name.endswith("'")}
    assert state["c"].shape == (3, 2)
    np.testing.assert_allclose(np.hypot(*state["c"].T), [1, 2, 0.5], atol=0.05)


# --- derivatives and files --------------------------------------------------------------------------------

LOSS = """
banach: 1
name: loss
precision: float64
inputs: {z: "complex[3]", x: "real[3]"}
operators:
  T(u): 0.4 * i * conj(u) + x * z + 0.1 * u * abs(u) / (1 + abs(u))
solve:
  u:
    state: {u: complex(zeros(3))}
    next: {u: T(u)}
    stop: {residual: norm(u' - u) <= 1e-13, most: 300}
    report: none
outputs: {loss: "norm(u - 1)**2", u: u}
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gradient_is_that_of_real_and_imaginary_parts(backend: str) -> None:
    model, z, x, step = banach.loads(LOSS), drawn(3), RANDOM.standard_normal(3), 1e-6
    run = model.compile(to="oracle").run
    found = model.reverse("loss", ["z", "x"]).compile(to=backend).run(z=z, x=x)
    for i in range(3):
        for unit in (1, 1j):
            ends = [run(z=z + sign * step * unit * np.eye(3)[i], x=x)["loss"] for sign in (1, -1)]
            slope = (found["d.z"][i] * np.conj(unit)).real
            np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-8)
    w = drawn(3)
    back = model.reverse("u", "z").compile(to=backend).run({"z": z, "x": x, "d.u": w})["d.z"]
    move = drawn(3)
    ends = [run(z=z + sign * step * move, x=x)["u"] for sign in (1, -1)]
    pushed = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(np.vdot(back, move).real, np.vdot(w, pushed).real, rtol=1e-6)


def test_a_file_has_pairs_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "loss.onnx"
    banach.loads(LOSS.replace("precision: float64\n", "")).compile(path)
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in onnx.load(path).graph.input
    }
    assert shapes["z"] == [3, 2] and shapes["x"] == [3]
    model, z = load(path), drawn(3)
    found = model.run(z=z, x=np.ones(3))["u"]
    assert found.dtype == np.complex64 and found.shape == (3,)
    with_reals = model.run(z=z.real, x=np.ones(3))["u"]  # reals are complex numbers too
    np.testing.assert_allclose(with_reals, model.run(z=z.real + 0j, x=np.ones(3))["u"])
    for wrong, told in [(z[:2], r"complex\[3\].*shape \[2\]"), (np.array(["a"] * 3), r"complex\[3\]")]:
        with pytest.raises(banach.RunError, match=told):
            model.run(z=wrong, x=np.ones(3))
    with pytest.raises(banach.RunError, match="given complex128"):
        model.run(z=z, x=z)


def test_a_file_that_lies_about_its_complex_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loss.onnx"
    banach.loads(LOSS).compile(path)
    proto = onnx.load(path)
    for entry in proto.metadata_props:
        if entry.key == "banach.complex":
            entry.value = '{"inputs": 3}'
    onnx.save(proto, path)
    with pytest.raises(banach.RunError, match="cannot be read"):
        load(path)


def test_the_command_line_reads_and_writes_complex_arrays(banach_command: Any, tmp_path: Path) -> None:
    (tmp_path / "loss.yaml").write_text(LOSS)
    z = drawn(3)
    np.save(tmp_path / "z.npy", z)
    np.save(tmp_path / "x.npy", np.ones(3))
    given = [f"{name}={tmp_path / name}.npy" for name in ("z", "x")]
    options = ("--input", given[0], "--input", given[1], "-o", tmp_path / "out")
    assert banach_command("run", tmp_path / "loss.yaml", *options).code == 0
    assert "u = [" in banach_command("run", tmp_path / "loss.yaml", *options).out
    told = json.loads(banach_command("run", tmp_path / "loss.yaml", *options, "--json").out)
    assert np.shape(told["outputs"]["u"]) == (3, 2)
    wanted = banach.loads(LOSS).compile(to="oracle").run(z=z, x=np.ones(3))["u"]
    np.testing.assert_allclose(np.load(tmp_path / "out" / "u.npy"), wanted, rtol=1e-9)
