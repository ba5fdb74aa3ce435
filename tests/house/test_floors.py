"""A file imports only from its own floor and from lower ones, and libraries only where they belong."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("api", "backends", "compiler", "ir", "specs")
IR = {
    0: "pairs span diagnostic shelf dims tensor_type tensor exact elementary array_file whole_file",
    1: "primitive graph hoist quantised widen verify text reader rewrite",
    2: "primitives linearity implicit",
    3: "evaluate reverse forward vectorise simplify derivatives linear_map lens optimiser polynomial spaces"
    " views unroll",
}
COMPILER = {
    4: "room text facts certificate optimisation",
    5: "spec library elaboration optimisations",  # the language is read here, and written in itself
    6: "elaborate inference arithmetic remarks certify storing expectation optimise report",
    7: "pipeline systems telling schema writing editing lsp training arguments speaking pictures",
    8: "commands cli __main__",
}
BACKENDS = {3: "admission", 4: "base report arrays weights", 5: "fx onnx"}
FLOORS = {
    f"banach.{package}.{name}": floor
    for package, table in (("ir", IR), ("compiler", COMPILER), ("backends", BACKENDS))
    for floor, names in table.items()
    for name in names.split()
} | {"banach": 8, "banach.specs": 0}
ROOTS = {"banach.ir", "banach.compiler", "banach.backends"}
# Those that bring a backend in when it is asked for, inside a function; `telling` asks what is installed.
LAZY = {
    "banach.compiler.pipeline",
    "banach.compiler.cli",
    "banach.compiler.commands.running",
    "banach.compiler.commands.reporting",
    "banach.compiler.commands.benchmark",
    "banach.compiler.training",
    "banach.compiler.elaboration.networks",
}
HOMES = {
    "torch": ("banach.backends.fx.",),
    "onnx": ("banach.backends.onnx.",),
    "onnxruntime": ("banach.backends.onnx.", "banach.compiler.telling"),
    "safetensors": ("banach.backends.", "banach.ir.array_file"),
    "PIL": ("banach.backends.arrays", "banach.ir.array_file"),
}


@cache
def files() -> dict[str, Path]:
    """Every module of ours by its installed name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = ("banach", *parts) if package != "api" else ("banach", *parts[1:])
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> tuple[tuple[str, int, bool], ...]:
    """What a module imports: name, line, and whether at the top; those for type checkers alone do not run."""
    return tuple(_imports(ast.parse(files()[module].read_text(encoding="utf-8")).body, True))


def _imports(body: list[ast.stmt], top: bool) -> Iterator[tuple[str, int, bool]]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in files() else str(node.module)), node.lineno, top
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _imports(node.orelse, top)
        else:
            inside = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            for field in ("body", "orelse", "finalbody"):
                yield from _imports(getattr(node, field, []), inside)
            for part in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
                yield from _imports(part.body, inside)


def floor(module: str) -> int:
    parts = module.split(".")
    known = [
        FLOORS[name] for n in range(len(parts), 0, -1) if (name := ".".join(parts[:n])) in FLOORS and n > 1
    ]
    if known:
        return known[0]
    assert module == "banach" or module in ROOTS, f"{module} stands on no floor: add it to the table"
    return 8 if module == "banach" else 0


@pytest.mark.parametrize("module", files())
def test_imports_go_downwards(module):
    upwards = []
    for name, line, top in imports(module):
        ours = name.split(".")[0] == "banach"
        lazy = not top and module in LAZY and name.startswith("banach.backends.")
        if ours and not lazy and floor(name) > floor(module):
            upwards.append(f"{files()[module]}:{line} imports {name}")
        if ours and name.startswith("banach.backends") and module.startswith("banach.compiler"):
            assert lazy, f"{module}:{line} brings in {name} at the top: checking needs no backend"
        if ours and module.startswith("banach.backends"):
            assert not name.startswith("banach.compiler"), f"{module}:{line} a backend knows no compiler"
    assert not upwards


def test_the_walk_sees_every_import():
    """Against the tree's own walk: nothing that is nested in an odd place is passed over."""
    for module, path in files().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines = {n.lineno for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)}
        guarded = {
            n.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            for n in ast.walk(node)
            if isinstance(n, ast.Import | ast.ImportFrom)
        }
        assert lines - guarded == {line for _, line, _ in imports(module)}, module


def test_no_cycle_of_imports():
    graph = networkx.DiGraph()
    graph.add_nodes_from(files())
    # Importing a part runs the package's __init__, but those hold a docstring alone (tested below).
    graph.add_edges_from(
        (m, name) for m in files() for name, _, _ in imports(m) if name in files() and name != m
    )
    assert not [sorted(c) for c in networkx.strongly_connected_components(graph) if len(c) > 1]


@pytest.mark.parametrize("library", HOMES)
def test_a_library_stays_where_it_belongs(library):
    for module in files():
        for name, line, top in imports(module):
            if name.split(".")[0] == library:
                assert module.startswith(HOMES[library]), f"{module}:{line} imports {library}"
                if library not in ("torch", "onnx"):
                    assert not top, (
                        f"{module}:{line} imports {library} at the top, which may not be installed"
                    )


def test_no_module_is_named_like_one_of_the_standard_library():
    taken = sys.stdlib_module_names - {"__main__"}
    assert not [path for path in files().values() if path.stem in taken or path.parent.name in taken]


def test_an_init_is_one_docstring():
    for module, path in files().items():
        if path.name == "__init__.py" and module != "banach":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert len(body) == 1 and ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
