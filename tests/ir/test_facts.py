"""Facts at the edges of the number line, where the shelf's samples do not go."""

import math

import numpy as np
import pytest

from banach.ir.exact import Interval
from banach.ir.primitive import Known, page
from banach.ir.tensor_type import TensorType

SCALAR = TensorType("float64")


def facts(*ends: tuple[float, float]) -> list[Known]:
    return [Known(SCALAR, Interval.between(*pair)) for pair in ends]


@pytest.mark.parametrize(
    ("dtype", "ends", "values"),
    [
        ("int64", (0.3, 0.7), [0.3, 0.7]),
        ("int64", (-1.7, -0.2), [-1.7, -0.2]),
        ("float32", (0.1, 0.3), [0.1, 0.3]),
        ("float16", (1e-9, 1e5), [1e-9, 7e4]),
        ("int32", (0.0, 1e12), [1e9]),
        ("bool", (2.0, 3.0), [2.5]),
    ],
)
def test_cast_rounds_within_its_range(dtype: str, ends: tuple[float, float], values: list[float]) -> None:
    low, high = page("cast").range(facts(ends), dtype=dtype).to_floats()
    with np.errstate(over="ignore"):
        found = page("cast").evaluate(np.asarray(values), dtype=dtype).astype(np.float64)
    assert np.all(found >= low) and np.all(found <= high)


def test_a_quotient_by_zero_is_anything() -> None:
    assert page("divide").range(facts((1, 2), (0, 0))) == Interval.everything()
    assert page("divide").gain(0, facts((1, 2), (0, 0))).hi == math.inf
    assert page("divide").gain(0, facts((1, 2), (-1, 4))).hi == math.inf
    assert page("divide").gain(0, facts((1, 2), (-4, -2))) == Interval.between(0, 0.5)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_an_operand_that_always_loses_has_no_effect(name: str) -> None:
    assert page(name).gain(0, facts((0, 1), (2, 3))).lo == 0
