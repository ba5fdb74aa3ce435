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

from onnx import ModelProto, numpy_helper

from banach.backends.onnx import averaged, contraction, lyapunov, proof, stored
from banach.backends.onnx.rational import BINARY, UNARY, End, Number, Refused, root, rounded, same_unit
from banach.backends.onnx.sameness import structure

_DEEPEST = 200


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
        told = {certificate["solve"] for certificate in document["certificates"]}
        solves = {name.removesuffix(".tolerance") for name in tensors.defaults if name.endswith(".tolerance")}
        found.failed.extend(f"{name}: no certificate speaks of this solve" for name in sorted(solves - told))
    except KeyError as missing:
        found.failed.append(f"the file holds no certificate of ours: {missing} is missing")
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        Refused,
    ) as wrong:
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
    if structure(model) != sealed["structure"]:
        found.failed.append("the graph's nodes, inputs or outputs have changed since the file was certified")
    contract = next((entry.value for entry in model.metadata_props if entry.key == "banach.sizes"), "")
    if contract != sealed["sizes"]:
        found.failed.append("the bounds of the sizes have changed since the file was certified")
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
            self.defaults[tensor.name] = numpy_helper.to_array(tensor)
        for array in (*self.defaults.values(), *stored.weights(model.graph, self.defaults)):
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

    def shortest(self, leaf: Mapping[str, Any]) -> End:
        """A bound of the smallest singular value from above: the length of a column, ‖Av‖ for a unit v."""
        column = self.by_digest[leaf["tensor"]][:, 0].astype("float64").tolist()
        return root(sum((Fraction(x) ** 2 for x in column), Fraction(0)), True)


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

# Theorems whose hypotheses are numbers that travel along: see the pages of compiler/inference.
_MOST_TRIPS = 100_000  # of an adjoint, whose power is taken exactly
DERIVED = (
    "averaged-map",
    "layer-contraction",
    "linear-iteration",
    "quadratic-lyapunov",
    "weighted-contraction",
)


def _check_certificate(certificate: Mapping[str, Any], tensors: _Tensors, found: Verification) -> None:
    name = certificate["solve"]
    if certificate["verdict"] != "proved":
        found.trusted.append(f"{name}: nothing is claimed, the verdict is {certificate['verdict']}")
        return
    evidence = certificate["evidence"]
    measure = _Measure(tensors, name, found, certificate["iterations"], certificate["assumptions"])
    for term in evidence.get("terms", ()):  # each may speak of those before it
        measure.terms.append(measure(term))
    if [h["text"] for h in certificate["hypotheses"]] != [h["text"] for h in evidence["hypotheses"]]:
        found.failed.append(f"{name}: the hypotheses are not those that there is evidence for")
    for hypothesis, told in zip(evidence["hypotheses"], certificate["hypotheses"]):
        _check_hypothesis(name, hypothesis, told["origin"], measure, found)
    _check_tolerance(certificate, tensors, found)
    if certificate["lipschitz"] is not None:
        _check_constant(certificate, measure, found)
    if certificate["factor"] is not None or certificate["claim"]["factor"] is not None:
        _check_factor(certificate, measure, found)
    if certificate["iterations"] is not None:
        _check_trips(certificate, measure, found)
    if certificate["adjoint"] is not None and certificate["adjoint"]["verdict"] == "proved":
        _check_adjoint(certificate, measure, found)
    if certificate["derivation"] is not None:
        _check_derivation(certificate, measure, found)
    elif certificate["theorem"] in DERIVED:
        found.failed.append(f"{name}: `{certificate['theorem']}` says nothing without its numbers")
    proviso = f", given that {certificate['proviso']}" if certificate["proviso"] else ""
    found.trusted.append(f"{name}: the theorem `{certificate['theorem']}` ({certificate['source']}){proviso}")
    found.trusted.append(f"{name}: that the formulas above are those of the theorem")
    found.trusted.append(f"{name}: that the graph computes what the theorem speaks of, up to rounding")
    found.trusted.extend(f"{name}: assumed {text}" for text in certificate["assumptions"])


def _check_hypothesis(
    name: str, hypothesis: Mapping[str, Any], origin: str, measure: "_Measure", found: Verification
) -> None:
    if not hypothesis["tree"]:
        source = "from the library's page" if origin == "library" else "as the compiler derived it"
        found.trusted.append(f"{name}: {hypothesis['text']}, {source}")
        return
    op, left, right = hypothesis["tree"]
    a, b = measure(left), measure(right)
    holds = same_unit(a, b) and _COMPARISONS[op](a, b)
    (found.checked if holds else found.failed).append(f"{name}: {hypothesis['text']}")


_COMPARISONS: dict[str, Callable[[Number, Number], bool]] = {
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
    if stored is None and most is None and certificate.get("inside"):
        tolerance, last = float(Fraction(certificate["tolerance"])), certificate["most"]
        told = f"that it stops at {tolerance:g}, after at most {last} iterations, inside its map"
        found.trusted.append(f"{name}: {told}")
        return
    if stored is None or most is None:
        found.failed.append(f"{name}: the file has no tolerance or no largest number of iterations")
        return
    wanted = stored.dtype.type(float(Fraction(certificate["tolerance"])))
    good = stored == wanted and int(most) == certificate["most"]
    (found.checked if good else found.failed).append(
        f"{name}: stops at {float(stored):g}, after at most {int(most)} iterations"
    )


def _check_constant(certificate: Mapping[str, Any], measure: "_Measure", found: Verification) -> None:
    stated = certificate["lipschitz"][1]
    constant = measure(certificate["evidence"]["lipschitz"])
    holds = stated is None or (not constant.unit and constant.hi <= Fraction(stated))
    (found.checked if holds else found.failed).append(
        f"{certificate['solve']}: the constant L is at most {stated}"
    )


def _check_factor(certificate: Mapping[str, Any], measure: "_Measure", found: Verification) -> None:
    factor = measure(certificate["evidence"]["factor"])
    stated = Fraction(certificate["factor"])
    holds = not factor.unit and factor.hi <= stated < 1 and certificate["claim"]["factor"] == stated
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


def _check_adjoint(certificate: Mapping[str, Any], measure: "_Measure", found: Verification) -> None:
    """The iteration of an implicit gradient contracts, and its number of steps follows from the factor."""
    stated, q = certificate["adjoint"], measure(certificate["evidence"]["adjoint"])
    trips = stated["iterations"]
    holds = not q.unit and q.hi <= Fraction(stated["factor"]) < 1
    if holds and trips is not None:
        holds = 0 <= trips <= _MOST_TRIPS and Fraction(q.hi) ** trips <= Fraction(certificate["tolerance"])
    text = f"{certificate['solve']}: the factor of its adjoint is at most {stated['factor']:.6g}"
    (found.checked if holds else found.failed).append(text)


def _check_derivation(certificate: Mapping[str, Any], measure: "_Measure", found: Verification) -> None:
    """The numbers that stand in place of a page's theorem prove the factor that is claimed."""
    stated, trees = certificate["derivation"], certificate["evidence"]["derivation"]
    name, kind = certificate["solve"], stated["kind"]
    if kind == "averaged":
        holds = averaged.is_averaged(stated, trees, measure)
        text = f"{name}: the map of a step is {float(Fraction(stated['a'])):.6g}-averaged"
    else:
        factor, claimed = Fraction(stated["factor"]), certificate["factor"]
        holds = claimed is not None and factor <= Fraction(claimed)
        if kind == "lyapunov":
            holds = holds and lyapunov.falls(stated, trees, measure)
            text = f"{name}: the Lyapunov function falls by the square of {float(factor):.6g}"
        else:
            holds = kind in ("weights", "form") and holds and contraction.contracts(stated)
            text = f"{name}: the norm of the certificate falls by {float(factor):.6g} under its matrix"
    (found.checked if holds else found.failed).append(text)


# --- exact arithmetic on trees ----------------------------------------------------------------------------


class _Measure:
    """The enclosure of a tree, from facts that hold of the weights."""

    def __init__(
        self,
        tensors: _Tensors,
        name: str,
        found: Verification,
        trips: int | None = None,
        assumptions: Sequence[str] = (),
    ):
        self.tensors, self.name, self.found, self.trips = tensors, name, found, trips
        self.assumptions = assumptions
        self.told: set[str] = set()
        self.terms: list[Number] = []

    def __call__(self, tree: Sequence[Any], depth: int = 0) -> Number:
        if depth > _DEEPEST:
            raise Refused("a formula nested too deep")
        op, *parts = tree
        if op == "number":
            exact = Fraction(parts[0])
            return Number(exact, exact)
        if op == "assumed":
            if parts[0] not in self.assumptions:
                raise Refused(f"{parts[0]} is assumed, and the certificate does not say so")
            lo, hi = (float(end) if end in ("inf", "-inf") else Fraction(end) for end in parts[1:])
            return Number(lo, hi)
        if op == "between":
            return Number(Fraction(parts[0]), Fraction(parts[1]))
        if op == "trips" and self.trips is not None:
            return Number(Fraction(self.trips), Fraction(self.trips))
        if op == "inf":
            return Number(math.inf, math.inf)
        if op == "atom":
            one = Fraction(1)
            return Number(one, one, ((str(parts[0]), one),))
        if op == "term" and 0 <= parts[0] < len(self.terms):
            return self.terms[parts[0]]
        if op == "fact":
            return self._fact(parts[0])
        inner = [self(part, depth + 1) for part in parts]
        if op in UNARY and len(inner) == 1:
            return rounded(UNARY[op](inner[0]))
        if op in BINARY and len(inner) == 2:
            return rounded(BINARY[op](*inner))
        raise Refused(f"an unknown operation `{op}`")

    def _fact(self, leaf: Mapping[str, Any]) -> Number:
        """A fact, after it was checked; only the sides that were checked are used."""
        text = f"{self.name}: {leaf['kind'].replace('_', ' ')} of `{leaf['label'] or leaf['tensor'][:12]}`"
        if not self.tensors.bounds(leaf):
            if text not in self.told:
                self.found.failed.append(f"{text} is not bounded as certified")
            self.told.add(text)
            return Number(-math.inf, math.inf)
        lower, upper = Fraction(leaf["lower"]), Fraction(leaf["upper"])
        if text not in self.told:
            shown = (
                f">= {float(lower):.6g}" if leaf["kind"] == "smallest_singular" else f"<= {float(upper):.6g}"
            )
            self.found.checked.append(f"{text} {shown}, against the weights in the file")
        self.told.add(text)
        if leaf["kind"] == "spectral_norm":
            return Number(Fraction(0), upper)
        return Number(lower, self.tensors.shortest(leaf) if leaf["kind"] == "smallest_singular" else upper)
