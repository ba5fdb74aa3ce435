"""Old values, work done every so many steps, tuples of states and frozen copies, against loops in numpy."""

import numpy as np
import pytest

import banach
from banach.ir.primitive import page

BACKENDS = ["oracle", "onnx", "fx"]

DELAYED = """
banach: 1
precision: float64
sizes: {batch: any, T: 40, n: 2}
inputs: {drive: "real[batch, T, n]"}
scan:
  x:
    over: {u: drive}
    state:
      x: ones(n)
      m: 0
    where:
      old: history(x, 4)
    next:
      x: 0.9 * x + 0.3 * sin(old[3]) - 0.2 * history(x, 3)[1] + u
      m: max(m, sum(history(x, 5)))
    gives:
      mean: mean(history(x, 6), axis=0)
outputs:
  x: x
  m: m
  mean: x.mean
""".replace("  m: m\n", "")


def delayed(drive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, means = [np.ones(2)] * 7, []  # oldest first
    for u in drive:
        means.append(np.mean(values[-6:], axis=0))
        values.append(0.9 * values[-1] + 0.3 * np.sin(values[-4]) - 0.2 * values[-2] + u)
    return values[-1], np.array(means)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_scan_reads_old_values(backend: str) -> None:
    drive = np.random.default_rng(0).standard_normal((3, 40, 2))
    found = banach.loads(DELAYED).compile(to=backend).run(drive=drive)
    for i in range(3):
        x, means = delayed(drive[i])
        np.testing.assert_allclose(found["x"][i], x, rtol=1e-12)
        np.testing.assert_allclose(found["mean"][i], means, rtol=1e-12)


def test_a_delayed_scan_has_the_derivative_of_differences() -> None:
    model = banach.loads(DELAYED)
    drive = np.random.default_rng(1).standard_normal((1, 40, 2))
    seed = np.array([[0.3, -1.1]])
    for backend in BACKENDS:
        back = model.reverse("x", "drive").compile(to=backend).run({"drive": drive, "d.x": seed})["d.drive"]
        for t, i in [(0, 0), (20, 1), (36, 0), (39, 1)]:
            step = np.zeros_like(drive)
            step[0, t, i] = 1e-6
            change = delayed(drive[0] + step[0])[0] - delayed(drive[0] - step[0])[0]
            np.testing.assert_allclose(back[0, t, i], seed[0] @ change / 2e-6, rtol=1e-6, atol=1e-9)


STALE = """
banach: 1
precision: float64
sizes: {batch: any, n: 3}
inputs: {b: "real[batch, n]"}
parameters:
  A: [[2, -1, 0], [-1, 2, -1], [0, -1, 2]]
solve:
  x:
    state: {x: zeros(n)}
    next:
      x: x - 0.12 * (A @ history(x, 4)[3] - b)
    stop:
      residual: norm(x' - x) + norm(history(x, 4)[3] - x) <= 1e-11
      most: 3000
outputs: {x: x}
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_solve_with_stale_gradients(backend: str) -> None:
    A = np.array([[2.0, -1, 0], [-1, 2, -1], [0, -1, 2]])
    b = np.array([[1.0, 2.0, 3.0], [0.1, 0.0, -5.0]])
    model = banach.loads(STALE)
    found = model.compile(to=backend).run(b=b)
    for i in range(2):
        values = [np.zeros(3)] * 4
        count = 0
        for _ in range(3000):
            new = values[-1] - 0.12 * (A @ values[-4] - b[i])
            far = np.linalg.norm(new - values[-1]) + np.linalg.norm(values[-4] - values[-1])
            values, count = [*values[1:], new], count + 1
            if far <= 1e-11:
                break
        assert found["x.iterations"][i] == count
        np.testing.assert_allclose(found["x"][i], np.linalg.solve(A, b[i]), rtol=1e-9)
    # The limit is a fixed point, in which every old value is the new one: dx/db = A⁻¹.
    seed = np.array([[1.0, 0.0, -2.0], [0.5, 0.5, 0.5]])
    back = model.reverse("x", "b").compile(to=backend).run({"b": b, "d.x": seed})["d.b"]
    np.testing.assert_allclose(back, seed @ np.linalg.inv(A), rtol=1e-6)


CHORD = """
banach: 1
precision: float64
sizes: {batch: any, n: 2}
inputs: {b: "real[batch, n]"}
operators:
  F(x, b): x + 0.1 * x**3 + 0.5 * tanh(x[0] - x[1]) - b
solve:
  x:
    state: {x: zeros(n), H: eye(n)}
    where:
      J: jacobian(F, wrt=x)(x, b)
    next:
      x: x - H' @ F(x, b)
      every(4):
        H: inverse(J)
    stop: {residual: norm(x' - x) <= 1e-11, most: 200}
outputs: {x: x}
"""


def chord(b: np.ndarray, period: int) -> tuple[np.ndarray, int]:
    x, H = np.zeros(2), np.eye(2)
    for k in range(200):
        slope = 0.5 * (1 - np.tanh(x[0] - x[1]) ** 2)
        if k % period == 0:
            H = np.linalg.inv(np.diag(1 + 0.3 * x**2) + slope * np.array([[1, -1], [1, -1]]))
        new = x - H @ (x + 0.1 * x**3 + 0.5 * np.tanh(x[0] - x[1]) - b)
        if np.linalg.norm(new - x) <= 1e-11:
            return new, k + 1
        x = new
    raise AssertionError("it does not converge")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("period", [1, 3, 5])
def test_work_done_every_so_many_steps(period: int, backend: str) -> None:
    b = np.array([[1.0, -2.0], [0.2, 0.3], [1.0, 1.5]])
    model = banach.loads(CHORD.replace("every(4)", f"every({period})"))
    found = model.compile(to=backend).run(b=b)
    for i in range(3):
        x, count = chord(b[i], period)
        assert found["x.iterations"][i] == count
        np.testing.assert_allclose(found["x"][i], x, rtol=1e-9)


def test_the_work_is_not_done_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inverse and the Jacobian that it needs stand in a branch that runs every fourth step."""
    model = banach.loads(CHORD.replace("batch: any, ", "").replace("batch, ", ""))
    done = []
    plain = type(page("inverse")).evaluate
    monkeypatch.setattr(
        type(page("inverse")), "evaluate", lambda *given, **more: done.append(1) or plain(*given, **more)
    )
    steps = model.compile(to="oracle").run(b=[1.0, -2.0])["x.iterations"]
    assert len(done) == -(-int(steps) // 4) < steps
    (fix,) = [op for op in model.graph.ops if op.name == "fix"]
    step = fix.regions[0]
    assert "inverse" not in {op.name for op in step.ops}
    (branch,) = [op for op in step.ops if op.name == "cond"]
    names = {op.name for op in branch.regions[0].ops}
    assert "inverse" in names and not branch.regions[1].ops
    # Of the Jacobian nothing is left outside: a tanh is, the one of F(x, b) itself.
    assert sum(op.name == "tanh" for op in step.ops) == 1


SVRG = """
banach: 1
precision: float64
sizes: {m: 8, n: 2}
parameters:
  A: {file: A.csv}
  y: {file: y.csv}
operators:
  slope(x, i): take(A, i, axis=0) * (dot(take(A, i, axis=0), x) - take(y, i))
scan:
  x:
    steps: 60
    over: {}
    state: {x: zeros(n), xbar: copy(x), mu: zeros(n)}
    next:
      x: x - 0.05 * (A[0] * (dot(A[0], x) - y[0]) - A[0] * (dot(A[0], xbar') - y[0]) + mu')
      every(8):
        xbar: x
        mu: transpose(A) @ (A @ xbar' - y) / m
outputs: {x: x}
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_frozen_copy_is_renewed_now_and_then(backend: str, tmp_path) -> None:
    random = np.random.default_rng(3)
    A, y = random.standard_normal((8, 2)), random.standard_normal(8)
    np.savetxt(tmp_path / "A.csv", A, delimiter=",", header="a,b", comments="")
    np.savetxt(tmp_path / "y.csv", y, delimiter=",", header="y", comments="")
    text = SVRG.replace("    over: {}\n", "").replace(
        SVRG[SVRG.index("operators:") : SVRG.index("scan:")], ""
    )
    found = banach.loads(text, folder=tmp_path).compile(to=backend).run()["x"]
    x = np.zeros(2)
    for k in range(60):
        if k % 8 == 0:
            xbar, mu = x, A.T @ (A @ x - y) / 8
        x = x - 0.05 * (A[0] * (A[0] @ x - y[0]) - A[0] * (A[0] @ xbar - y[0]) + mu)
    np.testing.assert_allclose(found, x, rtol=1e-10)


LEVENBERG = """
banach: 1
precision: float64
sizes: {batch: any}
inputs: {y: "real[batch, 4]"}
parameters:
  t: [0, 1, 2, 3]
operators:
  r(p, y): p[0] * exp(-1 * p[1] * t) - y
solve:
  p:
    state:
      p: "[1.0, 0.2]"
      cost: 1e9
      damping: 1.0
    where:
      J: jacobian(r, wrt=p)(p, y)
      tried: p - solve(transpose(J) @ J + damping * eye(2), transpose(J) @ r(p, y))
      reached: sum(r(tried, y)**2)
      better: reached < cost
    next:
      (p, cost): (tried, reached) if better else (p, cost)
      damping: damping / 10 if better else damping * 10
    stop: {residual: norm(tried - p) <= 1e-9, most: 200}
outputs:
  p: p
"""


def levenberg(y: np.ndarray) -> tuple[np.ndarray, int]:
    t = np.arange(4.0)
    p, cost, damping = np.array([1.0, 0.2]), 1e9, 1.0
    for k in range(200):
        e = np.exp(-p[1] * t)
        J, r = np.stack([e, -p[0] * t * e], axis=1), p[0] * e - y
        tried = p - np.linalg.solve(J.T @ J + damping * np.eye(2), J.T @ r)
        reached = np.sum((tried[0] * np.exp(-tried[1] * t) - y) ** 2)
        far = np.linalg.norm(tried - p)
        better = reached < cost
        p, cost = (tried, reached) if better else (p, cost)
        damping = damping / 10 if better else damping * 10
        if far <= 1e-9:
            return p, k + 1
    raise AssertionError("it does not converge")


@pytest.mark.parametrize("form", ["tuple", "where"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_is_accepted_or_rejected(backend: str, form: str) -> None:
    text = LEVENBERG
    if form == "where":
        text = text.replace(
            "(p, cost): (tried, reached) if better else (p, cost)", "p: kept[0]\n      cost: kept[1]"
        )
        text = text.replace("    next:", "      kept: (tried, reached) if better else (p, cost)\n    next:")
    y = np.array([[2.0, 1.25, 0.75, 0.5], [5.0, 0.5, 0.1, 0.0], [1.0, 1.1, 1.3, 1.4]])
    found = banach.loads(text).compile(to=backend).run(y=y)
    for i in range(3):
        p, count = levenberg(y[i])
        assert found["p.iterations"][i] == count
        np.testing.assert_allclose(found["p"][i], p, rtol=1e-7)


BACKTRACKING = """
banach: 1
precision: float64
inputs: {x0: "real[2]"}
operators:
  f(x): (1 - x[0])**2 + 10 * (x[1] - x[0]**2)**2
scan:
  x:
    steps: 120
    state: {x: x0, t: 1.0, tries: 0}
    where:
      g: grad(f)(x)
      enough: f(x - t * g) <= f(x) - 0.3 * t * sum(g**2)
    next:
      (x, t, tries): (x - t * g, 2 * t, tries) if enough else (x, t / 2, tries + 1)
    returns: x
    gives: {t: t}
outputs: {x: x, t: x.t}
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_line_search_halves_until_it_is_enough(backend: str) -> None:
    found = banach.loads(BACKTRACKING).compile(to=backend).run(x0=[-1.0, 1.5])
    f = lambda x: (1 - x[0]) ** 2 + 10 * (x[1] - x[0] ** 2) ** 2  # noqa: E731
    x, t, sizes = np.array([-1.0, 1.5]), 1.0, []
    for _ in range(120):
        sizes.append(t)
        g = np.array([-2 * (1 - x[0]) - 40 * x[0] * (x[1] - x[0] ** 2), 20 * (x[1] - x[0] ** 2)])
        if f(x - t * g) <= f(x) - 0.3 * t * np.sum(g**2):
            x, t = x - t * g, 2 * t
        else:
            t = t / 2
    np.testing.assert_allclose(found["x"], x, rtol=1e-9)
    np.testing.assert_array_equal(found["t"], sizes)


PLAIN = """
banach: 1
precision: float64
inputs: {b: "real[2]"}
operators:
  T(x): 0.5 * sin(x) + b
solve:
  x:
    state: {x: zeros(2)}
    next:
UPDATE
    stop:
      residual: norm(x' - x) <= 1e-9
      most: 200
outputs: {x: x}
"""


@pytest.mark.parametrize(
    ("update", "verdict"),
    [
        ("      x: T(x)", "proved"),
        ("      every(1):\n        x: T(x)", "unknown"),
        ("      every(2):\n        x: T(x)", "unknown"),  # its residual is 0 in the second step
        ("      x: T(history(x, 2)[1])", "unknown"),
        ("      x: T(history(x, 2)[0])", "unknown"),
        ("      x: 0.6 * history(x, 2)[0] + 0.6 * history(x, 2)[1]", "unknown"),
        ("      x: sum(history(x, 3), axis=0) / 4", "unknown"),
    ],
)
def test_no_theorem_takes_an_iteration_for_its_plain_formula(update: str, verdict: str) -> None:
    assert banach.loads(PLAIN.replace("UPDATE", update)).check().certificates["x"].verdict == verdict


@pytest.mark.parametrize(
    "changed",
    [
        "every(3):\n        y: x' + 0.5 * (x' - x)",
        "y: x' + 0.5 * (history(x, 2)[0] - history(x, 2)[1])",
        "y: x' + 0.5 * (x' - history(x, 2)[0])",
    ],
)
def test_momentum_with_held_work_is_not_momentum(changed: str) -> None:
    """Nesterov's method written out is proved; with an equation held or an old value in it, it is not."""
    text = """
banach: 1
parameters:
  A: [[2, 1], [1, 3]]
  b: [1, -1]
operators:
  f: least_squares(A, b)
solve:
  x:
    state: {x: zeros(2), y: zeros(2)}
    next:
      x: y - 0.05 * grad(f)(y)
      LINE
    stop: {residual: norm(x' - x) <= 1e-6, most: 500}
outputs: {x: x}
"""
    plain = text.replace("LINE", "y: x' + 0.5 * (x' - x)")
    assert banach.loads(plain).check().certificates["x"].verdict == "proved"
    found = banach.loads(text.replace("LINE", changed)).check().certificates["x"]
    assert found.verdict == "unknown" and "old values" in (found.missing or "")


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ("      every(0):\n        x: T(x)", "no whole number from 1 on"),
        ("      every(2.5):\n        x: T(x)", "no whole number from 1 on"),
        ("      every(b):\n        x: T(x)", "no whole number from 1 on"),
        ("      every(2, 3):\n        x: T(x)", "`every` takes one number"),
        ("      every(2):\n        y: T(x)", "has no equation"),
        ("      x: T(x)\n      every(2):\n        x: T(x)", "has two equations"),
        ("      often(2):\n        x: T(x)", "a mapping stands where a formula has to"),
        ("      x: history(b, 3)[0]", "a history is of a state"),
        ("      x: history(T(x), 3)[0]", "a history is of a state"),
        ("      x: history(x', 3)[0]", "a history is of a state"),
        ("      x: history(x, 0)[0]", "no whole number from 1 on"),
        ("      x: history(x, b)[0]", "no whole number from 1 on"),
        ("      x: history(x, 3)[3]", "does not lie in an axis"),
        ("      (x, y): (T(x), 1)", "is no state"),
        ("      (x, x): (T(x), T(x))", "has two equations"),
        ("      (x, 2): (T(x), 1)", "for a tuple of states"),
        ("      (x, y): (T(x), 1, 2)", "2 states get 3 new values"),
        ("      every(2):\n        every(3):\n          x: T(x)", "a mapping stands where a formula has to"),
    ],
)
def test_what_cannot_be_said(update: str, words: str) -> None:
    with pytest.raises(banach.SpecError) as refusal:
        banach.loads(PLAIN.replace("UPDATE", update)).compile(to="oracle")
    assert any(words in d.message and d.fix and d.span for d in refusal.value.diagnostics), refusal.value


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("{x: copy(y), y: copy(x)}", "`copy` is of another state"),
        ("{x: copy(x), y: 0}", "`copy` is of another state"),
        ("{x: copy(b), y: 0}", "`copy` is of another state"),
    ],
)
def test_a_copy_is_of_another_state(state: str, words: str) -> None:
    text = PLAIN.replace("{x: zeros(2)}", state).replace("UPDATE", "      x: T(x)\n      y: y")
    with pytest.raises(banach.SpecError, match=words):
        banach.loads(text).compile(to="oracle")


def test_a_history_outside_an_iteration() -> None:
    with pytest.raises(banach.SpecError, match="inside its own iteration"):
        banach.loads("banach: 1\ninputs: {x: real}\noutputs:\n  y: history(x, 3)\n").compile(to="oracle")
