"""Numbers and other constants as they are written: exact, and bounded before they are built."""

import re
from fractions import Fraction

from banach.ir.diagnostic import Code, Diagnostic
from banach.ir.span import Span

LARGEST = 400  # decimal places on either side of the point: beyond every float, and cheap to hold exactly

NUMBER_OUT_OF_RANGE = Code(
    "B116",
    "number-out-of-range",
    """A number may have digits from 1e-400 up to 1e400, and no further.

Numbers are kept exactly, as fractions, so that 0.1 is one tenth. An exponent such as 1e999999999 would
ask for a number with a billion digits; no floating-point type holds it either.

    wrong    tolerance: 1e-5000
    right    tolerance: 1e-12

If the digits are not a number but a text, put them in quotes.""",
)

NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_NUMBER = re.compile(rf"[-+]?{NUMBER}\Z")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


class OutOfRange(ValueError):
    """A number that is written with more digits or a larger exponent than `LARGEST` allows."""


def out_of_range(span: Span) -> Diagnostic:
    """What is said of a number that raised OutOfRange."""
    return Diagnostic(
        NUMBER_OUT_OF_RANGE,
        f"the number's digits go beyond 1e-{LARGEST} or 1e{LARGEST}",
        span,
        fix="write a number that a float can hold, or put it in quotes if it is a text",
    )


def number(text: str) -> int | Fraction:
    """The exact value of a literal: an int without point and exponent, else a Fraction.

    Raises OutOfRange, before any large number is built.
    """
    mantissa, _, exponent = text.lower().partition("e")
    whole, point, decimals = mantissa.lstrip("+-").partition(".")
    if max(len(whole), len(decimals)) > LARGEST or len(exponent.lstrip("+-0")) > 3:
        raise OutOfRange(text)
    power = int(exponent or 0)
    if abs(power) > LARGEST or power - len(decimals) < -LARGEST or power + len(whole) > LARGEST + 1:
        raise OutOfRange(text)
    if not point and not exponent:
        return int(mantissa)
    digits = Fraction(int(whole + decimals or 0)) * Fraction(10) ** (power - len(decimals))
    return -digits if mantissa.startswith("-") else digits


def number_text(value: int | Fraction) -> str:
    """The shortest decimal that `number` reads back as this value and this type.

    A fraction without a finite decimal is written as a quotient in parentheses.
    """
    if isinstance(value, int):
        return str(value)
    sign, value = ("-" if value < 0 else ""), abs(value)
    places = 0
    rest = value.denominator
    while rest % 10 == 0:
        rest, places = rest // 10, places + 1
    for prime in (2, 5):
        while rest % prime == 0:
            rest, places = rest // prime, places + 1
    if rest != 1:
        return f"({sign}{value.numerator} / {value.denominator})"
    digits = str(value.numerator * 10**places // value.denominator)
    if places == 0:
        stripped = digits.rstrip("0")
        zeros = len(digits) - len(stripped)
        return f"{sign}{digits}.0" if zeros < 6 or not stripped else f"{sign}{stripped}e{zeros}"
    if places < len(digits):
        return f"{sign}{digits[:-places]}.{digits[-places:]}"
    if places <= len(digits) + 4:
        return f"{sign}0.{digits.zfill(places)}"
    return f"{sign}{digits}e-{places}"


def constant(text: str) -> str | int | Fraction | bool | None:
    """The value of a plain scalar of YAML 1.2: true, false, null, a decimal number, else the text itself.

    Octal, hexadecimal, `.inf` and `.nan` are texts here, and so are `yes`, `no`, `on` and `off`.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "+-.0123456789" and _NUMBER.match(text):
        return number(text)
    return text
