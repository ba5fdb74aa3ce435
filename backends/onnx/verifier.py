"""The checker that travels with the model: it reads the file again, and believes nothing that it can check.

It shares no code with the compiler, and decides in exact rationals, without numpy's linear algebra. It checks
that the file is the one that was certified; that every norm and singular value named in a certificate bounds
the weights in the file; that every inequality follows from those; and that factor and trip bound do. What it
cannot check it lists as trusted.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from typing import Any

from onnx import GraphProto, ModelProto, numpy_helper

from banach.backends.onnx import proof

End = Fraction | float  # a float only where it is infinite
Unit = tuple[tuple[str, Fraction], ...]

_BITS = 256  # mantissa to which the ends of intervals are rounded, outwards
_DEEPEST = 200
_LONGEST_POWER = 1 << 20


class _Refused(Exception):
    """The certificate is not of a form that can be checked."""


@dataclass(frozen=True, slots=True)
class _Number:
    """A real number between lo and hi, times powers of positive unknowns."""

    lo: End
    hi: End
    unit: Unit = ()


@dataclass(slots=True)
class Verification:
    """What was found: `checked` holds, `failed` does not, `trusted` was taken from the certificate."""

    checked: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.failed


def verify(model: ModelProto) -> Verification:
    """Checks the certificate inside a model against the model."""
    found = Verification()
    props = {entry.key: entry.value for entry in model.metadata_props}
    try:
        document = json.loads(props["banach.certificate"])
        _check_fingerprint(model, document["fingerprint"], found)
        tensors = _Tensors(model)
        for certificate in document["certificates"]:
            _check_certificate(certificate, tensors, found)
    except KeyError as missing:
        found.failed.append(f"the file holds no certificate of ours: {missing} is missing")
    except (ValueError, TypeError, IndexError, AttributeError, RecursionError, _Refused) as wrong:
        found.failed.append(f"the certificate cannot be read: {type(wrong).__name__}: {wrong}")
    return found


# --- the file is the one that was certified ---------------------------------------------------------------


def _check_fingerprint(model: ModelProto, sealed: Mapping[str, Any], found: Verification) -> None:
    weights = {tensor.name: _digest(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    before = len(found.failed)
    for name in sorted({*weights, *sealed["weights"]}):
        if weights.get(name) != sealed["weights"].get(name):
            known = name in weights and name in sealed["weights"]
            change = "has changed" if known else "was added" if name in weights else "is gone"
            found.failed.append(f"the weight or default `{name}` {change} since the file was certified")
    rest = GraphProto()
    rest.CopyFrom(model.graph)
    del rest.initializer[:]
    if sha256(rest.SerializeToString(deterministic=True)).hexdigest() != sealed["structure"]:
        found.failed.append("the graph's nodes, inputs or outputs have changed since the file was certified")
    if len(found.failed) == before:
        found.checked.append(f"the file is the one that was certified ({len(weights)} weights and defaults)")


def _digest(array: Any) -> str:
    return sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()


class _Tensors:
    """The weights of the file by their content; a matrix is found in either orientation."""

    def __init__(self, model: ModelProto):
        self.by_digest: dict[str, Any] = {}
        self.defaults: dict[str, Any] = {}
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            self.defaults[tensor.name] = array
            self.by_digest[_digest(array)] = array
            if array.ndim == 2:
                turned = array.T.copy()
                self.by_digest.setdefault(_digest(turned), turned)
        self.known: dict[str, bool] = {}

    def bounds(self, leaf: Mapping[str, Any]) -> bool:
        """Whether the bound in a fact holds of the weight that it names."""
        key = json.dumps(leaf, sort_keys=True)
        if key not in self.known:
            array = self.by_digest.get(leaf["tensor"])
            self.known[key] = array is not None and _bounds(leaf, array.astype("float64").tolist())
        return self.known[key]


def _bounds(leaf: Mapping[str, Any], rows: list[list[float]]) -> bool:
    lower, upper = Fraction(leaf["lower"]), Fraction(leaf["upper"])
    if leaf["kind"] == "spectral_norm":
        return proof.norm_at_most(rows, upper)
    if leaf["kind"] == "smallest_singular":
        return lower <= 0 or proof.smallest_at_least(rows, lower)
    if leaf["kind"] == "spectrum":
        return proof.spectrum_within(rows, lower, upper)
    return False


# --- certificates -----------------------------------------------------------------------------------------


def _check_certificate(certificate: Mapping[str, Any], tensors: _Tensors, found: Verification) -> None:
    name = certificate["solve"]
    if certificate["verdict"] != "proved":
        found.trusted.append(f"{name}: nothing is claimed, the verdict is {certificate['verdict']}")
        return
    measure = _Measure(tensors, name, found)
    evidence = certificate["evidence"]
    for hypothesis in evidence["hypotheses"]:
        _check_hypothesis(name, hypothesis, measure, found)
    _check_tolerance(certificate, tensors, found)
    if certificate["factor"] is not None:
        _check_factor(certificate, measure, found)
    if certificate["iterations"] is not None:
        _check_trips(certificate, measure, found)
    proviso = f", given that {certificate['proviso']}" if certificate["proviso"] else ""
    found.trusted.append(f"{name}: the theorem `{certificate['theorem']}` ({certificate['source']}){proviso}")
    found.trusted.append(f"{name}: that the graph computes what the theorem speaks of, up to rounding")
    found.trusted.extend(f"{name}: assumed {text}" for text in certificate["assumptions"])


def _check_hypothesis(
    name: str, hypothesis: Mapping[str, Any], measure: "_Measure", found: Verification
) -> None:
    if not hypothesis["tree"]:
        found.trusted.append(f"{name}: {hypothesis['text']}, from the library's page")
        return
    op, left, right = hypothesis["tree"]
    a, b = measure(left), measure(right)
    holds = _same_unit(a, b) and _COMPARISONS[op](a, b)
    (found.checked if holds else found.failed).append(f"{name}: {hypothesis['text']}")


_COMPARISONS: dict[str, Callable[[_Number, _Number], bool]] = {
    "<": lambda a, b: a.hi < b.lo,
    "<=": lambda a, b: a.hi <= b.lo,
    ">": lambda a, b: a.lo > b.hi,
    ">=": lambda a, b: a.lo >= b.hi,
}


def _check_tolerance(certificate: Mapping[str, Any], tensors: _Tensors, found: Verification) -> None:
    """The default tolerance of the file is the certified one, to the last bit of its dtype."""
    name = certificate["solve"]
    stored = tensors.defaults.get(f"{name}.tolerance")
    most = tensors.defaults.get(f"{name}.max_iterations")
    if stored is None or most is None:
        found.failed.append(f"{name}: the file has no tolerance or no largest number of iterations")
        return
    wanted = stored.dtype.type(float(Fraction(certificate["tolerance"])))
    good = stored == wanted and int(most) == certificate["most"]
    (found.checked if good else found.failed).append(
        f"{name}: stops at {float(stored):g}, after at most {int(most)} iterations"
    )


def _check_factor(certificate: Mapping[str, Any], measure: "_Measure", found: Verification) -> None:
    factor = measure(certificate["evidence"]["factor"])
    stated = Fraction(certificate["factor"])
    holds = not factor.unit and factor.hi <= stated and stated < 1
    name = certificate["solve"]
    (found.checked if holds else found.failed).append(
        f"{name}: the factor is at most {certificate['factor']:.6g}"
    )


def _check_trips(certificate: Mapping[str, Any], measure: "_Measure", found: Verification) -> None:
    bound = measure(certificate["evidence"]["residual"])
    holds = not bound.unit and bound.hi <= Fraction(certificate["tolerance"])
    name = certificate["solve"]
    (found.checked if holds else found.failed).append(
        f"{name}: at most {certificate['iterations']} iterations"
    )


# --- exact arithmetic on trees ----------------------------------------------------------------------------


class _Measure:
    """The enclosure of a tree, from facts that hold of the weights."""

    def __init__(self, tensors: _Tensors, name: str, found: Verification):
        self.tensors, self.name, self.found = tensors, name, found
        self.told: set[str] = set()

    def __call__(self, tree: Sequence[Any], depth: int = 0) -> _Number:
        if depth > _DEEPEST:
            raise _Refused("a formula nested too deep")
        op, *parts = tree
        if op == "number":
            exact = Fraction(parts[0])
            return _Number(exact, exact)
        if op == "between":
            return _Number(Fraction(parts[0]), Fraction(parts[1]))
        if op == "inf":
            return _Number(math.inf, math.inf)
        if op == "atom":
            one = Fraction(1)
            return _Number(one, one, ((str(parts[0]), one),))
        if op == "fact":
            return self._fact(parts[0])
        inner = [self(part, depth + 1) for part in parts]
        if op in _UNARY and len(inner) == 1:
            return _rounded(_UNARY[op](inner[0]))
        if op in _BINARY and len(inner) == 2:
            return _rounded(_BINARY[op](*inner))
        raise _Refused(f"an unknown operation `{op}`")

    def _fact(self, leaf: Mapping[str, Any]) -> _Number:
        """A fact, after it was checked; only the sides that were checked are used."""
        text = f"{self.name}: {leaf['kind'].replace('_', ' ')} of `{leaf['label'] or leaf['tensor'][:12]}`"
        if not self.tensors.bounds(leaf):
            if text not in self.told:
                self.found.failed.append(f"{text} is not bounded as certified")
            self.told.add(text)
            return _Number(-math.inf, math.inf)
        lower, upper = Fraction(leaf["lower"]), Fraction(leaf["upper"])
        if text not in self.told:
            shown = (
                f">= {float(lower):.6g}" if leaf["kind"] == "smallest_singular" else f"<= {float(upper):.6g}"
            )
            self.found.checked.append(f"{text} {shown}, against the weights in the file")
        self.told.add(text)
        if leaf["kind"] == "spectral_norm":
            return _Number(Fraction(0), upper)
        return _Number(lower, math.inf if leaf["kind"] == "smallest_singular" else upper)


def _same_unit(a: _Number, b: _Number) -> bool:
    return a.unit == b.unit or _universal(a) or _universal(b)


def _universal(a: _Number) -> bool:
    return (a.lo == 0 == a.hi) or (a.lo == math.inf)


def _common(a: _Number, b: _Number) -> Unit:
    if not _same_unit(a, b):
        raise _Refused("a sum of unlike unknowns")
    return b.unit if _universal(a) else a.unit


def _add(a: _Number, b: _Number) -> _Number:
    return _Number(a.lo + b.lo, a.hi + b.hi, _common(a, b))


def _opposite(a: _Number) -> _Number:
    return _Number(-a.hi, -a.lo, a.unit)


def _times(x: End, y: End) -> End:
    return Fraction(0) if x == 0 or y == 0 else x * y


def _multiply(a: _Number, b: _Number) -> _Number:
    corners = [_times(x, y) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return _Number(min(corners), max(corners), _joined(a.unit, b.unit, 1))


def _divide(a: _Number, b: _Number) -> _Number:
    unit = _joined(a.unit, b.unit, -1)
    if b.lo < 0 or b.hi == 0:  # no divisor of ours is negative
        return _Number(-math.inf, math.inf, unit)
    inverse = _Number(_inverse(b.hi), math.inf if b.lo == 0 else _inverse(b.lo))
    product = _multiply(_Number(a.lo, a.hi), inverse)
    return _Number(product.lo, product.hi, unit)


def _inverse(x: End) -> End:
    return Fraction(0) if isinstance(x, float) else 1 / x


def _joined(a: Unit, b: Unit, sign: int) -> Unit:
    powers = dict(a)
    for name, power in b:
        powers[name] = powers.get(name, Fraction(0)) + sign * power
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _power(a: _Number, b: _Number) -> _Number:
    exponent = b.lo
    if b.unit or exponent != b.hi or not isinstance(exponent, Fraction):
        raise _Refused("a power whose exponent is not known")
    if exponent.denominator != 1 or not 0 <= exponent <= _LONGEST_POWER:
        raise _Refused("a power that is no whole number")
    result, base, left = _Number(Fraction(1), Fraction(1)), _Number(a.lo, a.hi), int(exponent)
    if left % 2 == 0 and base.lo < 0:  # an even power is that of the size
        base = _size(base)
    while left:
        if left & 1:
            result = _rounded(_multiply(result, base))
        base, left = _rounded(_multiply(base, base)), left >> 1
    return _Number(result.lo, result.hi, tuple((name, own * exponent) for name, own in a.unit if exponent))


def _size(a: _Number) -> _Number:
    if a.lo >= 0:
        return a
    return _opposite(a) if a.hi <= 0 else _Number(Fraction(0), max(-a.lo, a.hi), a.unit)


def _root(a: _Number) -> _Number:
    unit = tuple((name, power / 2) for name, power in a.unit)
    return _Number(_root_of(max(a.lo, Fraction(0)), False), _root_of(max(a.hi, Fraction(0)), True), unit)


def _root_of(x: End, upwards: bool) -> End:
    if isinstance(x, float):
        return x
    shift = 2 * _BITS  # √(n/d) = √(n·d·4^s)/(d·2^s)
    square = x.numerator * x.denominator << 2 * shift
    root = math.isqrt(square)
    return Fraction(root + (upwards and root * root != square), x.denominator << shift)


def _hull(a: _Number, b: _Number) -> _Number:
    return _Number(min(a.lo, b.lo), max(a.hi, b.hi), _common(a, b))


_UNARY: dict[str, Callable[[_Number], _Number]] = {
    "-": _opposite,
    "abs": _size,
    "sqrt": _root,
    "upper": lambda a: _Number(a.hi, a.hi, a.unit),
    "lower": lambda a: _Number(a.lo, a.lo, a.unit),
    "at_most": lambda a: _Number(Fraction(0), a.hi, a.unit),
    "around": lambda a: _Number(-a.hi, a.hi, a.unit),
}
_BINARY: dict[str, Callable[[_Number, _Number], _Number]] = {
    "+": _add,
    "-": lambda a, b: _add(a, _opposite(b)),
    "*": _multiply,
    "/": _divide,
    "**": _power,
    "min": lambda a, b: _Number(min(a.lo, b.lo), min(a.hi, b.hi), _common(a, b)),
    "max": lambda a, b: _Number(max(a.lo, b.lo), max(a.hi, b.hi), _common(a, b)),
    "hull": _hull,
}


def _rounded(a: _Number) -> _Number:
    return _Number(_shortened(a.lo, False), _shortened(a.hi, True), a.unit)


def _shortened(x: End, upwards: bool) -> End:
    """The end in _BITS bits, rounded outwards; exact numbers that are short stay exact."""
    if isinstance(x, float) or (
        x.numerator.bit_length() <= 2 * _BITS and x.denominator.bit_length() <= 2 * _BITS
    ):
        return x
    shift = _BITS - (x.numerator.bit_length() - x.denominator.bit_length())
    scaled = x * Fraction(2) ** shift
    whole = (
        -((-scaled.numerator) // scaled.denominator) if upwards else scaled.numerator // scaled.denominator
    )
    return Fraction(whole) / Fraction(2) ** shift
