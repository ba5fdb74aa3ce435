"""The documentation as a site: `make docs` writes docs-output/site.

    python docs/site.py FOLDER     writes the sources: the pages of docs/, and the reference from the shelves

The reference says of every page of the library, every word, theorem, system and diagnostic what
`banach explain` says of it.
"""

import re
import shutil
import sys
from pathlib import Path

from banach.compiler import telling

sys.path.insert(0, str(Path(__file__).resolve().parent))
import gallery

DOCS = Path(__file__).resolve().parent
WRITTEN = ("tutorial.md", "language.md", "architecture.md")
INTRODUCTIONS = {
    "operators": "Maps as pages in the language. Each fact below is attacked by the tests.",
    "functions": "Real-valued functions: value, gradient or proximal map, and what is known of them.",
    "solvers": "Methods, with the theorems that a verdict names.",
    "schedules": "Formulas over the iteration count k, with what theorems ask of them.",
    "stops": "Rules to stop by.",
    "systems": "Published systems as specs, each with a claim that an independent program confirms.",
    "theorems": "Everything that a verdict may rest on, with its hypotheses and its source.",
    "words": "The words of formulas.",
    "diagnostics": "Every kind of message. `banach explain B201` shows the same page.",
}


def main(folder: Path) -> None:
    """Writes the sources of the site, in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in sources().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def sources() -> dict[str, str]:
    """Every page of the site by its path."""
    found = {name: (DOCS / name).read_text("utf-8") for name in WRITTEN}
    readme = (DOCS.parent / "README.md").read_text("utf-8")
    found["index.md"] = readme
    decisions = sorted((DOCS / "decisions").glob("*.md"))
    found |= {f"decisions/{path.name}": path.read_text("utf-8") for path in decisions}
    titles = [(path.name, path.read_text("utf-8").split("\n", 1)[0].removeprefix("# ")) for path in decisions]
    found["decisions/index.md"] = "# Decisions\n\n" + "".join(
        f"- [{told}]({name})\n" for name, told in titles
    )
    found |= {f"reference/{kind}.md": reference(kind) for kind in telling.KINDS}
    found["models/index.md"] = gallery.index()  # gallery.py writes the pages beside it
    return found


def reference(kind: str) -> str:
    """All pages of one kind, each under its name."""
    listed = telling.listing(kind)[kind]
    parts = [f"# {kind.capitalize()}\n\n{INTRODUCTIONS[kind]}\n"]
    for entry, _ in listed:
        name = re.split(r"[(\s]", entry, maxsplit=1)[0]
        title = f"{entry} {telling.explain(name).split(None, 2)[1]}" if kind == "diagnostics" else entry
        parts.append(f"## {title}\n\n```text\n{telling.explain(name)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
