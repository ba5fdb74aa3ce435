"""Products of constant matrices, and numbers before them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from banach.compiler.optimisation import Copy, Options, Pass, inside_out, note, pruned, reads
from banach.ir.graph import Graph, Op
from banach.ir.rewrite import Effect, Journal
from banach.ir.simplify import GROWTH, LARGEST
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType, numpy_dtype


@final
class Products(Pass):
    """Multiply constant matrices that follow each other, and take numbers into them.

    Maths      A(Bx) = (AB)x, (XA)B = X(AB), A(Bx - c) = (AB)x - Ac, s(Ax) = (sA)x
    Why        the gradient of ½‖Ax - b‖² is (AᵀA)x - Aᵀb: for a tall A: [m, n] that is n² products in place
               of 2mn; a step size costs nothing where it is in the matrix
    Preserves  every number up to rounding: products are taken in float64 and rounded once. Certificates speak
               of A, and of AᵀA only through it; the journal says if A is gone from the graph
    """

    after = ("simplification", "sharing")
    effect = Effect.REASSOCIATES

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        return inside_out(graph, lambda part: _multiplied(part, journal))


@dataclass(frozen=True, slots=True)
class _Linear:
    """A value M x (`matvec`, `left`) or x M (`right`). `inner`: how x was made, if nothing else reads it."""

    kind: str
    matrix: np.ndarray  # float64
    argument: int
    inner: "_Form | None"
    entries: int  # of the constants it came of


@dataclass(frozen=True, slots=True)
class _Affine:
    """A value M x + sign·offset; the offset is a constant or a value."""

    linear: _Linear
    offset: np.ndarray | int
    sign: int


_Form = _Linear | _Affine


def _multiplied(graph: Graph, journal: Journal) -> Graph:
    if not any(op.name in ("matvec", "matmul") for op in graph.ops):
        return graph
    told = len(journal.refused)
    while True:  # what has become dead no longer reads anything, so there may be more to do
        del journal.refused[told:]
        sweep = _Sweep(pruned(graph), journal)
        for op in sweep.graph.ops:
            sweep.settle(op)
        if not sweep.fused:
            return sweep.graph
        graph = sweep.copy.finish()


class _Sweep:
    def __init__(self, graph: Graph, journal: Journal):
        self.graph, self.journal = graph, journal
        self.copy, self.types, self.reads = Copy(graph), graph.types(), reads(graph)
        self.constants = {v: tensor.array for v, tensor in graph.constants().items()}
        self.forms: dict[int, _Form] = {}
        self.fused = 0

    def settle(self, op: Op) -> None:
        """Copies an operation, or writes what it is equal to."""
        made = self.product(op) or self.shifted(op) or self.scaled(op)
        if made is None:
            self.copy.keep(op)
            return
        form, rule = made
        if rule:
            self.fused += 1
            self.journal.fired.append(note(rule, op, self.graph))
            self.copy.at.append(self.write(form, op))
        else:
            self.copy.keep(op)
        self.forms[op.first] = form

    # --- what an operation is ------------------------------------------------------------------------------

    def product(self, op: Op) -> tuple[_Form, str] | None:
        """The form of a product with one constant matrix, and the rule that made it simpler."""
        found = self.factor(op)
        if found is None:
            return None
        kind, matrix, value = found
        inner = self.form(value)
        plain = _Linear(kind, matrix, self.copy.at[value], inner, matrix.size)
        if isinstance(inner, _Affine):
            return self.distributed(plain, inner, op) or (plain, "")
        if inner is None:
            return plain, ""
        if inner.kind == kind:
            joined = self.joined(plain, inner, op)
            return (joined, "product of matrices") if joined else (plain, "")
        return self.across(plain, inner, op) or (plain, "")

    def factor(self, op: Op) -> tuple[str, np.ndarray, int] | None:
        """Side, constant matrix and other factor of a product."""
        if op.name not in ("matvec", "matmul") or not _plain(op.types[0]):
            return None
        for place, kind in enumerate(("left", "right") if op.name == "matmul" else ("matvec",)):
            matrix, other = self.constants.get(op.operands[place]), op.operands[1 - place]
            if matrix is not None and matrix.ndim == 2 and other not in self.constants:
                return kind, matrix.astype(np.float64), other
        return None

    def form(self, value: int) -> _Form | None:
        """How a value was made, if nothing else reads it."""
        return self.forms.get(value) if self.reads[value] == 1 else None

    def joined(self, outer: _Linear, inner: _Linear, op: Op, extra: int = 0) -> _Linear | None:
        """Two products on one side as one, if that takes fewer multiplications. `extra`: what is added."""
        a, b = (outer.matrix, inner.matrix) if outer.kind != "right" else (inner.matrix, outer.matrix)
        entries = outer.entries + inner.entries
        (m, k), n = a.shape, b.shape[1]
        if m * n + extra >= m * k + k * n:
            return self.refuse(op, f"{m * n + extra} multiplications are not fewer than {m * k + k * n}")
        if m * n > GROWTH * entries or m * n * numpy_dtype(op.types[0].dtype).itemsize > LARGEST:
            return self.refuse(op, f"the product has {m * n} entries, and its factors {entries}")
        return _Linear(outer.kind, a @ b, inner.argument, inner.inner, entries)

    def refuse(self, op: Op, reason: str) -> None:
        self.journal.refused.append(note("product of matrices", op, self.graph, reason))

    def across(self, outer: _Linear, inner: _Linear, op: Op) -> tuple[_Form, str] | None:
        """A((Bx)C) = ((AB)x)C, and the mirror image: the sides do not see each other."""
        middle = inner.inner
        sides = {outer.kind, inner.kind}
        if sides != {"left", "right"} or not isinstance(middle, _Linear) or middle.kind != outer.kind:
            return None
        if inner.matrix.shape[0] != inner.matrix.shape[1]:
            return None
        joined = self.joined(outer, middle, op)
        return (replace(inner, inner=joined, argument=-1), "product of matrices") if joined else None

    def distributed(self, outer: _Linear, inner: _Affine, op: Op) -> tuple[_Form, str] | None:
        """A(Bx - c) = (AB)x - Ac."""
        if outer.kind != "matvec":
            return None
        given = inner.offset
        extra = 0 if isinstance(given, np.ndarray) else outer.matrix.size
        joined = self.joined(outer, inner.linear, op, extra)
        if joined is None:
            return None
        if isinstance(given, np.ndarray):
            return _Affine(joined, given @ outer.matrix.T, inner.sign), "gradient of least squares"
        offset = self.matvec(outer.matrix, given, op.types[0], op)
        return _Affine(joined, offset, inner.sign), "gradient of least squares"

    def shifted(self, op: Op) -> tuple[_Form, str] | None:
        """Mx + c, Mx - c, c - Mx; nothing is gained yet."""
        if op.name not in ("add", "subtract") or not _plain(op.types[0]):
            return None
        for place in (0, 1):
            linear, other = self.form(op.operands[place]), op.operands[1 - place]
            if not isinstance(linear, _Linear) or linear.kind != "matvec":
                continue
            offset = self.offset(other, op.types[0])
            if offset is None:
                continue
            negated = op.name == "subtract"
            if negated and place == 1:  # c - Mx = (-M)x + c
                return _Affine(replace(linear, matrix=-linear.matrix), offset, 1), ""
            return _Affine(linear, offset, -1 if negated else 1), ""
        return None

    def offset(self, value: int, type: TensorType) -> np.ndarray | int | None:
        """What is added to a product; None if its last axis is a stretched one."""
        if value in self.constants:
            array = self.constants[value]
            return (
                array.astype(np.float64) if array.ndim == 1 and array.shape[-1:] == type.shape[-1:] else None
            )
        return self.copy.at[value] if self.types[value] == type else None

    def scaled(self, op: Op) -> tuple[_Form, str] | None:
        """s(Mx + c) = (sM)x + sc, for a number s."""
        if op.name not in ("multiply", "divide", "negate") or not _plain(op.types[0]):
            return None
        for place in (0,) if op.name != "multiply" else (0, 1):
            form = self.form(op.operands[place])
            number = -1.0 if op.name == "negate" else self.number(op.operands[1 - place])
            if form is None or number is None or (op.name == "divide" and number == 0):
                continue
            factor = 1 / number if op.name == "divide" else number
            if isinstance(form, _Linear):
                return replace(form, matrix=form.matrix * factor), "number into a matrix"
            if isinstance(form.offset, np.ndarray):
                linear = replace(form.linear, matrix=form.linear.matrix * factor)
                return _Affine(linear, form.offset * factor, form.sign), "number into a matrix"
        return None

    def number(self, value: int) -> float | None:
        array = self.constants.get(value)
        return float(array) if array is not None and array.ndim == 0 else None

    # --- writing -------------------------------------------------------------------------------------------

    def write(self, form: _Form, op: Op) -> int:
        """Adds the operations of a form; its value."""
        type = op.types[0]
        if isinstance(form, _Linear):
            return self.linear(form, type, op)
        product = self.linear(form.linear, type, op)
        offset = form.offset
        if isinstance(offset, np.ndarray):
            offset = self.constant(offset, type.dtype, op)
        return self.added("add" if form.sign > 0 else "subtract", (product, offset), type, op)

    def linear(self, form: _Linear, type: TensorType, op: Op) -> int:
        argument = form.argument
        if argument < 0:  # the argument is itself a product that was not written before
            assert isinstance(form.inner, _Linear)
            rows, columns = form.matrix.shape
            size = columns if form.kind == "left" else rows
            axis = -2 if form.kind == "left" else -1
            shape = list(type.shape)
            shape[axis] = size
            argument = self.linear(form.inner, type.with_shape(shape), op)
        if form.kind == "matvec":
            return self.matvec(form.matrix, argument, type, op)
        matrix = self.constant(form.matrix, type.dtype, op)
        factors = (matrix, argument) if form.kind == "left" else (argument, matrix)
        return self.added("matmul", factors, type, op)

    def matvec(self, matrix: np.ndarray, argument: int, type: TensorType, op: Op) -> int:
        return self.added("matvec", (self.constant(matrix, type.dtype, op), argument), type, op)

    def constant(self, array: np.ndarray, dtype: str, op: Op) -> int:
        tensor = Tensor(np.asarray(array, numpy_dtype(dtype)))
        (value,) = self.copy.add(Op("constant", (), (("value", tensor),), (), (tensor.type,), 0, op.place))
        return value

    def added(self, name: str, operands: Sequence[int], type: TensorType, op: Op) -> int:
        (value,) = self.copy.add(Op(name, tuple(operands), (), (), (type,), 0, op.place))
        return value


def _plain(type: TensorType) -> bool:
    return type.is_float and type.space == "euclidean"
