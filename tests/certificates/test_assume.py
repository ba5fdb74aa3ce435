"""What a spec asks to be trusted: used where it says more, named, refused where it contradicts."""

import pytest

import banach

SPEC = """
banach: 1
precision: float64
sizes: {{n: 2}}
inputs: {{u: "real[n]"}}
parameters:
  A: [[2, 0], [0, 1]]
  b: [1, 1]
operators:
  T(x): 0.6 * sin(x) + 0.6 * cos(x) + u
  f: least_squares(A, b)
  h: quadratic([[1, 1], [0, 1]], b)
assume:
  a: {assumption}
solve:
  x: {{method: {method}, start: zeros(n), stop: {{residual: 1e-6, most: 100}}{options}}}
outputs: {{x: x}}
"""


def certificate(assumption: str, method: str, options: str = ""):
    text = SPEC.format(assumption=assumption, method=method, options=options)
    return banach.loads(text).check().certificates["x"]


def test_an_assumption_that_says_more_is_used_and_named() -> None:
    found = certificate("lipschitz(T) <= 0.85", "picard(T)")
    assert found.verdict == "proved"
    assert found.assumptions == ("lipschitz(T) <= 0.85",)
    assert found.to_json()["assumptions"] == ["lipschitz(T) <= 0.85"]


def test_one_that_says_less_is_not_needed() -> None:
    found = certificate("lipschitz(grad(f)) <= 100", "gradient_descent(f)")
    assert (found.verdict, found.assumptions) == ("proved", ())


def test_a_constant_that_is_tighter_than_the_bound_is_not_enough_by_itself() -> None:
    assert certificate("strong_convexity(f) >= 1", "picard(T)").verdict == "unknown"


@pytest.mark.parametrize(
    ("assumption", "method"),
    [
        ("lipschitz(T) >= 3", "picard(T)"),  # at most 1.2
        ("lipschitz(A) <= 1", "gradient_descent(f)"),  # the norm is 2
        ("lipschitz(grad(f)) <= 1", "gradient_descent(f)"),  # 4
        ("strong_convexity(f) >= 9", "gradient_descent(f)"),  # at most 1
    ],
)
def test_a_contradiction_is_refused_at_its_place(assumption: str, method: str) -> None:
    with pytest.raises(banach.SpecError) as refusal:
        certificate(assumption, method)
    (found,) = refusal.value.diagnostics
    assert found.code.id == "B330" and found.span is not None and found.span.line == 14


@pytest.mark.parametrize(
    "assumption", ["T <= 1", "norm(T)", "convex(f) <= 1", "fast(T)", "lipschitz(T) <= u"]
)
def test_what_cannot_be_assumed(assumption: str) -> None:
    with pytest.raises(banach.SpecError) as refusal:
        certificate(assumption, "picard(T)")
    assert all(d.span is not None and d.fix for d in refusal.value.diagnostics)


def test_an_assumed_predicate() -> None:
    found = certificate("convex(h)", "gradient_descent(h)", ", step: 0.1")
    assert found.assumptions == ("convex(h)",) and found.verdict == "proved"
