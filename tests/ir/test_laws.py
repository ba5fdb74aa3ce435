"""Every page on the shelf obeys the laws of the reverse derivative, and its facts survive attack.

A new page needs no new test: its samples are found by walking the shelf. Graphs with regions are written by
hand in law_graphs.py.
"""

import laws
import numpy as np
import pytest
from law_graphs import Case, cond_case, fix_case, page_cases, plain_pages, region_cases, while_case

from banach.ir.evaluate import evaluate
from banach.ir.graph import PRIMITIVES
from banach.ir.primitive import Sample, page
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
REGIONS["fix-laned-weights"] = laned(fix_case(), (False, True, True, False))


def test_every_page_has_a_sample() -> None:
    missing = [name for name in plain_pages() if not list(page(name).samples())]
    assert not missing
    held = {"call", "cond", "scan", "while", "fix"}
    assert set(pages(PRIMITIVES)) - set(plain_pages()) == held, (
        "law_graphs.py has no graph for a new region op"
    )


@pytest.mark.parametrize("key", SAMPLES)
@pytest.mark.parametrize(
    "law", [laws.check_types, laws.check_range, laws.check_gain, laws.check_linear, laws.check_decompose]
)
def test_facts(key: str, law) -> None:
    law(*SAMPLES[key])


DERIVATIVES = [
    laws.check_derivative,
    laws.check_second_derivative,
    laws.check_additive,
    laws.check_linear_in_cotangent,
    laws.check_symmetric,
]


@pytest.mark.parametrize("key", CASES)
@pytest.mark.parametrize("law", DERIVATIVES)
def test_derivative(key: str, law) -> None:
    if SAMPLES[key][0] == "stop_gradient" and law is laws.check_derivative:
        pytest.skip("its derivative is 0 by definition")
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
