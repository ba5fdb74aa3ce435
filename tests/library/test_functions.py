"""Every function's page: gradient, proximal map and facts, attacked on random points."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import minimize

import banach
from banach.compiler import library
from banach.compiler.elaboration import nested
from banach.compiler.elaboration.analysis import measure

SPEC = """
banach: 1
precision: float64
sizes: {{m: 4, n: 3}}
inputs: {{x: "{domain}", t: real}}
parameters:
  A: [[2, 1, 0], [0, 1, 1], [1, 0, 3], [1, 1, 1]]
  Q: [[2, 0.5, 0], [0.5, 1, 0.2], [0, 0.2, 3]]
  b: [1, -2, 3]
  c: [1, -2, 3, 0.5]
  labels: [1, -1, 1, -1]
operators:
  f: {example}
outputs:
  {outputs}
"""
PAGES = [pytest.param(page, id=page.name) for page in library.pages("function")]
VALUED = [p for p in PAGES if "value" in p.values[0].formulas]
POSITIVE = [p.values[0].name for p in PAGES if p.values[0].section.within]  # a value at positive x only
PROXIMAL = [p for p in PAGES if "prox" in p.values[0].formulas]
NORMAL = np.array([1, -2, 0.5])
SETS = {  # by how much a point is outside of the set that the example's indicator stands for
    "affine": lambda x: np.abs(np.array([[2, 1, 0], [0, 1, 1]]) @ x - [1, -2]).max(),
    "ball": lambda x: np.linalg.norm(x) - 0.7,
    "box": lambda x: max(-0.5 - x.min(), x.max() - 0.7),
    "conjugate": lambda x: np.abs(x).max() - 0.7,  # of 0.7 Σ|x_i|
    "halfspace": lambda x: NORMAL @ x - 0.3,
    "hyperslab": lambda x: max(NORMAL @ x - 0.3, -0.2 - NORMAL @ x),
    "l1_ball": lambda x: np.abs(x).sum() - 1.5,
    "l21_ball": lambda x: np.linalg.norm(x.reshape(2, 3), axis=1).max() - 0.7,
    "nonnegative": lambda x: -x.min(),
    "origin": lambda x: np.abs(x).max(),
    "psd_cone": lambda x: max(
        -np.linalg.eigvalsh(x.reshape(3, 3) + x.reshape(3, 3).T)[0],
        np.abs(x.reshape(3, 3) - x.reshape(3, 3).T).max(),
    ),
    "second_order_cone": lambda x: np.linalg.norm(x[:-1]) - x[-1],
    "simplex": lambda x: max(abs(x.sum() - 1.5), -x.min()),
}
EMPTY = {  # arguments for which no point lies in the set
    "ball": "ball(-0.1)",
    "box": "box([0, 0, 0], [1, -0.25, 1])",
    "halfspace": "halfspace([0, 0, 0], -0.5)",
    "hyperslab": "hyperslab([1, -2, 0.5], 0.3, 0.2)",
    "l1_ball": "l1_ball(-1)",
    "l21_ball": "l21_ball(-0.5)",
    "simplex": "simplex(-1)",
}
INDICATORS = [p for p in PROXIMAL if "value" not in p.values[0].formulas]


class Probe:
    """A page's example as numpy functions, and its facts as numbers."""

    def __init__(self, page: library.Page, example: str = ""):
        assert page.section.example is not None, "a function's page shows one example"
        self.page = page
        outputs = {"same": "x + t"}
        domain = page.section.domain.text if page.section.domain else "real[n]"
        if "value" in page.formulas:
            outputs |= {"value": "f(x)", "gradient": "grad(f)(x)"}
        if "prox" in page.formulas:
            outputs["prox"] = "prox(f, t)(x)"
        text = "\n  ".join(f"{name}: {formula}" for name, formula in outputs.items())
        example = example or page.section.example.text
        self.model = banach.loads(SPEC.format(example=example, outputs=text, domain=domain))
        self.artifact = self.model.compile(to="oracle")
        self.shape = self.model.elaborated.graph.inputs[0].type.shape

    def __call__(self, output: str, x: np.ndarray, t: float = 1.0) -> np.ndarray:
        """An output at x, whose entries stand in a row here, whatever shape the page's example takes."""
        return self.artifact.run(x=x.reshape(self.shape), t=t)[output].reshape(-1)

    def points(self, count: int, seed: int = 0) -> np.ndarray:
        """Random points where the function has a value, small and large ones."""
        random = np.random.default_rng(seed)
        size = int(np.prod(self.shape))
        found = random.standard_normal((count, size)) * random.choice([0.1, 1.0, 10.0], (count, 1))
        return np.abs(found) + 1e-2 if self.page.name in POSITIVE else found

    def fact(self, name: str) -> object:
        elaborated = self.model.elaborated
        scope = nested.context(elaborated.scope).about(elaborated.graph.inputs[0].type)
        found = measure.fact(name, elaborated.names.find("f"), scope, None)
        return found if isinstance(found, bool | None) else found.interval


@pytest.mark.parametrize("page", VALUED)
def test_the_gradient_is_the_derivative_of_the_value(page: library.Page) -> None:
    probe = Probe(page)
    for x in probe.points(5):
        step = 1e-6 * max(1.0, np.abs(x).max())
        numeric = [
            (probe("value", x + e) - probe("value", x - e))[0] / (2 * step) for e in step * np.eye(x.size)
        ]
        np.testing.assert_allclose(probe("gradient", x), numeric, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("page", VALUED)
def test_a_convex_function_lies_below_its_chords(page: library.Page) -> None:
    probe = Probe(page)
    if probe.fact("convex") is not True:
        pytest.fail("the example of a page is convex")
    xs, ys = probe.points(60), probe.points(60, seed=1)
    for x, y, w in zip(xs, ys, np.random.default_rng(2).uniform(size=60)):
        chord = w * probe("value", x) + (1 - w) * probe("value", y)
        assert probe("value", w * x + (1 - w) * y) <= chord + 1e-9 * (1 + abs(chord))


@pytest.mark.parametrize("page", VALUED)
def test_smoothness_and_strong_convexity_hold(page: library.Page) -> None:
    probe = Probe(page)
    smoothness, strong = probe.fact("smoothness"), probe.fact("strong_convexity")
    for x, y in zip(probe.points(100), probe.points(100, seed=1)):
        gap, move = probe("gradient", x) - probe("gradient", y), x - y
        assert np.linalg.norm(gap) <= float(smoothness.hi) * np.linalg.norm(move) * (1 + 1e-9)
        assert gap @ move >= float(strong.lo) * (move @ move) - 1e-9 * (1 + move @ move)


@pytest.mark.parametrize("page", PROXIMAL)
@pytest.mark.parametrize("t", [0.1, 1.0, 5.0])
def test_the_proximal_map_minimises(page: library.Page, t: float) -> None:
    """With a value: no point near or far is better. Without: it projects, so it is firmly nonexpansive."""
    probe = Probe(page)
    xs = probe.points(20)
    images = [probe("prox", x, t) for x in xs]
    if "value" in page.formulas:
        random = np.random.default_rng(3)
        for x, p in zip(xs, images):
            best = probe("value", p) + np.sum((p - x) ** 2) / (2 * t)
            for scale in (1e-3, 1e-1, 1.0):
                u = p + scale * random.standard_normal(p.size)
                if page.name in POSITIVE and u.min() <= 0:
                    continue  # no value there
                assert best <= probe("value", u) + np.sum((u - x) ** 2) / (2 * t) + 1e-10 * (1 + abs(best))
    else:
        for x, p in zip(xs, images):
            np.testing.assert_allclose(probe("prox", p, t), p, atol=1e-12)
            assert all((x - p) @ (other - p) <= 1e-9 for other in images)
    for (x, p), (y, r) in zip(zip(xs, images), zip(xs[1:], images[1:])):
        assert (p - r) @ (p - r) <= (p - r) @ (x - y) + 1e-9


@pytest.mark.parametrize("page", INDICATORS)
def test_an_indicator_projects_on_its_set(page: library.Page) -> None:
    """Images lie in the set, points of the set stay, and no other point of it is nearer."""
    probe, outside = Probe(page), SETS[page.name]
    xs = probe.points(60)
    images = [probe("prox", x, 0.6) for x in xs]
    assert max(outside(p) for p in images) <= 1e-9
    for x in 0.3 * np.vstack([xs, np.abs(xs)]):
        if outside(x) <= 0:
            np.testing.assert_allclose(probe("prox", x, 0.6), x, atol=1e-12)
            assert all(np.linalg.norm(y - p) <= np.linalg.norm(y - x) + 1e-9 for y, p in zip(xs, images))


@pytest.mark.parametrize("page", [p for p in VALUED if p in PROXIMAL])
def test_no_search_finds_a_better_point_than_the_proximal_map(page: library.Page) -> None:
    probe, t = Probe(page), 0.8
    for x in probe.points(2, seed=7):
        p = probe("prox", x, t)

        def cost(u: np.ndarray, x: np.ndarray = x) -> float:
            if page.name in POSITIVE and u.min() <= 0:
                return np.inf
            return float(probe("value", u)[0] + np.sum((u - x) ** 2) / (2 * t))

        options = {"maxfev": 400, "initial_simplex": x + np.vstack([0 * x, 0.5 * np.eye(x.size)])}
        found = minimize(cost, x, method="Nelder-Mead", options=options)
        assert cost(p) <= found.fun + 1e-10 * (1 + abs(found.fun))


@pytest.mark.parametrize("page", PROXIMAL)
def test_displacement_holds(page: library.Page) -> None:
    probe = Probe(page)
    bound = probe.fact("displacement")
    if not isinstance(bound.hi, Fraction):
        return  # the page claims none
    for t in (0.1, 1.0, 5.0):
        for x in probe.points(30):
            assert np.linalg.norm(probe("prox", x, t) - x) <= t * float(bound.hi) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("matrix", "square", "holds"),
    [
        ("[[1, 1, 0, 0], [0, 0, 1, -1]]", "2", True),
        ("[[1, 1, 0, 0], [0, 0, 1, -1]]", "2.000001", None),
        ("[[1, 1, 0, 0], [0, 0, 1, -1.000001]]", "2", None),
        ("[[1, 1, 0, 0], [0, 1, 1, 0]]", "2", None),
        ("[[1, 1, 0, 0], [0, 0, 1, -1]]", "-2", None),
    ],
)
def test_precompose_asks_for_orthogonal_rows_of_one_length(
    matrix: str, square: str, holds: bool | None
) -> None:
    probe = Probe(library.find("precompose"), f"precompose(l1(0.7), {matrix}, {square})")
    assert probe.fact("convex") is holds


@pytest.mark.parametrize("seed", range(4))
def test_an_input_convex_network_is_convex_whatever_its_weights(seed: int) -> None:
    """Weights of both signs between the layers and behind them, and layers that are not asleep."""
    random = np.random.default_rng(seed)
    W, grown, skip = random.standard_normal((5, 3)), random.standard_normal((4, 5)), np.zeros((4, 3))
    b, c, weights = random.standard_normal(5), random.uniform(1, 3, 4), random.standard_normal(4)
    parts = ", ".join(str(part.tolist()) for part in (W, b, grown, skip, c, weights))
    probe = Probe(library.find("icnn"), f"icnn({parts})")
    assert probe.fact("convex") is True
    for x, y in zip(probe.points(40), probe.points(40, seed=1)):
        middle = (probe("value", x) + probe("value", y)) / 2
        assert probe("value", (x + y) / 2) <= middle + 1e-9 * (1 + abs(middle))


@pytest.mark.parametrize(
    "g", ["sq_l2(b)", "tilt(free(), b)", "weighted_l1(b)", "translate(l1(1), b)", "huber(b)"]
)
def test_no_argument_of_a_page_stretches_a_step(g: str) -> None:
    """x ↦ 0.4 Σ (x − 0.1 b_i) grows, though the proximal map by itself moves no two points apart."""
    with pytest.raises(banach.SpecError, match="keeps the shape of its argument"):
        banach.loads(f"""
banach: 1
parameters:
  b: [1, 2, 3, 4, 5, 6]
  M: [[0.4, 0.4, 0.4, 0.4, 0.4, 0.4]]
operators:
  g: {g}
  T: compose(M, prox(g, 0.1))
solve:
  x: {{method: picard(T), start: zeros(1), stop: {{residual: 1e-5, most: 100}}}}
outputs: {{x: x}}
""")


@pytest.mark.parametrize("page", [p for p in PAGES if p.values[0].section.needs])
def test_an_empty_set_is_refused_where_it_is_written(page: library.Page) -> None:
    """Its page says what it needs, its example has it, and arguments without it are a diagnostic."""
    Probe(page)
    with pytest.raises(banach.SpecError) as refused:
        Probe(page, EMPTY[page.name])
    found = [d for d in refused.value.diagnostics if d.code.id == "B215"]
    assert found and page.section.needs.text in found[0].message and found[0].span.line == 13


def test_sets_of_one_point_are_not_empty() -> None:
    for example in (
        "box(1, 1)",
        "ball(0)",
        "simplex(0)",
        "halfspace([0, 0, 0], 0)",
        "hyperslab([1, 0, 0], 2, 2)",
    ):
        text = f"banach: 1\ninputs: {{x: 'real[3]'}}\noperators: {{f: '{example}'}}\noutputs: {{x: x}}\n"
        assert not banach.loads(text).check().diagnostics


def test_bounds_that_are_known_only_at_the_run_are_not_refused() -> None:
    text = "banach: 1\ninputs: {x: 'real[3]', low: real, high: real}\noperators: {f: 'box(low, high)'}\n"
    assert banach.loads(text + "outputs: {y: 'prox(f, 1)(x)'}\n").check().diagnostics == ()
