"""What commands share: a spec that is read, what is said of it, and where."""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from banach.compiler.pipeline import Model, read_weights
from banach.ir.diagnostic import render


def load(path: str, texts: dict[str, str], weights: str | None = None) -> Model:
    """A spec, whose text is kept for what is said of it. SpecError: its mistakes."""
    from banach.compiler.text import source

    texts[path] = source.read_text(path)
    return Model(texts[path], path, Path(path).parent, read_weights(weights))


def refused(model: Model, texts: dict[str, str]) -> int:
    """Says what stands against the model; anything but FINE ends the command."""
    report = model.check()
    say(render(report.diagnostics, texts, coloured()))
    return report.exit_code()


def passes(options: Any) -> Any:
    """The passes that a command line asks for."""
    from banach.compiler.optimisation import Options

    return Options(**{name: getattr(options, name) for name in Options.__dataclass_fields__})


def say(text: str) -> None:
    """On standard error."""
    if text:
        print(text, file=sys.stderr)


def document(value: Any) -> None:
    """One JSON document, on standard output."""
    print(json.dumps(finite(value), ensure_ascii=False, indent=1, allow_nan=False))


def finite(value: Any) -> Any:
    """The value with null for what JSON has no word for: NaN and the infinities."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def coloured() -> bool:
    """Whether diagnostics are coloured: on a terminal, and where nobody objects."""
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ


def size(path: Path) -> str:
    """How many bytes a file has, in brackets."""
    return f" ({path.stat().st_size:,} bytes)" if path.is_file() else ""
