"""The graph of every spec there is, and of its derivative, is read back from its text as it was."""

from collections.abc import Callable
from pathlib import Path

import pytest

import banach
from banach.compiler import library
from banach.ir.graph import Graph
from banach.ir.text import parse_graph, print_graph, tensors_of
from banach.ir.verify import verify

SPECS = Path(__file__).resolve().parents[2] / "specs"
MODELS = [path.stem for path in sorted((SPECS / "models").glob("*.yaml"))]
SYSTEMS = sorted((SPECS / "systems").glob("*.yaml"))
EXAMPLES = [page for page in library.pages("solver") if page.section.example]


def graphs(model: banach.Model) -> list[Graph]:
    found = [model.graph, model.optimised().graph]
    try:
        return [*found, model.backward]
    except banach.SpecError:
        return found  # a method that states no equation has no implicit derivative


def comes_back(graph: Graph) -> None:
    verify(graph)
    assert parse_graph(print_graph(graph), tensors_of(graph)) == graph


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, model_file: Callable[[str], Path]) -> None:
    for graph in graphs(banach.load(model_file(name))):
        comes_back(graph)


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda path: path.stem)
def test_systems(path: Path) -> None:
    for graph in graphs(banach.load(path)):
        comes_back(graph)


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_examples_of_solvers(page: library.Page) -> None:
    for graph in graphs(banach.loads(page.section.example.text)):
        comes_back(graph)
