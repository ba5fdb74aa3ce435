"""Closed forms against the iterations that they replace, and Poisson's equation against sparse solvers."""

import time
from pathlib import Path

import numpy as np
from race import FAST, Goal, Run, compared, onnx, options, peer, race

from banach.compiler.optimisation import Options

ROOT = Path(__file__).parents[1]
DIRECT = Options(reassociate=True, check_every="auto", direct=True)
TOLERANCE = 1e-8


def compiled(spec: Path, threads: int, how: Options, **inputs: np.ndarray) -> Run:
    import banach

    begun = time.perf_counter()
    artifact = banach.load(spec).compile(options=how)
    kind = "direct" if how.direct else "iterated"
    print(f"  {spec.stem}, {kind}: {time.perf_counter() - begun:.2f} s to compile")
    run = onnx(artifact, threads, **inputs)
    return lambda: run()["x"]


def neighbours(data: np.ndarray) -> dict[str, Run]:
    """Sparse solvers, with what belongs to the matrix alone done before."""
    from scipy.sparse import csc_array, diags_array, eye_array, kron
    from scipy.sparse.linalg import splu

    n, flat = len(data), data.ravel()
    line = (n + 1) ** 2 * diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])
    system = csc_array(kron(line, eye_array(n)) + kron(eye_array(n), line))
    factors = splu(system)
    runs: dict[str, Run] = {"SciPy splu": lambda: factors.solve(flat).reshape(n, n)}
    pyamg = peer("pyamg")
    if pyamg is not None:
        rows = system.tocsr()
        classic, smoothed = pyamg.ruge_stuben_solver(rows), pyamg.smoothed_aggregation_solver(rows)
        for name, levels, accelerated in (
            ("pyamg Ruge-Stüben", classic, None),
            ("pyamg Ruge-Stüben, CG", classic, "cg"),
            ("pyamg smoothed aggregation, CG", smoothed, "cg"),
        ):
            runs[name] = lambda levels=levels, a=accelerated: levels.solve(
                flat, tol=TOLERANCE, accel=a
            ).reshape(n, n)
    return runs


def main() -> None:
    asked = options(__doc__)
    data = np.random.default_rng(0).standard_normal((256, 256))
    deblur, poisson = ROOT / "specs/models/deblur.yaml", ROOT / "tests/optimisations/specs/poisson.yaml"
    runs = {
        "banach, direct": compiled(deblur, asked.threads, DIRECT, y=data),
        "banach, conjugate gradients": compiled(deblur, asked.threads, FAST, y=data),
    }
    race(
        f"Tikhonov deblurring 256 × 256, {asked.threads} threads",
        compared(runs, "x", runs["banach, direct"]()),
        asked.seconds,
    )
    multigrid = Path(__file__).parent / "specs/multigrid.yaml"
    runs = {
        "banach, direct": compiled(poisson, asked.threads, DIRECT, f=data),
        "banach, conjugate gradients": compiled(poisson, asked.threads, FAST, f=data),
        "banach, multigrid": compiled(multigrid, asked.threads, FAST, f=data),
        **neighbours(data),
    }
    best = "pyamg Ruge-Stüben"
    race(
        f"Poisson 256 × 256 to {TOLERANCE}, {asked.threads} threads",
        compared(runs, "x", runs["banach, direct"]()),
        asked.seconds,
        [Goal("banach, direct", best, 1 / 15), Goal("banach, multigrid", best, 1.0)],
    )


if __name__ == "__main__":
    main()
