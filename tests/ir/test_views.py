"""Graphs as networkx and Graphviz see them."""

import re
import subprocess
import sys

import networkx
from law_graphs import closed, fix_case, fn, real, region_cases

from banach.ir.graph import Builder
from banach.ir.span import Span
from banach.ir.views import to_dot, to_networkx

GRAPH = closed("f", lambda x, y: {"z": fn("sin", x) * y + x}, x=real(2), y=real())


def test_nodes_and_edges() -> None:
    view = to_networkx(GRAPH)
    assert view.name == "f"
    assert [data["name"] for _, data in view.nodes(data=True)] == ["x", "y", "sin", "multiply", "add", "z"]
    assert view.nodes["in.1"] == {"kind": "input", "name": "y", "types": (real(),)}
    assert view.nodes["op.3"]["types"] == (real(2),)
    read = {(a, b): (data["value"], data["operand"]) for a, b, data in view.edges(data=True)}
    assert read == {
        ("in.0", "op.2"): (0, 0),
        ("op.2", "op.3"): (2, 0),
        ("in.1", "op.3"): (1, 1),
        ("op.3", "op.4"): (3, 0),
        ("in.0", "op.4"): (0, 1),
        ("op.4", "out.0"): (4, 0),
    }
    assert networkx.is_directed_acyclic_graph(view)
    assert networkx.ancestors(view, "out.0") == set(view) - {"out.0"}


def test_a_value_that_is_read_twice_has_two_edges() -> None:
    view = to_networkx(closed("square", lambda x: {"y": x * x}, x=real()))
    assert view.number_of_edges("in.0", "op.1") == 2


def test_places_and_regions() -> None:
    build = Builder("f")
    place = Span("model.yaml", 7, 3, 7, 9)
    x = build.input("x", real(), place=place)
    view = to_networkx(build.finish({"y": build.op("sin", x, place=place)}))
    assert view.nodes["op.1"]["line"] == 7 and view.nodes["in.0"]["file"] == "model.yaml"
    assert "line" not in to_networkx(GRAPH).nodes["op.2"]
    (fix,) = [data for _, data in to_networkx(fix_case().graph).nodes(data=True) if data["name"] == "fix"]
    assert fix["regions"] == ("picard", "residual", "equation")
    assert fix["attributes"]["solution"] == 2


def test_dot_text() -> None:
    build = Builder("f")
    x = build.input('say "x"', real(2))
    y = build.op("sum", x, axes=(-1,), place=Span("m", 4, 1, 4, 2))
    assert to_dot(build.finish({"y": y})) == (
        'digraph "f" {\n'
        '  node [shape=box, fontname="sans-serif"];\n'
        "  compound=true;\n"
        '  g0_in0 [label="say \\"x\\": float64[2]", shape=oval];\n'
        '  g0_op1 [label="sum\\naxes: (-1,)\\nline 4"];\n'
        '  g0_in0 -> g0_op1 [label="float64[2]"];\n'
        '  g0_out0 [label="y", shape=oval, style=bold];\n'
        '  g0_op1 -> g0_out0 [label="float64"];\n'
        "}\n"
    )


def test_dot_shows_every_region_once() -> None:
    for case in region_cases().values():
        text, parts = to_dot(case.graph), list(case.graph.walk())
        assert text.count("subgraph cluster_") == len(parts) - 1 == text.count("style=dashed")
        assert text.count("{") == text.count("}") == len(parts)
        nodes = sum(len(part.inputs) + len(part.ops) + len(part.outputs) for part in parts)
        drawn = re.findall(r"^ *(g\d+_\w+) \[label", text, re.MULTILINE)
        assert len(set(drawn)) == len(drawn) == nodes


def test_networkx_is_not_imported_before_a_view_is_asked_for() -> None:
    code = "import sys, banach.ir.views; print('networkx' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
