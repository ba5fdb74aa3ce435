"""`banach graph`: the graph of a spec, as text, for Graphviz, or as a picture."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from banach.compiler import arguments, pictures
from banach.compiler.report import FINE
from banach.compiler.speaking import load, passes
from banach.ir import whole_file
from banach.ir.graph import Graph
from banach.ir.text import print_graph
from banach.ir.views import to_dot

FORMS: dict[str, Callable[[Graph], str]] = {".svg": pictures.graph, ".dot": to_dot}


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Tells the command line."""
    graph = command("graph", _graph, "the graph of a spec")
    graph.add_argument("spec")
    graph.add_argument("--stage", choices=("elaborated", "reverse", "optimised"), default="elaborated")
    arguments.passes(graph)
    graph.add_argument("-o", "--output", help="a file: .txt, .dot for Graphviz, .svg for a picture")


def _graph(options: Any, texts: dict[str, str]) -> int:
    model = load(options.spec, texts)
    stages: dict[str, Callable[[], Graph]] = {
        "elaborated": lambda: model.graph,
        "reverse": lambda: model.backward,
        "optimised": lambda: model.optimised(passes(options)).graph,
    }
    graph = stages[options.stage]()
    if not options.output:
        print(print_graph(graph))
        return FINE
    target = Path(options.output)
    whole_file.write({target: FORMS.get(target.suffix, print_graph)(graph).encode()})
    print(f"wrote {target}")
    return FINE
