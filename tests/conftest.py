"""What tests of whole commands and models share."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "specs" / "models"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write down which claims of specs/systems hold")


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def model_data() -> ModuleType:
    """docs/data.py: the data of the models of the library."""
    return script("data")


@pytest.fixture(scope="session")
def model_folder(model_data: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of the library, with the data that they name beside them."""
    folder = tmp_path_factory.mktemp("models") / "models"
    shutil.copytree(MODELS, folder)
    model_data.main(folder)
    return folder


@pytest.fixture(scope="session")
def model_file(model_folder: Path) -> Callable[[str], Path]:
    """The file of a model of the library, by name, with its data beside it."""
    return lambda name: model_folder / f"{name}.yaml"


@pytest.fixture(scope="session")
def compiled(model_file: Callable[[str], Path]) -> Callable[[str, str], Any]:
    """(name, backend) -> the artifact of a model of the library, made once."""
    import banach

    return cache(lambda name, to: banach.load(model_file(name)).compile(to=to))


@pytest.fixture
def banach_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs a command in this process: words -> Said."""
    from banach.compiler.cli import main

    def run(*words: object) -> Said:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = int(end.code or 0)
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def process() -> Callable[..., Said]:
    """Runs Python in a process of its own, with our package: words -> Said."""

    def run(*words: object, cwd: Path | None = None, **environment: str) -> Said:
        import banach

        where = str(Path(str(banach.__file__)).parent.parent)
        env = {**os.environ, "PYTHONPATH": where, **environment}
        done = subprocess.run(
            [sys.executable, *map(str, words)], capture_output=True, text=True, env=env, cwd=cwd, timeout=120
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a spec into a folder of its own: text -> path."""

    def make(text: str | bytes, name: str = "model.yaml") -> Path:
        folder = tmp_path / "spec"
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make
