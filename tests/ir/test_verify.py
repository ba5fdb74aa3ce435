"""Good graphs pass; every defect planted in one is named, with its operation and value."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from law_graphs import closed, fix_case, fn, page_cases, real, region_cases, scan_case, while_case

from banach.ir.dims import named
from banach.ir.graph import Graph, Op, Port
from banach.ir.reverse import reverse
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType
from banach.ir.vectorise import vectorise
from banach.ir.verify import IllFormed, verify

CASES = {**dict(page_cases()), **region_cases()}


@pytest.mark.parametrize("name", CASES)
def test_what_the_stages_make_is_well_formed(name: str) -> None:
    graph = CASES[name].graph
    for _ in range(4):
        verify(graph)
        graph = reverse(graph)
    if graph.inputs and graph.inputs[0].type.is_float:
        verify(
            vectorise(
                CASES[name].graph, [i == 0 for i in range(len(CASES[name].graph.inputs))], named("batch")
            )[0]
        )


def test_more_good_graphs() -> None:
    verify(while_case().graph)
    verify(vectorise(fix_case(report=True).graph, (True, True, False, True), 3)[0])


def chain() -> Graph:
    return closed("f", lambda x, y: {"z": fn("sin", x * y), "w": x + y}, x=real(2), y=real(2))


def change(graph: Graph, index: int, **changes) -> Graph:
    ops = list(graph.ops)
    ops[index] = replace(ops[index], **changes)
    return replace(graph, ops=tuple(ops))


def in_region(graph: Graph, defect: Callable[[Graph], Graph]) -> Graph:
    """The same defect in the first region of the first operation that has one."""
    index = next(i for i, op in enumerate(graph.ops) if op.regions)
    first, *rest = graph.ops[index].regions
    return change(graph, index, regions=(defect(first), *rest))


DEFECTS = {
    "use before": (
        lambda g: change(g, 0, operands=(0, 3)),
        r"f: operation 0, %2 = multiply: it reads %3, which is",
    ),
    "use of itself": (lambda g: change(g, 1, operands=(3,)), r"operation 1, %3 = sin: it reads %3"),
    "use of nothing": (lambda g: change(g, 1, operands=(-1,)), r"operation 1, %3 = sin: it reads %-1"),
    "gap": (lambda g: change(g, 1, first=7), r"%7 = sin: its first result is numbered %7, and should be %3"),
    "type": (
        lambda g: change(g, 1, types=(real(3),)),
        r"%3 = sin: it says it gives \(float64\[3\]\), and gives \(float64\[2\]\)",
    ),
    "dtype": (
        lambda g: change(g, 1, types=(TensorType("float32", (2,)),)),
        r"it says it gives \(float32\[2\]\)",
    ),
    "count": (lambda g: change(g, 1, types=(real(2), real(2))), r"it says it gives"),
    "operands": (
        lambda g: change(g, 1, operands=(0, 1)),
        r"%3 = sin: it has 2 operands, and its page takes 1",
    ),
    "a third operand": (
        lambda g: change(g, 0, operands=(0, 1, 1)),
        r"multiply: it has 3 operands, and .* takes 2",
    ),
    "page": (lambda g: change(g, 1, name="sinus"), r"%3 = sinus: there is no primitive called sinus"),
    "attribute unknown": (
        lambda g: change(g, 1, attributes=(("axes", 3),)),
        r"%3 = sin: its page knows no attribute axes",
    ),
    "attribute list": (
        lambda g: change(g, 1, attributes=(("a", [1]),)),
        r"%3 = sin: the attribute a is \[1\]",
    ),
    "attribute numpy": (lambda g: change(g, 1, attributes=(("a", (np.int64(1),)),)), r"the attribute a is"),
    "attribute twice": (
        lambda g: change(g, 1, attributes=(("a", 1), ("a", 2))),
        r"two attributes are called a",
    ),
    "output": (lambda g: replace(g, outputs=(3, 9)), r"f: the output w is %9, and there are only 5 values"),
    "output count": (lambda g: replace(g, outputs=(3,)), r"1 outputs have 2 names"),
    "output names": (lambda g: replace(g, output_names=("z", "z")), r"two outputs are called z"),
    "input names": (lambda g: replace(g, inputs=(g.inputs[0], g.inputs[0])), r"two inputs are called x"),
    "input dtype": (
        lambda g: replace(g, inputs=(Port("x", TensorType("real")), g.inputs[1])),
        r"no dtype real",
    ),
    "default": (
        lambda g: replace(g, inputs=(Port("x", real(2), Tensor(np.zeros(3))), g.inputs[1])),
        r"input 0, %0 x: it is float64\[2\], and its default float64\[3\]",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_named(defect: str) -> None:
    plant, message = DEFECTS[defect]
    verify(chain())
    with pytest.raises(IllFormed, match=message):
        verify(plant(chain()))


def test_a_region_that_is_not_closed() -> None:
    """A region reads values of its own graph alone: a number of the graph outside is a fault."""
    outer = scan_case(False).graph
    verify(outer)

    def reach_out(region: Graph) -> Graph:
        return change(region, 0, operands=(len(region.types()), *region.ops[0].operands[1:]))

    with pytest.raises(IllFormed, match=r"step: operation 0, %4 = matvec: it reads %9, which is not defined"):
        verify(in_region(outer, reach_out))


def test_a_region_whose_inputs_do_not_fit() -> None:
    def widen(region: Graph) -> Graph:
        return replace(region, inputs=(Port("s", real(3)), *region.inputs[1:]))

    with pytest.raises(IllFormed, match=r"recurrence: operation 0, %4 = scan: scan: the step takes"):
        verify(in_region(scan_case(False).graph, widen))


def test_a_missing_region_and_a_region_too_many() -> None:
    graph = scan_case(False).graph
    region = graph.ops[0].regions[0]
    with pytest.raises(IllFormed, match="cannot type it"):
        verify(change(graph, 0, regions=()))
    with pytest.raises(IllFormed, match="cannot type it"):
        verify(change(graph, 0, regions=(region, region)))


def test_regions_where_none_belong() -> None:
    graph = chain()
    stray = Op("sin", (0,), (), (graph,), (real(2),), 2)
    with pytest.raises(IllFormed, match="it holds a region, and its page takes none"):
        verify(Graph("g", graph.inputs, (stray,), (2,), ("y",)))


def test_a_default_may_fix_a_named_size() -> None:
    verify(closed("f", lambda x: {"x": x}, x=real(named("n"))))
    port = Port("x", real(named("n")), Tensor(np.zeros(3)))
    verify(Graph("f", (port,), (), (0,), ("x",)))
