"""`banach verify`: what is planted in a file is found, and what cannot be found is listed as trusted."""

import json
from hashlib import sha256

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

import banach
from banach.backends.onnx.sameness import structure
from banach.backends.onnx.verifier import verify

KEY = "banach.certificate"


def digest(array):
    """As the seal does; written out again here, so that a change of its form is noticed."""
    return sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()


class Forger:
    """A compiled model, to be tampered with. `reseal` makes the fingerprint that of the changed file."""

    def __init__(self, model):
        self.model = ModelProto.FromString(model.SerializeToString())
        self.document = json.loads(next(p.value for p in self.model.metadata_props if p.key == KEY))

    @property
    def certificate(self):
        return self.document["certificates"][0]

    def weight(self, name):
        return next(tensor for tensor in self.model.graph.initializer if tensor.name == name)

    def named(self):
        """The weights that the facts speak of, by name: A, row or W, and their transposes."""
        digests = {fact["tensor"] for fact in self.facts()}
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}
        return {n: a for n, a in arrays.items() if a.ndim == 2 and digests & {digest(a), digest(a.T.copy())}}

    def put(self, name, array):
        self.weight(name).CopyFrom(numpy_helper.from_array(np.asarray(array), name))

    def facts(self):
        """The facts in the evidence, each as a mapping that can be forged in place."""
        pending, found = [self.certificate["evidence"]], []
        while pending:
            part = pending.pop()
            if isinstance(part, dict):
                found += [part] * ("tensor" in part)
                pending += part.values()
            elif isinstance(part, list):
                pending += part
        return found

    def reseal(self):
        weights = {t.name: digest(numpy_helper.to_array(t)) for t in self.model.graph.initializer}
        sizes = next((entry.value for entry in self.model.metadata_props if entry.key == "banach.sizes"), "")
        self.document["fingerprint"] = {
            "weights": weights,
            "structure": structure(self.model),
            "sizes": sizes,
        }

    def finish(self):
        for entry in self.model.metadata_props:
            if entry.key == KEY:
                entry.value = json.dumps(self.document)
        return self.model


@pytest.fixture
def forger(compiled):
    return lambda name: Forger(compiled(name, "onnx").model)


def first(forged):
    """Everything that failed, as one text."""
    found = verify(forged.finish())
    assert found.ok is not bool(found.failed)
    return "\n".join(found.failed)


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq"])
@pytest.mark.parametrize("sealed", [False, True])
def test_an_honest_file_holds(name, sealed, forger):
    forged = forger(name)
    if sealed:
        forged.reseal()
    found = verify(forged.finish())
    assert found.ok and len(found.checked) >= 4 and any("spectral norm" in line for line in found.checked)
    assert any("that the graph computes what the theorem speaks of" in line for line in found.trusted)


# --- the file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq"])
def test_one_bit_of_a_weight(name, forger):
    forged = forger(name)
    for weight, array in forged.named().items():
        array = array.copy()
        array[0, 1] = np.nextafter(array[0, 1], np.inf)
        forged.put(weight, array)
        assert f"`{weight}` has changed" in first(forged)
    forged.reseal()
    assert "is not bounded as certified" in first(forged)


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq"])
def test_a_changed_weight_under_a_forged_fact(name, forger):
    """The weight is doubled, the seal new, and the facts name the new weight: its norm gives it away."""
    forged = forger(name)
    renamed = {}
    for weight, array in forged.named().items():
        forged.put(weight, 2 * array)
        renamed |= {digest(a): digest(2 * a) for a in (array, array.T.copy())}
    for fact in forged.facts():
        fact["tensor"] = renamed[fact["tensor"]]
    forged.reseal()
    assert "is not bounded as certified" in first(forged)


def test_one_copy_of_two(forger):
    """A and its transpose are two weights. A change of one is found by the seal; under a new seal
    the facts hold of the other, and that the graph reads what they speak of is trusted."""
    forged = forger("lasso")
    weight, array = next(iter(forged.named().items()))
    forged.put(weight, 2 * array)
    assert "has changed" in first(forged)
    forged.reseal()
    assert any("that the graph computes" in line for line in verify(forged.finish()).trusted)


def test_a_weight_that_proves_nothing_may_change(forger):
    """b of the lasso is in no hypothesis: with a new seal the certificate holds, rightly."""
    forged = forger("lasso")
    for tensor in forged.model.graph.initializer:
        if 442 in tensor.dims and 10 not in tensor.dims:
            forged.put(tensor.name, numpy_helper.to_array(tensor) + 1)
    assert "has changed" in first(forged)
    forged.reseal()
    assert not first(forged)


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq"])
@pytest.mark.parametrize(("option", "value"), [("tolerance", 1e-2), ("max_iterations", 10**6)])
def test_a_changed_default(name, option, value, forger):
    forged = forger(name)
    solve = forged.certificate["solve"]
    default = numpy_helper.to_array(forged.weight(f"{solve}.{option}"))
    forged.put(f"{solve}.{option}", np.asarray(value, default.dtype))
    assert f"`{solve}.{option}` has changed" in first(forged)
    forged.reseal()
    assert f"{solve}: stops at" in first(forged)


def test_a_changed_node(forger):
    """Found by the seal. Under a new seal it is not: every answer says that the graph is trusted."""
    forged = forger("deq")
    node = next(
        node for graph in _graphs(forged.model.graph) for node in graph.node if node.op_type == "Tanh"
    )
    node.op_type = "Sinh"
    assert "nodes, inputs or outputs have changed" in first(forged)
    forged.reseal()
    found = verify(forged.finish())
    assert (
        found.ok and "z: that the graph computes what the theorem speaks of, up to rounding" in found.trusted
    )


def _graphs(graph):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def test_a_weight_more_or_less(forger):
    forged = forger("deq")
    forged.model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "extra"))
    assert "`extra` was added" in first(forged)
    forged = forger("deq")
    del forged.model.graph.initializer[0]
    assert "is gone" in first(forged)


# --- the certificate --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["deblur", "deq"])
@pytest.mark.parametrize("factor", [0.1, 1.0, -0.5, 0.0])
def test_a_forged_factor(name, factor, forger):
    forged = forger(name)
    forged.certificate["factor"] = factor
    assert "the factor is at most" in first(forged)


@pytest.mark.parametrize("name", ["deblur", "deq"])
def test_a_forged_trip_bound(name, forger):
    forged = forger(name)
    forged.certificate["iterations"] //= 2
    assert "iterations" in first(forged)


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq"])
def test_a_forged_norm(name, forger):
    forged = forger(name)
    for fact in forged.facts():
        if fact["kind"] == "spectral_norm":
            top, _, bottom = fact["upper"].partition("/")
            fact["upper"] = f"{int(top) * 9}/{int(bottom or 1) * 10}"
    assert "is not bounded as certified" in first(forged)


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq"])
def test_a_forged_constant(name, forger):
    """`lipschitz` is what a person is shown of the norm."""
    forged = forger(name)
    forged.certificate["lipschitz"] = [0.0, 0.01]
    assert first(forged)


@pytest.mark.parametrize("name", ["deblur", "deq"])
def test_a_forged_claim(name, forger):
    """The claim repeats the factor: the two are one."""
    forged = forger(name)
    forged.certificate["claim"]["factor"] = 0.01
    assert first(forged)


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq"])
def test_forgotten_hypotheses(name, forger):
    """The certificate lists more hypotheses than there is evidence for."""
    forged = forger(name)
    forged.certificate["evidence"]["hypotheses"].pop()
    assert first(forged)


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq"])
def test_a_hypothesis_that_does_not_hold(name, forger):
    forged = forger(name)
    trees = [h["tree"] for h in forged.certificate["evidence"]["hypotheses"] if h["tree"]]
    trees[-1][1], trees[-1][2] = trees[-1][2], trees[-1][1]
    assert first(forged)


@pytest.mark.parametrize(
    "tree",
    [
        ["/", ["upper", ["-", ["inf"], ["number", "1"]]], ["upper", ["inf"]]],
        ["-", ["inf"], ["inf"]],
        ["*", ["number", "1/2"], ["min", ["number", "1"], ["-", ["inf"], ["inf"]]]],
        ["/", ["number", "1"], ["-", ["number", "-2"]]],
        ["/", ["number", "1"], ["number", "-3"]],
        ["unknown", "why"],
    ],
)
def test_what_is_not_known_bounds_nothing(tree, forger):
    """inf/inf is no 0: a factor that rests on a bound that is not there is not certified by it."""
    forged = forger("deq")
    forged.certificate["evidence"]["factor"] = tree
    forged.certificate["factor"] = forged.certificate["claim"]["factor"] = 0.49
    assert first(forged)


def test_another_formula(forger):
    """The verifier has no library: that a formula is the theorem's is trusted, and it says so."""
    forged = forger("deq")
    forged.certificate["evidence"]["factor"] = ["number", "1/10"]
    forged.certificate["factor"] = forged.certificate["claim"]["factor"] = 0.1
    assert "z: that the formulas above are those of the theorem" in verify(forged.finish()).trusted


def test_a_derivative_carries_its_certificate(model_file):
    found = verify(banach.load(model_file("deq")).reverse(output="z", wrt="x").compile().model)
    assert found.ok and any("the factor is at most" in line for line in found.checked)


def test_a_file_that_was_not_proved(forger):
    """An open model whose verdict is overwritten."""
    text = """\
banach: 1
name: open
sizes: {n: 3}
parameters: {W: {type: "real[n, n]", init: "normal(0, 2)", seed: 1}}
operators:
  F(z): tanh(W @ z)
solve:
  z: {method: picard(F), start: ones(n), stop: {residual: 1e-3, most: 50}}
outputs: {z: z}
"""
    forged = Forger(banach.loads(text).compile().model)
    assert not first(forged)
    forged.certificate["verdict"] = "proved"
    assert "lipschitz(T) < 1" in first(forged)


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.pop("evidence"),
        lambda c: c.update(evidence=None),
        lambda c: c.update(factor="small"),
        lambda c: c.update(tolerance="0/0"),
        lambda c: c["evidence"].update(factor=["**", ["number", "2"], ["number", "99999999999"]]),
        lambda c: c["evidence"].update(factor=["eval", ["number", "1"]]),
        lambda c: c["evidence"].update(factor=["number", "nan"]),
        lambda c: c["evidence"].update(hypotheses=[{"text": "x", "tree": ["<", ["number", "1"]]}]),
        lambda c: c["evidence"].update(
            hypotheses=[{"text": "x", "tree": ["~", ["number", "1"], ["number", "2"]]}]
        ),
        lambda c: c.update(verdict=None),
        lambda c: c.update(solve="nothing"),
    ],
)
def test_a_certificate_in_pieces(damage, forger):
    """Whatever it holds: refused in words, never a crash, never fine."""
    forged = forger("deq")
    damage(forged.certificate)
    found = verify(forged.finish())
    assert not found.ok or not any("factor" in line for line in found.checked)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"certificates": []}', "[" * 100_000])
def test_no_certificate_at_all(text, forger):
    forged = forger("deq")
    model = forged.finish()
    for entry in model.metadata_props:
        if entry.key == KEY:
            entry.value = text
    assert not verify(model).ok


def test_an_empty_list_of_certificates(forger):
    """The file has a solve, and nothing is claimed of it: that is not `the certificate holds`."""
    forged = forger("deq")
    forged.document["certificates"] = []
    assert first(forged)


# --- the command ------------------------------------------------------------------------------------------


def test_command(banach_command, model_file, tmp_path):
    target = tmp_path / "deq.onnx"
    banach.load(model_file("deq")).compile(target)
    said = banach_command("verify", target)
    assert said.code == 0 and said.out.endswith("the certificate holds\n") and "trusted" in said.out
    document = json.loads(banach_command("verify", "--json", target).out)
    assert document["ok"] is True and document["failed"] == [] and document["checked"] and document["trusted"]


def test_command_on_a_forged_file(banach_command, forger, tmp_path):
    forged = forger("deq")
    forged.certificate["factor"] = 0.1
    target = tmp_path / "forged.onnx"
    target.write_bytes(forged.finish().SerializeToString())
    said = banach_command("verify", target)
    assert said.code == 2 and "FAILED" in said.out and "does not hold" in said.out
    assert json.loads(banach_command("verify", "--json", target).out)["ok"] is False


@pytest.mark.parametrize("keep", [0, 1, 0.1, 0.5, 0.9, 0.999])
def test_command_on_a_truncated_file(keep, banach_command, model_file, tmp_path):
    target = tmp_path / "lasso.onnx"
    banach.load(model_file("lasso")).compile(target)
    content = target.read_bytes()
    target.write_bytes(content[: int(keep * len(content)) if keep != 1 else len(content) - 1])
    said = banach_command("verify", target)
    assert said.code == 2 and "Traceback" not in said.err
    assert banach_command("run", target).code == 2


def test_command_on_a_foreign_model(banach_command, tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"])
    ports = [helper.make_tensor_value_info(name, 1, [3]) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "foreign", ports[:1], ports[1:]), ir_version=10)
    target = tmp_path / "foreign.onnx"
    target.write_bytes(model.SerializeToString())
    said = banach_command("verify", target)
    assert said.code == 2 and "no certificate of ours" in said.out
    np.save(tmp_path / "x.npy", np.array([-1.0, 0, 2]))
    said = banach_command("run", target, "--input", f"x={tmp_path / 'x.npy'}")
    assert said.code == 0 and "y = [0. 0. 2.]" in said.out


@pytest.mark.parametrize("content", [b"hello", b"\0" * 100, b"%PDF-1.4", bytes(range(256)) * 40])
def test_command_on_no_model(content, banach_command, tmp_path):
    target = tmp_path / "model.onnx"
    target.write_bytes(content)
    said = banach_command("verify", target)
    assert said.code == 2 and "B711" in said.err
    assert banach_command("verify", tmp_path / "missing.onnx").code == 2
    assert banach_command("verify", tmp_path).code == 2


def test_changed_bounds_of_sizes_are_found():
    text = 'banach: 1\nsizes: {n: {least: 4}}\ninputs: {x: "real[n]"}\noutputs: {y: 2 * x}\n'
    model = banach.loads(text).compile().model
    assert verify(model).ok
    (entry,) = [e for e in model.metadata_props if e.key == "banach.sizes"]
    entry.value = entry.value.replace("4", "1")
    assert "the bounds of the sizes have changed since the file was certified" in verify(model).failed


def test_a_rule_without_its_numbers_is_not_believed():
    """Factor and derivation cut out, and the file sealed anew: nothing would be left to check."""
    text = """
banach: 1
precision: float64
inputs: {b: "real[2]"}
parameters: {M: [[0.5, 0.9], [0, 0.5]]}
solve:
  x: {state: {x: zeros(2)}, next: {x: M @ x + b}, stop: {residual: norm(x' - x) <= 1e-9, most: 99}}
outputs: {x: x}
"""
    forged = Forger(banach.loads(text).compile().model)
    assert forged.certificate["theorem"] == "linear-iteration" and verify(forged.finish()).ok
    forged.certificate.update(derivation=None, factor=None)
    forged.certificate["claim"]["factor"] = None
    forged.reseal()
    found = verify(forged.finish())
    assert not found.ok and "says nothing without its numbers" in " ".join(found.failed)


def test_a_table_of_one_number_is_found(banach_command, tmp_path):
    """A large table of ones is stretched from a number, but for one that the certificate speaks of."""
    spec = """banach: 1
precision: float64
sizes: {n: 100}
inputs: {b: "real[n]"}
operators:
  A: ones(n, n) / 1000
  f: least_squares(A, b)
solve:
  x:
    method: gradient_descent(f)
    start: zeros(n)
    stop: {residual: sqrt(1e-16), most: 200}
outputs: {x: x}
"""
    (tmp_path / "spec.yaml").write_text(spec)
    said = banach_command("compile", tmp_path / "spec.yaml", "-o", tmp_path / "x.onnx")
    assert said.code == 0 and "x: proved" in said.out, said.err
    said = banach_command("verify", tmp_path / "x.onnx")
    assert said.code == 0 and "stops at 1e-08" in said.out, said.out
