"""A vectorised graph on stacked inputs is a Python loop over the lanes of the graph."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from law_graphs import (
    Case,
    cond_case,
    fix_case,
    page_cases,
    random,
    region_cases,
    scan_case,
    while_case,
)

from banach.ir.dims import Size, named
from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType, TypeMismatch
from banach.ir.vectorise import vectorise

PAGES, REGIONS = dict(page_cases()), region_cases()


def stacked(case: Case, lanes: Sequence[bool], batch: int) -> list[np.ndarray]:
    """Arguments with other numbers on every lane, near enough to stay in every page's domain."""
    source, found = random(), []
    for argument, has in zip(case.arguments, lanes):
        if has and argument.dtype == bool:
            found.append(np.stack([argument ^ bool(i % 2) for i in range(batch)]))
        elif has and argument.dtype.kind == "i" and argument.ndim:  # places stay distinct, and in their axis
            found.append(np.stack([np.roll(argument, i, axis=-1) for i in range(batch)]))
        elif has:
            found.append(argument * source.uniform(0.8, 1.2, (batch, *argument.shape)))
        else:
            found.append(argument)
    return found


def assert_like_a_loop(case: Case, lanes: Sequence[bool], batch: int, size: Size | None = None) -> None:
    graph, marks = vectorise(case.graph, lanes, batch if size is None else size)
    arguments = stacked(case, lanes, batch)
    together = evaluate(graph, arguments)
    for lane in range(batch):
        alone = evaluate(case.graph, [x[lane] if has else x for x, has in zip(arguments, lanes)])
        for got, has, wanted in zip(together, marks, alone, strict=True):
            np.testing.assert_allclose(got[lane] if has else got, wanted, rtol=1e-12, atol=1e-13)


def subsets(case: Case, movable: Sequence[int]) -> list[tuple[bool, ...]]:
    """Every non-empty choice of these inputs, as marks."""
    marks = product(*([False, True] if i in movable else [False] for i in range(len(case.graph.inputs))))
    return [choice for choice in marks if any(choice)]


@pytest.mark.parametrize("name", PAGES)
def test_page_on_lanes(name: str) -> None:
    case = PAGES[name]
    for lanes in subsets(case, range(len(case.graph.inputs))):
        assert_like_a_loop(case, lanes, 3)
        assert_like_a_loop(case, lanes, 2, named("batch"))


@pytest.mark.parametrize("name", REGIONS)
def test_regions_on_lanes(name: str) -> None:
    case = REGIONS[name]
    for lanes in subsets(case, range(len(case.graph.inputs))):
        assert_like_a_loop(case, lanes, 2)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [None, named("batch")])
@pytest.mark.parametrize(("damped", "every"), [(False, 1), (True, 4)])
def test_every_lane_of_a_fix_stops_by_itself(batch: int, size: Size | None, damped: bool, every: int) -> None:
    case = fix_case(damped, every, report=True)
    lanes = (True, False, True, True)
    graph, marks = vectorise(case.graph, lanes, batch if size is None else size)
    arguments = stacked(case, lanes, batch)
    arguments[2] = arguments[2] * np.linspace(0.2, 1.5, batch)[:, None, None]  # some lanes are slower
    x, y, iterations, _, status = evaluate(graph, arguments)
    assert all(marks)
    assert len(set(iterations)) == (1 if batch == 1 else 3)
    for lane in range(batch):
        alone = evaluate(case.graph, [a[lane] if has else a for a, has in zip(arguments, lanes)])
        np.testing.assert_allclose(x[lane], alone[0], rtol=1e-13)
        np.testing.assert_allclose(y[lane], alone[1], rtol=1e-13)
        assert iterations[lane] == alone[2]
        assert status[lane] == alone[4] == 0


def test_a_lane_that_diverges_leaves_the_others_alone() -> None:
    case = fix_case(report=True)
    lanes = (True, False, False, False)
    graph, _ = vectorise(case.graph, lanes, 2)
    arguments = stacked(case, lanes, 2)
    arguments[0][0] = np.nan
    x, _, iterations, _, status = evaluate(graph, arguments)
    alone = evaluate(case.graph, [arguments[0][1], *arguments[1:]])
    np.testing.assert_allclose(x[1], alone[0], rtol=1e-13)
    assert list(status) == [2, 0]
    assert list(iterations) == [1, alone[2]]


@pytest.mark.parametrize(
    "lanes", [(True, False, False), (True, True, False), (False, True, False), (False, True, True)]
)
def test_cond_on_lanes_chooses_lane_by_lane_or_once(lanes: tuple[bool, ...]) -> None:
    assert_like_a_loop(cond_case(True), lanes, 3, named("batch"))
    kept = [op.name for op in vectorise(cond_case(True).graph, lanes, 3)[0].ops]
    assert ("cond" in kept) != lanes[0]


@pytest.mark.parametrize("backwards", [False, True])
def test_scan_on_lanes_keeps_its_own_axis(backwards: bool) -> None:
    case = scan_case(backwards)
    graph, _ = vectorise(case.graph, (True, True, False, True), named("batch"))
    assert graph.output_types[1].shape == (named("batch"), 4, 2)
    assert_like_a_loop(case, (True, True, False, True), 3, named("batch"))


def test_shared_inputs_keep_their_defaults_and_results_stay_shared() -> None:
    build = Builder("f")
    x = build.input("x", TensorType("float64", (2,)))
    a = build.input("a", TensorType("float64"), Tensor(np.asarray(2.0)))
    shared = a * a
    graph, marks = vectorise(build.finish({"y": x * shared, "s": shared}), (True, False), 3)
    assert graph.inputs[1].default == Tensor(np.asarray(2.0))
    assert marks == (True, False)
    assert graph.output_types == (TensorType("float64", (3, 2)), TensorType("float64"))
    moved, _ = vectorise(build.finish({"y": x * a}), (True, True), 3)
    assert moved.inputs[1].default is None


def test_what_cannot_run_on_lanes_says_so() -> None:
    case = while_case()
    with pytest.raises(TypeMismatch, match="while: cannot run on every lane"):
        vectorise(case.graph, (True, False), 2)
    with pytest.raises(ValueError, match="marks"):
        vectorise(case.graph, (True,), 2)
