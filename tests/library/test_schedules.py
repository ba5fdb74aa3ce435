"""Every schedule's page: its values against numpy, and its facts against its values."""

import numpy as np
import pytest
from numpy.polynomial.chebyshev import chebroots

import banach
from banach.compiler import library
from banach.compiler.elaboration import nested
from banach.compiler.elaboration.analysis import measure

SPEC = """
banach: 1
precision: float64
schedules: {{eta: "{example}"}}
scan:
  s:
    steps: {steps}
    state: {{last: 0}}
    next: {{last: "eta(k)"}}
    gives: {{value: "last'"}}
outputs: {{values: s.value}}
"""
K = np.arange(60)


def silver(order: int) -> np.ndarray:
    """By the recursion of Altschuler and Parrilo: h ← (h, 1 + (1 + √2)^j, h)."""
    if not order:
        return np.array([np.sqrt(2)])
    half = silver(order - 1)
    return np.concatenate([half, [1 + (1 + np.sqrt(2)) ** (order - 1)], half])


VALUES = {
    "fixed": 0.3 + 0 * K,
    "polynomial": 0.3 * (K + 1.0) ** -0.75,
    "geometric": 0.3 * 0.9**K,
    "cosine": np.where(K < 20, 0.2 + 0.1 * np.cos(np.pi * K / 20), 0.1),
    "warmup": 0.3 * 0.9**K * np.minimum((K + 1) / 5, 1),
    "staircase": 0.3 * 0.5 ** (K // 10),
    "anchor": 1 / np.arange(2, 62),
    "bounded": np.clip(0.3 * 0.9**K, 0.05, 0.2),
    "chebyshev_steps": np.tile(1 / (5 + 4 * np.sort(chebroots([0] * 8 + [1]))[::-1]), 8)[:60],
    "continuation": np.maximum(0.3 * 0.9**K, 0.02),
    "cosine_restarts": 0.2 + 0.1 * np.cos(np.pi * (K % 16) / 16),
    "delayed": 0.3 * 0.9 ** np.maximum(K - 5, 0),
    "inverse_square_root": np.concatenate([0.3 * np.arange(1, 9) * 8**-1.5, 0.3 / np.sqrt(np.arange(9, 61))]),
    "inverse_time": 0.3 / np.linspace(1, 1 + 59 / 4, 60),
    "linear_decay": np.interp(K, [0, 20], [0.3, 0.1]),
    "nesterov_momentum": 1 - 3 / np.arange(3, 63),
    "piecewise": np.repeat([0.3, 0.1, 0.02], [10, 20, 30]),
    "polyak_momentum": np.full(60, (2 / 3) ** 2),
    "product": 0.3 * (K + 1.0) ** -0.75 * 0.9**K,
    "silver": 0.3 * silver(6)[:60],
    "strongly_convex_momentum": np.full(60, 2 / 3),
    "triangular": np.interp(K % 16, [0, 8, 16], [0.1, 0.3, 0.1]),
}
PAGES = [pytest.param(page, id=page.name) for page in library.pages("schedule")]


def values(example: str, steps: int = 60) -> np.ndarray:
    return banach.loads(SPEC.format(example=example, steps=steps)).compile(to="oracle").run()["values"]


def fact(example: str, name: str) -> bool | None:
    elaborated = banach.loads(SPEC.format(example=example, steps=1)).elaborated
    return measure.fact(name, elaborated.names.find("eta"), nested.context(elaborated.scope), None)


@pytest.mark.parametrize("page", PAGES)
def test_its_values_are_those_of_its_formula(page: library.Page) -> None:
    np.testing.assert_allclose(values(page.section.example.text), VALUES[page.name], rtol=1e-12)


@pytest.mark.parametrize("page", PAGES)
def test_what_it_says_of_itself_is_so(page: library.Page) -> None:
    example = page.section.example.text
    found = values(example, 4000)
    if fact(example, "positive"):
        assert np.all(found > 0) or found[-1] < 1e-300
    if fact(example, "nonincreasing"):
        assert np.all(np.diff(found) <= 0)
    if fact(example, "vanishing"):
        assert abs(found[-1]) < abs(found).max() / 20
    if fact(example, "vanishing") is False:
        assert abs(found[2000:]).max() > 0.05 * abs(found).max()
    if fact(example, "summable"):
        assert np.abs(found[2000:]).sum() < 0.1 * np.abs(found[:2000]).sum()


@pytest.mark.parametrize(
    ("example", "name", "holds"),
    [
        ("fixed(0.1)", "summable", False),
        ("polynomial(1, 1)", "summable", False),
        ("polynomial(1, 1.01)", "summable", True),
        ("polynomial(1, 0.5)", "square_summable", False),
        ("polynomial(1, 0.51)", "square_summable", True),
        ("geometric(1, 1)", "vanishing", False),
        ("geometric(1, -0.9)", "nonincreasing", False),
        ("warmup(fixed(1), 5)", "vanishing", False),
        ("warmup(fixed(1), 5)", "nonincreasing", None),
        ("cosine(1, 0, 10)", "summable", True),
        ("linear_decay(1, 0.01, 10)", "vanishing", False),
        ("inverse_time(1, 0)", "vanishing", False),
        ("inverse_time(1, 0.1)", "summable", False),
        ("anchor()", "summable", False),
        ("continuation(1, 0.1, 0.9)", "vanishing", False),
        ("product(polynomial(1, 0.51), polynomial(1, 0.51))", "summable", True),
        ("product(polynomial(1, 0.5), polynomial(1, 0.51))", "summable", None),
        ("bounded(fixed(1), -1, 1)", "positive", None),
        ("delayed(warmup(fixed(1), 5), 3)", "nonincreasing", None),
    ],
)
def test_facts_at_their_edges(example: str, name: str, holds: bool | None) -> None:
    assert fact(example, name) is holds


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_a_schedule_is_a_map_of_k_in_a_solve(backend: str) -> None:
    """Gradient steps on ½x² with steps geometric(0.1, 0.9): the product of 1 − 0.1·0.9^k."""
    text = """
banach: 1
schedules: {eta: "geometric(0.1, 0.9)"}
solve:
  x:
    state: {x: 1}
    next: {x: x - eta(k) * x}
    stop: {residual: "norm(x' - x) <= 1e-30", most: 20}
outputs: {x: x}
"""
    model = banach.loads(text)
    assert model.check().certificates["x"].verdict == "unknown"
    found = model.compile(to=backend).run()["x"]
    np.testing.assert_allclose(found, np.prod(1 - 0.1 * 0.9 ** np.arange(20)), rtol=1e-5)
