"""The wheel holds what the compiler reads, and works where there is no source tree."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_wheel_works_by_itself(tmp_path):
    # setuptools builds beside the sources: a copy keeps the tree clean.
    source = tmp_path / "source"
    for name in ("api", "backends", "compiler", "ir", "specs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("banach-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for package, folder in (("", "api"), ("compiler/", "compiler"), ("ir/", "ir"), ("backends/", "backends")):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"banach/{package}{path.relative_to(ROOT / folder).as_posix()}" in held
    for path in (*(ROOT / "specs").rglob("*.yaml"), *(ROOT / "specs").rglob("*.csv")):
        assert f"banach/specs/{path.relative_to(ROOT / 'specs').as_posix()}" in held
    assert "banach/py.typed" in held
    assert not [name for name in held if "/tests/" in name or name.startswith("tests")]

    target = tmp_path / "target"
    subprocess.run([*pip, "install", "--no-deps", "--target", target, wheel], check=True)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    spec = target / "banach" / "specs" / "models" / "lasso.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "banach.compiler", "check", spec],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("x: proved")
    where = "import banach, banach.compiler.library as l; print(banach.__file__, l.ROOT)"
    shown = subprocess.run(
        [sys.executable, "-c", where],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    assert all(path.startswith(str(target)) for path in shown.stdout.split())
