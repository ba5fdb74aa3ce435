"""What a person reads when something is wrong."""

from hypothesis import given, settings
from hypothesis import strategies as st

from banach.ir.diagnostic import Code, Diagnostic, render, suggest
from banach.ir.span import Span

CODE = Code("B312", "step-too-large", "A page.")
LASSO = "\n" * 20 + "    step: 0.9\n"


def span(line, column, end_column, end_line=None):
    return Span("lasso.yaml", line, column, end_line or line, end_column)


def shown(text, place, **rest):
    return render([Diagnostic(CODE, "no", place, **rest)], {"lasso.yaml": text})


def test_the_example_of_the_language_page():
    diagnostic = Diagnostic(
        CODE,
        "the step 0.9 is outside (0, 0.0032]",
        span(21, 11, 14),
        "must be ≤ 1/L = 0.0032 (L = ‖A‖² ≤ 312.5, from the values of A)",
        fix="write `step: 1 / lipschitz(grad(f))`, or any number up to 0.0032",
    )
    assert render([diagnostic], {"lasso.yaml": LASSO}) == (
        "error[B312] step-too-large: the step 0.9 is outside (0, 0.0032]\n"
        "  --> lasso.yaml:21:11\n"
        "   |\n"
        "21 |     step: 0.9\n"
        "   |           ^^^ must be ≤ 1/L = 0.0032 (L = ‖A‖² ≤ 312.5, from the values of A)\n"
        "   |\n"
        "help: write `step: 1 / lipschitz(grad(f))`, or any number up to 0.0032"
    )


def test_why_and_notes():
    note = (span(1, 1, 2), "it comes from here")
    assert shown("ab\n" * 12, span(12, 2, 3), why="a rule\nof two lines", notes=(note,), fix="mend") == (
        "error[B312] step-too-large: no\n"
        "  --> lasso.yaml:12:2\n"
        "   |\n"
        "12 | ab\n"
        "   |  ^\n"
        "   |\n"
        "   = why: a rule\n"
        "          of two lines\n"
        "note: it comes from here\n"
        "  --> lasso.yaml:1:1\n"
        "   |\n"
        " 1 | ab\n"
        "   | ^\n"
        "help: mend"
    )


def test_without_a_place_or_a_text():
    assert render([Diagnostic(CODE, "no", fix="mend")] * 2, {}) == "\n\n".join(
        ["error[B312] step-too-large: no\nhelp: mend"] * 2
    )
    place_alone = "error[B312] step-too-large: no\n --> lasso.yaml:3:1"
    assert render([Diagnostic(CODE, "no", span(3, 1, 2))], {}) == place_alone


def carets(text, place):
    *_, line, mark = shown(text, place).split("\n")
    return line, mark


def test_tabs_wide_characters_and_places_past_the_end():
    assert carets("\tx: 1", span(1, 2, 3)) == ("1 |     x: 1", "  |     ^")
    assert carets("漢x", span(1, 2, 3)) == ("1 | 漢x", "  |   ^")
    assert carets("x\u0302y", span(1, 3, 4)) == ("1 | x\u0302y", "  |  ^")
    assert carets("", span(1, 1, 1)) == ("1 |", "  | ^")
    assert carets("ab", span(1, 90, 99)) == ("1 | ab", "  |   ^")
    assert carets("ab", span(7, 3, 4)) == ("7 |", "  | ^")
    assert carets("abc\ndef", span(1, 2, 2, end_line=2)) == ("1 | abc", "  |  ^^")


def test_a_long_line_is_cropped_round_the_caret():
    line, mark = carets("a" * 500_000 + "XY" + "b" * 500_000, span(1, 500_001, 500_003))
    assert len(line) <= 4 + 102
    assert [line[i] for i, c in enumerate(mark) if c == "^"] == ["X", "Y"]
    assert line.startswith("1 | …") and line.endswith("…")


def test_nothing_hostile_reaches_the_terminal():
    text = "x: \x1b[31m\x07\u202e!"
    out = shown(
        text, span(1, 10, 11), label="\x1b", why="\x9b", fix="\r\x00", notes=((span(1, 1, 2), "\x1b"),)
    )
    assert r"x: \x1b[31m\x07\u202e!" in out
    assert all(c.isprintable() or c == "\n" for c in out)
    mark = out.split("\n")[4]
    assert out.split("\n")[3][mark.index("^")] == "\\" and mark.count("^") == 6


def test_colour_only_on_demand():
    diagnostic = Diagnostic(CODE, "no", span(21, 11, 14), "here", severity="warning")
    plain = render([diagnostic], {"lasso.yaml": LASSO})
    coloured = render([diagnostic], {"lasso.yaml": LASSO}, colour=True)
    assert "\x1b" not in plain and "\x1b[1;33m" in coloured
    for tint in ("\x1b[1;33m", "\x1b[1;34m", "\x1b[1;36m", "\x1b[0m"):
        coloured = coloured.replace(tint, "")
    assert coloured == plain


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.text(max_size=300),
    st.integers(-1, 9),
    st.integers(-1, 300),
    st.integers(0, 9),
    st.integers(-1, 300),
)
def test_any_span_on_any_text(text, line, column, end_line, end_column):
    place = Span("lasso.yaml", line, column, end_line, end_column)
    out = shown(text, place, label="here", notes=((place, "there"),))
    assert all(c.isprintable() or c in " \n\u3000" or c.isspace() for c in out)
    assert "\x1b" not in out and out.count("^") >= 2
    assert max(map(len, out.split("\n"))) <= 240


def test_did_you_mean():
    names = ["lipschitz", "least_squares", "fista", "l1", "prox", "x", "Norm"]
    assert suggest("lipshitz", names) == "lipschitz"
    assert suggest("fitsa", names) == "fista"
    assert suggest("norm", names) == "Norm"
    assert suggest("l2", names) == "l1"
    assert suggest("gradient", names) is None
    assert suggest("y", names) is None
    assert suggest("X", names) == "x"
    assert suggest("", names) is None
    assert suggest("q" * 10_000, ["p" * 10_000]) is None
