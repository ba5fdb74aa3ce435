"""Initial values of parameters, from a seed: the same bits on every machine."""

from collections.abc import Sequence

import numpy as np

from banach.compiler.elaboration.problem import WRONG_ARGUMENTS, refuse
from banach.ir.span import Span


def draw(word: str, numbers: Sequence[float], shape: tuple[int, ...], seed: int, span: Span) -> np.ndarray:
    """An array: normal(mean, deviation), uniform(low, high), constant(c) or orthogonal."""
    count = int(np.prod(shape, dtype=np.int64))
    if word == "normal" and len(numbers) == 2:
        return (numbers[0] + numbers[1] * _normal(count, seed)).reshape(shape)
    if word == "uniform" and len(numbers) == 2:
        return (numbers[0] + (numbers[1] - numbers[0]) * _uniform(count, seed)).reshape(shape)
    if word == "constant" and len(numbers) == 1:
        return np.full(shape, numbers[0])
    if word == "orthogonal" and not numbers and len(shape) == 2:
        return _orthogonal(shape, seed)
    fix = "write normal(mean, deviation), uniform(low, high), constant(c), or orthogonal for a matrix"
    raise refuse(
        WRONG_ARGUMENTS, f"`{word}` with {len(numbers)} numbers initialises no parameter", span, fix=fix
    )


def _uniform(count: int, seed: int) -> np.ndarray:
    """Numbers in [0, 1) from Philox's bits, which numpy promises to keep, unlike its distributions."""
    bits = np.random.Philox(key=seed).random_raw(count)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _normal(count: int, seed: int) -> np.ndarray:
    """Box and Muller's transform."""
    flat = _uniform(2 * count, seed).reshape(2, count)
    return np.sqrt(-2 * np.log1p(-flat[0])) * np.cos(2 * np.pi * flat[1])


def _orthogonal(shape: tuple[int, ...], seed: int) -> np.ndarray:
    rows, columns = max(shape), min(shape)
    q, r = np.linalg.qr(_normal(rows * columns, seed).reshape(rows, columns))
    q = q * np.sign(np.diag(r))
    return q if shape[0] >= shape[1] else q.T
