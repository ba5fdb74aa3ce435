"""Formulas that YAML cuts in two, and the line to type instead."""

import re

_SHAPE = re.compile(r"[()\[\]{},\n\"]|:(?=\s)")
_LONGEST = 2000


def unbalanced(text: str) -> bool:
    """Whether the parentheses of a piece of text do not close each other."""
    return text.count("(") != text.count(")")


def extent(text: str, start: int) -> int:
    """The end of the formula that starts at `start`: a comma, closing bracket, `: ` or line end outside its
    own brackets."""
    depth, quoted = 0, False
    for match in _SHAPE.finditer(text, start, min(len(text), start + _LONGEST)):
        sign = match.group()
        if sign == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif sign in "([{":
            depth += 1
        elif depth == 0 and sign != ")":
            return start + len(text[start : match.start()].rstrip())
        elif sign in ")]}":
            depth = max(depth - 1, 0)
    return start + len(text[start : start + _LONGEST].rstrip())


def quote(text: str) -> str:
    """The text as a quoted scalar of YAML, in double quotes where these need no escape."""
    flat = " ".join(text.split())
    if '"' in flat or "\\" in flat:
        return "'" + flat.replace("'", "''") + "'"
    return f'"{flat}"'


def quoted_line(text: str, *stretches: tuple[int, int]) -> str:
    """The line(s) of `text` around the stretches, each of these in quotes: what a person is told to type."""
    at = text.rfind("\n", 0, stretches[0][0]) + 1
    end = text.find("\n", stretches[-1][1])
    line = ""
    for start, stop in stretches:
        line += text[at:start] + quote(text[start:stop])
        at = stop
    line = (line + text[at : end if end >= 0 else len(text)]).strip()
    return line if len(line) <= 200 else quote(text[slice(*stretches[0])])
