"""Every operator's page: linearity, adjoint and facts, against the matrix that it amounts to.

Those that are not linear are affine: they have the matrix of their linear part.
"""

import numpy as np
import pytest

import banach
from banach.compiler import library
from banach.compiler.elaboration import constants, nested

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
PAGES = [pytest.param(page, id=page.name) for page in library.pages("operator")]


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
        return constants.WORDS[word](self.map, scope, None)


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
