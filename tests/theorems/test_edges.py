"""Inside its region a theorem proves; on the end it decides exactly; outside it proves nothing."""

import pytest
from edges import EDGES, HELD, TRIED, Edge

import banach
from banach.compiler import library
from banach.compiler.text import syntax
from banach.compiler.text.expression import to_text

_MAPS = ("f", "flat", "g", "near", "F", "psi", "T(x)", "half(x)", "M")  # what stands under `operators:`
_NOT_OPTIONS = {
    "method",
    "start",
    "weight",
    "total",
    "A",
    "Q",
    "S",
    "B",
    "P",
    "K",
    "rows",
    "columns",
    "turn",
    *_MAPS,
}


def proves(edge: Edge, value: str) -> bool:
    """Whether the page proves the solve, by this very theorem, where `value` stands at what is varied."""
    told = HELD | TRIED[edge.theorem] | {edge.varied: value}
    options = {**TRIED[edge.theorem], edge.varied: value}
    method = told["method"].format(**told)
    how = [f"method: {method}", f"start: {told.get('start', 'zeros(2)')}"]
    how += [f"{name}: {text}" for name, text in options.items() if name not in _NOT_OPTIONS]
    tables = [name for name in told if name in (*_NOT_OPTIONS, "b", "reward", "chance")]
    tables = [name for name in tables if name not in ("method", "start", "weight", "total", *_MAPS)]
    lines = ["banach: 1", "parameters:", *(f"  {name}: {told[name]}" for name in tables)]
    lines += ["operators:", *(f'  {name}: "{told[name]}"' for name in _MAPS if name in told)]
    lines += ["solve:", "  x:", *(f'    {line.replace(": ", ": " + chr(34), 1)}"' for line in how)]
    lines += ["    stop: {residual: 1e-4, most: 1000}", "outputs: {x: x}"]
    found = banach.loads("\n".join(lines) + "\n").check().certificates["x"]
    return found.verdict == "proved" and found.theorem == edge.theorem


def holds_at_its_end(edge: Edge) -> None:
    assert proves(edge, edge.inside), "inside"
    if edge.on is not None:
        assert proves(edge, edge.on) is edge.holds, "on the end"
    if edge.outside is not None:
        assert not proves(edge, edge.outside), "outside"


def test_every_inequality_is_tried() -> None:
    stated = {
        (theorem.name, to_text(node))
        for page in library.pages("solver")
        for theorem in page.theorems
        for node in theorem.hypotheses
        if isinstance(node, syntax.Compare)
    }
    assert stated == {(edge.theorem, edge.hypothesis) for edge in EDGES}, "write its end into edges.py"


LAST = {edge.theorem: edge for edge in EDGES}


@pytest.mark.parametrize("edge", LAST.values(), ids=lambda edge: f"{edge.theorem}: {edge.hypothesis}")
def test_a_theorem_ends_where_it_says(edge: Edge) -> None:
    """One end of every theorem."""
    holds_at_its_end(edge)


@pytest.mark.slow
@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: f"{edge.theorem}: {edge.hypothesis}")
def test_every_inequality_of_a_theorem_ends_where_it_says(edge: Edge) -> None:
    holds_at_its_end(edge)
