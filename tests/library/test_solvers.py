"""Every solver's page: its example is proved and runs alike; beyond its bounds nothing is proved.

A page without theorems claims nothing, and its example runs alike all the same.
"""

import re
from itertools import pairwise

import numpy as np
import pytest

import banach
from banach.backends.onnx.verifier import verify
from banach.compiler import library

SOLVERS = [pytest.param(page, id=page.name) for page in library.pages("solver") if page.section.example]
DISTANCES = ("distance from the minimiser", "distance from the solution", "distance to the fixed point")
LINEAR = [
    p
    for p in SOLVERS
    if any(
        t.conclusion.factor and t.conclusion.quantity.text in DISTANCES
        for t in p.values[0].theorems  # type: ignore[union-attr]
    )
]
BOUNDED = [pytest.param(page, id=page.name) for page in library.pages("solver") if page.section.beyond]


@pytest.mark.parametrize("page", SOLVERS)
def test_the_example_is_proved_and_runs_alike(page: library.Page) -> None:
    model = banach.loads(page.section.example.text)
    report = model.check()
    assert report.ok, str(report)
    certificate = report.certificates["x"]
    assert certificate.verdict == ("proved" if page.theorems else "unknown")
    oracle = model.compile(to="oracle").run()
    assert oracle["x.status"] == 0
    if certificate.iterations is not None:
        assert oracle["x.iterations"] <= certificate.iterations
    for backend in ("onnx", "fx"):
        artifact = model.compile(to=backend)
        if backend == "onnx":
            assert not verify(artifact.model).failed, "the checker that knows no compiler agrees"
        found = artifact.run()
        assert found["x.status"] == 0
        assert abs(int(found["x.iterations"]) - int(oracle["x.iterations"])) <= 2
        np.testing.assert_allclose(found["x"], oracle["x"], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("page", BOUNDED)
def test_beyond_its_bounds_nothing_is_proved(page: library.Page) -> None:
    ((option, value),) = page.section.beyond
    method = re.search(r"\n( *)method:.*\n", page.section.example.text)
    assert method is not None
    line = f"{method.group(1)}{option.text}: {value.text}\n"
    text = page.section.example.text.replace(method.group(0), method.group(0) + line)
    report = banach.loads(text).check()
    assert report.certificates["x"].verdict in ("unknown", "refuted")
    assert not report.ok


@pytest.mark.parametrize("page", LINEAR)
def test_a_linear_rate_is_kept(page: library.Page) -> None:
    """Where a factor is claimed for the distance, no step of the oracle shrinks it by less."""
    text = page.section.example.text.replace("banach: 1\n", "banach: 1\nprecision: float64\n", 1)
    certificate = banach.loads(text).check().certificates["x"]
    if certificate.upper_factor is None or certificate.quantity not in DISTANCES:
        return  # the example is proved by another theorem of the page
    compiled = banach.loads(text).compile(to="oracle")
    limit = compiled.run({"x.tolerance": 1e-15, "x.max_iterations": 20000})["x"]
    steps = [compiled.run({"x.tolerance": 1e-300, "x.max_iterations": k})["x"] for k in range(12)]
    distances = [np.linalg.norm(x - limit) for x in steps]
    for before, after in pairwise(distances):
        assert after <= certificate.upper_factor * before * (1 + 1e-9) + 1e-12
