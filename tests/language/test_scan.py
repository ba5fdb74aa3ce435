"""Scans: a recurrence over given data, held against a loop in numpy."""

import numpy as np
import pytest

import banach

SPEC = """
banach: 1
name: rnn
precision: float64
sizes: {batch: any, T: 6, p: 3, n: 4}
inputs: {x: "real[batch, T, p]"}
parameters:
  W: {type: "real[n, n]", init: "normal(0, 0.3)", seed: 1}
  U: {type: "real[n, p]", init: "normal(0, 0.5)", seed: 2}
scan:
  h:
    over: {u: x}
    state: {h: zeros(n), c: 1}
    where: {v: W @ h + U @ u}
    next: {h: tanh(v) * c, c: c / 2 + 1}
    gives: {y: sum(h'**2) + k}
outputs: {h: h, y: h.y}
"""
FIBONACCI = """
banach: 1
scan:
  fib:
    steps: 10
    state: {a: 0, b: 1}
    next: {a: b, b: a + b}
outputs: {fib: fib}
"""


def by_hand(W: np.ndarray, U: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    h, c, ys = np.zeros(4), 1.0, []
    for k, u in enumerate(x):
        h, c = np.tanh(W @ h + U @ u) * c, c / 2 + 1
        ys.append(np.sum(h**2) + k)
    return h, np.array(ys)


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_a_recurrence_over_every_sample_of_a_batch(backend: str) -> None:
    model = banach.loads(SPEC)
    W, U = (model.elaborated.names.find(name).array for name in "WU")
    x = np.random.default_rng(0).standard_normal((3, 6, 3))
    found = model.compile(to=backend).run(x=x)
    for i in range(3):
        h, y = by_hand(W, U, x[i])
        np.testing.assert_allclose(found["h"][i], h, rtol=1e-12)
        np.testing.assert_allclose(found["y"][i], y, rtol=1e-12)


def test_its_gradient_is_that_of_differences() -> None:
    model = banach.loads(SPEC)
    x = np.random.default_rng(1).standard_normal((1, 6, 3))
    weights = np.random.default_rng(2).standard_normal((1, 4))
    back = model.reverse("h", "x").compile().run({"x": x, "d.h": weights})["d.x"]
    forward = model.compile(to="oracle")
    for t, i in [(0, 0), (3, 1), (5, 2)]:
        step = np.zeros_like(x)
        step[0, t, i] = 1e-6
        change = forward.run(x=x + step)["h"] - forward.run(x=x - step)["h"]
        np.testing.assert_allclose(back[0, t, i], np.sum(weights * change) / 2e-6, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_a_number_of_steps(backend: str) -> None:
    assert banach.loads(FIBONACCI).compile(to=backend).run()["fib"] == 55


@pytest.mark.parametrize(
    ("right", "wrong", "code", "words"),
    [
        ("    steps: 10\n", "", "B204", "neither `over` nor `steps`"),
        ("b: a + b}", "c: a + b}", "B204", "`b` has no equation"),
        ("{a: b, b: a + b}", "{a: b', b: a'}", "B205", "needs its own value"),
        ("steps: 10", "step: 10", "B131", "no key `step`"),
        ("steps: 10", "steps: 2.5", "B206", "the number of steps"),
        ("a: 0,", "a: '[1, 2]',", "B202", "starts as float32[2]"),
    ],
)
def test_a_wrong_scan_is_refused(right: str, wrong: str, code: str, words: str) -> None:
    with pytest.raises(banach.SpecError) as refusal:
        banach.loads(FIBONACCI.replace(right, wrong))
    assert any(d.code.id == code and words in d.message for d in refusal.value.diagnostics)


def test_scans_and_solves_may_use_each_other() -> None:
    text = """
banach: 1
precision: float64
sizes: {n: 3}
parameters: {b: [1, 2, 3]}
solve:
  x:
    state: {x: zeros(n)}
    next: {x: 0.5 * tanh(x) + total}
    stop: {residual: norm(x' - x) <= 1e-12, most: 200}
scan:
  total:
    over: {u: b}
    state: {s: 0}
    next: {s: s + u}
outputs: {x: x}
"""
    found = banach.loads(text).compile(to="oracle").run()["x"]
    np.testing.assert_allclose(found, 0.5 * np.tanh(found) + 6, rtol=1e-10)
