"""A shelf: every page in a folder, found by walking it. There is no register to keep in step."""

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
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


def modules(package: str) -> Iterator[ModuleType]:
    """Every module of a package, in the order of their names."""
    root = importlib.import_module(package)
    for name in sorted(info.name for info in pkgutil.walk_packages(root.__path__, f"{package}.")):
        yield importlib.import_module(name)


@cache
def pages(package: str) -> Mapping[str, Any]:
    """The pages of a shelf by name. BadPage: a heading is missing, or two pages bear one name."""
    found: dict[str, Any] = {}
    for module in modules(package):
        for thing in list(vars(module).values()):
            if not (
                isinstance(thing, type) and issubclass(thing, Page) and thing.__module__ == module.__name__
            ):
                continue
            if thing.__subclasses__() or thing.__name__.startswith("_"):
                continue
            _admit(thing, found)
    return MappingProxyType(found)


def _admit(leaf: type[Page], found: dict[str, Any]) -> None:
    text = leaf.__doc__ or ""
    for heading in leaf.headings:
        if not re.search(rf"^\s*{heading}\s", text, re.MULTILINE):
            raise BadPage(f"{leaf.__module__}.{leaf.__name__}: its page has no heading `{heading}`")
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
