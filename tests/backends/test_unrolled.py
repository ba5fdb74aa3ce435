"""Files without loops: the same answers, iterations, residuals and statuses as with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import banach
from banach.backends.onnx.verifier import verify
from banach.compiler import library
from banach.compiler.optimisation import Options
from banach.compiler.pipeline import Oracle
from banach.ir.graph import Graph
from banach.ir.tensor import Tensor
from banach.ir.unroll import TooLong, unrolled

PAGES = [page for page in library.pages("solver") if page.section.example]
ALWAYS = {"fista", "anderson", "cg", "pdhg", "newton", "gmres", "admm"}
CASES = [p if p.name in ALWAYS else pytest.param(p, marks=pytest.mark.slow) for p in PAGES]
SPEC = """
banach: 1
precision: float64
sizes: {{n: 2, batch: any}}
inputs: {{b: "{type}"}}
parameters: {{W: [[0.5, 0.2], [-0.1, 0.4]]}}
operators: {{T(x): tanh(W @ x) + b}}
solve:
  x:
    method: picard(T)
    start: zeros(n)
    stop: {{residual: 1e-6, most: {most}}}
outputs: {{x: x}}
"""
UNROLLED = Options(target="unrolled")


def shorter(graph: Graph, most: int) -> Graph:
    limited = [
        replace(port, default=Tensor(np.int64(most))) if port.name.endswith("max_iterations") else port
        for port in graph.inputs
    ]
    return replace(graph, inputs=tuple(limited))


@pytest.mark.parametrize("page", CASES, ids=lambda page: page.name)
def test_a_page_without_loops_is_the_page(page: library.Page) -> None:
    """Bit for bit in numpy, also where a run allows fewer iterations, one, or none."""
    graph = banach.loads(page.section.example.text).optimised().graph
    try:
        straight = unrolled(shorter(graph, 25))
    except TooLong:
        assert any(op.regions and op.name != "fix" for part in graph.walk() for op in part.ops)
        return
    assert not any(op.regions for op in straight.ops)
    limits = [port.name for port in graph.inputs if port.name.endswith("max_iterations")]
    for most in (25, 7, 1, 0):
        given = dict.fromkeys(limits, np.int64(most))
        found, wanted = Oracle(straight).run(given), Oracle(graph).run(given)
        for name, array in wanted.items():
            assert np.array_equal(found[name], array, equal_nan=True), (most, name)


@pytest.mark.parametrize("every", [None, 3, 7])
@pytest.mark.parametrize("type", ["real[n]", "real[batch, n]"])
def test_a_file_without_loops(type: str, every: int | None, tmp_path: Path) -> None:
    model = banach.loads(SPEC.format(type=type, most=40))
    options = replace(UNROLLED, check_every=every)
    path = tmp_path / "m.onnx"
    artifact = model.compile(path, options=options)
    proto = onnx.load(path)
    assert not {node.op_type for node in proto.graph.node} & {"Loop", "Scan", "If"} and verify(proto).ok
    looped = model.compile(to="onnx", options=Options(check_every=every))
    b = np.random.default_rng(0).standard_normal((2,) if type == "real[n]" else (3, 2))
    evaluator = ReferenceEvaluator(proto)
    for limits in (
        {},
        {"x.max_iterations": np.int64(5)},
        {"x.tolerance": np.float64(1e-2)},
        {"x.max_iterations": np.int64(0)},
    ):
        found, wanted = artifact.run({"b": b, **limits}), looped.run({"b": b, **limits})
        told = {port.name: port.default.array for port in artifact.inputs if port.default is not None}
        other = dict(zip(artifact.outputs, evaluator.run(None, {**told, "b": b, **limits})))
        for name in wanted:
            assert np.allclose(found[name], wanted[name], rtol=1e-12, atol=1e-12), (limits, name)
            assert np.allclose(other[name], wanted[name], rtol=1e-12, atol=1e-12), (limits, name)


def test_more_iterations_than_there_are_end_at_most() -> None:
    artifact = banach.loads(SPEC.format(type="real[n]", most=3)).compile(to="onnx", options=UNROLLED)
    found = artifact.run({"b": np.ones(2), "x.max_iterations": np.int64(90)})
    assert (found["x.iterations"], found["x.status"]) == (3, 1)


def test_a_solve_that_diverges_says_so() -> None:
    text = SPEC.format(type="real[n]", most=40).replace("tanh(W @ x)", "x * x * 9")
    given = {"b": np.array([3.0, 1.0])}
    one = banach.loads(text).compile(to="onnx", options=UNROLLED).run(given)
    other = banach.loads(text).compile(to="onnx").run(given)
    assert one["x.status"] == other["x.status"] == 2 and one["x.iterations"] == other["x.iterations"]


def test_what_cannot_be_without_loops_is_said(banach_command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    spec = tmp_path / "s.yaml"
    spec.write_text(SPEC.format(type="real[n]", most=100_000))
    said = banach_command("compile", spec, "-o", tmp_path / "m.onnx", "--target", "unrolled")
    assert said.code == 2 and "B617" in said.err and "most" in said.err and not (tmp_path / "m.onnx").exists()
    spec.write_text(SPEC.format(type="real[n]", most=30))
    assert banach_command("compile", spec, "-o", tmp_path / "m.onnx", "--target", "unrolled").code == 0
    one = tmp_path / "one.onnx"
    assert banach_command("compile", spec, "-o", one, "--target", "ort").code == 0
    assert banach_command("compile", spec, "-o", tmp_path / "two.onnx").code == 0
    assert one.read_bytes() == (tmp_path / "two.onnx").read_bytes()
