"""Every page on the shelf obeys the laws of the reverse derivative, and its facts survive attack.

A new page needs no new test: its samples are found by walking the shelf. Graphs with regions are written by
hand in law_graphs.py.
"""

import laws
import numpy as np
import pytest
from law_graphs import (
    INT,
    Case,
    closed,
    cond_case,
    distance,
    fix_case,
    page_cases,
    plain_pages,
    real,
    region_cases,
    while_case,
)

from banach.ir.evaluate import evaluate
from banach.ir.graph import PRIMITIVES, Value
from banach.ir.primitive import page
from banach.ir.reverse import NoDerivative, reverse
from banach.ir.shelf import pages
from banach.ir.vectorise import vectorise

SAMPLES = {
    f"{name}-{i}": (name, sample) for name in plain_pages() for i, sample in enumerate(page(name).samples())
}
CASES, REGIONS = dict(page_cases()), region_cases()


def laned(case: Case, lanes: tuple[bool, ...]) -> Case:
    graph, _ = vectorise(case.graph, lanes, 2)
    scale = np.array([1.0, 0.7])
    arguments = [np.multiply.outer(scale, x) if has else x for x, has in zip(case.arguments, lanes)]
    return Case(graph, arguments)


REGIONS["fix-laned"] = laned(fix_case(damped=True), (True, False, False, True))
REGIONS["fix-unrolled-laned"] = laned(fix_case(most=6, gradient="unrolled"), (True, False, False, True))
REGIONS["fix-laned-weights"] = laned(fix_case(), (False, True, True, False))


def test_every_page_has_a_sample() -> None:
    missing = [name for name in plain_pages() if not list(page(name).samples())]
    assert not missing
    held = {"call", "linear", "ruled", "cond", "scan", "while", "fix"}
    assert set(pages(PRIMITIVES)) - set(plain_pages()) == held, (
        "law_graphs.py has no graph for a new region op"
    )


@pytest.mark.parametrize("key", SAMPLES)
@pytest.mark.parametrize(
    "law", [laws.check_types, laws.check_range, laws.check_gain, laws.check_linear, laws.check_decompose]
)
def test_facts(key: str, law) -> None:
    law(*SAMPLES[key])


# Not linear for the transform: its derivative is 0 by definition.
HELD_CONSTANT = {"stop_gradient"}


@pytest.mark.parametrize("name", sorted(set(plain_pages()) - HELD_CONSTANT))
@pytest.mark.filterwarnings("ignore")
def test_linearity_is_told(name: str) -> None:
    laws.check_linearity_is_told(name, list(page(name).samples()))


DERIVATIVES = [
    laws.check_derivative,
    laws.check_second_derivative,
    laws.check_additive,
    laws.check_linear_in_cotangent,
    laws.check_symmetric,
]


def _held_to(key: str, law) -> bool:
    """`stop_gradient` has the derivative 0 by definition, which is not that of its values."""
    return law is not laws.check_derivative or key not in SAMPLES or SAMPLES[key][0] != "stop_gradient"


@pytest.mark.parametrize(("law", "key"), [(law, k) for law in DERIVATIVES for k in CASES if _held_to(k, law)])
def test_derivative(law, key: str) -> None:
    law(CASES[key])


@pytest.mark.parametrize("key", REGIONS)
def test_region_derivative(key: str) -> None:
    laws.check_derivative(REGIONS[key])
    laws.check_second_derivative(REGIONS[key])


@pytest.mark.parametrize("key", REGIONS)
def test_region_laws(key: str) -> None:
    tolerance = 1e-9  # an adjoint stops at law_graphs.TOLERANCE, which its own contraction magnifies
    laws.check_additive(REGIONS[key], tolerance)
    laws.check_linear_in_cotangent(REGIONS[key], tolerance)
    laws.check_symmetric(REGIONS[key], tolerance)


# --- fixed points that have no derivative, or whose derivative is not found --------------------------------


def unstable() -> Case:
    """x = a·x + b with a = 2, found in one step; its adjoint v = a·v + g moves away from any start."""
    held = {"a": real(), "b": real()}
    regions = [
        closed("newton", lambda k, x, a, b: {"x": b / (1.0 - a) + 0.0 * x}, k=INT, x=real(), **held),
        closed("residual", lambda old, new, a, b: distance((old, new)), old=real(), new=real(), **held),
        closed("equation", lambda x, a, b: {"x": a * x + b}, x=real(), **held),
    ]

    def body(x: Value, a: Value, b: Value) -> dict[str, Value]:
        given = [x.builder.scalar(1e-12, "float64"), x.builder.scalar(50, "int64"), x, a, b]
        attributes = {"states": 1, "solution": 1, "lanes": False, "every": 1}
        return {"x": x.builder.emit("fix", given, attributes, regions)[0]}

    return Case(closed("unstable", body, x=real(), **held), [np.asarray(x) for x in (0.0, 2.0, 1.0)])


def test_an_adjoint_that_does_not_converge_is_nan() -> None:
    case = unstable()
    assert evaluate(case.graph, case.arguments) == [-1.0]
    start, *rest = laws.backward(case, [np.asarray(1.0)])
    assert start == 0
    assert np.all(np.isnan(rest))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_derivative_of_a_poisoned_derivative_is_poisoned(weight: float) -> None:
    case = unstable()
    second = reverse(reverse(case.graph))
    found = evaluate(second, [*case.arguments, *(np.asarray(x) for x in (weight, 0.0, 1.0, 0.5))])
    assert np.isnan(found[-1])  # the tangent of x, by RD.6


def test_only_lanes_whose_adjoint_diverges_are_poisoned() -> None:
    case = unstable()
    graph, _ = vectorise(case.graph, (False, True, False), 2)
    a = np.asarray([2.0, 0.5])
    _, da, _ = evaluate(reverse(graph), [case.arguments[0], a, case.arguments[2], np.ones(2)])
    assert np.isnan(da[0])
    np.testing.assert_allclose(da[1], 4.0)  # d/da of b/(1 - a)


def test_what_has_no_derivative_says_so() -> None:
    with pytest.raises(NoDerivative, match="only the solution"):
        reverse(fix_case(report=True).graph)
    with pytest.raises(NoDerivative, match="while"):
        reverse(while_case().graph)


def test_while_stops_by_its_condition_and_at_most() -> None:
    y, steps = evaluate(while_case().graph, while_case().arguments)
    assert (y, steps) == (0.3 * 2**7, 7)
    assert evaluate(while_case().graph, [np.asarray(0.3), np.asarray(np.inf)])[1] == 50


def test_cond_reads_one_branch() -> None:
    x, y = np.asarray([0.1, 0.2]), np.asarray(3.0)
    np.testing.assert_allclose(evaluate(cond_case(True).graph, [np.True_, x, y])[0], np.sin(x) * y * y)
    np.testing.assert_allclose(evaluate(cond_case(True).graph, [np.False_, x, y])[0], (x * x + y) * y)
