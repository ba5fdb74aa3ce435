"""What tests of whole commands and models share."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
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


@pytest.fixture(scope="session")
def model_file() -> Callable[[str], Path]:
    """The file of a model of the library, by name."""
    return lambda name: MODELS / f"{name}.yaml"


@pytest.fixture(scope="session")
def compiled() -> Callable[[str, str], Any]:
    """(name, backend) -> the artifact of a model of the library, made once."""
    return cache(_compiled)


def _compiled(name: str, to: str) -> Any:
    import banach

    return banach.load(MODELS / f"{name}.yaml").compile(to=to)


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
