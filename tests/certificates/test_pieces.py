"""Steps that are affine in pieces: no fixed point, or one affine map after all, replayed."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

import banach
from banach.compiler.certificate import Certificate

TEXT = """\
banach: 1
precision: float64
parameters: {PARAMETERS}
inputs: {u: "real[N]"}
solve:
  x:
    state: {x: u}
    next: {x: "NEXT"}
    stop: {residual: norm(x' - x) <= 1e-9, most: 100}
outputs: {x: x}
"""


def certificate(next: str, n: int = 2, parameters: str = ""):
    text = TEXT.replace("NEXT", next).replace("[N]", f"[{n}]").replace("PARAMETERS", parameters)
    return banach.loads(text).check().certificates["x"]


def rational(rows) -> np.ndarray:
    return np.array([[Fraction(x) for x in row] for row in rows], object)


def replayed(witness, step, n: int) -> None:
    """The pieces cover the space, the step is what they say, and no piece has a fixed point, exactly."""
    random = np.random.default_rng(0)
    pieces = witness.exact["pieces"]
    points = [*(10 ** random.uniform(-2, 2, (200, 1)) * random.standard_normal((200, n))), np.zeros(n)]
    for point in points:
        x = np.append([Fraction(float(t)) for t in point], Fraction(1))
        there = [p for p in pieces if all(v >= 0 for v in rational(p["inside"]).reshape(-1, n + 1) @ x)]
        assert there
        for piece in there:
            found = np.array(rational(piece["rows"]) @ x, float)
            np.testing.assert_allclose(found, step(point), rtol=1e-12, atol=1e-12)
    for piece in pieces:
        moves = rational(piece["rows"]) - np.hstack([np.eye(n, dtype=int), np.zeros((n, 1), int)])
        y, z = ([Fraction(t) for t in piece[name]] for name in "yz")
        assert all(t >= 0 for t in y)
        sums = np.array(y, object) @ rational(piece["inside"]).reshape(-1, n + 1) if y else np.zeros(n + 1)
        total = sums + np.array(z, object) @ moves
        assert total.tolist() == [0] * n + [-1]
    shortest = min(1 / sum(abs(Fraction(t)) for t in piece["z"]) for piece in pieces)
    assert all(np.abs(step(point) - point).max() >= float(shortest) * (1 - 1e-9) for point in points)
    assert min(witness.growth) >= float(shortest) * (1 - 1e-9)


W = np.array([[2.0, 4], [-1, -2]])
CASES = {
    "relu([[2, 4], [-1, -2]] @ x + [1, 0])": lambda x: np.maximum(W @ x + [1, 0], 0),
    "x + [0.5, 0]": lambda x: x + [0.5, 0],
    "abs(x) + 1": lambda x: np.abs(x) + 1,
    "maximum(x + 1, 2 * x + 3)": lambda x: np.maximum(x + 1, np.where(2 * x + 3 > x, 2 * x + 3, x)),
    "x - 0.1 * clip(x, low=1, high=2)": lambda x: x - 0.1 * np.clip(x, 1, 2),
    "max(x) * [1, 1] + [0, 1]": lambda x: np.max(x) * np.ones(2) + [0, 1],
}


@pytest.mark.parametrize("next", CASES)
def test_no_fixed_point(next: str) -> None:
    found = certificate(next)
    assert (found.verdict, found.scope, found.theorem) == ("refuted", "instance", "no-fixed-point")
    replayed(found.witness, CASES[next], 2)


@pytest.mark.parametrize(
    "next",
    [
        "relu([[2, 4], [-1, -2]] @ x - [1, 0])",  # 0 is one
        "abs(x) - 1",
        "x - 0.1 * clip(x, low=-1, high=2)",
        "maximum(x - 1, 2 * x + 3)",
        "x + 0.1 * relu(x) + [0, 0]",
        "relu(x) + u",  # a matter of u
    ],
)
def test_a_fixed_point_is_never_denied(next: str) -> None:
    assert certificate(next).theorem != "no-fixed-point"


def fixed_points(W: np.ndarray, b: np.ndarray) -> bool:
    """Whether x = max(Wx + b, 0) has a solution, by numpy on each of the signs."""
    n = len(b)
    for signs in product((0, 1), repeat=n):
        active = np.diag(signs)
        x, *_ = np.linalg.lstsq(np.eye(n) - active @ W, active @ b, rcond=None)
        if np.abs(np.maximum(W @ x + b, 0) - x).max() < 1e-9:
            return True
    return False


def test_random_networks() -> None:
    """A network of two or three entries is refused exactly where numpy finds no fixed point on any piece."""
    random, told = np.random.default_rng(5), []
    for _ in range(40):
        n = int(random.integers(2, 4))
        W, b = random.integers(-3, 4, (n, n)), random.integers(-2, 3, n)
        if abs(np.linalg.eigvals(W)).max() < 1:
            continue
        found = certificate(f"relu({W.tolist()} @ x + {b.tolist()})", n)
        singular = any(
            abs(np.linalg.det(np.eye(n) - np.diag(signs) @ W)) < 1e-9 for signs in product((0, 1), repeat=n)
        )
        if not singular:  # else a solution may lie anywhere on a line, which least squares does not look at
            assert (found.theorem == "no-fixed-point") is not fixed_points(W, b), (W, b)
            told.append(found.theorem == "no-fixed-point")
        if found.theorem == "no-fixed-point":
            replayed(found.witness, lambda x, W=W, b=b: np.maximum(W @ x + b, 0), n)
    assert len(told) > 15 and 2 <= sum(told) < len(told)


def test_one_affine_map_in_pieces() -> None:
    """clip(x, 0, 0) is 0: what is left is −x, or x/2."""
    found = certificate("2 * maximum(minimum(x, 0), 0) - x")
    assert (found.verdict, found.scope, found.theorem) == ("refuted", "class", "linear-iteration")
    assert found.witness.exact["matrix"] == [["-1", "0"], ["0", "-1"]]
    found = certificate("0.5 * x + relu(x) - relu(-x) - abs(x) + 2 * relu(-x) - x + [1, 2]")
    assert found.verdict == "proved"


# --- squares ----------------------------------------------------------------------------------------------


def by_squares(next: str) -> Certificate:
    text = f"""
banach: 1
precision: float64
inputs: {{u: "real[2]"}}
solve:
  x: {{state: {{x: u}}, next: {{x: "{next}"}}, stop: {{residual: norm(x' - x) <= 1e-6, most: 300}}}}
outputs: {{x: x}}
"""
    return banach.loads(text).check().certificates["x"]


@pytest.mark.parametrize(
    ("next", "left"),
    [
        ("sqrt(1 + x**2)", -1),
        ("2 * sqrt(x**2 / 4 + 1)", -4),
        ("1 + sqrt((x - 1)**2 + 3)", -3),
        ("x - 1 + sqrt(2)**2", None),  # a number under a root is no polynomial in x
        ("0.5 * x + 0.5 * sqrt(x**2 + 9)", Fraction(-9, 4)),
    ],
)
def test_a_root_that_is_always_larger_excludes_a_fixed_point(next: str, left: Fraction | None) -> None:
    found = by_squares(next)
    if left is None:
        assert found.theorem != "no-fixed-point-by-squares"
        return
    assert (found.verdict, found.scope, found.theorem) == ("refuted", "instance", "no-fixed-point-by-squares")
    assert Fraction(found.witness.exact["left"]) == left
    x = np.random.default_rng(0).standard_normal(1000) * 10.0 ** np.arange(-5, 5).repeat(100)
    step = eval(next, {"sqrt": np.sqrt, "x": x})
    assert (step != x).all()
    orbit, y = [], 0.0
    for _ in range(1000):
        y = float(eval(next, {"sqrt": np.sqrt, "x": y}))
        orbit.append(abs(y))
    assert np.allclose(found.witness.growth, orbit, rtol=1e-9) and orbit[-1] > 10 * orbit[0]


@pytest.mark.parametrize(
    "next", ["sqrt(1 + x)", "sqrt(1 + 0.5 * x**2)", "sqrt(x**2)", "sqrt(1 + x**2) * 0.9", "x * sqrt(2)"]
)
def test_a_root_with_a_fixed_point_is_not_refuted_by_squares(next: str) -> None:
    assert by_squares(next).theorem != "no-fixed-point-by-squares"


def test_a_limit_where_the_step_has_a_pole_is_no_contradiction() -> None:
    """For J = -1/(1 - x), J + √((x - J)² + 1) is never x; the iterates come to 1, where it has no value."""
    next = "-1 / (1 - x) + sqrt((x + 1 / (1 - x))**2 + 1)"
    x = 0.0
    for _ in range(20):
        x, before = -1 / (1 - x) + np.sqrt((x + 1 / (1 - x)) ** 2 + 1), x
    assert before < x < 1 and x - before < 1e-3
    assert by_squares(next).theorem != "no-fixed-point-by-squares"
    assert by_squares("0 * x + sqrt((x + 1 / x)**2 + 1) - 1 / x").theorem != "no-fixed-point-by-squares"
