"""What both ONNX runtimes make of a graph with loops, against the oracle."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator

from banach.backends.onnx.lower import lower
from banach.backends.onnx.run import OnnxArtifact
from banach.ir.evaluate import evaluate
from banach.ir.graph import Graph


def agree(graph: Graph, arguments: Sequence[Any], close: float = 1e-9) -> dict[str, np.ndarray]:
    """The oracle's outputs, after both runtimes have given the same; counts and statuses exactly."""
    with np.errstate(all="ignore"):
        expected = evaluate(graph, arguments)
        model = lower(graph)
        given = [np.asarray(a, port.type.dtype) for port, a in zip(graph.inputs, arguments)]
        feed = {port.name: a for port, a in zip(graph.inputs, given)}
        found = [OnnxArtifact(model).evaluate(given), ReferenceEvaluator(model).run(None, feed)]
    for outputs in found:
        for name, want, got in zip(graph.output_names, expected, outputs, strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape), name
            np.testing.assert_allclose(got, want, rtol=close, atol=close, err_msg=name)
    return dict(zip(graph.output_names, expected))
