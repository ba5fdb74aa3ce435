"""Where each character of a YAML scalar's text stands in the file: folding and escapes undone."""

import re

_BLANK = re.compile(r"[ \t]*+(\n[ \t\n]*+)?")
_ESCAPE = re.compile(r"\\(?:x.{2}|u.{4}|U.{8}|\n[ \t]*|.)", re.DOTALL)


def offsets(raw: str, text: str, style: str) -> list[int]:
    """For each character of `text`, and for its end, the offset in `raw` at which it is written.

    `raw` is the scalar as it stands in the file, quotes and all; `style` is "" for a plain scalar, else the
    first character of its notation: one of ' " | >. Never fails: where the two texts do not match, offsets
    stop growing.
    """
    if style in ("|", ">"):
        found = _block(raw, text)
    elif style == "":
        found = _flow(raw, 0, len(raw), "")
    else:
        found = _flow(raw, 1, len(raw) - 1, style)
    missing = len(text) + 1 - len(found)
    return found[: len(text) + 1] + [found[-1]] * missing


def _flow(raw: str, i: int, end: int, quote: str) -> list[int]:
    found: list[int] = []
    while i < end:
        blank = _BLANK.match(raw, i, end)
        if blank and blank.end() > i:
            # One line break is a blank, n + 1 breaks are n breaks; without a break, blanks are blanks.
            breaks = blank.group().count("\n")
            found += [i] * max(breaks - 1, 1) if breaks else range(i, blank.end())
            i = blank.end()
        elif quote == '"' and raw[i] == "\\":
            escape = _ESCAPE.match(raw, i, end)
            if escape is None:
                return [*found, i]
            i = escape.end()
            if escape.group()[1] != "\n":
                found.append(escape.start())
                continue
            # An escaped break joins two lines with nothing between; each empty line after it is a break.
            blank = _BLANK.match(raw, i, end)
            if blank:
                found += [i] * blank.group().count("\n")
                i = blank.end()
        else:
            found.append(i)
            i += 2 if quote == "'" and raw[i] == "'" else 1
    return [*found, i]


def _block(raw: str, text: str) -> list[int]:
    """Line by line: each line that has content stands in the text as it is, between blanks or breaks."""
    at = raw.find("\n") + 1
    indent = _indent(raw[at:], text)
    found: list[int] = []
    end = at
    for line in raw[at:].split("\n"):
        content = line[indent:]
        if content:
            while len(found) < len(text) and not text.startswith(content, len(found)):
                found.append(end)
            if len(found) == len(text):
                break
            end = at + len(line)
            found += range(at + indent, end)
        at += len(line) + 1
    return [*found, end]


def _indent(body: str, text: str) -> int:
    """The blanks that YAML takes off each line: those before the first word, less those that it reads."""
    written, read = (len(s) - len(s.lstrip(" \n")) for s in (body, text))
    return (written - body.rfind("\n", 0, written)) - (read - text.rfind("\n", 0, read))
