"""The golden pages of the diagnostics: a mistake, and what is printed. Run as a script, it prints anew.

A page is named after its code. A fence with a file puts it into an empty folder: `yaml` makes spec.yaml,
`yaml pages/operators/f.yaml` and `csv data.csv` what they name. The word `escaped` stands for a text with
escapes (`\\x07`), and `× 9` for one whose last line comes nine times. A fence `python make.py` is run in the
folder, to make what is no text. A fence `console` holds commands
that run there, one after the other, and what they print. The next file after it begins a new folder.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from banach.compiler.cli import main

FOLDER = Path(__file__).parent
_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Case:
    """Files by name, and the commands that run beside them. `start` and `stop` are its place on the page."""

    files: dict[str, bytes]
    commands: tuple[str, ...]
    printed: str
    start: int
    stop: int


def cases(page: str) -> Iterator[Case]:
    """The cases of a page, in order."""
    files: dict[str, bytes] = {}
    for fence in _FENCE.finditer(page):
        language, words, text = fence[1], fence[2].split(), fence[3]
        if language != "console":
            name = next((word for word in words if "." in word), f"spec.{language}")
            files[name] = _bytes(text, words)
            continue
        commands = tuple(line[2:] for line in text.split("\n") if line.startswith("$ "))
        yield Case(files, commands, text, fence.start(3), fence.end(3))
        files = {}


def _bytes(text: str, words: list[str]) -> bytes:
    if "×" in words:
        *head, last = text.splitlines(keepends=True)
        text = "".join(head) + last * int(words[words.index("×") + 1])
    if "escaped" in words:
        return text.encode("latin-1").decode("unicode_escape").encode("latin-1")
    return text.encode()


def run(case: Case) -> tuple[str, list[int]]:
    """What the commands of a case print, and their exit codes."""
    before, lines, ends = Path.cwd(), [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, content in case.files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        os.chdir(folder)
        try:
            for name in case.files:
                if name.endswith(".py"):
                    exec(compile(case.files[name], name, "exec"), {})
            for command in case.commands:
                said = io.StringIO()
                with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                    ends.append(main(command.split()[1:]))
                lines.append(f"$ {command}\n{said.getvalue()}")
        finally:
            os.chdir(before)
    return "".join(lines), ends


def renewed(page: str) -> str:
    """The page with what is printed now."""
    parts, last = [], 0
    for case in cases(page):
        parts += [page[last : case.start], run(case)[0]]
        last = case.stop
    return "".join([*parts, page[last:]])


if __name__ == "__main__":
    chosen = [path for path in sorted(FOLDER.glob("*.md")) if not sys.argv[1:] or path.stem[:4] in sys.argv]
    for path in chosen:
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
