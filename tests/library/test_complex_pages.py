"""Pages that say `complex: true`: on C^n they are the same as on R^2n, a real matrix for a complex one."""

import re

import numpy as np
import pytest
import yaml

import banach
from banach.compiler import library
from banach.compiler.elaboration import arithmetic, nested
from banach.compiler.elaboration.analysis import measure

SOLVERS = [pytest.param(page, id=page.name) for page in library.pages("solver") if page.complex]
FUNCTIONS = [pytest.param(page, id=page.name) for page in library.pages("function") if page.complex]
OPERATORS = [pytest.param(page, id=page.name) for page in library.pages("operator") if page.complex]


# --- solvers ----------------------------------------------------------------------------------------------


def as_complex(array: np.ndarray) -> np.ndarray:
    """Other complex numbers; a symmetric matrix becomes a Hermitian one."""
    if array.ndim < 2:
        return array * (1 - 0.5j)
    if np.array_equal(array @ array.T, np.eye(len(array))):
        return 1j * array  # unitary
    if array.shape[0] == array.shape[1]:
        return array + 0.1j * (np.triu(np.ones_like(array), 1) - np.tril(np.ones_like(array), -1))
    return array + 0.3j * np.roll(array, 1, axis=0)


def as_pairs(array: np.ndarray) -> np.ndarray:
    """The real matrix, or vector, of twice the size."""
    if array.ndim < 2:
        return np.stack([array.real, array.imag], -1).reshape(-1)
    blocks = np.array([[array.real, -array.imag], [array.imag, array.real]])
    return blocks.transpose(2, 0, 3, 1).reshape(2 * array.shape[0], 2 * array.shape[1])


def both(page: library.Page) -> tuple[str, str]:
    """The page's example with complex numbers, and the same in pairs of reals."""
    assert page.section.example is not None
    text = page.section.example.text
    # What acts on real and imaginary parts by itself has no complex meaning: the norm as a whole has one.
    alike = {r"\b(l1|huber)\(": "l2(", r"nonnegative\(\)": "ball(1)", r"elastic_net\(.*?\)": "ridge(0.7)"}
    for old, new in {**alike, r"tanh\(W @ x\)": "W @ x"}.items():
        text = re.sub(old, new, text)
    held: dict[str, list] = {}

    def named(found: re.Match) -> str:
        held[f"v{len(held)}"] = yaml.safe_load(found[0])
        return f"v{len(held) - 1}"

    document = yaml.safe_load(text)
    own = document.pop("parameters", {})
    rest = re.sub(r"\[[-\d., ]+\]", named, yaml.safe_dump(document, sort_keys=False, width=1000))
    sides = []
    for complex in (True, False):
        parameters = {}
        for name, value in {**own, **held}.items():
            if not isinstance(value, list):
                parameters[name] = value
                continue
            array = as_complex(np.array(value, float))
            parameters[name] = spelt(array) if complex else as_pairs(array).tolist()
        spec = yaml.safe_load(rest)
        spec = {"banach": 1, "precision": "float64", **spec, "parameters": parameters}
        if complex:
            start = spec["solve"]["x"]["start"]
            spec["solve"]["x"]["start"] = f"complex({start}, {start})"
        else:
            spec["sizes"] = {name: 2 * size for name, size in spec.get("sizes", {}).items()}
        sides.append(yaml.safe_dump(spec, sort_keys=False, width=1000))
    return sides[0], sides[1]


def spelt(array: np.ndarray) -> str:
    """An array as a formula."""
    if array.ndim:
        return f"[{', '.join(map(spelt, array))}]"
    number = complex(array)
    return f"{number.real!r} + {number.imag!r} * i"


@pytest.mark.parametrize("page", SOLVERS)
def test_a_solver_does_to_complex_numbers_what_it_does_to_their_parts(page: library.Page) -> None:
    over_complex, over_pairs = map(banach.loads, both(page))
    told, wanted = (model.check().certificates["x"] for model in (over_complex, over_pairs))
    assert (told.verdict, told.theorem) == (wanted.verdict, wanted.theorem)
    if wanted.upper_factor is not None:
        assert told.upper_factor == pytest.approx(wanted.upper_factor, rel=1e-9)
    for most in (1, 2, 11):
        limits = {"x.tolerance": 1e-300, "x.max_iterations": most}
        found, real = (model.compile(to="oracle").run(limits)["x"] for model in (over_complex, over_pairs))
        np.testing.assert_allclose(as_pairs(found), real, rtol=1e-9, atol=1e-9)


# --- functions and operators ------------------------------------------------------------------------------

SPEC = """
banach: 1
precision: float64
inputs: {{x: "complex[{size}]", y: "complex[{result}]"}}
parameters:
  A: "[[2, 1 + i, 0], [0, 1, i], [1, 0, 3], [1 - i, 1, 1]]"
  Q: "[[2, 0.5 + i, 0], [0.5 - i, 1, 0.2], [0, 0.2, 3]]"
  b: "[1, -2 + i, 3]"
  c: "[1, -2, 3 * i, 0.5]"
operators:
  f: {example}
outputs:
  {outputs}
"""


class Probe:
    """A page's example on complex numbers, as numpy functions, and what is known of it."""

    def __init__(self, page: library.Page, outputs: dict[str, str], size: int = 3, result: int = 3):
        assert page.section.example is not None
        example = page.section.example.text.replace("huber(0.7)", "l1(0.7)")
        text = "\n  ".join(f"{name}: {formula}" for name, formula in outputs.items())
        filled = SPEC.format(example=example, outputs=text, size=size, result=result)
        self.model = banach.loads(filled)
        self.run = self.model.compile(to="oracle").run

    def fact(self, name: str) -> object:
        elaborated = self.model.elaborated
        type = arithmetic.type_of(elaborated.names.find("x"), elaborated.scope)
        context = nested.context(elaborated.scope).about(type)
        found = measure.fact(name, elaborated.names.find("f"), context, None)
        return found if isinstance(found, bool | None) else found.interval


def drawn(count: int, size: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    scale = random.choice([0.1, 1.0, 5.0], (count, 1))
    return scale * (random.standard_normal((count, size)) + 1j * random.standard_normal((count, size)))


def inner(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.vdot(x, y).real)


@pytest.mark.parametrize("page", [p for p in FUNCTIONS if "value" in p.values[0].formulas])
def test_a_function_is_real_and_its_gradient_that_of_the_parts(page: library.Page) -> None:
    probe = Probe(page, {"value": "f(x)", "gradient": "grad(f)(x)", "same": "y"})
    y, step = np.zeros(3), 1e-6
    convex, smooth, strong = (probe.fact(name) for name in ("convex", "smoothness", "strong_convexity"))
    points = drawn(20, 3)
    for x, other in zip(points, drawn(20, 3, seed=1)):
        here = probe.run(x=x, y=y)
        assert here["value"].dtype == np.float64 and here["value"].shape == ()
        move = drawn(1, 3, seed=2)[0]
        ends = [probe.run(x=x + sign * step * move, y=y)["value"] for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(inner(here["gradient"], move), slope, rtol=1e-4, atol=1e-5)
        there = probe.run(x=other, y=y)
        gap, far = here["gradient"] - there["gradient"], x - other
        if convex is True:
            assert inner(gap, far) >= float(strong.lo) * inner(far, far) - 1e-8  # type: ignore[union-attr]
        if not isinstance(smooth.hi, float):  # type: ignore[union-attr]
            assert np.linalg.norm(gap) <= float(smooth.hi) * np.linalg.norm(far) * (1 + 1e-9)  # type: ignore[union-attr]


@pytest.mark.parametrize("page", [p for p in FUNCTIONS if "prox" in p.values[0].formulas])
@pytest.mark.parametrize("t", [0.2, 2.0])
def test_a_proximal_map_minimises_over_complex_numbers(page: library.Page, t: float) -> None:
    valued = "value" in page.formulas
    outputs = {"prox": f"prox(f, {t})(x)", "same": "y", **({"value": "f(x)"} if valued else {})}
    probe, y, random = Probe(page, outputs), np.zeros(3), np.random.default_rng(3)
    points = drawn(15, 3)
    images = [probe.run(x=x, y=y)["prox"] for x in points]
    if not valued:  # a projection, or Moreau's complement of one: firmly nonexpansive
        for x, p in zip(points, images):
            for z, q in zip(points, images):
                assert inner(p - q, p - q) <= inner(p - q, x - z) + 1e-9
        return
    for x, p in zip(points, images):
        best = probe.run(x=p, y=y)["value"] + inner(p - x, p - x) / (2 * t)
        for scale in (1e-3, 1e-1, 1.0):
            u = p + scale * (random.standard_normal(3) + 1j * random.standard_normal(3))
            assert best <= probe.run(x=u, y=y)["value"] + inner(u - x, u - x) / (2 * t) + 1e-9


@pytest.mark.parametrize("page", OPERATORS)
def test_an_operator_has_its_adjoint_and_its_facts(page: library.Page) -> None:
    size = 3
    if page.section.domain is not None:
        found = re.search(r"real\[(\d+)\]", page.section.domain.text)
        assert found is not None, "a page of complex vectors has an example on vectors"
        size = int(found[1])
    single = {"returns": "f(x)", "same": "y"}
    result = Probe(page, single, size).run(x=np.zeros(size), y=np.zeros(3))["returns"].shape[0]
    linear = Probe(page, single, size).fact("linear") is not None or "adjoint" in page.formulas
    outputs = {"returns": "f(x)", "same": "y", **({"adjoint": "adjoint(f)(y)"} if linear else {})}
    if page.name == "residual":  # of a formula: its adjoint needs a solve around
        outputs.pop("adjoint", None)
    probe = Probe(page, outputs, size, result)
    bound = probe.fact("lipschitz")
    xs, ys = drawn(20, size), drawn(20, result, seed=1)
    for x, z, y in zip(xs, xs[::-1], ys):
        here, there = probe.run(x=x, y=y), probe.run(x=z, y=y)
        if "adjoint" in outputs:
            np.testing.assert_allclose(inner(here["returns"], y), inner(x, here["adjoint"]), atol=1e-9)
        gap = np.linalg.norm(here["returns"] - there["returns"])
        if not isinstance(bound.hi, float):  # type: ignore[union-attr]
            assert gap <= float(bound.hi) * np.linalg.norm(x - z) * (1 + 1e-9)  # type: ignore[union-attr]


# --- stopping rules ---------------------------------------------------------------------------------------

A = np.array([[2, 1 + 1j, 0], [0, 1, 1j], [1, 0, 3], [1 - 1j, 1, 1]])
C = np.array([1, -2, 3j, 0.5])
NORM = np.linalg.norm


def slope(x: np.ndarray) -> np.ndarray:
    return A.conj().T @ (A @ x - C)


def shrunk(x: np.ndarray, t: float) -> np.ndarray:
    return x * np.maximum(1 - t / np.maximum(np.abs(x), 1e-300), 0)


STOPS = {
    "certified_error": ("certified_error(T, x, y)", lambda x, y: NORM(y - x)),
    "change": ("change(x, y)", lambda x, y: NORM(y - x)),
    "distance_bound": (
        "distance_bound(f, x)",
        lambda x, y: NORM(slope(x)) / np.linalg.svd(A, compute_uv=False)[-1] ** 2,
    ),
    "fixed_point_residual": ("fixed_point_residual(T, x)", lambda x, y: NORM(0.5j * x - x)),
    "gradient_norm": ("gradient_norm(f, x)", lambda x, y: NORM(slope(x))),
    "largest_change": ("largest_change(x, y)", lambda x, y: np.abs(y - x).max()),
    "linear_residual": ("linear_residual(A, c, x)", lambda x, y: NORM(C - A @ x) / NORM(C)),
    "mixed_change": ("mixed_change(x, y, 0.1, 2)", lambda x, y: NORM(y - x) / (0.1 + 2 * NORM(y))),
    "normal_residual": ("normal_residual(A, c, x)", lambda x, y: NORM(slope(x)) / NORM(A.conj().T @ C)),
    "objective_change": (
        "objective_change(f, x, y)",
        lambda x, y: abs(NORM(A @ x - C) ** 2 - NORM(A @ y - C) ** 2) / 2 / max(NORM(A @ y - C) ** 2 / 2, 1),
    ),
    "proximal_gradient_norm": (
        "proximal_gradient_norm(f, g, 0.2, x)",
        lambda x, y: NORM(x - shrunk(x - 0.2 * slope(x), 0.06)) / 0.2,
    ),
    "relative_change": ("relative_change(x, y)", lambda x, y: NORM(y - x) / NORM(y)),
}


def test_a_stopping_rule_measures_complex_numbers() -> None:
    assert set(STOPS) == {page.name for page in library.pages("stop") if page.complex}
    names = "least_squares(A, c)\n  g: l1(0.3)\n  T(x): 0.5 * i * x"
    for name, (formula, wanted) in STOPS.items():
        text = SPEC.format(example=names, outputs="z: z", size=3, result=3)
        state = "solve:\n  z:\n    state: {x: x, y: y}\n    next: {x: 0.5 * x, y: 0.5 * y}\n"
        stop = f'    stop: {{residual: "{formula} <= 1e-30", most: 1}}\n    returns: x\n'
        model = banach.loads(text.replace("outputs:", state + stop + "outputs:"))
        x, y = drawn(2, 3, seed=7)
        found = model.compile(to="oracle").run(x=x, y=y)["z.residual"]
        np.testing.assert_allclose(found, wanted(x, y), rtol=1e-9, err_msg=name)
