"""What a spec declares rather than computes: types, tolerances, counts."""

from fractions import Fraction
from typing import Any

from banach.compiler.elaboration import formulas
from banach.compiler.elaboration.complexes import COMPLEX
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import UNKNOWN_NAME, WRONG_KIND, refuse
from banach.compiler.elaboration.things import Environment, Extent, Number
from banach.compiler.spec import Range, Stop
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse, to_text
from banach.compiler.text.source import Mapping, Node, Scalar
from banach.ir.diagnostic import Code, Diagnostic, SpecError, suggest
from banach.ir.dims import Size
from banach.ir.tensor_type import TensorType

BAD_TYPE = Code(
    "B207",
    "bad-type",
    """A type is `real[m, n]`, `complex[n]`, `int[n]`, `bool[n]`, or `real` for one number; sizes are
whole numbers, names from `sizes:`, or sums, products and quotients of those.

    wrong    inputs: {A: float[10]}
    right    inputs: {A: "real[10]"}
""",
)
BAD_NUMBER = Code(
    "B209",
    "bad-number",
    "A number is out of range: a size below 1, a tolerance that is not positive, a negative count.\n",
)
LANES = "batch"
_TYPES = {
    **dict.fromkeys(("float", "float32", "float64", "double", "f32", "f64"), "real"),
    **dict.fromkeys(("integer", "int32", "int64", "long"), "int"),
    **dict.fromkeys(("complex64", "complex128", "cfloat"), "complex"),
    "boolean": "bool",
}
_SIZE = "write a whole number from 1 on, `any`, or `{least: 4, multiple: 2}`"


def size(key: Scalar, node: Node) -> int | tuple[int, int]:
    """A size that is known, or the least value and the divisor of one that is not. SpecError: neither."""
    if isinstance(node, Scalar):
        if node.text == "any":
            return (0 if key.text == LANES else 1), 1  # a batch may be empty: each sample is by itself
        return _count_from_1(node, f"the size `{key.text}`", _SIZE)
    if not isinstance(node, Mapping) or not node.items:
        raise refuse(BAD_NUMBER, f"the size `{key.text}` is no whole number", node.span, fix=_SIZE)
    mistakes: list[Diagnostic] = []
    known = Range.read(node, mistakes)
    if known is None:
        raise SpecError(mistakes)
    return _bound(key, "least", known.least), _bound(key, "multiple", known.multiple)


def _bound(key: Scalar, name: str, given: Scalar | None) -> int:
    if given is None:
        return 1
    return _count_from_1(given, f"`{name}` of the size `{key.text}`", f"write `{name}: 2`, say")


def _count_from_1(scalar: Scalar, what: str, fix: str) -> int:
    value = scalar.value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**62:
        return value
    message = f"{what} is `{scalar.text}`, no whole number from 1 on"
    raise refuse(BAD_NUMBER, message, scalar.span, fix=fix)


def type_formula(node: Node) -> syntax.Node:
    """The type of an input as a formula. SpecError: it is none."""
    if not isinstance(node, Scalar):
        raise refuse(BAD_TYPE, "the type of an input is one value", node.span, fix='write `x: "real[n]"`')
    return parse(node)


def type_of(node: syntax.Node, names: Environment, context: Context) -> tuple[TensorType, bool]:
    """The type that a formula such as real[m, n] names, less a leading `batch`, and whether it had one."""
    base, items = (node.base, node.items) if isinstance(node, syntax.Index) else (node, ())
    precision = context.scope.precision
    kinds = {"real": precision, "complex": COMPLEX[precision], "int": "int64", "bool": "bool"}
    if not isinstance(base, syntax.Name) or base.id not in kinds:
        raise _no_type(node, base)
    lanes = bool(items) and isinstance(items[0], syntax.Name) and items[0].id == LANES
    shape: list[Size] = []
    for item in items[1:] if lanes else items:
        if isinstance(item, syntax.Slice):
            fix = "write a number, or a name from `sizes:`"
            raise refuse(BAD_TYPE, "a size is wanted here, not a slice", item.span, fix=fix)
        if isinstance(item, syntax.Name) and names.find(item.id) is None:
            raise _no_size(item, names)
        size = formulas.size_of(context.evaluate(item, names, context))
        if size is None or (isinstance(size, int) and size < 1):
            fix = "write a number, or a name from `sizes:`"
            raise refuse(BAD_TYPE, "a size is a whole number from 1 on", item.span, fix=fix)
        shape.append(size)
    return TensorType(kinds[base.id], tuple(shape)), lanes


def _no_type(node: syntax.Node, base: syntax.Node) -> SpecError:
    word = base.id if isinstance(base, syntax.Name) else ""
    near = _TYPES.get(word.lower()) or suggest(word, ("real", "complex", "int", "bool"))
    label = f"here it is called `{near}`" if word.lower() in _TYPES else ""
    fix = (
        f"write `{to_text(node).replace(word, near, 1)}`"
        if near
        else "write real[n], complex[n], int[n] or bool[n]"
    )
    return refuse(BAD_TYPE, f"`{to_text(node)}` is no type", node.span, fix=fix, label=label)


def _no_size(item: syntax.Name, names: Environment) -> SpecError:
    near = suggest(item.id, [n for n in names.visible() if isinstance(names.known.get(n), Number | Extent)])
    label = f"did you mean `{near}`?" if near else ""
    fix = f"write `{near}`" if near else f"add `{item.id}: 10`, or `{item.id}: any`, under `sizes:`"
    return refuse(UNKNOWN_NAME, f"there is no size `{item.id}`", item.span, fix=fix, label=label)


def stop_rule(node: syntax.Node) -> tuple[syntax.Node, Fraction, syntax.Node | None]:
    """size <= tolerance · scale, as the iteration tests it."""
    if not isinstance(node, syntax.Compare) or node.op not in ("<=", "<"):
        fix = "write `residual: norm(x' - x) <= 1e-6`"
        raise refuse(WRONG_KIND, "an iteration of your own needs its residual spelt out", node.span, fix=fix)
    right = node.right
    if isinstance(right, syntax.Number) and right.value > 0:
        return node.left, Fraction(right.value), None
    if (
        isinstance(right, syntax.Binary)
        and right.op == "*"
        and isinstance(right.left, syntax.Number)
        and right.left.value > 0
    ):
        return node.left, Fraction(right.left.value), right.right
    return node.left, Fraction(1), right


def positive(scalar: Scalar, what: str) -> Fraction:
    """A positive number. SpecError: it is none."""
    value = scalar.value
    if isinstance(value, int | Fraction) and not isinstance(value, bool) and value > 0:
        return Fraction(value)
    raise refuse(
        BAD_NUMBER,
        f"the {what} is a positive number, not `{scalar.text}`",
        scalar.span,
        fix="write 1e-6, say",
    )


def count(stop: Stop) -> int:
    """The largest number of iterations. SpecError: it is no whole number."""
    value = stop.most.value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62:
        return value
    raise refuse(
        BAD_NUMBER, f"`most` is a whole number, not `{stop.most.text}`", stop.most.span, fix="write 1000, say"
    )


def derivative(said: Scalar | None, most: int) -> dict[str, Any]:
    """How to differentiate a solve of at most so many iterations: attributes of its `fix`; {} is implicit.

    SpecError: there is no such way.
    """
    formula = parse(said) if said else None
    match formula:
        case None | syntax.Name("implicit"):
            return {}
        case syntax.Name("one_step"):
            return {"gradient": "one_step"}
        case syntax.Name("unrolled"):
            return {"gradient": "unrolled", "cap": most}
        case syntax.Call(syntax.Name("neumann"), (syntax.Number(terms),)) if terms.denominator == 1 <= terms:
            return {"gradient": "neumann", "terms": int(terms)}
    assert said is not None
    fix = "write implicit, unrolled, one_step, or neumann(5)"
    raise refuse(WRONG_KIND, f"there is no gradient `{said.text}`", said.span, fix=fix)
