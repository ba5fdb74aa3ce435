"""How much each entry of a step can change with each other, where it is made of known maps and bounded
slopes.

For two states, T(x) - T(y) = J (x - y) with J_ij between two numbers: a linear operation combines these
ranges, and a function of one number multiplies them by the range of its slopes; the greater of two values
moves by something between what both do. Ranges keep signs, so that x - 0.5·tanh(x) moves by 0.5 to 1, and not
by up to 1.5.
"""

from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler.elaboration.analysis.entrywise import (
    Meaning,
    Moving,
    NotRead,
    Step,
    acted,
    held_operands,
    numbers,
    read,
    shape_of,
    zeros,
)
from banach.compiler.elaboration.claims import Claim
from banach.ir.graph import Op
from banach.ir.primitive import Known, page
from banach.ir.primitives.elementwise import Elementwise
from banach.ir.tensor_type import TensorType

Range = tuple[np.ndarray, np.ndarray]  # least and greatest, entry by entry
# Linear operations that place, copy and add entries: both ends pass through alike.
_PLACING = frozenset(
    ("transpose", "reshape", "broadcast", "slice", "pad", "concatenate", "sum", "roll", "flip", "stride")
    + ("dilate", "wrap_pad", "reflect_pad", "take", "cumsum", "select", "mask", "add")
)
_OF_ONE_NUMBER = ("soft_threshold",)  # beside the elementwise functions, for a held threshold


def bounded_step(claim: Claim) -> Step:
    """How much each entry can change with each other. NotRead: that has no bound, or it is too large."""
    states, rows = read(claim, _move, lambda unit: (unit, unit), _size)
    return Step(states, rows, False, None)


def _size(ends: Range) -> np.ndarray:
    return np.asarray(np.maximum(np.abs(ends[0]), np.abs(ends[1])))


def _move(op: Op, operands: list[Meaning], types: list[TensorType]) -> Moving:
    held = held_operands(op, operands)
    ends = _by_slope(op, operands, types) if held is None else _linear(op, operands, types, held)
    return Moving({j: pair for j, pair in ends.items() if pair[0].any() or pair[1].any()})


def _linear(
    op: Op, operands: list[Meaning], types: list[TensorType], held: dict[int, np.ndarray]
) -> dict[int, Range]:
    found = {}
    for j in numbers(operands):
        low, high = (_columns(operands, types, j, end) for end in (0, 1))
        if op.name in _PLACING:
            found[j] = (acted(op, _filled(low, held)), acted(op, _filled(high, held)))
        elif op.name == "negate":
            found[j] = (np.asarray(-high[0]), np.asarray(-low[0]))
        elif op.name == "subtract":
            found[j] = (acted(op, [low[0], high[1]]), acted(op, [high[0], low[1]]))
        elif op.name in ("multiply", "divide", "matvec", "matmul") and len(held) == 1:
            found[j] = _by_factor(op, low, high, held)
        else:
            raise NotRead(f"`{op.name}` has no bound for each entry")
    return found


def _columns(operands: list[Meaning], types: list[TensorType], j: int, end: int) -> dict[int, np.ndarray]:
    moving = {i: x.columns.get(j) for i, x in enumerate(operands) if isinstance(x, Moving)}
    return {
        i: zeros(types[i]) if moving.get(i) is None else moving[i][end]  # type: ignore[index]
        for i in range(len(operands))
    }


def _filled(own: dict[int, np.ndarray], held: dict[int, np.ndarray]) -> list[np.ndarray]:
    return [held.get(i, column) for i, column in own.items()]


def _by_factor(
    op: Op, low: dict[int, np.ndarray], high: dict[int, np.ndarray], held: dict[int, np.ndarray]
) -> Range:
    """h·[a, b] = [h⁺a - h⁻b, h⁺b - h⁻a] for the parts h = h⁺ - h⁻ of what is held."""
    ((place, h),) = held.items()
    if h.dtype != object:
        raise NotRead(f"`{op.name}` takes a factor that is no real number")
    if op.name == "divide":
        if any(x == 0 for x in h.ravel()):
            raise NotRead("a division by zero")
        h = np.asarray(1 / h)
        act = page("multiply").evaluate
    else:
        act = page(op.name).evaluate
    nothing = np.asarray(h * 0)
    up, down = np.asarray(np.maximum(h, nothing)), np.asarray(np.maximum(np.asarray(-h), nothing))

    def part(factor: np.ndarray, own: dict[int, np.ndarray]) -> Any:
        return act(*_filled(own, {place: factor}))

    return (
        np.asarray(part(up, low) - part(down, high)),
        np.asarray(part(up, high) - part(down, low)),
    )


def _by_slope(op: Op, operands: list[Meaning], types: list[TensorType]) -> dict[int, Range]:
    shape = shape_of(op.types[0])
    if op.name in ("maximum", "minimum"):
        found = {}
        for j in numbers(operands):
            low, high = (list(_columns(operands, types, j, end).values()) for end in (0, 1))
            both = (np.minimum(low[0], low[1]), np.maximum(high[0], high[1]))
            found[j] = tuple(np.broadcast_to(np.asarray(x, object), shape) for x in both)
        return found  # type: ignore[return-value]
    least, most = slopes_of(op, operands, types)
    found = {}
    assert isinstance(operands[0], Moving)
    for j, (low, high) in operands[0].columns.items():
        corners = [np.asarray(np.broadcast_to(x, shape) * s) for x in (low, high) for s in (least, most)]
        pairs = np.minimum.reduce(corners), np.maximum.reduce(corners)
        found[j] = (np.asarray(pairs[0], object), np.asarray(pairs[1], object))
    return found


def slopes_of(op: Op, operands: list[Meaning], types: list[TensorType]) -> tuple[Fraction, Fraction]:
    """The range of the slopes of a function of one number. NotRead: it is none, or has steep ones."""
    definition = page(op.name)
    single = isinstance(definition, Elementwise) or op.name in _OF_ONE_NUMBER
    if not single or not op.types[0].is_float or any(isinstance(x, Moving) for x in operands[1:]):
        raise NotRead(f"`{op.name}` is no function of one number")
    steepest = definition.gain(0, [Known(type) for type in types], **dict(op.attributes)).hi
    if not isinstance(steepest, Fraction):
        raise NotRead(f"`{op.name}` has no bounded slope")
    own = definition.slope if isinstance(definition, Elementwise) else None
    if own is None or not own.is_finite or op.attributes:
        return -steepest, steepest
    return max(Fraction(own.lo), -steepest), min(Fraction(own.hi), steepest)
