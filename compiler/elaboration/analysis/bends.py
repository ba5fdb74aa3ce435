"""How a step of one layer moves with its states: one matrix for all slopes that its activations may have.

For two states, T(x) - T(y) = (C + Σ_k t_k B_k)(x - y) with every t_k in [0, 1], where k numbers the entries
of the activations: the slope of one is low + t (high - low), the same in every column. slopes.py has one
range for every entry of the matrix instead, and forgets that the entries of a row bend together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from banach.compiler.elaboration.analysis.entrywise import (
    Meaning,
    Moving,
    NotRead,
    acted,
    followed,
    held_operands,
    numbers,
    shape_of,
    zeros,
)
from banach.compiler.elaboration.analysis.slopes import slopes_of
from banach.compiler.elaboration.claims import Claim
from banach.ir.graph import Op
from banach.ir.tensor_type import TensorType

Row = tuple[Fraction, ...]
Unit = tuple[int, int]  # an activation, and the number of the entry


@dataclass(frozen=True, slots=True)
class Column:
    """C and the B_k, for one entry of the states."""

    flat: np.ndarray
    bends: Mapping[Unit, np.ndarray]


@dataclass(frozen=True, slots=True)
class Layer:
    """The states that matter; for each of their entries a row of C, and rows of the B_k that reach it."""

    states: tuple[str, ...]
    rows: tuple[tuple[Row, tuple[Row, ...]], ...]


def layer(claim: Claim) -> Layer:
    """The step as a layer. NotRead: it has two activations after one another, or is too large."""
    activations = _Activations()
    kept, ports, found = followed(claim, activations.move, lambda unit: Column(unit, {}))
    size = sum(int(np.prod(shape_of(ports[name]))) for name in kept)
    rows = []
    for name, meaning in zip(kept, found):
        columns = meaning.columns if isinstance(meaning, Moving) else {}
        units = sorted({unit for column in columns.values() for unit in column.bends})
        flat = _laid({j: column.flat for j, column in columns.items()}, size, ports[name])
        bent = [
            _laid({j: c.bends[unit] for j, c in columns.items() if unit in c.bends}, size, ports[name])
            for unit in units
        ]
        rows += [(row, tuple(b[i] for b in bent if any(b[i]))) for i, row in enumerate(flat)]
    return Layer(tuple(kept), tuple(rows))


def _laid(columns: Mapping[int, np.ndarray], size: int, type: TensorType) -> list[Row]:
    """The rows of a matrix by its columns, which are zero where there is none."""
    shape, zero = shape_of(type), zeros(type)
    whole = [np.broadcast_to(columns.get(j, zero), shape).ravel() for j in range(size)]
    return [tuple(Fraction(column[i]) for column in whole) for i in range(int(np.prod(shape)))]


class _Activations:
    """What operations make of columns; the activations are numbered as they come."""

    def __init__(self) -> None:
        self.count = 0

    def move(self, op: Op, operands: list[Meaning], types: list[TensorType]) -> Moving:
        held = held_operands(op, operands)
        if held is not None:
            return _linear(op, operands, types, held)
        self.count += 1
        return _bent(op, operands, types, self.count)


def _linear(op: Op, operands: list[Meaning], types: list[TensorType], held: dict[int, np.ndarray]) -> Moving:
    columns = {}
    for j in numbers(operands):
        own = [x.columns.get(j) if isinstance(x, Moving) else None for x in operands]
        units = {unit: None for column in own if column for unit in column.bends}

        def part(unit: Unit | None, own: list[Column | None] = own) -> np.ndarray:
            given = []
            for i, column in enumerate(own):
                array = None if column is None else column.flat if unit is None else column.bends.get(unit)
                given.append(held[i] if i in held else zeros(types[i]) if array is None else array)
            return acted(op, given)

        bends = {unit: array for unit in units if (array := part(unit)).any()}
        columns[j] = Column(part(None), bends)
    return Moving({j: c for j, c in columns.items() if c.flat.any() or c.bends})


def _bent(op: Op, operands: list[Meaning], types: list[TensorType], number: int) -> Moving:
    """The columns behind an activation."""
    least, most = slopes_of(op, operands, types)
    shape = shape_of(op.types[0])
    columns = {}
    assert isinstance(operands[0], Moving)
    for j, column in operands[0].columns.items():
        if column.bends:
            raise NotRead("two activations stand after one another")
        whole = np.array(np.broadcast_to(column.flat, shape), object)
        bends = {}
        for k in np.flatnonzero(whole != 0) if most > least else ():
            alone = np.array(whole * 0, object)
            alone.flat[k] = whole.flat[k] * (most - least)
            bends[(number, int(k))] = alone
        columns[j] = Column(np.asarray(whole * least, object), bends)
    return Moving(columns)
