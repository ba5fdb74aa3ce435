"""Maps made of gradients and proximal maps: how averaged they are, against formulas and random points."""

import json
from fractions import Fraction

import numpy as np
import onnx
import pytest

import banach
from banach.backends.onnx.verifier import verify
from banach.compiler.certificate import Certificate
from banach.compiler.facts.averaged import Parts, averagedness, is_averaged

# ∇f has L = 5 exactly, and f is not strongly convex; P and Q are projections, on a ball and on a box.
SPEC = """
banach: 1
precision: {precision}
sizes: {{n: 2}}
inputs: {{u: "real[n]"}}
parameters: {{A: [[2, 1]], b: [1]}}
operators:
  f: least_squares(A, b)
  g: l1(0.1)
  ball1: ball(1)
  box1: box(0, 1)
  P: prox(ball1, 1)
  Q: prox(box1, 1)
  h(x): sum(cos(x))
solve:
  x: {{state: {{x: u}}, next: {{x: "{next}"}}, stop: {{residual: norm(x' - x) <= 1e-6, most: 400}}}}
outputs: {{x: x}}
"""


def model(next: str, precision: str = "float64") -> banach.Model:
    return banach.loads(SPEC.format(next=next, precision=precision))


def certificate(next: str, precision: str = "float64") -> Certificate:
    return model(next, precision).check().certificates["x"]


def gradient(x: np.ndarray) -> np.ndarray:
    A = np.array([[2, 1.0]])
    return A.T @ (A @ x - 1)


def ball(x: np.ndarray) -> np.ndarray:
    return x / max(1.0, float(np.linalg.norm(x)))


def box(x: np.ndarray) -> np.ndarray:
    return np.clip(x, 0, 1)


PROVED = [  # the map in the spec, the same in numpy, and what R4 to R13 say
    ("x - 0.3 * grad(f)(x)", lambda x: x - 0.3 * gradient(x), 0.3 * 5 / 2),
    ("P(Q(x))", lambda x: ball(box(x)), 2 / 3),
    ("0.5 * x + 0.5 * P(Q(x))", lambda x: x / 2 + ball(box(x)) / 2, 1 / 3),
    ("x + 1.3 * (P(Q(x)) - x)", lambda x: x + 1.3 * (ball(box(x)) - x), 1.3 * 2 / 3),
    ("P(x - 0.3 * grad(f)(x))", lambda x: ball(x - 0.3 * gradient(x)), 2 / (4 - 1.5)),
    ("x + 1.5 * (P(2 * Q(x) - x) - Q(x))", lambda x: x + 1.5 * (ball(2 * box(x) - x) - box(x)), 1.5 / 2),
    ("0.5 * (P(x) + Q(x))", lambda x: (ball(x) + box(x)) / 2, 1 / 2),
    (
        "x + P(2 * Q(x) - x - 0.1 * grad(f)(Q(x))) - Q(x)",
        lambda x: x + ball(2 * box(x) - x - 0.1 * gradient(box(x))) - box(x),
        2 / (4 - 0.5),
    ),
]


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(("next", "T", "a"), PROVED)
def test_the_constant_and_the_inequality(next: str, T: object, a: float, precision: str) -> None:
    found = certificate(next, precision)
    assert found.verdict == "proved" and found.proviso == "a fixed point exists"
    if found.theorem == "averaged-map":
        stated = float(Fraction(found.to_json()["derivation"]["a"]))
        assert stated == pytest.approx(a, rel=1e-6)
    rng = np.random.default_rng(0)
    for _ in range(300):
        x, y = rng.standard_normal((2, 2)) * rng.choice([0.3, 1, 5])
        d, e = x - y, T(x) - T(y)  # type: ignore[operator]
        assert e @ e <= d @ d - (1 - a) / a * (d - e) @ (d - e) + 1e-9


@pytest.mark.parametrize(("next", "T", "a"), PROVED[:3])
def test_the_rate_is_kept(next: str, T: object, a: float) -> None:
    x = start = np.array([3.0, -2.0])
    for _ in range(100_000):
        x = T(x)  # type: ignore[operator]
    distance = float(np.sum((start - x) ** 2))
    x = start
    for k in range(200):
        moved = T(x)  # type: ignore[operator]
        assert np.sum((x - moved) ** 2) <= a / ((1 - a) * (k + 1)) * distance + 1e-12
        x = moved


@pytest.mark.parametrize(
    ("next", "why"),
    [
        ("x - 0.4 * grad(f)(x)", "the step is 2/L: averaged with a = 1"),
        ("x + 1.5 * (P(Q(x)) - x)", "1.5 · 2/3 = 1"),
        ("x + 2 * (P(2 * Q(x) - x) - Q(x))", "Peaceman and Rachford"),
        ("2 * P(x) - x", "a reflection"),
        ("P(-x)", "not the identity without its gradients"),
        ("x - P(x)", "no minus a projection"),
        ("x + 0.1 * grad(f)(x)", "uphill"),
        ("x - 0.1 * grad(h)(x)", "not known to be convex"),
        ("x + 0.5 * (P(Q(x)) - P(x))", "a difference of two projections"),
        ("x - 0.3 * grad(f)(2 * x)", "a gradient at another point"),
    ],
)
def test_what_is_not_averaged(next: str, why: str) -> None:
    assert certificate(next).verdict != "proved", why


def test_a_proof_with_a_factor_is_preferred() -> None:
    found = certificate("x - 0.1 * grad(f)(x) - 0.1 * x")
    assert found.verdict == "proved" and found.rate == "linear"


@pytest.mark.parametrize("seed", range(20))
def test_three_proximal_maps_in_a_row(seed: int) -> None:
    """What R4 says of them, and no less than what random firmly nonexpansive linear maps show."""
    rng = np.random.default_rng(seed)
    steps = [Fraction(int(rng.integers(1, 9)), 4) for _ in range(3)]
    b, D = (
        tuple(steps),
        tuple(tuple(-steps[j] if j <= i else Fraction(0) for j in range(3)) for i in range(3)),
    )
    found = averagedness(Parts(b, D, (Fraction(0),) * 3))
    assert found == Fraction(3, 4)  # R4 for three proximal maps, whatever their steps
    assert is_averaged(Parts(b, D, (Fraction(0),) * 3), found)
    assert not is_averaged(Parts(b, D, (Fraction(0),) * 3), found - Fraction(1, 10**9))
    worst = 0.0
    for _ in range(200):
        T = np.eye(2)
        for _ in range(3):  # T_i = (I + R)/2 for a rotation R
            t = rng.uniform(0, 2 * np.pi)
            T = (np.eye(2) + np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])) / 2 @ T
        lost, moved = np.eye(2) - T.T @ T, (np.eye(2) - T).T @ (np.eye(2) - T)
        ratio = np.linalg.eigvals(np.linalg.solve(moved + 1e-12 * np.eye(2), lost)).real.min()
        worst = max(worst, 1 / (1 + ratio))
    assert worst <= 0.75 + 1e-6


def test_the_independent_checker(tmp_path: object) -> None:
    path = tmp_path / "model.onnx"  # type: ignore[operator]
    model("x + P(2 * Q(x) - x - 0.1 * grad(f)(Q(x))) - Q(x)").compile(path)
    sealed = onnx.load(path)
    found = verify(sealed)
    assert found.ok and any("averaged" in line for line in found.checked)
    entry = next(e for e in sealed.metadata_props if e.key == "banach.certificate")
    true = json.loads(entry.value)
    for change in (
        lambda d: d.update(a="1/2"),
        lambda d: d.update(a="1"),
        lambda d: d["beta"].__setitem__(0, "1"),
        lambda d: d["beta"].__setitem__(1, "1"),
        lambda d: d["versions"][1]["b"].__setitem__(0, "-1"),
        lambda d: d["versions"][0]["D"][2].__setitem__(0, "0"),
        lambda d: d["versions"].clear(),
    ):
        document = json.loads(json.dumps(true))
        change(document["certificates"][0]["derivation"])
        entry.value = json.dumps(document)
        assert not verify(sealed).ok
