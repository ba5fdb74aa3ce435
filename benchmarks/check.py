"""What a verdict costs: `python benchmarks/check.py`. CPU time of certifying, the least of several runs.

The aim is 50 ms a loop with operators up to 512 by 512, norms apart (they are bounded once for each weight),
and 2 s for a loop around a hundred layers.
"""

import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

import numpy as np

from banach.compiler import library
from banach.compiler.certify import certify
from banach.compiler.elaborate import elaborate
from banach.compiler.spec import spec
from banach.compiler.text import source

RUNS = 5
AIM, AIM_LAYERS = 50.0, 2000.0  # ms

LARGE = """
banach: 1
sizes: {{n: 512}}
parameters: {{A: {{file: A.npy}}}}
inputs: {{b: "real[n]"}}
operators:
  f: least_squares(A, b)
  g: l1(0.1)
solve:
  x:
    {solve}
    stop: {{residual: norm(x' - x) <= 1e-6, most: 5000}}
outputs: {{x: x}}
"""
SOLVES = {
    "FISTA, 512": "method: fista(f, g)\n    start: zeros(n)",
    "FISTA in equations, 512": (
        "state: {x: zeros(n), y: zeros(n), t: 1}\n    where: {next_t: (1 + sqrt(1 + 4 * t**2)) / 2}\n"
        "    next:\n      x: prox(g, 1 / lipschitz(grad(f)))(y - grad(f)(y) / lipschitz(grad(f)))\n"
        "      y: x' + (t - 1) / next_t * (x' - x)\n      t: next_t"
    ),
    "proximal gradient in equations, 512": (
        "state: {x: zeros(n)}\n    next: {x: 'prox(g, 1 / lipschitz(grad(f)))"
        "(x - grad(f)(x) / lipschitz(grad(f)))'}"
    ),
    "a DEQ, 512": "state: {x: zeros(n)}\n    next: {x: relu(0.9 / lipschitz(A) * (A @ x) + b)}",
    "heavy ball in equations, 512": (
        "state: {x: zeros(n), last: zeros(n)}\n"
        "    next: {x: x - grad(f)(x) / lipschitz(grad(f)) + 0.3 * (x - last), last: x}"
    ),
}
LAYERS = 100


def network() -> str:
    """One loop around a hundred layers of width 64, each with its own weights."""
    weights = [f"  W{i}: {{file: W{i}.npy}}" for i in range(LAYERS)]
    layers = [f"  h{i}(x): relu(W{i} @ {f'h{i - 1}(x)' if i else 'x'})" for i in range(LAYERS)]
    head = ["banach: 1", "sizes: {n: 64}", "inputs: {b: 'real[n]'}", "parameters:", *weights]
    solve = ["solve:", "  z:", "    state: {z: zeros(n)}", f"    next: {{z: h{LAYERS - 1}(z) + b}}"]
    end = ["    stop: {residual: norm(z' - z) <= 1e-6, most: 500}", "outputs: {z: z}", ""]
    return "\n".join([*head, "operators:", *layers, *solve, *end])


def cost(text: str, folder: Path) -> tuple[float, float, int, str]:
    """CPU milliseconds of elaborating and of certifying, how many loops, and their verdicts."""
    elaborating, certifying = [], []
    for _ in range(RUNS + 1):  # the first one bounds the norms
        begun = time.process_time()
        elaborated = elaborate(spec(source.parse(text, "spec.yaml")), folder)
        between = time.process_time()
        certificates, _ = certify(elaborated)
        elaborating.append(1000 * (between - begun))
        certifying.append(1000 * (time.process_time() - between))
    verdicts = Counter(certificate.verdict for certificate in certificates)
    told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    return min(elaborating), min(certifying), len(certificates), told


def main() -> None:
    random = np.random.default_rng(0)
    print(f"{'CPU ms, norms apart':44}{'elaborate':>10}{'certify':>10}{'a loop':>10}  verdicts")
    dearest = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "A.npy", np.eye(512) + random.standard_normal((512, 512)) / 60)
        for i in range(LAYERS):
            np.save(folder / f"W{i}.npy", 0.99 * np.linalg.qr(random.standard_normal((64, 64)))[0])
        for title, solve in SOLVES.items():
            dearest.append(_line(title, *cost(LARGE.format(solve=solve), folder)))
        pages = [p for p in library.pages("solver") if p.section.example]
        examples = [(p.name, p.section.example.text) for p in pages]
        every = [(*cost(text, folder), page) for page, text in examples]
        every.sort(key=lambda found: -found[1] / max(found[2], 1))
        for *found, page in every[:5]:
            dearest.append(_line(f"the example of `{page}`", *found))
        middle = median(certifying / max(loops, 1) for _, certifying, loops, *_ in every)
        print(f"{f'the median of {len(every)} examples':64}{middle:10.1f}")
        elaborating, certifying, loops, told = cost(network(), folder)
        _line(f"a loop around {LAYERS} layers", elaborating, certifying, loops, told)
    print(f"{'within' if max(dearest) <= AIM else 'ABOVE'} the aim of {AIM:.0f} ms a loop")
    whole = elaborating + certifying
    print(
        f"{'within' if whole <= AIM_LAYERS else 'ABOVE'} the aim of {AIM_LAYERS:.0f} ms for {LAYERS} layers"
    )


def _line(title: str, elaborating: float, certifying: float, loops: int, told: str) -> float:
    each = certifying / max(loops, 1)
    print(f"{title:44}{elaborating:10.1f}{certifying:10.1f}{each:10.1f}  {told}")
    return each


if __name__ == "__main__":
    main()
