"""The same spec gives the same bytes: in any folder, under any hash seed, in any process."""

import shutil
from hashlib import sha256

import pytest

import banach
from banach.ir.text import digest, print_graph

NAMES = ("lasso", "deblur", "deq")
COMPILE = """
import sys
from hashlib import sha256
from pathlib import Path
import banach
for name in sys.argv[2:]:
    path = Path(sys.argv[1]) / f"{name}.yaml"
    banach.load(path).compile(f"{name}.onnx")
    print(name, sha256(Path(f"{name}.onnx").read_bytes()).hexdigest())
from banach.ir.text import digest, print_graph
for path in sorted(Path(sys.argv[1]).glob("*.yaml")):
    model = banach.load(path)
    graphs = {"graph": model.graph, "optimised": model.optimised().graph}
    try:
        graphs["backward"] = model.backward
    except banach.SpecError as refusal:  # a method that states no equation has no implicit derivative
        assert {told.code.id for told in refusal.diagnostics} == {"B401"}, refusal
    for kind, graph in graphs.items():
        text = sha256(print_graph(graph).encode()).hexdigest()
        print(f"{path.stem}.{kind}", f"{text}.{digest(graph)}")
model = banach.load(Path(sys.argv[1]) / "deq.yaml").reverse(output="z", wrt="x")
model.compile("derivative.onnx")
print("derivative", sha256(Path("derivative.onnx").read_bytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def seeds(process, tmp_path_factory, model_file):
    """What three processes with hash seeds of their own write, from copies of the specs in three folders."""
    found = []
    for seed in ("0", "1", "4711"):
        folder = tmp_path_factory.mktemp(f"seed-{seed}")
        shutil.copytree(model_file("lasso").parent, folder / "specs")
        said = process("-c", COMPILE, folder / "specs", *NAMES, cwd=folder, PYTHONHASHSEED=seed)
        assert said.code == 0, said.err
        found.append(dict(line.split() for line in said.out.splitlines()))
    return found


def test_three_hash_seeds_in_three_folders(seeds):
    models = ("lasso", "deblur", "deq", "too_fast")
    graphs = {f"{name}.{kind}" for name in models for kind in ("graph", "backward", "optimised")}
    assert set(seeds[0]) >= {*NAMES, "derivative", *graphs}
    assert seeds[0] == seeds[1] == seeds[2]


def test_the_texts_are_those_of_this_process(seeds, model_file):
    """Of every model there is, in the folder it lives in: the text, and the hash of it."""
    for path in model_file("lasso").parent.glob("*.yaml"):
        graph = banach.load(path).graph
        text = sha256(print_graph(graph).encode()).hexdigest()
        assert seeds[0][f"{path.stem}.graph"] == f"{text}.{digest(graph)}" and text == digest(graph)


@pytest.mark.parametrize("name", NAMES)
def test_in_this_process_too(name, seeds, model_file, tmp_path):
    """From Python or from the command line, once or twice: one file."""
    for target in (tmp_path / "one.onnx", tmp_path / "two.onnx"):
        banach.load(model_file(name)).compile(target)
        assert sha256(target.read_bytes()).hexdigest() == seeds[0][name]


def test_another_spec_gives_other_bytes(seeds, model_file, tmp_path):
    text = model_file("deq").read_text()
    banach.loads(text.replace("seed: 7", "seed: 70")).compile(tmp_path / "deq.onnx")
    assert sha256((tmp_path / "deq.onnx").read_bytes()).hexdigest() != seeds[0]["deq"]


def test_no_path_travels(compiled, model_file):
    content = compiled("lasso", "onnx").model.SerializeToString()
    assert str(model_file("lasso").parent).encode() not in content
