"""Networks that the tests make: against ONNX's evaluator, ONNX Runtime, differences, and their Jacobians."""

import numpy as np
import onnx
import pytest
from networks import (
    block,
    block_by_hand,
    denoiser,
    mlp,
    network,
    node,
    reference,
    runtime,
    save,
    scaled,
    spec,
)

import banach
from banach.compiler.elaboration.analysis import constants
from banach.ir.tensor_type import TensorType

MADE = {"mlp": (mlp, (6,)), "denoiser": (denoiser, (1, 8, 8)), "block": (block, (3, 8))}
CLOSE = {"float32": 2e-5, "float64": 1e-12}


def answer(name, model, x):
    """What another program makes of one sample."""
    return block_by_hand(model, x) if name == "block" else reference(model, x[None])[0][0]


def applied(folder, model, shape, precision="float64", sizes=""):
    """The spec of one sample."""
    save(model, folder)
    return banach.loads(spec(sizes, f"real[{', '.join(map(str, shape))}]", precision), folder=folder)


def bound(folder, model, shape, precision="float64") -> float:
    """The Lipschitz constant that the checker derives."""
    elaborated = applied(folder, model, shape, precision).elaborated
    context = elaborated.claims[0].context if elaborated.claims else None
    from banach.compiler.elaboration import nested

    context = context or nested.context(elaborated.scope, folder)
    found = constants.lipschitz(
        elaborated.names.find("F"),
        context.about(TensorType(precision, shape)),
        elaborated.names.find("F").place,
    )
    return found.interval.to_floats()[1]


def steepest(model: onnx.ModelProto, shape: tuple[int, ...], tries: int = 12) -> float:
    """The largest spectral norm of a Jacobian that is found, by central differences in float64."""
    random, best, h = np.random.default_rng(3), 0.0, 1e-6
    size = int(np.prod(shape))
    for scale in np.geomspace(0.05, 20, tries):
        x = scale * random.standard_normal((1, *shape))
        moved = [h * e.reshape(1, *shape) for e in np.eye(size)]
        rows = [
            (reference(model, x + d)[0] - reference(model, x - d)[0]).reshape(-1) / (2 * h) for d in moved
        ]
        best = max(best, float(np.linalg.norm(np.array(rows), 2)))
    return best


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", MADE)
def test_it_means_what_other_programs_say(name, precision, tmp_path):
    make, shape = MADE[name]
    model = make(precision)
    spec_of_one = applied(tmp_path, model, shape, precision)
    x = np.random.default_rng(4).standard_normal(shape).astype(precision)
    wanted = [answer(name, model, x)]
    if name == "mlp" or precision == "float32":  # ONNX Runtime has convolution and erf in float32 alone
        wanted.append(runtime(model, x[None])[0][0])
    for backend in ("oracle", "onnx", "fx"):
        found = spec_of_one.compile(to=backend).run(x=x)["y"]
        assert (found.dtype, found.shape) == (np.dtype(precision), shape)
        for y in wanted:
            np.testing.assert_allclose(found, y, rtol=CLOSE[precision], atol=CLOSE[precision])


@pytest.mark.parametrize("name", MADE)
def test_its_derivative_is_that_of_differences(name, tmp_path):
    make, shape = MADE[name]
    model = make("float64")
    save(model, tmp_path)
    text = spec("", f"real[{', '.join(map(str, shape))}]", "float64").replace("y: F(x)", "y: sum(F(x)**2)")
    found = banach.loads(text, folder=tmp_path).reverse("y", "x")
    random = np.random.default_rng(5)
    x, d, h = random.standard_normal(shape), random.standard_normal(shape), 1e-6

    def value(at):
        return np.sum(answer(name, model, at) ** 2)

    slope = (value(x + h * d) - value(x - h * d)) / (2 * h)
    for backend in ("oracle", "onnx", "fx"):
        gradient = found.compile(to=backend).run(x=x)["d.x"]
        assert np.sum(gradient * d) == pytest.approx(slope, rel=1e-6), backend


@pytest.mark.parametrize("name", MADE)
def test_its_bound_is_one(name, tmp_path):
    """No Jacobian is larger than the derived bound, which is no empty one."""
    make, shape = MADE[name]
    model = make("float64")
    least, most = steepest(model, shape, 12 if name != "denoiser" else 3), bound(tmp_path, model, shape)
    assert least <= most * (1 + 1e-6) and np.isfinite(most)


def test_the_bound_of_dense_layers_is_the_product_of_their_norms(tmp_path):
    assert bound(tmp_path, mlp("float64", norm=0.9), (6,)) == pytest.approx(0.9**3, rel=1e-6)


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("channels", [(1, 1), (3, 5), (6, 2)])
def test_the_bound_of_a_convolution(operator, stride, channels, tmp_path):
    """Against the norm of its matrix; and no larger than √9 times that of the kernel as a matrix."""
    kernel = np.random.default_rng(stride).standard_normal((*channels, 3, 3))
    c = channels[1] if operator == "Conv" else channels[0]
    layer = node(operator, "x K", "y", strides=[stride] * 2, pads=[1] * 4)
    model = network([layer], {"x": ["N", c, 7, 7]}, {"y": ["N", *"dhw"]}, {"K": kernel}, "float64")
    columns = np.eye(c * 49).reshape(-1, c, 7, 7)
    matrix = reference(model, columns)[0].reshape(len(columns), -1)
    exact, most = np.linalg.norm(matrix, 2), bound(tmp_path, model, (c, 7, 7))
    met = {1: 9, 2: 4, 3: 1}[stride]
    assert exact <= most <= met**0.5 * np.linalg.norm(kernel.reshape(len(kernel), -1), 2) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_random_layers_keep_their_bound(seed, tmp_path):
    """Layers of every kind in a row, drawn anew; where there is a bound, no Jacobian exceeds it."""
    random = np.random.default_rng(seed)
    shape, nodes, weights, value = (4, 6), [], {}, "x"
    for i in range(5):
        kind = random.choice(["dense", "conv", "grouped", "pool", "norm", "pad", "act", "mix", "flip"])
        y, w = f"v{i}", f"w{i}"
        if kind == "dense":
            weights[w] = random.standard_normal((6, 6))
            made = [node("MatMul", f"{value} {w}", y)]
        elif kind in ("conv", "grouped"):
            groups = 2 if kind == "grouped" else 1
            weights[w] = random.standard_normal((4, 4 // groups, 3))
            made = [node("Conv", f"{value} {w}", y, pads=[1, 1], group=groups)]
        elif kind == "pool":
            made = [node("AveragePool", value, y, kernel_shape=[3], pads=[1, 1])]
        elif kind == "norm":
            for part in ("s", "t", "m"):
                weights[w + part] = random.standard_normal(4)
            weights[w + "v"] = random.uniform(0.1, 2, 4)
            made = [node("BatchNormalization", f"{value} {w}s {w}t {w}m {w}v", y)]
        elif kind == "pad":
            weights[w] = np.array([0, 0, 1, 0, 0, 1])
            weights[w + "s"], weights[w + "e"], weights[w + "a"] = np.array([1]), np.array([7]), np.array([2])
            made = [
                node(
                    "Pad", f"{value} {w}", f"p{i}", mode=str(random.choice(["reflect", "edge", "constant"]))
                ),
                node("Slice", f"p{i} {w}s {w}e {w}a", y),
            ]
        elif kind == "act":
            made = [
                node(str(random.choice(["Relu", "Tanh", "Elu", "Selu", "Softplus", "HardSigmoid"])), value, y)
            ]
        elif kind == "mix":
            made = [node("Tanh", value, f"t{i}"), node("Add", f"{value} t{i}", y)]
        else:
            made = [
                node("Transpose", value, f"t{i}", perm=[0, 2, 1]),
                node("Transpose", f"t{i}", y, perm=[0, 2, 1]),
            ]
        nodes += made
        value = y
    nodes.append(node("Identity", value, "y"))
    model = network(nodes, {"x": ["N", *shape]}, {"y": ["N", *shape]}, weights, "float64")
    most = bound(tmp_path, model, shape)
    assert steepest(model, shape, 8) <= most * (1 + 1e-6)
    x = random.standard_normal(shape)
    found = applied(tmp_path, model, shape).compile(to="oracle").run(x=x)["y"]
    np.testing.assert_allclose(found, reference(model, x[None])[0][0], rtol=1e-6, atol=1e-6)  # selu


# --- samples ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", ["N", 1])
def test_one_sample(batch, tmp_path):
    model = mlp("float64", batch=batch)
    x = np.random.default_rng(6).standard_normal(6)
    for shape in ((6,), (1, 6)):
        found = applied(tmp_path, model, shape).compile(to="onnx").run(x=x.reshape(shape))["y"]
        wanted = reference(model, x[None])[0].reshape(shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_many_samples_at_once(tmp_path):
    model, x = mlp("float64"), np.random.default_rng(7).standard_normal((5, 6))
    found = applied(tmp_path, model, (5, 6)).compile(to="onnx").run(x=x)["y"]
    np.testing.assert_allclose(found, reference(model, x)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_a_batch_of_the_spec_is_one_sample_for_the_network(batch, backend, tmp_path):
    """Also where the network mixes its samples: each is alone in its batch."""
    nodes = [
        node("ReduceMean", "x", "m", axes=[0], keepdims=1),
        node("Sub", "x m", "c"),
        node("Add", "c m", "d"),
    ]
    nodes += [node("Mul", "d m", "y")]
    model = network(nodes, {"x": [batch, 3]}, {"y": [batch, 3]}, {}, "float64")
    save(model, tmp_path)
    text = spec("sizes: {batch: any}", "real[batch, 3]", "float64")
    x = np.random.default_rng(8).standard_normal((4, 3))
    found = banach.loads(text, folder=tmp_path).compile(to=backend).run(x=x)["y"]
    wanted = np.concatenate([reference(model, row[None])[0] for row in x])
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_a_batch_through_a_convolution(tmp_path):
    model = denoiser("float32")
    save(model, tmp_path)
    text = spec("sizes: {batch: any}", "real[batch, 1, 8, 8]", "float32")
    x = np.random.default_rng(9).standard_normal((3, 1, 8, 8)).astype(np.float32)
    for backend in ("oracle", "onnx", "fx"):
        found = banach.loads(text, folder=tmp_path).compile(to=backend).run(x=x)["y"]
        np.testing.assert_allclose(found, runtime(model, x)[0], rtol=1e-4, atol=1e-5)


def test_a_size_that_is_known_at_run_time(tmp_path):
    """A shape that is asked for, computed with, and used again, as exporters write `view`."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n axis", "u"),
        node("Concat", "u minus", "shape", axis=0),
        node("Reshape", "x shape", "f"),
        node("Relu", "f", "r"),
        node("Reshape", "r s", "y"),
    ]
    weights = {"zero": np.asarray(0), "axis": np.array([0]), "minus": np.array([-1])}
    model = network(nodes, {"x": ["N", 2, 3]}, {"y": ["N", 2, 3]}, weights, "float64")
    save(model, tmp_path)
    found = banach.loads(spec("sizes: {n: any}", "real[n, 2, 3]", "float64"), folder=tmp_path)
    x = np.random.default_rng(10).standard_normal((5, 2, 3))
    for backend in ("oracle", "onnx", "fx"):
        np.testing.assert_array_equal(found.compile(to=backend).run(x=x)["y"], np.maximum(x, 0))


@pytest.mark.parametrize("name", ["F.onnx", "nets/x.onnx", "my-net.v2.onnx", "'two nets.onnx'", "'2.onnx'"])
def test_the_name_of_a_file(name, tmp_path):
    """Also where it is that of something in the spec."""
    (tmp_path / "nets").mkdir()
    save(mlp(), tmp_path, name.strip("'"))
    assert banach.loads(spec("", "real[6]", "float32", name), folder=tmp_path).check().ok


def test_several_arguments_and_results(tmp_path):
    nodes = [node("MatMul", "x W", "a"), node("Add", "a u", "y"), node("Mul", "a u", "z")]
    weights = {"W": scaled(np.random.default_rng(11).standard_normal((3, 3)), 0.5)}
    model = network(nodes, {"x": ["N", 3], "u": ["N", 3]}, {"y": ["N", 3], "z": ["N", 3]}, weights, "float64")
    save(model, tmp_path)
    text = """
banach: 1
precision: float64
inputs: {x: "real[3]", u: "real[3]"}
operators:
  F: onnx(file='net.onnx')
  G(v): F(v, u)[0]
solve:
  s: {method: picard(G), start: zeros(3), stop: {residual: 1e-12, most: 200}}
outputs: {y: "F(x, u)[0]", z: "F(x, u)[1]", s: s}
require: {s: converges}
"""
    found = banach.loads(text, folder=tmp_path)
    certificate = found.check().certificates["s"]
    assert certificate.verdict == "proved" and certificate.upper_factor == pytest.approx(0.5, rel=1e-6)
    x, u = np.random.default_rng(12).standard_normal((2, 3))
    made = found.compile(to="onnx").run(x=x, u=u)
    for name, want in zip("yz", reference(model, x[None], u[None])):
        np.testing.assert_allclose(made[name], want[0], rtol=1e-12)
    np.testing.assert_allclose(made["s"], np.linalg.solve(np.eye(3) - weights["W"].T, u), rtol=1e-10)


def test_the_derivative_of_one_argument(tmp_path):
    nodes = [node("Mul", "x u", "p"), node("Tanh", "p", "y")]
    save(network(nodes, {"x": [3], "u": [3]}, {"y": [3]}, {}, "float64"), tmp_path)
    text = """
banach: 1
precision: float64
inputs: {x: "real[3]", u: "real[3]"}
operators: {F: onnx(file=net.onnx)}
outputs: {J: "jacobian(F, wrt=u)(x, u)"}
"""
    x, u = np.array([0.5, -1, 2]), np.array([1, 0.3, -0.2])
    found = banach.loads(text, folder=tmp_path).compile(to="oracle").run(x=x, u=u)["J"]
    np.testing.assert_allclose(found, np.diag(x / np.cosh(x * u) ** 2), rtol=1e-12)


# --- what is the same, and what is certified ----------------------------------------------------------------


def test_the_same_bytes_twice(tmp_path, process):
    save(denoiser(), tmp_path)
    (tmp_path / "s.yaml").write_text(spec("", "real[1, 8, 8]", "float32"))
    for name in ("a", "b"):
        said = process("-m", "banach.compiler", "compile", "s.yaml", "-o", f"{name}.onnx", cwd=tmp_path)
        assert said.code == 0, said.err
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_spec_without_networks_does_not_import_onnx(process, model_file):
    code = "import sys, banach; banach.load(sys.argv[1]).check(); print('onnx' in sys.modules)"
    assert process("-c", code, model_file("lasso")).out.strip() == "False"
