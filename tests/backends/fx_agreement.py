"""What torch makes of a graph, against the oracle."""

import numpy as np
import torch

from banach.backends.fx.lower import lower
from banach.ir.evaluate import evaluate


def both(graph, arrays):
    with np.errstate(all="ignore"):
        expected = evaluate(graph, arrays)
    module = lower(graph)
    return [y.numpy() for y in module(*map(torch.tensor, arrays))], expected, module


def agree(found, expected, tolerance=1e-12):
    for y, z in zip(found, expected, strict=True):
        assert (str(y.dtype), y.shape) == (str(z.dtype), z.shape)
        np.testing.assert_allclose(y, z, rtol=tolerance, atol=tolerance)
