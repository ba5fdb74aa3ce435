"""Closed forms against the iterations that they replace, and Poisson's equation against sparse solvers.

Run as a script. Each line: fastest of some interleaved rounds, in ms, and how many times the closed form's.
"""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.sparse import csc_array, diags_array, eye_array, kron
from scipy.sparse.linalg import splu, spsolve

from banach.compiler.optimisation import Options
from banach.compiler.pipeline import load

ROOT = Path(__file__).parents[1]
ROUNDS, TOLERANCE = 5, 1e-8


def best(works: dict[str, Callable[[], np.ndarray]]) -> dict[str, tuple[float, np.ndarray]]:
    """Seconds and result of each, the fastest round of several."""
    found = {name: (np.inf, work()) for name, work in works.items()}
    for _ in range(ROUNDS):
        for name, work in works.items():
            begun = time.perf_counter()
            x = work()
            found[name] = min(found[name][0], time.perf_counter() - begun), x
    return found


def show(title: str, works: dict[str, Callable[[], np.ndarray]]) -> None:
    print(title)
    found = best(works)
    seconds, x = found["direct"]
    for name, (spent, y) in found.items():
        off = np.linalg.norm(y - x) / np.linalg.norm(x)
        print(f"  {name:34}{1000 * spent:10.2f} ms  x {spent / seconds:7.1f}   off by {off:.1e}")


def models(spec: Path, port: str, data: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    works = {}
    for name, options in {"direct": Options(direct=True), "iteration": Options()}.items():
        begun = time.perf_counter()
        artifact = load(spec).compile(options=options)
        print(f"  {name} compiled in {time.perf_counter() - begun:.2f} s")
        works[name] = lambda artifact=artifact: artifact.run({port: data})["x"]
    return works


def laplacian(n: int) -> csc_array:
    """The 5-point stencil on n × n inner points of the unit square."""
    line = (n + 1) ** 2 * diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])
    return csc_array(kron(line, eye_array(n)) + kron(eye_array(n), line))


def main() -> None:
    data = np.random.default_rng(0).standard_normal((256, 256))
    show("deblur 256 × 256, conjugate gradients", models(ROOT / "specs/models/deblur.yaml", "y", data))
    works = models(ROOT / "tests/optimisations/specs/poisson.yaml", "f", data)
    system = laplacian(256)
    factors = splu(system)
    works["scipy spsolve"] = lambda: spsolve(system, data.ravel()).reshape(256, 256)
    works["scipy splu, factored before"] = lambda: factors.solve(data.ravel()).reshape(256, 256)
    if importlib.util.find_spec("pyamg"):
        import pyamg

        levels = pyamg.ruge_stuben_solver(system.tocsr())
        works["pyamg Ruge-Stüben, set up before"] = lambda: levels.solve(data.ravel(), tol=TOLERANCE).reshape(
            256, 256
        )
    else:
        print("  pyamg is not installed")
    show("Poisson 256 × 256, conjugate gradients", works)


if __name__ == "__main__":
    main()
