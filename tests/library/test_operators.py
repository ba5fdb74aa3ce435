"""Every linear operator's page: linearity, adjoint and facts, against the matrix that it amounts to.

Those that are affine have the matrix of their linear part; the others are in test_layers.py.
"""

import networkx
import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import scipy.signal
import scipy.sparse
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import banach
from banach.compiler import library
from banach.compiler.elaboration import nested
from banach.compiler.elaboration.analysis import constants, words

SPEC = """
banach: 1
precision: float64
sizes: {{m: 4, n: 3}}
inputs: {{x: "{domain}"{more}}}
parameters:
  A: [[2, 1, 0], [0, 1, 1], [1, 0, 3], [1, 1, 1]]
  Q: [[2, 0.5, 0], [0.5, 1, 0.2], [0, 0.2, 3]]
operators:
  K: {example}
  f(v): sum(K(v) * {cotangent})
outputs:
  {outputs}
"""
G = np.array([[0, 1, 0], [-1, 0, 0.5], [0, 0.2, -2]])
AFFINE = ("affine_map", "propagation", "langevin", "convolution_layer")  # for what their examples are made of


def is_linear(page: library.Page) -> bool:
    return "means" in page.formulas or "linear" in page.facts or page.name in AFFINE


PAGES = [pytest.param(page, id=page.name) for page in library.pages("operator") if is_linear(page)]


class Probe:
    """A page's example as the matrices of the map, of its adjoint and of its reverse derivative."""

    def __init__(self, page: library.Page):
        assert page.section.example is not None, "an operator's page shows one example"
        domain = page.section.domain.text if page.section.domain else "real[n]"
        parts = {"domain": domain, "example": page.section.example.text}
        plain = banach.loads(SPEC.format(**parts, more="", cotangent="1", outputs="y: K(x)"))
        self.elaborated = plain.elaborated
        self.map = self.elaborated.names.find("K")
        forward = plain.compile(to="oracle")
        self.shape = self.elaborated.graph.inputs[0].type.shape
        (result,) = self.elaborated.graph.output_types
        more = f', y: "real[{", ".join(map(str, result.shape))}]"'
        own = "adjoint" in getattr(self.map, "page", page).formulas and hasattr(self.map, "page")
        outputs = "back: grad(f)(x)" + ("\n  own: adjoint(K)(y)" if own else "")
        text = SPEC.format(**parts, more=more, cotangent="y", outputs=outputs)
        back = banach.loads(text).compile(to="oracle")
        size, many = int(np.prod(self.shape)), int(np.prod(result.shape))
        units = [e.reshape(self.shape) for e in np.eye(size)]
        origin = forward.run(x=0 * units[0])["y"]
        assert not origin.any() or self.fact("linear") is not True
        self.matrix = np.stack([(forward.run(x=e)["y"] - origin).reshape(-1) for e in units], axis=1)
        pulled = [back.run(x=units[0], y=e.reshape(result.shape)) for e in np.eye(many)]
        self.transposes = [
            np.stack([p[name].reshape(-1) for p in pulled], axis=1)
            for name in pulled[0]
            if name in ("back", "own")
        ]
        random = np.random.default_rng(0).standard_normal(size)
        image = forward.run(x=random.reshape(self.shape))["y"] - origin
        np.testing.assert_allclose(image.reshape(-1), self.matrix @ random, atol=1e-12)

    def fact(self, word: str):
        scope = nested.context(self.elaborated.scope).about(self.elaborated.graph.inputs[0].type)
        return words.WORDS[word](self.map, scope, None)


@pytest.mark.parametrize("page", PAGES)
def test_it_is_linear_and_its_adjoint_is_its_transpose(page: library.Page) -> None:
    probe = Probe(page)
    for transpose in probe.transposes:
        np.testing.assert_allclose(transpose, probe.matrix.T, atol=1e-12)


@pytest.mark.parametrize("page", PAGES)
def test_its_constants_hold(page: library.Page) -> None:
    probe = Probe(page)
    sizes = np.linalg.svd(probe.matrix, compute_uv=False)
    norm, least = probe.fact("lipschitz").interval, probe.fact("smallest_singular").interval
    assert float(norm.lo) * (1 - 1e-9) <= sizes[0] <= float(norm.hi) * (1 + 1e-9)
    if "lipschitz" in page.facts:
        assert float(norm.hi) <= 2 * sizes[0]  # the bound is no empty one
    columns = probe.matrix.shape[1]
    smallest = sizes[-1] if len(sizes) == columns else 0.0
    assert (
        float(least.lo) <= smallest * (1 + 1e-9) + 1e-12 and smallest <= float(least.hi) * (1 + 1e-9) + 1e-12
    )


@pytest.mark.parametrize("page", PAGES)
def test_it_is_symmetric_where_it_says_so_with_its_spectrum(page: library.Page) -> None:
    probe = Probe(page)
    if probe.fact("symmetric") is not True:
        return  # the page claims nothing
    np.testing.assert_allclose(probe.matrix, probe.matrix.T, atol=1e-12)
    values, told = np.linalg.eigvalsh(probe.matrix), probe.fact("spectrum").interval
    assert float(told.lo) <= values[0] + 1e-9 and values[-1] <= float(told.hi) + 1e-9


@pytest.mark.parametrize("page", PAGES)
def test_it_is_monotone_where_it_says_so(page: library.Page) -> None:
    probe = Probe(page)
    if "monotone" in page.facts:
        assert probe.fact("monotone") is True
    if probe.fact("monotone") is True:
        assert np.linalg.eigvalsh(probe.matrix + probe.matrix.T)[0] >= -1e-12


def compiled(operators: str, size: int = 3) -> banach.Model:
    return banach.loads(f"""
banach: 1
precision: float64
inputs: {{x: "real[{size}]"}}
operators:
  {operators}
outputs: {{y: K(x)}}
""")


def bound(model: banach.Model) -> float:
    scope = nested.context(model.elaborated.scope).about(model.elaborated.graph.inputs[0].type)
    return float(constants.lipschitz(model.elaborated.names.find("K"), scope, None).interval.hi)


@pytest.mark.parametrize("step", ["residual(F, -0.7)", "euler(F, 0.4)", "heun(F, 0.8)", "rk4(F, 0.8)"])
def test_a_step_of_a_nonlinear_map_keeps_its_bound(step: str) -> None:
    model = compiled(f"F(x): sin(x) - 0.5 * x\n  K: {step}")
    run, random, most = model.compile(to="oracle").run, np.random.default_rng(0), bound(model)
    assert most < 4
    for scale in (1e-3, 1.0, 4.0):
        for _ in range(30):
            x, y = scale * random.standard_normal((2, 3))
            assert np.linalg.norm(run(x=x)["y"] - run(x=y)["y"]) <= most * np.linalg.norm(x - y) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("method", "order", "matrix"),
    [
        ("euler", 1, G),
        ("heun", 2, G),
        ("rk4", 4, G),
        ("implicit_euler", 1, -G),
        ("crank_nicolson", 2, -G),
        ("exponential_euler", 1, -(G + G.T) / 2),
    ],
)
def test_a_time_step_has_its_order(method: str, order: int, matrix: np.ndarray) -> None:
    """The error of one step against the matrix exponential falls like step^(order + 1)."""
    errors = []
    rest = f", {(G + matrix).tolist()}" if method == "exponential_euler" else ""
    for step in (0.1, 0.05):
        model = compiled(f"K: {method}({matrix.tolist()}{rest}, {step})")
        x = np.array([1.0, -2, 0.5])
        errors.append(np.linalg.norm(model.compile(to="oracle").run(x=x)["y"] - expm(step * G) @ x))
    assert 2 ** (order + 0.8) < errors[0] / errors[1] < 2 ** (order + 1.3)


def test_leapfrog_turns_a_pendulum_and_keeps_its_volume() -> None:
    model = banach.loads("""
banach: 1
precision: float64
inputs: {x: "real[2, 1]"}
operators:
  F(q): -sin(q)
  K: leapfrog(F, 0.01)
scan:
  s: {steps: 500, state: {x: x}, next: {x: "K(x)"}}
outputs: {y: s}
""")
    run = model.compile(to="oracle").run
    exact = solve_ivp(lambda t, y: [y[1], -np.sin(y[0])], (0, 5), [1, 0.2], rtol=1e-10, atol=1e-12).y[:, -1]
    start = np.array([[1.0], [0.2]])
    np.testing.assert_allclose(run(x=start)["y"][:, 0], exact, atol=5e-5)
    moved = [
        run(x=start + e.reshape(2, 1))["y"] - run(x=start - e.reshape(2, 1))["y"] for e in 1e-5 * np.eye(2)
    ]
    assert np.linalg.det(np.hstack(moved) / 2e-5) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("example", ["kron(F, [[1, 0], [0, 2]])", "rk4(F, 0.1)", "residual(F, 0.1)"])
def test_what_is_made_of_a_nonlinear_map_is_not_linear(example: str) -> None:
    elaborated = compiled(f"F(x): sin(x)\n  L: {example}\n  K: I").elaborated
    scope = nested.context(elaborated.scope).about(elaborated.graph.inputs[0].type)
    assert constants.linear(elaborated.names.find("L"), scope, None) is None


@pytest.mark.parametrize(
    ("example", "why"),
    [
        ("euler([[1], [2], [3]], 0.1)", "x would be stretched to the map's result"),
        ("heun([[1, 1, 1]], 0.1)", "the map's result would be stretched to x"),
        ("rk4([[1, 1, 1]], 0.1)", "the map's result would be stretched to x"),
        ("residual([[1, 1, 1]], 0.1)", "the map's result would be stretched to x"),
        ("householder([1, 2])", "v would be stretched"),
        ("zero_pad(-1, 0)", "no entries are cut off"),
    ],
)
def test_what_would_be_stretched_is_refused(example: str, why: str) -> None:
    with pytest.raises(banach.SpecError, match=r"B20"):
        compiled(f"K: {example}", size=1 if "euler" in example else 3).compile(to="oracle")


def test_transforms_are_those_of_numpy() -> None:
    """Against numpy's own programs, where there is one."""
    x = np.array([1.0, -2, 0.5, 3, 0.25, -1])

    def run(example: str) -> np.ndarray:
        return compiled(f"K: {example}", size=6).compile(to="oracle").run(x=x)["y"]

    spectrum = np.fft.fft(x, norm="ortho")
    np.testing.assert_allclose(run("fourier()"), np.stack([spectrum.real, spectrum.imag], 1), atol=1e-12)
    few = np.where(np.arange(6) < 2, spectrum, 0) * [2, 1 - 1j, 0, 0, 0, 0]
    expected = np.fft.ifft(few, norm="ortho").real
    np.testing.assert_allclose(run("fourier_filter([[2, 0], [1, -1]])"), expected, atol=1e-12)
    np.testing.assert_allclose(run("shift(2)"), np.roll(x, 2))
    np.testing.assert_allclose(run("cumulative_sum()"), np.cumsum(x))
    column, row = [1, 2, 3, 4], [1, 5, 6, 7, 8, 9]
    np.testing.assert_allclose(run(f"toeplitz({column}, {row})"), scipy.linalg.toeplitz(column, row) @ x)
    blocks = scipy.linalg.block_diag([[1, 2, 3, 4]], [[5, 6], [7, 8]])
    np.testing.assert_allclose(run("block_diagonal([[1, 2, 3, 4]], [[5, 6], [7, 8]])"), blocks @ x)
    np.testing.assert_allclose(run("upsample(2)"), np.repeat(x, 2))
    np.testing.assert_allclose(run("average_pool(3)"), x.reshape(2, 3).mean(1))
    np.testing.assert_allclose(run("haar()")[:3], (x[::2] + x[1::2]) / np.sqrt(2), atol=1e-12)
    np.testing.assert_allclose(run("sine_transform()"), scipy.fft.dst(x, 1, norm="ortho"), atol=1e-12)
    np.testing.assert_allclose(
        run("hankel([1, 2], [2, 3, 4, 5, 6, 7])"), scipy.linalg.hankel([1, 2], range(2, 8)) @ x
    )
    np.testing.assert_allclose(
        run("zero_filter([3, 2, 1, 0.5])"), np.convolve(x, [0.5, 1, 2, 3], "full")[2:8]
    )
    np.testing.assert_allclose(run("interpolation([0.25, 4.5], 6)"), np.interp([0.25, 4.5], np.arange(6), x))
    rows, columns, values = [0, 0, 1, 1], [5, 0, 2, 2], [2, 3, -1, 4]
    sparse = scipy.sparse.coo_array((values, (rows, columns)), shape=(3, 6))
    np.testing.assert_allclose(run(f"sparse_matrix({rows}, {columns}, {values}, 3, 6)"), sparse @ x)


def test_a_stencil_is_a_convolution_of_scipys() -> None:
    picture, stencil = (
        np.random.default_rng(0).standard_normal((4, 5)),
        [[-1, -2, 0], [-2, 12.5, -2], [3, -2, -1]],
    )
    model = compiled(f"K: compose(stencil2d({stencil}), reshaped(4, 5))", size=20)
    expected = scipy.signal.correlate2d(picture, stencil, mode="same")
    np.testing.assert_allclose(model.compile(to="oracle").run(x=picture.ravel())["y"], expected, atol=1e-12)


def test_daubechies_details_of_a_line_are_zero() -> None:
    """Beside the seam of the ring; and h has the roots of 1 + cos that make it so."""
    details = (
        compiled("K: daubechies()", size=10).compile(to="oracle").run(x=np.arange(10) * 1.5 + 2)["y"][5:]
    )
    np.testing.assert_allclose(details[:-1], 0, atol=1e-12)
    assert abs(details[-1]) > 1


def test_the_laplacian_of_a_graph_is_networkx() -> None:
    graph = networkx.karate_club_graph()
    weights = networkx.to_numpy_array(graph).astype(int)
    x = np.random.default_rng(0).standard_normal(34)
    model = compiled(f"K: normalized_laplacian({weights.tolist()})", size=34)
    expected = networkx.normalized_laplacian_matrix(graph).toarray() @ x
    np.testing.assert_allclose(model.compile(to="oracle").run(x=x)["y"], expected, atol=1e-12)
    assert bound(model) <= 2


def test_a_radon_projection_keeps_the_mass_that_stays_inside() -> None:
    picture = np.zeros((5, 5))
    picture[1:4, 1:4] = np.arange(9).reshape(3, 3)
    model = compiled("K: radon([0, 0.4, 1.5707963267948966, 2], 5)", size=25)
    seen = model.compile(to="oracle").run(x=picture.ravel())["y"].reshape(4, 5)
    np.testing.assert_allclose(seen.sum(axis=1), picture.sum(), atol=1e-9)
    np.testing.assert_allclose(seen[0], picture.sum(axis=0), atol=1e-9)
    np.testing.assert_allclose(seen[2], picture.sum(axis=1), atol=1e-9)


def test_the_normalised_adjacency_of_karate_has_norm_one() -> None:
    graph = networkx.to_numpy_array(networkx.karate_club_graph(), weight=None)
    model = compiled(f"K: normalized_adjacency({graph.astype(int).tolist()})", size=34)
    assert bound(model) == pytest.approx(1, abs=1e-9)
    x = np.random.default_rng(0).standard_normal(34)
    loops = graph + np.eye(34)
    degree = loops.sum(1)
    expected = loops / np.sqrt(np.outer(degree, degree)) @ x
    np.testing.assert_allclose(model.compile(to="oracle").run(x=x)["y"], expected, atol=1e-12)
