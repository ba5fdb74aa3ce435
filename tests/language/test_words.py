"""Words that are primitives: a formula calls them by name, and means what numpy means."""

import numpy as np
import pytest
import scipy.fft
import scipy.special

import banach
from banach.compiler.elaboration.words import spoken

A = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 5.0]])
X = np.array([0.3, -1.2, 2.0])

TABLE = [
    ("softmax(x)", scipy.special.softmax(X)),
    ("log_sum_exp(x)", scipy.special.logsumexp(X)),
    ("transpose(reshape(A, 1, 3, 3), 2, 0, 1)", A.reshape(1, 3, 3).transpose(2, 0, 1)),
    ("transpose(reshape(A, 3, 1, 3), -1, 1, 0)", A.reshape(3, 1, 3).transpose(2, 1, 0)),
    ("cumsum(x)", np.cumsum(X)),
    ("cumsum(A, axis=0)", np.cumsum(A, axis=0)),
    ("cumsum(x, reverse=true)", np.cumsum(X[::-1])[::-1]),
    ("sort(x)", np.sort(X)),
    ("top(x, size=2)", np.array([2.0, 0.3])),
    ("take(x, [2, 0, 0])", X[[2, 0, 0]]),
    ("take(A, [1], axis=0)", A[[1]]),
    ("roll(x, shift=1)", np.roll(X, 1)),
    ("flip(A, axis=0)", A[::-1]),
    ("concatenate(x, x)", np.concatenate([X, X])),
    ("prod(x)", np.prod(X)),
    ("clip(x, low=-1, high=1)", np.clip(X, -1, 1)),
    ("gelu(x)", X * (1 + scipy.special.erf(X / np.sqrt(2))) / 2),
    ("elu(x)", np.where(X > 0, X, np.expm1(X))),
    ("arctan(x) + floor(x)", np.arctan(X) + np.floor(X)),
    ("solve(A, x)", np.linalg.solve(A, X)),
    ("cholesky(A)", np.linalg.cholesky(A)),
    ("log_det(A)", np.linalg.slogdet(A)[1]),
    ("inverse(A) @ x", np.linalg.inv(A) @ X),
    ("eigenvalues(A)", np.linalg.eigvalsh(A)),
    ("singular_values(A)", np.linalg.svd(A, compute_uv=False)),
    ("project_simplex(x, 1)", np.array([0.0, 0.0, 1.0])),
    ("pad(x, before=1, after=2)", np.pad(X, (1, 2))),
    ("dct(x)", scipy.fft.dct(X, norm="ortho")),
]


@pytest.mark.parametrize(("formula", "wanted"), [pytest.param(f, w, id=f) for f, w in TABLE])
def test_a_word_means_what_numpy_means(formula: str, wanted: np.ndarray) -> None:
    text = f"""
banach: 1
precision: float64
inputs: {{A: "real[3, 3]", x: "real[3]"}}
outputs:
  y: {formula}
"""
    model = banach.loads(text)
    for backend in ("oracle", "onnx", "fx"):
        found = model.compile(to=backend).run(A=A, x=X)["y"]
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_a_large_table_of_one_number_is_known_and_takes_no_room() -> None:
    text = """
banach: 1
inputs: {x: "real[300, 300]"}
parameters:
  w: ones(300, 300)
  scale: sum(w)
operators:
  g: l1(scale)
outputs:
  y: prox(g, 1)(x) + zeros(300, 300)
"""
    compiled = banach.loads(text).compile()
    x = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32) * 1e5
    found = compiled.run(x=x)["y"]
    np.testing.assert_allclose(found, np.sign(x) * np.maximum(np.abs(x) - 90000, 0), rtol=1e-5, atol=0.02)
    assert len(compiled.model.SerializeToString()) < 20_000


@pytest.mark.parametrize("order", ["0, 0", "0", "0, 2", "x, 0"])
def test_an_order_of_axes_has_each_once(order: str) -> None:
    with pytest.raises(banach.SpecError, match=r"axis|axes"):
        banach.loads(
            f'banach: 1\ninputs: {{A: "real[3, 3]", x: "real[3]"}}\noutputs: {{y: "transpose(A, {order})"}}'
        ).check()


def test_random_numbers_depend_on_their_key_alone() -> None:
    text = """
banach: 1
scan:
  s:
    steps: 3
    state: {s: 0}
    next: {s: s + 1}
    gives: {noise: "normal((7, k), 1000)", same: "uniform(5, 2, 3)"}
outputs: {noise: s.noise, same: s.same}
"""
    model = banach.loads(text)
    first = model.compile(to="oracle").run()
    for backend in ("onnx", "fx"):
        other = model.compile(to=backend).run()
        np.testing.assert_allclose(other["noise"], first["noise"], atol=1e-5)
        np.testing.assert_array_equal(other["same"], first["same"])
    noise = first["noise"].astype(float)
    assert abs(noise.mean()) < 0.06 and abs(noise.std() - 1) < 0.05
    assert abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 0.1
    assert (first["same"][0] == first["same"][1]).all() and first["same"].shape == (3, 2, 3)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("softmax(x, x)", "is called as `softmax(x)`"),
        ("top(x)", "needs `size=`"),
        ("cumsum(x, axis=3)", "there is no axis 3"),
        ("top(x, size=x)", "known only when the model runs"),
        ("solve(A, [1, 2])", "make no system of equations"),
        ("softmx(x)", "there is nothing called `softmx`"),
    ],
)
def test_a_word_that_is_called_wrongly(formula: str, words: str) -> None:
    text = f'banach: 1\ninputs: {{A: "real[3, 3]", x: "real[3]"}}\noutputs:\n  y: {formula}\n'
    with pytest.raises(banach.SpecError) as refusal:
        banach.loads(text)
    assert any(words in d.message for d in refusal.value.diagnostics), refusal.value


def test_every_spoken_primitive_has_a_usage_and_a_summary() -> None:
    for name in spoken.spoken():
        assert spoken.usage(name).startswith(f"{name}(") and spoken.summary(name).endswith((".", ":"))
