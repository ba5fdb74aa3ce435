"""Commands and Python of the README and the tutorial run as they stand, in the order of the page."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```(yaml|console|python)\n(.*?)```", re.DOTALL)
ENDS = {"check too_fast.yaml": 3}  # how a command ends, where that is not well


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, banach_command):
    monkeypatch.chdir(tmp_path)
    for path in (ROOT / "specs" / "models").iterdir():
        shutil.copy(path, tmp_path)
    source = np.random.default_rng(0)
    np.save("signal.npy", source.standard_normal(64).astype(np.float32))
    known = {"digits": source.standard_normal((2, 64)).astype(np.float32)}
    ran = 0
    for kind, text in BLOCK.findall((ROOT / page).read_text("utf-8")):
        name = re.search(r"^name: (\w+)$", text, re.MULTILINE)
        if kind == "yaml" and name:
            Path(f"{name[1]}.yaml").write_text(text, "utf-8")
        if kind == "python":
            exec(compile(text, page, "exec"), known)
            ran += 1
        for command in re.findall(r"^\$ banach (.*)$", text, re.MULTILINE) if kind == "console" else ():
            said = banach_command(*command.split())
            assert said.code == ENDS.get(command, 0), f"{command}: {said.out}{said.err}"
            ran += 1
    assert ran >= 4
