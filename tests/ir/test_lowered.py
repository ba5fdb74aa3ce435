"""Every kind of derivative gives the oracle's numbers in both backends."""

from dataclasses import replace

import laws
import numpy as np
import pytest
from law_graphs import Case, fix_case, linear_case, ruled_case

from banach.ir.derivatives import jacobian
from banach.ir.evaluate import evaluate
from banach.ir.graph import Graph
from banach.ir.reverse import reverse

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

CASES = {
    "implicit": fix_case(),
    "unrolled": fix_case(True, 3, most=7, gradient="unrolled"),
    "unrolled with a cap": fix_case(most=3, gradient="unrolled", cap=2),
    "neumann": fix_case(gradient="neumann", terms=4),
    "one step": fix_case(gradient="one_step"),
    "linear": linear_case(),
    "ruled": ruled_case(),
}


def agree(graph: Graph, arguments: list[np.ndarray]) -> None:
    from banach.backends.fx.lower import lower as to_fx
    from banach.backends.onnx.lower import lower as to_onnx
    from banach.backends.onnx.run import OnnxArtifact

    wanted = evaluate(graph, arguments)
    found = [y.detach().numpy() for y in to_fx(graph)(*map(torch.tensor, arguments))]
    for outputs in (found, OnnxArtifact(to_onnx(graph)).evaluate(arguments)):
        for got, want in zip(outputs, wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("key", CASES)
def test_a_derivative(key: str) -> None:
    case: Case = CASES[key]
    back = reverse(case.graph)
    named = replace(back, output_names=tuple(f"o.{name}" for name in back.output_names))
    agree(named, [*case.arguments, *laws.cotangents(case)])


@pytest.mark.parametrize("by", ["rows", "columns"])
def test_a_jacobian(by) -> None:
    agree(jacobian(fix_case().graph, "x", "w", by), fix_case().arguments)
