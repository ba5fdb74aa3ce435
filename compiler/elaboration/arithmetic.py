"""Operations on things: done at once where everything is known, else added to the graph.

Numbers stay exact rationals as long as they can; tables are worked out by the oracle in float64; the rest
becomes an operation of the graph, in the spec's precision.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler.elaboration.complexes import COMPLEX, Reals
from banach.compiler.elaboration.complexes import apply as apply_complex
from banach.compiler.elaboration.problem import WRONG_KIND, WRONG_SHAPE, refuse
from banach.compiler.elaboration.scope import Scope
from banach.compiler.elaboration.things import Complex, Extent, Map, Number, Table, Tensor, Truth, describe
from banach.compiler.facts import quantity as q
from banach.ir.diagnostic import Diagnostic, SpecError
from banach.ir.dims import bind
from banach.ir.graph import infer
from banach.ir.pairs import split
from banach.ir.primitive import page
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType, TypeMismatch

PRIMITIVE = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "**": "power",
    "<": "less",
    "<=": "less_equal",
    "==": "equal",
    "and": "and",
    "or": "or",
}
_LARGEST_POWER = 64  # an exact power beyond this is worked out in floats
_LARGEST_TABLE = 1 << 26  # entries of a table that is made before the run


def binary(op: str, left: Any, right: Any, scope: Scope, span: Span | None) -> Any:
    """left op right for tensors and numbers, where op is a key of PRIMITIVE or one of > >= !=."""
    if op in (">", ">="):
        return binary("<" if op == ">" else "<=", right, left, scope, span)
    if op == "!=":
        return apply("not", [binary("==", left, right, scope, span)], scope, span)
    for side in (left, right):
        if not is_tensor(side):
            raise refuse(
                WRONG_KIND,
                f"`{op}` does not take {describe(side)}",
                span,
                fix="apply a map to a tensor first, `F(x)`",
            )
    exact = _exact(op, left, right)
    if exact is not None:
        return exact
    if op == "**":
        return _power(left, right, scope, span)
    result = apply(PRIMITIVE[op], [left, right], scope, span)
    return _enclosed(op, left, right, result)


def is_tensor(thing: Any) -> bool:
    """Whether a thing has entries: a number, a table, a size, or a tensor of the running program."""
    return isinstance(thing, Number | Truth | Table | Extent | Tensor | Complex)


def is_real_number(thing: Any) -> bool:
    """Whether a thing is one real number, known or not."""
    match thing:
        case Table(array):
            return array.ndim == 0
        case Tensor(value):
            return not value.type.shape
        case _:
            return isinstance(thing, Number | Extent)


def is_known(thing: Any) -> bool:
    """Whether a tensor is known before the run."""
    return isinstance(thing, Number | Truth | Table)


def type_of(thing: Any, scope: Scope) -> TensorType:
    """The type that a tensor has, or would have, in the language; the graph carries complex ones by pairs."""
    match thing:
        case Complex(pairs):
            inner = type_of(pairs, scope)
            return TensorType(COMPLEX[inner.dtype], inner.shape[:-1])
        case Tensor(value):
            return value.type
        case Table(array):
            return TensorType(scope.precision if array.dtype.kind == "f" else str(array.dtype), array.shape)
        case Truth():
            return TensorType("bool")
        case _:
            return TensorType(scope.precision)


def apply(name: str, operands: Sequence[Any], scope: Scope, span: Span | None, **attributes: Any) -> Any:
    """A primitive applied to tensors: at once when all are known, else as an operation of the graph."""
    if any(isinstance(operand, Complex) for operand in operands):
        return apply_complex(reals(scope, span), name, operands, attributes, span)
    definition = page(name)
    try:
        if operands and all(map(is_known, operands)):
            arrays = [as_array(operand) for operand in operands]
            arrays = arrays if definition.core is None else _common(arrays)
            types = infer(name, [TensorType(str(a.dtype), a.shape) for a in arrays], attributes)
            bound(types[0], span)
            return from_array(definition.evaluate(*arrays, **attributes))
        leader = next((type_of(o, scope) for o in operands if isinstance(o, Tensor | Table)), None)
        values = [scope.value(operand, leader_for(operand, leader), span) for operand in operands]
        return Tensor(scope.build.op(name, *values, place=span, **attributes))
    except TypeMismatch as mismatch:
        notes = tuple(note for note in _origins(operands, scope) if note[0] != span)
        message = str(mismatch).removeprefix(f"{name}: ")
        fix = "make the shapes agree" + (": the notes show where they come from" if notes else "")
        if "dtypes" in message:
            fix = "make both one kind: `1 if a else 0` is the number of a truth value, `a > 0` the other way"
        raise SpecError([Diagnostic(WRONG_SHAPE, message, span, fix=fix, notes=notes)]) from None
    except ValueError as wrong:
        raise refuse(WRONG_KIND, str(wrong), span, fix="write a value that the operation takes") from None


def reals(scope: Scope, span: Span | None) -> Reals:
    """How operations on complex numbers work out those on their parts."""
    return Reals(
        lambda name, operands, **attributes: apply(name, operands, scope, span, **attributes),
        lambda thing: type_of(thing, scope),
        lambda matrix: real_matrix(matrix, scope, span),
    )


def real_matrix(matrix: Complex, scope: Scope, span: Span | None) -> Any:
    """The real matrix [2m, 2n] that carries a complex one, made once where that one is."""
    pairs = matrix.pairs
    home = scope.home(pairs.value) if isinstance(pairs, Tensor) else scope.outermost
    if id(matrix) not in home.matrices:
        made = replace(reals(home, span).made_matrix(pairs), label=pairs.label)
        home.matrices[id(matrix)] = (matrix, made)
    return home.matrices[id(matrix)][1]


def _origins(operands: Sequence[Any], scope: Scope) -> Iterator[tuple[Span, str]]:
    """Where operands come from: the definition of one that has a name, the formula that makes another."""
    for operand in operands:
        label = operand.label if isinstance(operand, Table | Tensor) else ""
        known = place = scope.places.get(label)
        if isinstance(operand, Tensor):
            build = operand.value.builder
            # A state bears its page's name, which may be that of something else in the spec.
            is_input = any(value.id == operand.value.id for value in build.inputs)
            own = build.place_of(operand.value)
            place = own if own and (is_input or known is None) else known
        if place is not None:
            told = f"`{label}`" if label and place == known else "this"
            yield place, f"{told} is {type_of(operand, scope)}"


def leader_for(operand: Any, leader: TensorType | None) -> TensorType | None:
    """A bare number beside an integer tensor is an integer; anything else keeps its own dtype."""
    if isinstance(operand, Number) and leader is not None and leader.dtype != "bool":
        return leader
    return None


def as_array(thing: Any) -> np.ndarray:
    """A known tensor as numpy has it, reals in float64."""
    match thing:
        case Complex(Table(pairs)):
            return pairs[..., 0] + 1j * pairs[..., 1]
        case Number(value):
            return np.asarray(float(value))
        case Truth(value):
            return np.asarray(value)
        case _:
            return thing.array


def from_array(array: np.ndarray, label: str = "") -> Any:
    """A table from numpy: reals in float64, integers in int64; of complex numbers one of pairs."""
    if np.iscomplexobj(array):
        return Complex(Table(split(array).astype(np.float64), label))
    kind = {"f": np.float64, "i": np.int64, "u": np.int64, "b": np.bool_}[np.asarray(array).dtype.kind]
    return Table(np.asarray(array, kind), label)


def _common(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Integers beside reals become reals, as in the text `2 * count(n) / n`."""
    if any(a.dtype.kind == "f" for a in arrays):
        return [a.astype(np.float64) if a.dtype.kind == "i" else a for a in arrays]
    return list(arrays)


def bound(type: TensorType, span: Span | None) -> None:
    """SpecError: a table of this type is too large to be made."""
    entries = 1
    for size in type.shape:
        entries *= bind(size, {})  # sizes of tables are numbers
    if entries > _LARGEST_TABLE:
        raise refuse(
            WRONG_SHAPE,
            f"a table of {entries:,} entries is too large to be made before the run",
            span,
            fix="make it smaller, or an input of the model",
        )


def _exact(op: str, left: Any, right: Any) -> Any | None:
    """The result where both are exact numbers or truth values and it is one too."""
    if isinstance(left, Truth) and isinstance(right, Truth) and op in ("and", "or"):
        return Truth(left.value and right.value if op == "and" else left.value or right.value)
    if not (isinstance(left, Number) and isinstance(right, Number)):
        return None
    a, b = left.value, right.value
    match op:
        case "+":
            return Number(a + b)
        case "-":
            return Number(a - b)
        case "*":
            return Number(a * b)
        case "/" if b:
            return Number(a / b)
        case "**" if b.denominator == 1 and abs(b) <= _LARGEST_POWER and (a or b >= 0):
            return Number(a ** int(b))
        case "<":
            return Truth(a < b)
        case "<=":
            return Truth(a <= b)
        case "==":
            return Truth(a == b)
    return None


def _power(base: Any, exponent: Any, scope: Scope, span: Span | None) -> Any:
    """x², x³ and √x by products and roots; they hold for negative x too, where `power` does not."""
    if isinstance(exponent, Number):
        power = exponent.value
        if power == 2:
            return _enclosed("**", base, exponent, apply("square", [base], scope, span))
        if power == Fraction(1, 2):
            return _enclosed("**", base, exponent, apply("sqrt", [base], scope, span))
        if power.denominator == 1 and 3 <= power <= 8:
            product = base
            for _ in range(int(power) - 1):
                product = binary("*", product, base, scope, span)
            return product
        if power == -1:
            return binary("/", Number(Fraction(1)), base, scope, span)
    return apply("power", [base, exponent], scope, span)


def _enclosed(op: str, left: Any, right: Any, result: Any) -> Any:
    """The result with its enclosure, where both operands are scalars that have one."""
    if op not in ("+", "-", "*", "/", "**") or not isinstance(result, Tensor):
        return result
    a, b = quantity_of(left), quantity_of(right)
    if a is None or b is None:
        return result
    return Tensor(result.value, result.label, q.combine(op, a, b))


def quantity_of(thing: Any) -> q.Quantity | None:
    """The enclosure of a scalar; None where there is none."""
    match thing:
        case Number(value):
            return q.number(value)
        case Tensor(_, _, quantity):
            return quantity
        case Table(array) if array.ndim == 0 and np.isfinite(array):
            return q.number(Fraction(float(array)))
    return None


def is_map(thing: Any) -> bool:
    """Whether a thing can be applied: a map, or a matrix."""
    return isinstance(thing, Map) or (is_matrix(thing))


def is_matrix(thing: Any) -> bool:
    """Whether a thing is a table or tensor with two axes."""
    if isinstance(thing, Table):
        return thing.array.ndim == 2
    if isinstance(thing, Complex):
        pairs = thing.pairs
        return (pairs.array.ndim if isinstance(pairs, Table) else pairs.value.type.rank) == 3
    return isinstance(thing, Tensor) and thing.value.type.rank == 2
