"""A step that is affine on each of finitely many polyhedra, in exact arithmetic on the numbers of the model.

Every value is an affine form of the states' entries. Where an operation asks which of two forms is larger,
both answers are followed, each on its side of the plane between them; sides without an inside are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from banach.compiler.elaboration.analysis.entrywise import (
    Fixed,
    Meaning,
    Moving,
    NotRead,
    acted,
    followed,
    held_operands,
    kept_states,
    numbers,
    shape_of,
    zeros,
)
from banach.compiler.elaboration.claims import Claim
from banach.compiler.facts.polyhedron import Row, has_inside
from banach.ir.graph import Op
from banach.ir.tensor_type import TensorType

_MOST_PIECES = 64
_MOST_ENTRIES = 8  # of all states
_BRANCHING = ("relu", "abs", "maximum", "minimum", "clip", "soft_threshold", "reduce_max", "reduce_min")


@dataclass(frozen=True, slots=True)
class Piece:
    """Where all of g·x + h >= 0, the new states are the forms of `rows`: coefficients, then the constant."""

    inside: tuple[tuple[Fraction, ...], ...]
    rows: tuple[tuple[Fraction, ...], ...]


def pieces(claim: Claim) -> tuple[tuple[str, ...], list[Piece]]:
    """The states that matter, and pieces that cover all their values. NotRead: the step has no such form."""
    graph = claim.solved.step
    counted = set(kept_states(claim, graph))
    sizes = [np.prod(shape_of(port.type), dtype=np.int64) for port in graph.inputs if port.name in counted]
    if sum(sizes) > _MOST_ENTRIES:
        raise NotRead(f"its states have more than {_MOST_ENTRIES} entries")
    found: list[Piece] = []
    path = _Path(int(sum(sizes)))
    while True:
        path.begin()
        kept, ports, after = followed(claim, path.move, lambda unit: unit)
        rows = []
        for name, meaning in zip(kept, after):
            forms = path.forms(meaning, ports[name]).reshape(-1, path.size + 1)
            rows += [tuple(form) for form in forms]
        found.append(Piece(tuple(path.inside), tuple(rows)))
        if len(found) > _MOST_PIECES:
            raise NotRead(f"it has more than {_MOST_PIECES} pieces")
        if not path.turn():
            return tuple(kept), found


@dataclass(slots=True)
class _Path:
    """One way through all choices: those made so far, and whether the other answer is still to follow."""

    size: int  # entries of the states
    made: list[tuple[bool, bool]] = field(default_factory=list)
    inside: list[tuple[Fraction, ...]] = field(default_factory=list)
    next: int = 0

    def begin(self) -> None:
        self.inside, self.next = [], 0

    def turn(self) -> bool:
        """Whether there is another way: the last choice with an answer that is still to be followed."""
        while self.made and not self.made[-1][1]:
            self.made.pop()
        if self.made:
            self.made[-1] = (not self.made[-1][0], False)
        return bool(self.made)

    def positive(self, form: Row) -> bool:
        """Whether a form is at least 0 on this way; a choice where both may be."""
        if not any(form[:-1]):
            return form[-1] >= 0
        if self.next == len(self.made):
            above, below = (has_inside([*self.inside, tuple(s * x for x in form)]) for s in (1, -1))
            if not above and not below:
                raise NotRead("a piece has no inside")
            self.made.append((above, above and below))
        answer = self.made[self.next][0]
        self.next += 1
        self.inside.append(tuple(form) if answer else tuple(-x for x in form))
        return answer

    def move(self, op: Op, operands: list[Meaning], types: list[TensorType]) -> Moving:
        if op.name in _BRANCHING:
            return self._columns(self._branch(op, operands, types))
        held = held_operands(op, operands)
        if held is None:
            raise NotRead(f"`{op.name}` is not affine in pieces")
        columns = {}
        for j in {*numbers(operands), self.size}:
            given = [held[i] if i in held else self._column(x, j, types[i]) for i, x in enumerate(operands)]
            column = acted(op, given)
            if column.any():
                columns[j] = column
        return Moving(columns)

    def _column(self, x: Meaning, j: int, type: TensorType) -> np.ndarray:
        if isinstance(x, Moving):
            return x.columns[j] if j in x.columns else zeros(type)
        if not isinstance(x, Fixed):
            raise NotRead("it takes a number that is not known before the run")
        return x.array if j == self.size else zeros(type)

    def forms(self, x: Meaning, type: TensorType) -> np.ndarray:
        """Every entry as a form, along a last axis."""
        found = np.empty((*shape_of(type), self.size + 1), object)
        for j in range(self.size + 1):
            found[..., j] = self._column(x, j, type)
        return found

    def _columns(self, forms: np.ndarray) -> Moving:
        columns = {j: forms[..., j] for j in range(self.size + 1)}
        return Moving({j: column for j, column in columns.items() if column.any()})

    def _branch(self, op: Op, operands: list[Meaning], types: list[TensorType]) -> np.ndarray:
        given = [self.forms(x, type) for x, type in zip(operands, types)]
        shape = (*shape_of(op.types[0]), self.size + 1)
        match op.name:
            case "reduce_max" | "reduce_min":
                return self._extreme(op, given[0], shape)
            case "clip":
                low, high = (op.attribute(end) for end in ("low", "high"))
                ends = [self._constant(end, given[0].shape) for end in (low, high)]
                found = given[0]
                if np.isfinite(low):
                    found = self._each(found, ends[0], True)
                return self._each(found, ends[1], False) if np.isfinite(high) else found
            case "relu":
                return self._each(given[0], self._constant(0, given[0].shape), True)
            case "abs":
                return self._each(given[0], -given[0], True)
            case "soft_threshold":
                threshold = operands[1]
                if not isinstance(threshold, Fixed) or (threshold.array < 0).any():
                    raise NotRead("a threshold that moves, or is negative")
                x, t = (np.broadcast_to(forms, shape) for forms in given)
                zero = self._constant(0, shape)
                return self._each(x - t, zero, True) + self._each(x + t, zero, False)
        a, b = (np.broadcast_to(forms, shape) for forms in given)
        return self._each(a, b, op.name == "maximum")

    def _constant(self, value: float, shape: tuple[int, ...]) -> np.ndarray:
        found = np.empty(shape, object)
        found[...] = Fraction(0)
        if np.isfinite(value):
            found[..., -1] = Fraction(value)
        return found

    def _each(self, a: np.ndarray, b: np.ndarray, larger: bool) -> np.ndarray:
        """The larger, or the smaller, of two forms, entry by entry."""
        found = np.array(a)
        for place in np.ndindex(a.shape[:-1]):
            if self.positive(tuple(a[place] - b[place])) is not larger:
                found[place] = b[place]
        return found

    def _extreme(self, op: Op, forms: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        rank = forms.ndim - 1
        axes = [axis % rank for axis in op.attribute("axes")]
        kept = [axis for axis in range(rank) if axis not in axes]
        lists = np.transpose(forms, (*kept, *axes, rank)).reshape(*shape[:-1], -1, shape[-1])
        found = lists[..., 0, :]
        for i in range(1, lists.shape[-2]):
            found = self._each(found, lists[..., i, :], op.name == "reduce_max")
        return found
