"""Products of constant matrices, and numbers before them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from banach.compiler.optimisation import LOOPS, Copy, Options, Pass, captures, inside_out, note, pruned, reads
from banach.ir.graph import Graph, Op
from banach.ir.rewrite import Effect, Journal
from banach.ir.simplify import GROWTH, LARGEST
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType, numpy_dtype


@final
class Products(Pass):
    """Multiply constant matrices that follow each other, and take numbers into them.

    Maths      A(Bx) = (AB)x, (XA)B = X(AB), A(Bx - c) = (AB)x - Ac, s(Ax) = (sA)x, s(Ax - v) = (sA)x - sv,
               A((BX)C) = ((AB)X)C: factors of a Kronecker product do not see each other, so with
               A((BX)C - D) = ((AB)X)C - AD its gradient has two products in place of four. The product of two
               circulants is again exactly one, and the same bits in either order
    Why        the gradient of ½‖Ax - b‖² is (AᵀA)x - Aᵀb: for a tall A: [m, n] that is n² products in place
               of 2mn; a step size costs nothing where it is in the matrix
    Preserves  every number up to rounding: products are taken in float64 and rounded once. Certificates speak
               of A, and of AᵀA only through it; the journal says if A is gone from the graph
    """

    after = ("simplification", "sharing")
    effect = Effect.REASSOCIATES

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        still = _still(graph)
        return inside_out(
            graph, lambda part: _multiplied(part, still.get(id(part.inputs), frozenset()), journal)
        )


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
    """M x + sign·offset, where that is a constant or a value. `free`: it is worked out once at most."""

    linear: _Linear
    offset: np.ndarray | int
    sign: int
    free: bool


_Form = _Linear | _Affine


def _still(graph: Graph) -> dict[int, frozenset[int]]:
    """The captures of every region of a loop, by the identity of its ports, which no pass touches."""
    found: dict[int, frozenset[int]] = {}
    for part in graph.walk():
        for op in part.ops:
            if op.name in LOOPS:
                for region, held in zip(op.regions, captures(op)):
                    ports = id(region.inputs)
                    found[ports] = found.get(ports, frozenset(held)) & held.keys()
    return found


def _multiplied(graph: Graph, still: frozenset[int], journal: Journal) -> Graph:
    if not any(op.name in ("matvec", "matmul") for op in graph.ops):
        return graph
    told = len(journal.refused)
    while True:  # what has become dead no longer reads anything, so there may be more to do
        del journal.refused[told:]
        sweep = _Sweep(pruned(graph), still, journal)
        for op in sweep.graph.ops:
            sweep.settle(op)
        if not sweep.fused:
            return sweep.graph
        graph = sweep.copy.finish()


class _Sweep:
    def __init__(self, graph: Graph, still: frozenset[int], journal: Journal):
        self.graph, self.journal = graph, journal
        self.copy, self.types, self.reads = Copy(graph), graph.types(), reads(graph)
        self.constants = {v: tensor.array for v, tensor in graph.constants().items()}
        self.forms: dict[int, _Form] = {}
        self.still = _from(graph, still)
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

    def joined(self, outer: _Linear, inner: _Linear, op: Op, extra: int = 0, gain: int = 0) -> _Linear | None:
        """Two products on one side as one, if that takes fewer multiplications. `extra`: what is added.

        `gain`: what is known to be saved, where something stands between the two.
        """
        a, b = (outer.matrix, inner.matrix) if outer.kind != "right" else (inner.matrix, outer.matrix)
        entries = outer.entries + inner.entries
        (m, k), n = a.shape, b.shape[1]
        if not gain and m * n + extra >= m * k + k * n:
            return self.refuse(op, f"{m * n + extra} multiplications are not fewer than {m * k + k * n}")
        if m * n > GROWTH * entries or m * n * numpy_dtype(op.types[0].dtype).itemsize > LARGEST:
            return self.refuse(op, f"the product has {m * n} entries, and its factors {entries}")
        return _Linear(outer.kind, product(a, b), inner.argument, inner.inner, entries)

    def refuse(self, op: Op, reason: str) -> None:
        self.journal.refused.append(note("product of matrices", op, self.graph, reason))

    def across(self, outer: _Linear, inner: _Linear, op: Op) -> tuple[_Form, str] | None:
        """A((Bx)C) = ((AB)x)C, and the mirror image: the sides do not see each other."""
        middle = inner.inner
        sides = {outer.kind, inner.kind}
        if sides != {"left", "right"} or not isinstance(middle, _Linear) or middle.kind != outer.kind:
            return None
        a, b = (outer.matrix, middle.matrix) if outer.kind == "left" else (middle.matrix, outer.matrix)
        between = inner.matrix.shape if outer.kind == "left" else inner.matrix.shape[::-1]
        before, after = _across(a, b, between, outer.kind)
        if after >= before:
            return self.refuse(op, f"{after} multiplications are not fewer than {before}")
        joined = self.joined(outer, middle, op, gain=before - after)
        return (replace(inner, inner=joined, argument=-1), "product of matrices") if joined else None

    def distributed(self, outer: _Linear, inner: _Affine, op: Op) -> tuple[_Form, str] | None:
        """A(Bx - c) = (AB)x - Ac; of two sides, A((BX)C - D) = ((AB)X)C - AD, and the mirror image."""
        joined: _Form | None
        if inner.linear.kind == outer.kind:
            joined = self.joined(outer, inner.linear, op, 0 if inner.free else outer.matrix.size)
        elif inner.free:
            joined, _ = self.across(outer, inner.linear, op) or (None, "")
        else:
            return None
        if not isinstance(joined, _Linear):
            return None
        offset = self.applied(outer, inner.offset, op)
        return _Affine(joined, offset, inner.sign, inner.free), "gradient of least squares"

    def applied(self, factor: _Linear, offset: np.ndarray | int, op: Op) -> np.ndarray | int:
        """A c or c A, at once if c is known."""
        if isinstance(offset, int):
            return self.times(factor, offset, op.types[0], op)
        if factor.kind == "matvec":
            return offset @ factor.matrix.T
        return factor.matrix @ offset if factor.kind == "left" else offset @ factor.matrix

    def shifted(self, op: Op) -> tuple[_Form, str] | None:
        """Mx + c, Mx - c, c - Mx; nothing is gained yet."""
        if op.name not in ("add", "subtract") or not _plain(op.types[0]):
            return None
        for place in (0, 1):
            linear, other = self.form(op.operands[place]), op.operands[1 - place]
            if not isinstance(linear, _Linear) or self.types[op.operands[place]] != op.types[0]:
                continue
            offset = self.offset(other, op.types[0], linear.kind)
            if offset is None:
                continue
            negated, free = op.name == "subtract", other in self.still
            if negated and place == 1:  # c - Mx = (-M)x + c
                return _Affine(replace(linear, matrix=-linear.matrix), offset, 1, free), ""
            return _Affine(linear, offset, -1 if negated else 1, free), ""
        return None

    def offset(self, value: int, type: TensorType, kind: str) -> np.ndarray | int | None:
        """What is added to a product; None if an axis that the matrix acts on is a stretched one."""
        if value in self.constants:
            array = self.constants[value]
            whole = type.shape[-1:] if kind == "matvec" else type.shape
            return array.astype(np.float64) if array.shape == whole else None
        return self.copy.at[value] if self.types[value] == type else None

    def scaled(self, op: Op) -> tuple[_Form, str] | None:
        """s(Mx + c) = (sM)x + sc, for a number s. Where c is no constant, sc may yet leave a loop."""
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
            linear = replace(form.linear, matrix=form.linear.matrix * factor)
            offset, moved = form.offset, replace(form, linear=linear)
            if isinstance(offset, np.ndarray):
                return replace(moved, offset=offset * factor), "number into a matrix"
            if op.name == "negate":  # -(Mx - v) = (-M)x + v
                return replace(moved, sign=-form.sign), "number into a matrix"
            held = self.constant(np.asarray(factor), op.types[0].dtype, op)
            scaled = self.added("multiply", (held, offset), op.types[0], op)
            return replace(moved, offset=scaled), "number into a matrix"
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
        return self.times(form, argument, type, op)

    def times(self, factor: _Linear, argument: int, type: TensorType, op: Op) -> int:
        """A value under the outermost matrix of a form."""
        matrix = self.constant(factor.matrix, type.dtype, op)
        factors = (argument, matrix) if factor.kind == "right" else (matrix, argument)
        return self.added("matvec" if factor.kind == "matvec" else "matmul", factors, type, op)

    def constant(self, array: np.ndarray, dtype: str, op: Op) -> int:
        tensor = Tensor(np.asarray(array, numpy_dtype(dtype)))
        (value,) = self.copy.add(Op("constant", (), (("value", tensor),), (), (tensor.type,), 0, op.place))
        return value

    def added(self, name: str, operands: Sequence[int], type: TensorType, op: Op) -> int:
        (value,) = self.copy.add(Op(name, tuple(operands), (), (), (type,), 0, op.place))
        return value


def _from(graph: Graph, given: frozenset[int]) -> set[int]:
    """The values that are made of `given` inputs and constants alone."""
    found = set(given)
    for op in graph.ops:
        if all(v in found for v in op.operands):
            found.update(op.results)
    return found


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """AB; of two circulants exactly a circulant, and exactly BA: its first column is a ⋆ b = b ⋆ a."""
    if a.shape != b.shape or not (is_circulant(a) and is_circulant(b)):
        return a @ b
    first, second = sorted((a, b), key=lambda m: m[:, 0].tolist())
    column, places = first @ second[:, 0], np.arange(len(a))
    return column[(places[:, None] - places) % len(a)]


def is_circulant(matrix: np.ndarray) -> bool:
    """Whether every row is, exactly, the one above it turned by one place."""
    n = len(matrix)
    return matrix.shape == (n, n) and np.array_equal(matrix[1:], np.roll(matrix[:-1], 1, axis=1))


def _across(a: np.ndarray, b: np.ndarray, between: tuple[int, ...], kind: str) -> tuple[int, int]:
    """Multiplications of A((BX)C) and of ((AB)X)C; of ((CX)A)B and C(X(AB)) by their mirror images."""
    (m, k), n = a.shape, b.shape[1]
    if kind == "right":
        m, n = n, m
    p, q = between
    return k * n * p + k * p * q + m * k * q, m * n * p + m * p * q


def _plain(type: TensorType) -> bool:
    return type.is_float and type.space == "euclidean"
