"""Solves around solves: the constants by hand, and what must not be proved."""

import numpy as np
import pytest

import banach
from banach.backends.onnx.verifier import verify

SPEC = """
banach: 1
precision: float64
sizes: {n: 2}
inputs: {b: "real[n]"}
parameters: {W: [[0.3, 0.4], [-0.4, 0.3]]}
operators:
  inner(x):
    solve:
      z:
        state: {z: zeros(n)}
        next: {z: W @ z + 0.4 * tanh(x)}
        stop: {residual: "norm(z' - z) <= 1e-6", most: 200}
    returns: z
solve:
  x:
    state: {x: zeros(n)}
    next: {x: 0.5 * inner(x) + b}
    stop: {residual: "norm(x' - x) <= 4e-6", most: 200}
outputs: {x: x}
"""


def checked(*changes: tuple[str, str]):
    text = SPEC
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return banach.loads(text).check().certificates["x"]


def test_the_numbers_are_those_of_the_hand() -> None:
    """p = 0.5, so the solution moves by 0.4/0.5 and is off by 1e-6: q = 0.4, d = 5e-7, d/(1 - q) = 8.3e-7."""
    found = checked()
    assert (found.verdict, found.theorem) == ("proved", "inexact-contraction"), found.missing
    assert 0.4 <= found.upper_factor <= 0.4 * (1 + 1e-9)
    floor = float(found.bound.rpartition("+ ")[2])
    assert 5e-7 / 0.6 <= floor <= 5e-7 / 0.6 * (1 + 1e-9) and "converges" in found.proviso
    assert 2 * floor <= found.reachable <= 2 * floor * (1 + 1e-9)


def test_the_file_is_checked_again_and_ends_within_the_bound() -> None:
    artifact = banach.loads(SPEC).compile(to="onnx")
    assert verify(artifact.model).ok
    b = np.array([1.0, -3.0])
    found = artifact.run(b=b)
    W, x = np.array([[0.3, 0.4], [-0.4, 0.3]]), np.zeros(2)
    for _ in range(200):
        x = 0.5 * np.linalg.solve(np.eye(2) - W, 0.4 * np.tanh(x)) + b
    assert found["x.status"] == 0 and np.linalg.norm(found["x"] - x) <= 8.4e-7 + 0.4 / 0.6 * 4e-6


@pytest.mark.parametrize(
    "change",
    [
        ("<= 4e-6", "<= 1e-6"),  # below what the steps let the residual fall to
        ("<= 1e-6", "<= 1e-5"),
        ("0.5 * inner(x)", "1.3 * inner(x)"),
        ("0.5 * inner(x)", "inner(inner(2 * x))"),
        ("W @ z +", "2.1 * W @ z +"),
        ("norm(z' - z) <=", "norm(z' - z) / 100 <="),
        ("norm(x' - x) <=", "norm(x' - x) / 100 <="),
        ("0.5 * inner(x)", "0.5 * inner(x) / (k + 1)"),
        ("0.4 * tanh(x)", "0.4 * tanh(x) / (k + 1)"),  # the step inside changes, and has no solution
        ("state: {z: zeros(n)}", "state: {z: zeros(n), w: zeros(n)}"),
    ],
)
def test_what_is_not_known_to_end_near_is_not_proved(change: tuple[str, str]) -> None:
    changes = [change]
    if "w: zeros" in change[1]:
        changes.append(("next: {z: W @ z + 0.4 * tanh(x)}", "next: {z: W @ w + 0.4 * tanh(x), w: z}"))
    assert checked(*changes).verdict == "unknown"
