"""Words with options of every kind: a model, or a diagnostic, and never a traceback."""

import pytest

import banach
from banach.compiler.elaboration.words import spoken

GIVEN = ("1", "-1", "0", "2.5", "(1, 2)", "(1, -1, 0)", "true", "'x'", "[1, 2]", "100000000000")
SPEC = """
banach: 1
sizes: {{n: 3}}
inputs: {{x: "real[n, n]", i: "int[n]"}}
parameters:
  T: [[1, 2, 3], [4, 5, 6], [7, 8, 10]]
outputs:
  y: {call}
"""


def calls(name: str) -> list[str]:
    """The word with each thing in place of all of its options, on three kinds of arguments."""
    parameters = spoken.spoken()[name].parameters.values()
    operands = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    options = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in ("dtype", "axes")]
    count = 2 if any(p.kind is p.VAR_POSITIONAL for p in operands) else len(operands)
    found = []
    for argument in ("x", "i", "T"):
        for thing in GIVEN if options else ("",):
            told = [*[argument] * count, *(f"{option}={thing}" for option in options)]
            found.append(f"{name}({', '.join(told)})")
    return found


@pytest.mark.parametrize("name", sorted(spoken.spoken()))
def test_an_option_of_any_kind_ends_in_a_model_or_a_diagnostic(name: str) -> None:
    for call in calls(name):
        try:
            banach.loads(SPEC.format(call=call))
        except banach.SpecError as wrong:
            assert all(d.span is not None and d.span.line == 8 for d in wrong.diagnostics), call


def test_one_number_is_a_stride_for_every_axis() -> None:
    text = SPEC.format(call="convolve(x, k, stride=2)").replace(
        "  T:", "  k: [[[1, 2]], [[1, 0]], [[0, 1]]]\n  T:"
    )
    with pytest.raises(banach.SpecError) as wrong:
        banach.loads(text)
    assert wrong.value.diagnostics[0].code.id == "B202"  # the kernel has one channel, the signal three
