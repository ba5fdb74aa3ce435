"""Formulas: their trees, their places, their mistakes, and Python's own parser as a judge of precedence."""

import ast
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banach.compiler.text.expression import (
    Attribute,
    Binary,
    Call,
    Compare,
    Conditional,
    Hole,
    Index,
    List,
    Name,
    Number,
    Primed,
    Slice,
    Text,
    Tuple,
    Unary,
    names,
    parse,
    parse_signature,
    parse_text,
    primes,
    to_text,
    walk,
)
from banach.compiler.text.source import parse as parse_yaml
from banach.ir.diagnostic import SpecError, render
from banach.ir.span import Span

P = Span("p", 1, 1, 1, 1)


def place(start, end):
    return Span("a.yaml", 1, 4 + start, 1, 4 + end)


def tree(text):
    return parse_text(text, place)


def mistake(text):
    with pytest.raises(SpecError) as caught:
        tree(text)
    (found,) = caught.value.diagnostics
    return found


def shown(text):
    return render([mistake(text)], {"a.yaml": f"y: {text}"})


A, B, C, X = (Name(id, P) for id in "abcx")
ONE = Number(1, P)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x'", Primed("x", P)),
        ("f'(x)", Call(Primed("f", P), (X,), (), P)),
        ("-1", Number(-1, P)),
        ("-1**b", Unary("-", Binary("**", ONE, B, P), P)),
        ("2.50", Number(Fraction(5, 2), P)),
        ("'circular'", Text("circular", P)),
        ("f(')', \"it's\")", Call(Name("f", P), (Text(")", P), Text("it's", P)), (), P)),
        ("a(_, b, x=c)", Call(A, (Hole(P), B), (("x", C),), P)),
        ("a < b <= c", Binary("and", Compare("<", A, B, P), Compare("<=", B, C, P), P)),
        ("x[:, 1]", Index(X, (Slice(None, None, None, P), ONE), P)),
        ("x[a:b:c, ::1]", Index(X, (Slice(A, B, C, P), Slice(None, None, ONE, P)), P)),
        ("x.0.weight", Attribute(Attribute(X, "0", P), "weight", P)),
        ("a(1).b[c].x", Attribute(Index(Attribute(Call(A, (ONE,), (), P), "b", P), (C,), P), "x", P)),
        ("()", Tuple((), P)),
        ("(a,)", Tuple((A,), P)),
        ("(a)", A),
        ("[a, b,]", List((A, B), P)),
        ("a if b else c", Conditional(B, A, C, P)),
        ("∞", Name("inf", P)),
        ("µ + λ", Binary("+", Name("μ", P), Name("λ", P), P)),
        ("a\n  + b", Binary("+", A, B, P)),
    ],
)
def test_trees(text, expected):
    assert tree(text) == expected
    assert tree(to_text(tree(text))) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a - (b - c)", "a - b - c", "a / (b * c)", "a ** b ** c", "(a ** b) ** c", "(-a) ** b", "(-1) ** 2",
        "-a ** 2", "-(a + b)", "-a * b", "not (a and b)", "(not a) == b", "not a == b",
        "(a < b) < c", "a or b and c",
        "(a or b) and c", "a or (b or c)", "(a if b else c) if x else a", "a if b else c if x else a",
        "a if (b if x else c) else a", "(a, b)[0]", "(a + b).w", "(1).w", "('b').w", "(a + b)(c)",
        "f(a, x=b)(c)[1].w", "a ** -b", "-1", "x[a:b, :, ::c]", "x[(a, b)]", "[a, (b,), ()]", "0.1",
        "1.0", "1e-30", "1e30", "-1e-30",
    ],
)  # fmt: skip
def test_parentheses_stand_only_where_they_have_to(text):
    assert to_text(tree(text)) == text


def test_places():
    node = tree("prox(g, t)(y - x')[1:2].w")
    found = [
        (to_text(n), n.span.column - 4, n.span.end_column - 4) for n in walk(node) if not isinstance(n, Slice)
    ]
    assert found == [
        ("prox(g, t)(y - x')[1:2].w", 0, 25), ("prox(g, t)(y - x')[1:2]", 0, 23),
        ("prox(g, t)(y - x')", 0, 18),
        ("prox(g, t)", 0, 10), ("prox", 0, 4), ("g", 5, 6), ("t", 8, 9), ("y - x'", 11, 17), ("y", 11, 12),
        ("x'", 15, 17), ("1", 19, 20), ("2", 21, 22),
    ]  # fmt: skip


def test_places_go_back_to_the_file():
    source = parse_yaml("x: >\n  a +\n  b * c\ny: 'x'' + d'\nz: -0.5\nv: true\n", "s.yaml")
    folded, quoted, number, word = (node for _, node in source.root)
    assert [str(n.span) for n in walk(parse(folded)) if isinstance(n, Name)] == [
        "s.yaml:2:3",
        "s.yaml:3:3",
        "s.yaml:3:7",
    ]
    assert [str(n.span) for n in walk(parse(quoted))] == ["s.yaml:4:5", "s.yaml:4:5", "s.yaml:4:11"]
    assert parse(number) == Number(Fraction(-1, 2), P)
    assert parse(word) == Name("true", P)


@pytest.mark.parametrize(
    ("text", "code"), [("", "B124"), ("~", "B124"), ("[1, 2]", "B120"), ("{a: 1}", "B120")]
)
def test_what_is_no_formula(text, code):
    with pytest.raises(SpecError) as caught:
        parse(parse_yaml(f"x: {text}\n", "s.yaml").root.items[0][1])
    assert caught.value.diagnostics[0].code.id == code


def test_names():
    node = tree("f(y, key=x) + x' * y.weight[k] if x else f.0")
    assert names(node) == ("f", "y", "x", "k") and primes(node) == ("x",)


FIXES = {
    "a^2": ("B123", 1, "write `**`"),
    "x²": ("B123", 1, "write `**2`"),
    "a && b": ("B123", 2, "write `and`"),
    "a || b": ("B123", 2, "write `or`"),
    "!a": ("B123", 0, "write `not`"),
    "a = b": ("B120", 2, "to compare, write `==`"),
    "a ≤ b": ("B123", 2, "write `<=`"),
    "a · b": ("B123", 2, "write `*`"),
    "a − b": ("B123", 2, "write `-`"),
    "a => b": ("B123", 2, "write `>=`"),
    "(a := 3)": ("B123", 3, "write a name of its own for the value"),
    'f"a"': ("B123", 0, "write the text in quotes alone"),
    "a ? b : c": ("B123", 2, "write `a if c else b`"),
    "a == True": ("B123", 5, "write `true`"),
    "2x": ("B120", 1, "write `2 * x`"),
    "1_000": ("B120", 1, "write `1000`: digits are not grouped"),
    "a b": ("B120", 2, "put an operator between, as in `a * b`"),
    "a, b": ("B120", 1, "write a tuple as `(a, b)`"),
    "a + not b": ("B120", 4, "write `(not a)`"),
    "* a": ("B120", 0, "write a value, or delete `*`"),
    "f(*a)": ("B120", 2, "write a value, or delete `*`"),
    "x[]": ("B120", 2, "write a value, or delete `]`"),
    "x. y.": ("B120", 4, "write `x.name`, without a blank"),
    "a +": ("B124", 3, "write a value behind `+`, or delete `+`"),
    "": ("B124", 0, "write a formula, or delete the key"),
    "a if b": ("B124", 6, "write `a if c else b`"),
    "a)": ("B121", 1, "delete it, or open it before"),
    "f(a=1, b)": ("B126", 7, "put it before those by name, or give it a name"),
    "f(a=1, a=2)": ("B126", 7, "give it once"),
    "x''": ("B128", 2, "write the prime once, behind the name of a state"),
    "f(x)'": ("B128", 4, "write the prime once, behind the name of a state"),
    "a + 'b": ("B129", 4, "close it with `'`"),
    "a $ b": ("B122", 2, "delete it"),
    "a ½": ("B122", 2, "delete it"),
    "a * 1e999": ("B116", 4, "write a number that a float can hold, or put it in quotes if it is a text"),
    "a" * 10_001: ("B125", 0, "give its parts names under `where:`"),
    "(" * 10_000: ("B125", 100, "give the parts names under `where:`"),
    "-" * 9_000 + "x": ("B125", 201, "give the parts names under `where:`"),
    "a" + "+a" * 101: ("B125", 0, "give the parts names under `where:`"),
    "f" + "()" * 101: ("B125", 0, "give the parts names under `where:`"),
    "a if b else " * 300 + "c": ("B125", 2405, "give the parts names under `where:`"),
}


@pytest.mark.parametrize("text", FIXES)
def test_each_mistake_has_its_column_and_its_cure(text):
    code, column, fix = FIXES[text]
    found = mistake(text)
    assert found.span
    assert (found.code.id, found.span.column - 4, found.fix) == (code, column, fix)


@pytest.mark.parametrize(
    "text", ["lambda x: x", "[x for x in y]", "x is y", "a in b", "x[..., 1]", "{a}", "a @= b"]
)
def test_what_else_python_has_is_refused(text):
    assert mistake(text).code.id in ("B120", "B123") and mistake(text).fix


def test_an_open_bracket_shows_where_it_opens():
    assert (
        shown("prox(g, t)(y - t * grad(f)(y")
        == """\
error[B121] unbalanced-bracket: `(` is not closed
 --> a.yaml:1:32
  |
1 | y: prox(g, t)(y - t * grad(f)(y
  |                                ^
  |
note: it opens here
 --> a.yaml:1:30
  |
1 | y: prox(g, t)(y - t * grad(f)(y
  |                              ^
help: write `)`"""
    )


def test_a_foreign_operator_as_it_is_shown():
    assert (
        shown("x^2 + 1")
        == """\
error[B123] foreign-syntax: `^` is not of this language
 --> a.yaml:1:5
  |
1 | y: x^2 + 1
  |     ^
  |
help: write `**`"""
    )


def test_depth_up_to_the_limit():
    assert tree("a" + "+a" * 100)
    assert tree("f(" * 100 + "x" + ")" * 100)
    assert tree("a*(" * 100 + "x" + ")" * 100)
    assert to_text(tree("f(" * 100 + "x" + ")" * 100)) == "f(" * 100 + "x" + ")" * 100


def signature(text):
    return parse_signature(parse_yaml(f"{text}: 1", "a.yaml").root.items[0][0])


def test_signatures():
    found = signature("F(z, u)")
    assert (found.word, found.name, found.parameters) == ("", "F", ("z", "u"))
    assert [str(s) for s in found.places] == ["a.yaml:1:3", "a.yaml:1:6"]
    found = signature("solver fista(f, g)")
    assert (found.word, found.name, found.parameters) == ("solver", "fista", ("f", "g"))
    assert signature("x").parameters is None and signature("g()").parameters == ()
    for wrong in (
        "F(z",
        "F(z, 2)",
        "F(z, z)",
        "F(z) u",
        "F(z u)",
        "a b c",
        "(z)",
        "F[z]",
        "F(z, _)",
        "x + 1",
        "f '('",
    ):
        with pytest.raises(SpecError) as caught:
            signature(wrong)
        assert caught.value.diagnostics[0].code.id == "B127", wrong


identifiers = st.sampled_from(
    ["a", "b", "x", "λ", "x_1", "grad", "_y", "x̂", "If", "nota", "e5", "inf", "in_"]
)
numbers = st.builds(
    lambda n, e, whole: n if whole else Fraction(n) * Fraction(10) ** e,
    st.integers(-(10**20), 10**20),
    st.integers(-300, 300),
    st.booleans(),
)
words = st.text("ab() '.,", max_size=5)


def compound(inner):
    def node(kind, *fields):
        return st.builds(lambda *values: kind(*values, P), *fields)

    several = st.lists(inner, max_size=3).map(tuple)
    maybe = st.none() | inner
    items = st.lists(inner | node(Slice, maybe, maybe, maybe), min_size=1, max_size=3).map(tuple)
    keywords = st.dictionaries(identifiers, inner, max_size=2).map(lambda d: tuple(d.items()))
    unsigned = inner.filter(lambda n: not isinstance(n, Number))
    return (
        node(Binary, st.sampled_from(["+", "-", "*", "/", "**", "@", "//", "%", "and", "or"]), inner, inner)
        | node(Compare, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), inner, inner)
        | node(Unary, st.sampled_from(["-", "+"]), unsigned)
        | node(Unary, st.just("not"), inner)
        | node(Call, inner, several, keywords)
        | node(Index, inner, items)
        | node(Attribute, inner, st.sampled_from(["weight", "0", "12", "onnx", "if"]))
        | node(Tuple, several)
        | node(List, several)
        | node(Conditional, inner, inner, inner)
    )


leaves = (
    st.builds(lambda v: Number(v, P), numbers)
    | st.builds(lambda v: Text(v, P), words)
    | st.builds(lambda v: Name(v, P), identifiers)
    | st.builds(lambda v: Primed(v, P), identifiers)
    | st.just(Hole(P))
)
expressions = st.recursive(leaves, compound, max_leaves=12)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(expressions)
def test_what_is_printed_is_read_back(node):
    text = to_text(node)
    again = tree(text)
    assert again == node, text
    assert [type(n.value) for n in walk(again) if isinstance(n, Number)] == [
        type(n.value) for n in walk(node) if isinstance(n, Number)
    ]
    for part in walk(again):
        assert 4 <= part.span.column < part.span.end_column <= 4 + len(text)


operations = st.recursive(
    st.sampled_from([A, B, C, Number(-1, P)]),
    lambda inner: (
        st.builds(
            lambda op, a, b: Binary(op, a, b, P),
            st.sampled_from(["+", "-", "*", "**", "and", "or"]),
            inner,
            inner,
        )
        | st.builds(lambda a, b: Compare("<", a, b, P), inner, inner)
        | st.builds(lambda a, b, c: Conditional(a, b, c, P), inner, inner, inner)
        | st.builds(lambda a: Unary("not", a, P), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(operations)
def test_nested_operations_are_read_back(node):
    assert tree(to_text(node)) == node


def bare(node):
    """Our tree as nested tuples."""
    match node:
        case Number(value):
            return value
        case Name(id):
            return id
        case Unary(op, operand):
            return (op, bare(operand))
        case Binary(op, left, right) | Compare(op, left, right):
            return (op, bare(left), bare(right))
        case Conditional(condition, then, otherwise):
            return ("if", bare(condition), bare(then), bare(otherwise))
        case Call(function, arguments, keywords):
            return ("call", bare(function), *map(bare, arguments), *((k, bare(v)) for k, v in keywords))
        case Index(base, items):
            return ("index", bare(base), *map(bare, items))
        case Slice(start, stop, step):
            return ("slice", start and bare(start), stop and bare(stop), step and bare(step))
        case Attribute(base, name):
            return ("member", bare(base), name)
        case Tuple(items):
            return ("tuple", *map(bare, items))
        case List(items):
            return ("list", *map(bare, items))


OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.MatMult: "@",
    ast.FloorDiv: "//", ast.Mod: "%", ast.USub: "-", ast.UAdd: "+",
    ast.Not: "not", ast.And: "and", ast.Or: "or", ast.Lt: "<", ast.LtE: "<=",
    ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip


def python(node):
    """Python's tree as nested tuples: the judge."""
    match node:
        case ast.Constant(value):
            return value
        case ast.Name(id):
            return id
        case ast.UnaryOp(op, operand):
            # We fold a sign into its literal, and Python does not.
            inner = python(operand)
            if isinstance(inner, int) and not isinstance(op, ast.Not):
                return -inner if isinstance(op, ast.USub) else inner
            return (OPERATORS[type(op)], inner)
        case ast.BinOp(left, op, right):
            return (OPERATORS[type(op)], python(left), python(right))
        case ast.BoolOp(op, values):
            first, *rest = map(python, values)
            for value in rest:
                first = (OPERATORS[type(op)], first, value)
            return first
        case ast.Compare(left, ops, rights):
            ends = [left, *rights]
            links = [(OPERATORS[type(op)], python(a), python(b)) for op, a, b in zip(ops, ends, ends[1:])]
            first, *rest = links
            for link in rest:
                first = ("and", first, link)
            return first
        case ast.IfExp(condition, then, otherwise):
            return ("if", python(condition), python(then), python(otherwise))
        case ast.Call(function, arguments, keywords):
            return (
                "call",
                python(function),
                *map(python, arguments),
                *((k.arg, python(k.value)) for k in keywords),
            )
        case ast.Subscript(base, ast.Tuple(items)):
            return ("index", python(base), *map(python, items))
        case ast.Subscript(base, item):
            return ("index", python(base), python(item))
        case ast.Slice(start, stop, step):
            return ("slice", start and python(start), stop and python(stop), step and python(step))
        case ast.Attribute(base, name):
            return ("member", python(base), name)
        case ast.Tuple(items):
            return ("tuple", *map(python, items))
        case ast.List(items):
            return ("list", *map(python, items))


WORDS = (
    "a", "b", "x", "2", "3", "+", "-", "*", "/", "**", "@", "//", "%", "<", "<=", "==", "!=", "and", "or",
    "not", "if", "else", "(", ")", "[", "]", ",", ":", ".w", "f(",
)  # fmt: skip


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(WORDS), max_size=14), st.booleans())
def test_random_words_are_read_as_python_reads_them(parts, close):
    check(
        " ".join(parts)
        + (")" * max(0, " ".join(parts).count("(") - " ".join(parts).count(")")) if close else "")
    )


operands = st.sampled_from(
    ["a", "b", "2", "(a + b)", "f(a, x=b)", "x[a, 1:b]", "x.w", "(a, b)", "[a]", "(a if b else x)"]
)
SIGNS = ("+", "-", "*", "/", "**", "@", "//", "%", "<", "<=", "==", "!=", "and", "or")
operators = st.sampled_from([*SIGNS, "if b else", "and not", "** -", "* -"])
prefixes = st.sampled_from(["", "", "-", "- -", "not "])


@settings(max_examples=500, deadline=None, derandomize=True)
@given(prefixes, st.lists(st.tuples(operands, operators), max_size=6), operands)
def test_chains_of_operators_are_read_as_python_reads_them(prefix, chain, last):
    assert check(prefix + " ".join(f"{a} {op}" for a, op in chain) + f" {last}") is not None


def check(text):
    """Both parsers agree on the tree, or both refuse; returns it."""
    text = text.strip().replace(" .", ".")
    try:
        expected = python(ast.parse(text, mode="eval").body)
    except SyntaxError:
        expected = None
    try:
        found = tree(text)
    except SpecError:
        found = None
    if expected is None or found is None:
        # Python alone has bare tuples.
        assert (expected is None) == (found is None) or str(expected).startswith("('tuple'"), text
        return None
    assert bare(found) == expected, text
    return found


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.text(max_size=40) | st.text("abx_'\"()[],:=.+-*/<>! 0123e^&|λ∞²\n\t", max_size=40))
def test_no_text_brings_the_parser_down(text):
    try:
        assert tree(to_text(tree(text))) == tree(text)
    except SpecError as error:
        (found,) = error.diagnostics
        assert found.fix and found.span and 4 <= found.span.column <= 4 + len(text)
