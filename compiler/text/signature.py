"""What a key defines."""

from dataclasses import dataclass

from banach.compiler.text.source import Scalar
from banach.compiler.text.tokens import Token, tokens
from banach.ir.diagnostic import Code, Diagnostic, SpecError
from banach.ir.span import Span

BAD_SIGNATURE = Code(
    "B127",
    "bad-signature",
    """What is defined has a name, and if it is a map, the names of its arguments in parentheses.

    wrong    F(z, 2): z
    right    F(z, u): z""",
)

LONGEST = 1_000


@dataclass(frozen=True, slots=True)
class Signature:
    """What a key defines: `F(z, u)`, or with a word before it `solver fista(f, g)`.

    `parameters` is None for a name without parentheses; `places` are the parameters' spans.
    """

    word: str
    name: str
    parameters: tuple[str, ...] | None
    span: Span
    places: tuple[Span, ...] = ()


def parse_signature(scalar: Scalar) -> Signature:
    """Read a key as [word] name [(parameters)]. Raises SpecError with one diagnostic."""
    at = scalar.places()
    if len(scalar.text) > LONGEST:
        message = f"a definition of more than {LONGEST:,} characters"
        raise SpecError([Diagnostic(BAD_SIGNATURE, message, at(0, 1), fix="shorten it")])
    words = tokens(scalar.text, at)

    def refuse(token: Token, message: str) -> SpecError:
        fix = "write `name`, or `name(argument, argument)`"
        return SpecError([Diagnostic(BAD_SIGNATURE, message, at(token.start, token.stop), fix=fix)])

    heads = []
    while len(heads) < 2 and words[len(heads)].kind == "name":
        heads.append(words[len(heads)])
    if not heads:
        raise refuse(words[0], "a definition begins with a name")
    word, name = (heads[0].text, heads[1].text) if len(heads) == 2 else ("", heads[0].text)
    rest = words[len(heads) :]
    if rest[0].kind == "end":
        return Signature(word, name, None, scalar.span)
    if rest[0].sign != "(":
        raise refuse(rest[0], f"`{rest[0].text}` cannot stand in the name of a definition")
    found: list[Token] = []
    i = 1
    while rest[i].sign != ")":
        if rest[i].kind != "name" or rest[i].text == "_":
            raise refuse(rest[i], "an argument of a definition is a name")
        if any(rest[i].text == other.text for other in found):
            raise refuse(rest[i], f"the argument `{rest[i].text}` stands twice")
        found.append(rest[i])
        i += 1
        if rest[i].sign == ",":
            i += 1
        elif rest[i].sign != ")":
            raise refuse(rest[i], "the arguments are not closed by `)`")
    if rest[i + 1].kind != "end":
        raise refuse(rest[i + 1], f"`{rest[i + 1].text}` behind the arguments")
    places = tuple(at(token.start, token.stop) for token in found)
    return Signature(word, name, tuple(token.text for token in found), scalar.span, places)
