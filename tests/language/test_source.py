"""YAML into nodes with places; and what a wrong text gets."""

import os
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banach.compiler.text import grammar, literal, refusals, signature, tokens
from banach.compiler.text.source import Mapping, Scalar, Sequence, Source, parse, read, to_python
from banach.ir.diagnostic import Code, SpecError, render

LASSO = """\
banach: 1
name: lasso
doc: Sparse linear regression, min ½‖Ax − b‖² + λ‖x‖₁, by FISTA.
sizes: {m: 442, n: 10}
inputs:
  A: real[m, n]
operators:
  F(z, u): tanh(W @ z + U @ u + c)
  f: least_squares(A, b)   # a comment
solve:
  x:
    method: fista(f, g)
    stop: {residual: norm(x' - x) <= 1e-6 * norm(x), most: 500}
    note: >
      folded
      text
"""


def mistakes(text):
    with pytest.raises(SpecError) as caught:
        parse(text, "a.yaml")
    return caught.value.diagnostics


def shown(text):
    return render(mistakes(text), {"a.yaml": text})


def codes(text):
    return [d.code.id for d in mistakes(text)]


def value(text):
    return to_python(parse(f"x: {text}\n", "a.yaml").root)["x"]


def test_a_spec():
    source = parse(LASSO, "lasso.yaml")
    root = source.root
    assert source.name == "lasso.yaml" and source.text == LASSO
    assert root.keys() == ("banach", "name", "doc", "sizes", "inputs", "operators", "solve")
    sizes, operators = root.get("sizes"), root.get("operators")
    assert sizes and to_python(sizes) == {"m": 442, "n": 10}
    assert isinstance(operators, Mapping) and operators.keys() == ("F(z, u)", "f")
    assert str(operators.items[1][1].span) == "lasso.yaml:9:6"
    assert leaf(operators.items[1][1]).text == "least_squares(A, b)"
    assert root.get("nothing") is None
    assert [key.text for key, _ in root] == list(root.keys())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None), ("0.1", Fraction(1, 10)),
        ("1e-3", Fraction(1, 1000)), ("-2.5E+2", Fraction(-250)), (".5", Fraction(1, 2)), ("5.", Fraction(5)),
        ("-7", -7), ("+7", 7), ("007", 7), ("no", "no"), ("on", "on"), ("yes", "yes"), ("True", "True"),
        ("0x10", "0x10"), ("1_000", "1_000"), (".inf", ".inf"), ("'1'", "1"), ('"true"', "true"), 
        ("1:30", "1:30"), ("2001-01-01", "2001-01-01"), ("1.5.2", "1.5.2"), (".", "."), ("-x", "-x"),
        ("[1, a, 0.5]", [1, "a", Fraction(1, 2)]), ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)  # fmt: skip
def test_constants_are_those_of_yaml_1_2(text, expected):
    found = value(text)
    assert found == expected and type(found) is type(expected)


def test_the_loader_in_python_reads_the_same(monkeypatch):
    fast = parse(LASSO, "a.yaml").root
    monkeypatch.delattr("yaml.CLoader")
    assert parse(LASSO, "a.yaml").root == fast
    for text, expected in MISTAKES.values():
        assert shown(text) == expected
    assert codes("[" * 1000) == ["B110"]


def test_each_code_has_a_page_of_its_own():
    found = [
        v
        for m in (literal, refusals, tokens, grammar, signature)
        for v in vars(m).values()
        if isinstance(v, Code)
    ]
    assert len({code.id for code in found}) == len({code.name for code in found}) == len(set(found)) > 20
    for code in found:
        assert "    wrong    " in code.page and "    right    " in code.page, code


def test_a_byte_order_mark_and_other_line_ends():
    source = parse("\ufeffa: 1\r\nb: 2\rc: 3", "a.yaml")
    assert to_python(source.root) == {"a": 1, "b": 2, "c": 3}
    assert str(source.root.items[2][0].span) == "a.yaml:3:1"


MISTAKES = {
    "a formula cut by a comma": (
        "next: {x: prox(g, t)(y), s: 1}\n",
        """\
error[B115] formula-cut: YAML has cut this formula in two
 --> a.yaml:1:11
  |
1 | next: {x: prox(g, t)(y), s: 1}
  |           ^^^^^^^^^^^^^ one formula
  |
  = why: inside {...} and [...] YAML ends an item at every comma and bracket
help: write `next: {x: "prox(g, t)(y)", s: 1}`, or use block style""",
    ),
    "a formula cut by a bracket": (
        "W: {type: real[h, h], seed: 7}\n",
        """\
error[B115] formula-cut: YAML has cut this formula in two
 --> a.yaml:1:11
  |
1 | W: {type: real[h, h], seed: 7}
  |           ^^^^^^^^^^ one formula
  |
  = why: inside {...} and [...] YAML ends an item at every comma and bracket
help: write `W: {type: "real[h, h]", seed: 7}`, or use block style""",
    ),
    "a formula that begins with a bracket": (
        "x: [a, b] @ W\n",
        """\
error[B105] yaml-syntax: this value has to be in quotes
 --> a.yaml:1:11
  |
1 | x: [a, b] @ W
  |           ^
  |
  = why: YAML ends the value before this
help: write `x: "[a, b] @ W"`""",
    ),
    "a colon in a value": (
        "x: a: b\n",
        """\
error[B105] yaml-syntax: this value has to be in quotes
 --> a.yaml:1:5
  |
1 | x: a: b
  |     ^
  |
  = why: YAML takes `: ` for the end of a key
help: write `x: "a: b"`""",
    ),
    "a formula cut by a comment": (
        "x: f(a, # b)\n",
        """\
error[B115] formula-cut: YAML has cut this formula in two
 --> a.yaml:1:4
  |
1 | x: f(a, # b)
  |    ^^^^ a bracket is open here
  |
  = why: ` #` begins a comment, unless it stands in quotes
help: write `x: "f(a, # b)"`, or close the bracket before the comment""",
    ),
    "a tab": (
        "solve:\n\tx: 1\n",
        """\
error[B106] tab-indentation: a tab stands in the indentation
 --> a.yaml:2:1
  |
2 |     x: 1
  | ^^^^
  |
help: indent with spaces""",
    ),
    "a key twice": (
        "step: 1\nmost: 2\nstep: 3\n",
        """\
error[B111] duplicate-key: the key `step` stands twice
 --> a.yaml:3:1
  |
3 | step: 3
  | ^^^^
  |
note: it stands here first
 --> a.yaml:1:1
  |
1 | step: 1
  | ^^^^
help: delete one of the two""",
    ),
    "an alias": (
        "x: *y\n",
        """\
error[B107] alias: `*y` is an alias of YAML, which the language does not have
 --> a.yaml:1:4
  |
1 | x: *y
  |    ^^
  |
help: name the value where it stands and write `y`""",
    ),
    "a tag": (
        "x: !!python/object:os.system 1\n",
        """\
error[B108] tag: `!!python/object:os.system` is a tag of YAML, which the language does not have
 --> a.yaml:1:4
  |
1 | x: !!python/object:os.system 1
  |    ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
help: delete the tag; put a text in quotes""",
    ),
    "nothing": (
        "",
        """\
error[B112] not-a-mapping: the spec is empty
 --> a.yaml:1:1
  |
1 |
  | ^
  |
help: begin with `banach: 1`""",
    ),
    "a control character": (
        "x: \x1b[2J\n",
        """\
error[B104] control-character: the character U+001B cannot be seen
 --> a.yaml:1:4
  |
1 | x: \\x1b[2J
  |    ^^^^
  |
help: delete it""",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_a_mistake_gets(name):
    text, expected = MISTAKES[name]
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# only a comment", ["B112"]),
        ("- a\n- b", ["B112"]),
        ("one word", ["B112"]),
        ("a: 1\n---\nb: 2", ["B109"]),
        (
            "x: &a 1\ny: *a\n1: 2\n<<: 3\n? [q]\n: 3\nx: !t 4\nz: 1e9999999",
            "B107 B107 B114 B114 B114 B108 B111 B116",
        ),
        ("true: 1\n~: 2\n0.5: 3", ["B114"] * 3),
        ('"1": 1\n1: 2', ["B114"]),
        ("{1: 2}", ["B114"]),
        ("[" * 200_000, ["B110"]),
        ("x: " + "- " * 100, ["B105"]),
        ("- " * 100, ["B110"]),
        ("a: 'foo\nb: c", ["B105"]),
        ("a: {b: 1", ["B105"]),
        ("a: {b: 1e500, b: 2, c: [", ["B116", "B111", "B105"]),
        ("a:\n  b: 1\n c: 2", ["B105"]),
        ("a: @b", ["B105"]),
        ("x: a\u2028b", ["B104"]),
        ("x: \ud800", ["B104"]),
        ("x: 1\x00", ["B104"]),
        ("a" * 1_000_001, ["B102"]),
        ("a: " + "1" * 5000, ["B116"]),
        ("a: [f(a, b), g(a, b, 1), c]\nb: {F(z, u): 1, G(a, 1, 1): 2}", ["B115"] * 4),
    ],
)  # fmt: skip
def test_which_mistakes_are_found(text, expected):
    expected = expected.split() if isinstance(expected, str) else expected
    assert sorted(codes(text)) == sorted(expected)


def test_all_cut_formulas_of_a_line_are_quoted_in_the_line_to_type():
    first, second = mistakes("a: {F(z, u): 1, g: h(a, b)}")
    assert first.fix == second.fix
    line = first.fix.split("`")[1]
    assert to_python(parse(line, "b.yaml").root) == {"a": {"F(z, u)": 1, "g": "h(a, b)"}}


@pytest.mark.parametrize(
    "text", ["x: {a: f(b, c), d: 2}", "x: [f(b, c), 2]", "x: {a: r[m, n]}", "x: [a] @ b", "x: a: b"]
)
def test_the_line_to_type_is_read(text):
    (mistake,) = mistakes(text)
    parse(mistake.fix.split("`")[1], "b.yaml")


def test_files(tmp_path):
    def refused(path):
        with pytest.raises(SpecError) as caught:
            read(path)
        return caught.value.diagnostics[0].code.id

    good = tmp_path / "good.yaml"
    good.write_text(LASSO, encoding="utf-8")
    assert read(good) == parse(LASSO, str(good))
    assert refused(tmp_path) == "B101"
    assert refused(tmp_path / "missing.yaml") == "B101"
    assert refused("a\x00b") == "B101"
    assert refused("/dev/zero") == "B101"
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == "B101"
    (tmp_path / "big").write_bytes(b"a" * 1_000_001)
    assert refused(tmp_path / "big") == "B102"
    (tmp_path / "latin").write_bytes("a: é".encode("latin1"))
    assert refused(tmp_path / "latin") == "B103"
    (tmp_path / "wide").write_bytes("a: é".encode("utf-16"))
    assert refused(tmp_path / "wide") == "B103"


def pieces(text, scalar, source):
    """The characters of the file at which the characters of `text` are said to stand."""
    lines = source.text.split("\n")
    spans = [scalar.at(i, i + 1) for i in range(len(text))]
    return [lines[s.line - 1][s.column - 1 : s.column] for s in spans]


STYLES = {
    "plain": "x: a + b\n",
    "plain of two lines": "x: a +\n   b\n\n   * c\n",
    "single": "x: 'a''b + c'\n",
    "single of two lines": "x: 'a  \n\n\n  b'\n",
    "double": 'x: "a + λ"\n',
    "double of two lines": 'x: "a\n  b\n\n  c \n  d"\n',
    "literal": "x: |\n  a\n\n    b\n  c\ny: 1\n",
    "literal with header": "x: |2- # why\n    a\n   b\n\n",
    "literal kept": "x: |+\n  a\n\n\n# end\n",
    "folded": "x: >\n  a\n  b\n\n  c\n    d\n    e\n  f\n",
    "folded, empty lines first": "x: >-\n\n\n  a\n\n\n  b\n# end\n",
    "in a list": "x:\n- y:\n  - >\n   a\n   b\n",
}


def leaf(node):
    while not isinstance(node, Scalar):
        node = node.items[0] if isinstance(node, Sequence) else node.items[0][1]
    return node


@pytest.mark.parametrize("name", STYLES)
def test_characters_have_their_places(name):
    source = parse(STYLES[name], "a.yaml")
    scalar = leaf(source.root)
    for c, found in zip(scalar.text, pieces(scalar.text, scalar, source)):
        assert found == c if c not in " \n" else found in (" ", "", "'"), (c, found)


def test_escapes_have_their_places():
    source = parse('x: "a\\x41\\u03bb \\\n    b\\tc\\\n\n   d"\n', "a.yaml")
    scalar = leaf(source.root)
    assert scalar.text == "aAλ b\tc\nd"
    assert pieces(scalar.text, scalar, source) == ["a", "\\", "\\", " ", "b", "\\", "c", "", "d"]
    assert scalar.at(1, 2).end_column == scalar.at(1, 2).column + 4
    assert scalar.at(8, 9).line == 4
    quoted = leaf(parse("x: 'it''s x'", "a.yaml").root)
    assert str(quoted.at(3, 4)) == "a.yaml:1:9"


@st.composite
def block_scalars(draw):
    lines = draw(
        st.lists(st.sampled_from(["", "a b", "  c", "d  ", "e#", " f: g", "   "]), min_size=1, max_size=8)
    )
    header = draw(st.sampled_from(["|", ">", "|-", ">-", "|+", ">+", "|2", ">2"]))
    return f"x: {header}\n" + "".join(f"  {line}\n" if line else "\n" for line in lines) + "y: 1\n"


def printed(text, scalar, source):
    for c, found in zip(text, pieces(text, scalar, source)):
        assert found == c or c in " \n", (text, source.text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(block_scalars())
def test_places_in_block_scalars(text):
    try:
        source = parse(text, "a.yaml")
    except SpecError:
        return
    scalar = leaf(source.root)
    printed(scalar.text, scalar, source)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.sampled_from("'\""),
    st.lists(
        st.sampled_from(["a", "b ", " c", "\n", "\n  ", "''", "\\n", "\\x41", "\\\n", "\\\\", "λ", "\t"]),
        max_size=12,
    ),
)
def test_places_in_quoted_scalars(quote, parts):
    parts = [p for p in parts if (p[0] == "\\") <= (quote == '"') and (p == "''") <= (quote == "'")]
    text = "x: " + quote + "".join(p + " " if p.startswith("\n") else p for p in parts) + quote
    try:
        source = parse(text, "a.yaml")
    except SpecError:
        return
    scalar = leaf(source.root)
    lines = source.text.split("\n")
    for i, c in enumerate(scalar.text):
        s = scalar.at(i, i + 1)
        found = lines[s.line - 1][s.column - 1 : s.column]
        assert found == c or found == "\\" or c in " \n" or (c, found) == ("A", "\\"), (text, c, found)


def survives(text):
    try:
        assert isinstance(parse(text, "a.yaml"), Source)
    except SpecError as error:
        assert error.diagnostics
        out = render(error.diagnostics, {"a.yaml": text})
        assert all(c == "\n" or c.isprintable() or c.isspace() for c in out) and "\x1b" not in out
        for d in error.diagnostics:
            assert d.fix and d.code.id.startswith("B1")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=60) | st.text("{}[](),:'\"|>-?&*!#%@` \n\tab1<=", max_size=60))
def test_no_text_brings_the_reader_down(text):
    survives(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(LASSO)), st.integers(0, 6), st.text("{}[](),:'\"|>-?&*!#%@ \n\tx1", max_size=3)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_mutation_of_a_spec_brings_the_reader_down(edits):
    text = LASSO
    for at, cut, new in edits:
        text = text[:at] + new + text[at + cut :]
    survives(text)


LONG = 400_000


@pytest.mark.parametrize(
    "text",
    [
        "a: [\n" + " " * LONG + "@", "a: 'x" + " " * LONG + "y'", 'a: "' + " \\\n" * (LONG // 3) + '"',
        "a: x" + " " * LONG + "y: z", "a: {x: " + "f(\n" * (LONG // 3), "a: >\n" + " x\n\n" * (LONG // 4),
        "a: |\n" + "\n" * LONG + " x\n", "a: " + "(" * LONG, "- " * (LONG // 2), "? " * (LONG // 2),
        "a: 'x\n" + "\n" * LONG + "'",
        "a:\n" + "  b: 1\n" * (LONG // 7), "a: [" + "f(a, b), " * (LONG // 10) + "]",
        "a: x #" + " #" * (LONG // 2),
    ],
)  # fmt: skip
def test_no_text_takes_long(text):
    started = time.perf_counter()
    try:
        leaf(parse(text, "a.yaml").root).places()(0, 1)
    except SpecError as error:
        render(error.diagnostics, {"a.yaml": text})
    assert time.perf_counter() - started < 60  # a quadratic reader takes hours
