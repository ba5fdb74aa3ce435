"""The laws bite: every wrong rule planted here is caught by the law named beside it."""

from collections.abc import Callable
from typing import Any

import laws
import pytest
from law_graphs import fix_case, page_case, scan_case

from banach.ir.exact import Interval
from banach.ir.graph import Builder, unused
from banach.ir.primitive import page, unbroadcast

Law = Callable[..., None]

DERIVATIVES: list[Law] = [
    laws.check_derivative,
    laws.check_second_derivative,
    laws.check_additive,
    laws.check_linear_in_cotangent,
    laws.check_symmetric,
]


def caught_by(name: str) -> list[str]:
    """The laws of derivatives that a page breaks on its samples."""
    broken = []
    for law in DERIVATIVES:
        try:
            for sample in page(name).samples():
                law(page_case(name, sample))
        except AssertionError:
            broken.append(law.__name__)
    return broken


def twice(self, build, x, y):
    return 2.0 * (1.0 - y * y)


def wrong_sign(self, build, operands, results, cotangents):
    return tuple(unbroadcast(cotangents[0], v.type) for v in operands)


def dropped_term(self, build, operands, results, cotangents):
    x, y = operands
    return unbroadcast(y * cotangents[0], x.type), None


def not_additive(self, build, operands, results, cotangents):
    return (build.op("cos", operands[0]) * cotangents[0] * cotangents[0],)


def absolute(self, build, operands, results, cotangents):
    return (build.op("cos", operands[0]) * build.op("abs", cotangents[0]),)


def affine(self, build, operands, results, cotangents):
    return (1.0 - cotangents[0],)


def stale(self, build, x, y):
    return 2.0 * y


def another(self, build, x, y):
    return build.op("sin", x)


def constant(self, build, x, y):
    return build.op("stop_gradient", build.op("cos", x))


# page, method, the wrong rule, a law that must see it
RULES = [
    ("tanh", "derivative", twice, "check_derivative"),
    ("subtract", "reverse", wrong_sign, "check_derivative"),
    ("multiply", "reverse", dropped_term, "check_derivative"),
    ("sin", "reverse", not_additive, "check_additive"),
    ("sin", "reverse", absolute, "check_linear_in_cotangent"),
    ("negate", "reverse", affine, "check_additive"),
    ("square", "derivative", stale, "check_derivative"),
    ("cos", "derivative", another, "check_derivative"),
    # right at first order, and held constant afterwards
    ("sin", "derivative", constant, "check_second_derivative"),
]


@pytest.mark.parametrize(("name", "method", "wrong", "law"), RULES)
def test_a_wrong_rule_is_caught(monkeypatch, name: str, method: str, wrong: Any, law: str) -> None:
    assert not caught_by(name)
    monkeypatch.setattr(type(page(name)), method, wrong)
    assert law in caught_by(name)


def test_a_dropped_term_breaks_symmetry_alone(monkeypatch) -> None:
    """R of a product without its second term is additive, so only RD.7 and the differences see it."""
    monkeypatch.setattr(type(page("multiply")), "reverse", dropped_term)
    assert "check_symmetric" in caught_by("multiply")
    assert "check_additive" not in caught_by("multiply")


def test_a_stale_trace_of_a_scan_is_caught(monkeypatch) -> None:
    def late(self, build, operands, regions, **attributes):
        states, inner = attributes["states"], Builder(regions[0].name)
        inputs = [inner.input(port.name, port.type) for port in regions[0].inputs]
        found = inner.inline(regions[0], inputs)
        outputs = dict(zip(regions[0].output_names, found))
        trace = {unused(f"trace.{i}", outputs): found[i] for i in range(states)}  # after the step, not before
        results = build.emit("scan", operands, attributes, [inner.finish({**outputs, **trace})])
        return results[: len(results) - states], results[len(results) - states :]

    laws.check_derivative(scan_case(False))
    monkeypatch.setattr(type(page("scan")), "record", late)
    with pytest.raises(AssertionError, match="finite differences"):
        laws.check_derivative(scan_case(False))


def test_a_scan_reversed_in_the_wrong_order_is_caught(monkeypatch) -> None:
    right = type(page("scan")).reverse

    def wrong(self, *arguments, reverse, **attributes):
        return right(self, *arguments, reverse=not reverse, **attributes)

    monkeypatch.setattr(type(page("scan")), "reverse", wrong)
    for backwards in (False, True):
        with pytest.raises(AssertionError, match="finite differences"):
            laws.check_derivative(scan_case(backwards))


def test_an_adjoint_at_the_wrong_point_is_caught(monkeypatch) -> None:
    """A residual that is stale: the derivative at the start of the iteration instead of its end."""
    right = type(page("fix")).reverse

    def wrong(self, build, operands, results, *rest, **attributes):
        return right(self, build, operands, operands[2 : 2 + len(results)], *rest, **attributes)

    monkeypatch.setattr(type(page("fix")), "reverse", wrong)
    with pytest.raises(AssertionError, match="finite differences"):
        laws.check_derivative(fix_case())


# page, what to plant, the law that must see it
FACTS = [
    ("tanh", "image", Interval.between(-0.5, 0.5), laws.check_range),
    ("tanh", "slope", Interval.between(0, 0.9), laws.check_gain),
    ("add", "gain", lambda self, index, operands: Interval.of(1), laws.check_gain),
    ("sum", "gain", lambda self, index, operands, axes: Interval.between(0, 1.4), laws.check_gain),
    ("transpose", "gain", lambda self, index, operands, permutation: Interval.of(2), laws.check_gain),
    ("multiply", "gain", lambda self, index, operands: Interval.between(0, 1.5), laws.check_gain),
    ("matvec", "gain", lambda self, index, operands: Interval.of(1), laws.check_gain),
    ("multiply", "linear", True, laws.check_linear),
    ("sin", "linear", True, laws.check_linear),
    ("divide", "linear_in", ((0,), (1,)), laws.check_linear),
    ("multiply", "linear_in", ((0, 1),), laws.check_linear),
    ("square", "decompose", lambda self, build, x: x * x * x, laws.check_decompose),
    ("less", "types", lambda self, operands, regions: operands[:1], laws.check_types),
    ("sum", "types", lambda self, operands, regions, axes: operands, laws.check_types),
]


@pytest.mark.parametrize(("name", "member", "wrong", "law"), FACTS)
def test_a_wrong_fact_is_caught(monkeypatch, name: str, member: str, wrong: Any, law: Law) -> None:
    samples = list(page(name).samples())
    for sample in samples:
        law(name, sample)
    monkeypatch.setattr(type(page(name)), member, wrong)
    with pytest.raises(AssertionError):
        for sample in samples:
            law(name, sample)
