"""A shelf: every page in a folder, found by walking it. There is no register to keep in step.

Other packages may add pages by entry points; a page that is wrong is refused with the reason.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import getmembers, isabstract
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar


class BadPage(Exception):
    """A page that cannot stand on its shelf; the message says which, and why."""


class Page:
    """Something with a page of its own: the class's name in snake case names it, its docstring explains it.

    Leaves are final. A class whose name starts with an underscore, or that has subclasses, is no leaf.
    """

    name: ClassVar[str] = ""
    headings: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def accept(self) -> None:
        """Tries a page that comes from another package, as it is put on the shelf. BadPage: it is wrong."""


def modules(package: str) -> Iterator[ModuleType]:
    """Every module of a package, in the order of their names."""
    root = importlib.import_module(package)
    for name in sorted(info.name for info in pkgutil.walk_packages(root.__path__, f"{package}.")):
        yield importlib.import_module(name)


_shelves: dict[str, Mapping[str, Any]] = {}


def pages(package: str) -> Mapping[str, Any]:
    """The pages of a shelf by name: those of its folder, then those of other packages.

    Another package adds the pages of a module by an entry point: `banach.ir.primitives` takes those of the
    group `banach.primitives`. Each is tried as it comes. BadPage: a heading is missing, two pages bear one
    name, or a page from outside does not load, or is wrong.
    """
    found = _shelves.get(package)
    return _load(package) if found is None else found


def _load(package: str) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for module in modules(package):
        for leaf in _leaves(module):
            _admit(leaf, found)
    guests = []
    for point in _points(package):
        for leaf in _leaves(_imported(point)):
            _admit(leaf, found)
            guests.append((point, found[leaf.name]))
    _shelves[package] = MappingProxyType(found)  # a page is tried on the shelf that it stands on
    for point, guest in guests:
        try:
            guest.accept()
        except Exception as refusal:
            del _shelves[package]
            where = f"{type(guest).__module__}.{type(guest).__name__}, from the entry point {point.name}"
            raise BadPage(f"{where}: {_why(refusal)}") from refusal
    return _shelves[package]


def _points(package: str) -> Sequence[EntryPoint]:
    """The entry points of a shelf's group, in the order of their names."""
    root, *_, shelf = package.split(".")
    return sorted(entry_points(group=f"{root}.{shelf}"), key=lambda point: (point.name, point.value))


def _imported(point: EntryPoint) -> ModuleType:
    try:
        module = point.load()
    except Exception as refusal:
        raise BadPage(
            f"the entry point {point.name} = {point.value} does not load: {_why(refusal)}"
        ) from refusal
    if not isinstance(module, ModuleType):
        raise BadPage(f"the entry point {point.name} = {point.value} is no module")
    return module


def _why(refusal: Exception) -> str:
    return str(refusal) if isinstance(refusal, BadPage) else f"{type(refusal).__name__}: {refusal}"


def _leaves(module: ModuleType) -> Iterator[type[Page]]:
    for thing in list(vars(module).values()):
        if not (isinstance(thing, type) and issubclass(thing, Page) and thing.__module__ == module.__name__):
            continue
        if not thing.__subclasses__() and not thing.__name__.startswith("_"):
            yield thing


def _admit(leaf: type[Page], found: dict[str, Any]) -> None:
    text = leaf.__doc__ or ""
    for heading in leaf.headings:
        if not re.search(rf"^\s*{heading}\s", text, re.MULTILINE):
            raise BadPage(f"{leaf.__module__}.{leaf.__name__}: its page has no heading `{heading}`")
    if isabstract(leaf):
        missing = [name for name, thing in getmembers(leaf) if getattr(thing, "__isabstractmethod__", False)]
        told = f"its page does not say {', '.join(missing)}"
        raise BadPage(f"{leaf.__module__}.{leaf.__name__}: {told}")
    if leaf.name in found:
        other = type(found[leaf.name])
        raise BadPage(f"two pages are called {leaf.name}: {other.__module__} and {leaf.__module__}")
    found[leaf.name] = leaf()


@cache
def entries(package: str, table: str) -> Mapping[str, Any]:
    """The mappings called `table` in a package's modules, as one. BadPage: two have an entry in common."""
    found: dict[str, Any] = {}
    for module in modules(package):
        part = getattr(module, table)
        if shared := sorted(found.keys() & part.keys()):
            raise BadPage(f"{module.__name__}.{table} says again what {', '.join(shared)} is")
        found.update(part)
    return MappingProxyType(found)
