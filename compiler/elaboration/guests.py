"""Pages of the library from elsewhere: of a folder below the spec's own, and of installed packages.

A spec says `library: pages`; the folder has the form of specs/: pages/functions/f.yaml holds `function f():`.
A package names a module by an entry point of the group `banach.specs`; the pages stand beside that module.
They are found beside the standard ones, and no name may mean two things. Nobody has attacked their facts and
theorems by tests: a verdict that uses one names the page among what it trusts.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from banach.compiler import library
from banach.compiler.elaboration import files
from banach.compiler.elaboration.problem import NAME_CLASH, refuse
from banach.compiler.elaboration.words import spoken
from banach.compiler.elaboration.words.word import CONSTANTS, FUNCTIONS
from banach.compiler.library import BAD_PAGE, FOLDERS, Page
from banach.compiler.text import source
from banach.compiler.text.source import Scalar
from banach.ir.diagnostic import Diagnostic, SpecError
from banach.ir.graph import Graph
from banach.ir.span import Span

GROUP = "banach.specs"
MOST = 1000  # pages of a folder


def pages(said: Scalar | None, folder: Path | None) -> Mapping[str, Page]:
    """The pages of installed packages, and those of the folder that a spec names. SpecError: one is wrong."""
    shelf = dict(installed())
    if said is None:
        return shelf
    root = files.inside(said.text, folder, said.span, "folder")
    if folder is not None and root == folder.resolve():
        fix = "put the pages into a folder of their own, and write `library: pages`"
        raise refuse(files.BAD_FILE, "the library is a folder below the spec's own", said.span, fix=fix)
    return _shelved(root, said.text.strip("/"), shelf, within=root)


def beside(folder: Path) -> Mapping[str, Page]:
    """The pages of a folder, and of installed packages. SpecError: one is wrong, or it is no folder."""
    if not folder.is_dir():
        fix = "name the folder that has `operators/`, `functions/`, `solvers/` or `schedules/`"
        raise SpecError([Diagnostic(BAD_PAGE, f"there is no folder `{folder}`", fix=fix)])
    return _shelved(folder, folder.name, installed(), within=folder)


@cache
def installed() -> Mapping[str, Page]:
    """The pages of installed packages. SpecError: one is wrong, or a package does not load."""
    shelf: Mapping[str, Page] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        try:
            root = Path(str(point.load().__file__)).parent
        except Exception as wrong:  # whatever a package of others does
            message = f"the entry point {point.name} = {point.value} gives no pages: {wrong}"
            fix = "mend the package, or uninstall it"
            raise SpecError([Diagnostic(BAD_PAGE, message, fix=fix)]) from None
        shelf = _shelved(root, point.value, shelf, within=root)
    return shelf


def trusted(relied: Iterable[str], page: Page | None, graph: Graph) -> tuple[str, ...]:
    """What a verdict by a page on a graph trusts: that, the page, and primitives of other packages."""
    own = [page.trusted] if page is not None and page.trusted else []
    return tuple(dict.fromkeys((*relied, *own, *_primitives(graph))))


def _primitives(graph: Graph) -> Iterator[str]:
    for op in graph.ops:
        if text := spoken.trusted(op.name):
            yield text
        for region in op.regions:
            yield from _primitives(region)


def _shelved(root: Path, label: str, before: Mapping[str, Page], within: Path) -> Mapping[str, Page]:
    """The shelf with the pages of a folder, which may use each other and those that were there."""
    shelf = dict(before)
    mistakes: list[Diagnostic] = []
    texts: dict[str, str] = {}
    for kind, path, name in _listed(root, label):
        try:
            if not path.resolve().is_relative_to(within.resolve()):
                fix = "put the page itself there, not a link"
                raise refuse(BAD_PAGE, f"{name} lies outside its folder", Span(name, 1, 1, 1, 1), fix=fix)
            texts[name] = source.read_text(path)
            page = library.read_page(texts[name], name, kind, path.stem, shelf)
        except SpecError as wrong:
            mistakes += wrong.diagnostics
            continue
        clash = _clash(page, shelf)
        if clash is None:
            shelf[page.name] = page
        else:
            mistakes.append(clash)
    if mistakes:
        raise SpecError(mistakes, texts)
    return shelf


def _listed(root: Path, label: str) -> Iterator[tuple[str, Path, str]]:
    """Kind, path and name of every page. SpecError: one is in no folder of a kind, or they are too many."""
    kinds = {folder: kind for kind, folder in FOLDERS.items()}
    found = sorted(root.glob("*/*.yaml"))
    stray = [path for path in (*sorted(root.glob("*.yaml")), *found) if path.parent.name not in kinds]
    for path in stray[:1]:
        name = f"{label}/{path.relative_to(root).as_posix()}"
        fix = f"put it into one of the folders {', '.join(kinds)}"
        raise refuse(BAD_PAGE, f"{name} stands in no folder of a kind", Span(name, 1, 1, 1, 1), fix=fix)
    if len(found) > MOST:
        fix = "put them into several folders"
        raise SpecError([Diagnostic(BAD_PAGE, f"{label} holds more than {MOST} pages", fix=fix)])
    for path in found:
        yield kinds[path.parent.name], path, f"{label}/{path.parent.name}/{path.name}"


def _clash(page: Page, shelf: Mapping[str, Page]) -> Diagnostic | None:
    """The mistake that the page's name means something already."""
    name, other = page.name, shelf.get(page.name) or library.find(page.name)
    known = name in FUNCTIONS or name in CONSTANTS or name in spoken.spoken()
    if other is None and not known:
        return None
    notes = ((other.place, "this page bears it too"),) if other else ()
    message = f"`{name}` is " + ("the name of another page" if other else "a word of the language")
    return Diagnostic(NAME_CLASH, message, page.place, fix="rename the page, and its file", notes=notes)
