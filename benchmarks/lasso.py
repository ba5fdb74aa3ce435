"""Sparse regression, 500 × 1000, until the objective is within 1e-6 of the least one, which is 7.695197.

The matrix is known before: what belongs to it alone (its Gram matrix, its norm) is not timed, for us, torch
and numpy; scikit-learn is given the Gram matrix as well. Objectives are worked out in float64.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from race import FAST, Contender, Goal, Run, fx, onnx, options, race

SPEC = Path(__file__).parent / "specs/lasso.yaml"
M, N, SHARE, GAP = 500, 1000, 0.1, 1e-6


def data() -> tuple[np.ndarray, np.ndarray, float]:
    """A [M, N] with columns of length 1, b [M] of 50 coefficients and noise, a tenth of the largest λ."""
    random = np.random.default_rng(0)
    a = random.standard_normal((M, N))
    a /= np.linalg.norm(a, axis=0)
    truth = np.zeros(N)
    truth[random.choice(N, 50, replace=False)] = random.standard_normal(50)
    b = a @ truth + 0.01 * random.standard_normal(M)
    a, b = a.astype(np.float32), b.astype(np.float32)
    return a, b, float(np.float32(SHARE * np.abs(a.T @ b).max()))


def objective(a: np.ndarray, b: np.ndarray, weight: float, x: np.ndarray) -> float:
    """½‖Ax − b‖² + λ‖x‖₁ in float64."""
    a, b, x = (np.asarray(array, np.float64) for array in (a, b, x))
    rest = b - a @ x
    return 0.5 * rest @ rest + weight * np.abs(x).sum()


def by_hand(xp, gram, back, weight: float, step: float, tolerance: float):
    """Restarted FISTA in the Gram form, in numpy or torch, which looks at the residual in every step."""

    def run():
        x = z = 0 * back
        s = 1.0
        for _ in range(2000):
            u = z - step * (gram @ z - back)
            old, x = x, u - u.clip(-step * weight, step * weight)
            moved = x - z
            if float(xp.linalg.norm(moved)) <= tolerance * max(1.0, float(xp.linalg.norm(x))):
                break
            if float(moved @ (x - old)) < 0:
                s, z = 1.0, x
                continue
            s, before = (1 + (1 + 4 * s * s) ** 0.5) / 2, s
            z = x + (before - 1) / s * (x - old)
        return x

    return run


def loosest(make: Callable[[float], Run], gap: Callable[[np.ndarray], float]) -> tuple[Run, str]:
    """The run with the largest tolerance of a grid that reaches the gap, and what is to be told of it."""
    for exponent in np.arange(2, 12, 0.25):
        run = make(float(10**-exponent))
        found = run()
        told = f", {int(found['x.iterations'])} iterations" if isinstance(found, dict) else ""
        reached = gap(np.asarray(found["x"] if told else found))
        if reached <= GAP:
            return run, f"tolerance 1e-{exponent}, gap {reached:.1e}{told}"
    raise RuntimeError(f"no tolerance reaches a gap of {GAP}")


def main() -> None:
    asked = options(__doc__)
    import torch
    from sklearn.linear_model import Lasso

    import banach

    torch.set_num_threads(asked.threads)
    a, b, weight = data()
    step = float(np.float32(1 / np.linalg.norm(a.astype(np.float64), 2) ** 2))
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "A.npy", a)
        np.save(Path(folder) / "lam.npy", np.float32(weight))
        text = SPEC.read_text()
        (Path(folder) / "lasso.yaml").write_text(text)
        model = banach.load(Path(folder) / "lasso.yaml")
        compiled, module = model.compile(options=FAST), model.compile(to="fx", options=FAST)
    gram, back = a.T @ a, a.T @ b
    wide = gram.astype(np.float64), back.astype(np.float64)
    tensors = torch.from_numpy(gram), torch.from_numpy(back)
    makers = {
        "torch by hand": lambda t: torch.inference_mode()(by_hand(torch, *tensors, weight, step, t)),
        "banach, ONNX": lambda t: onnx(compiled, asked.threads, b=b, **{"x.tolerance": np.float32(t)}),
        "banach, fx": lambda t: fx(module, b=b, **{"x.tolerance": np.float32(t)}),
        "numpy, float64": lambda t: by_hand(np, *wide, weight, step, t),
        "scikit-learn, with the Gram matrix": lambda t: coordinate_descent(Lasso, a, b, weight, gram, t),
        "scikit-learn": lambda t: coordinate_descent(Lasso, a, b, weight, False, t),
    }
    exact = by_hand(np, *wide, weight, step, 1e-13)()
    least = objective(a, b, weight, exact)
    field = []
    for name, make in makers.items():
        run, told = loosest(make, lambda x: objective(a, b, weight, x) - least)
        field.append(Contender(name, run, note=told))
    race(
        f"LASSO {M} × {N} to a gap of {GAP}, {asked.threads} threads",
        field,
        asked.seconds,
        [
            Goal("banach, ONNX", "torch by hand", 1.0),
            Goal("banach, ONNX", "scikit-learn, with the Gram matrix", 0.6),
            Goal("banach, ONNX", "scikit-learn", 0.6),
        ],
    )


def coordinate_descent(lasso, a, b, weight: float, gram, tolerance: float):
    """scikit-learn's, whose objective is ours divided by M."""
    a, b = np.asfortranarray(a), np.ascontiguousarray(b)
    solver = lasso(
        alpha=weight / M,
        fit_intercept=False,
        precompute=gram,
        tol=tolerance,
        max_iter=100000,
        copy_X=False,
    )
    return lambda: solver.fit(a, b).coef_


if __name__ == "__main__":
    main()
