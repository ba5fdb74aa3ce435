"""A deep equilibrium layer, 64 states of 256, z = tanh(W z + c): Picard's and Anderson's iteration.

The unit is one evaluation of f; the goals are for one iteration of ours, its stop included.
"""

import tempfile
from pathlib import Path

import numpy as np
from race import FAST, Contender, fx, onnx, options, peer, race

SPEC = Path(__file__).parent / "specs/fixed_point.yaml"
BATCH, N, TOLERANCE = 64, 256, 1e-4
ALLOWED = {"picard": 1.8, "anderson": 4.0}  # evaluations of f per iteration


def weights(symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """W [N, N] of norm 0.9 and c [BATCH, N]."""
    random = np.random.default_rng(0)
    w = random.standard_normal((N, N))
    w = w + w.T if symmetric else w
    w = 0.9 * w / np.linalg.norm(w, 2)
    return w.astype(np.float32), random.standard_normal((BATCH, N)).astype(np.float32)


def compiled(w: np.ndarray, method: str, to: str):
    import banach

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "W.npy", w)
        (Path(folder) / "f.yaml").write_text(SPEC.read_text().replace("METHOD", f"{method}(F)"))
        return banach.load(Path(folder) / "f.yaml").compile(to=to, options=FAST)


def torch_picard(w, c, every: int, device: str = "cpu"):
    import torch

    transposed, data = torch.from_numpy(w.T.copy()).to(device), torch.from_numpy(c).to(device)

    def run():
        z = torch.zeros_like(data)
        for _ in range(200 // every):
            for _ in range(every):
                old, z = z, torch.tanh(torch.addmm(data, z, transposed))
            if (torch.linalg.vector_norm(z - old) <= TOLERANCE * torch.linalg.vector_norm(z)).item():
                break
        return z

    return torch.inference_mode()(run)


def torchdeq_run(w, c, solver: str):
    torchdeq = peer("torchdeq")
    if torchdeq is None:
        return None
    import torch

    transposed, data = torch.from_numpy(w.T.copy()), torch.from_numpy(c)
    deq = torchdeq.get_deq(f_solver=solver, f_max_iter=200, f_tol=TOLERANCE, f_stop_mode="rel")
    start = torch.zeros(BATCH, N)

    def run():
        with torch.no_grad():
            return deq(lambda z: torch.tanh(torch.addmm(data, z, transposed)), start)[0][-1]

    return run


def main() -> None:
    asked = options(__doc__)
    import torch

    torch.set_num_threads(asked.threads)
    for symmetric in (False, True):
        w, c = weights(symmetric)
        transposed, data, z = torch.from_numpy(w.T.copy()), torch.from_numpy(c), torch.zeros(BATCH, N)
        once = torch.inference_mode()(lambda t=transposed, d=data, z=z: torch.tanh(torch.addmm(d, z, t)))
        field = [Contender("one f, in torch", lambda f=once: [f() for _ in range(20)], 20)]
        counts = {}
        for method in ALLOWED:
            run = onnx(compiled(w, method, "onnx"), asked.threads, c=c)
            counts[method] = int(run()["z.iterations"])
            told = f"{counts[method]} iterations"
            field.append(Contender(f"banach, ONNX, {method}", run, note=told))
            run = fx(compiled(w, method, "fx"), c=c)
            field.append(
                Contender(f"banach, fx, {method}", run, note=f"{int(run()['z.iterations'])} iterations")
            )
        for every in (1, 5):
            name = f"torch by hand, Picard, every {every}"
            field.append(Contender(name, torch_picard(w, c, every)))
        for solver in ("fixed_point_iter", "anderson", "broyden"):
            run = torchdeq_run(w, c, solver)
            if run is not None:
                field.append(Contender(f"torchdeq, {solver}", run))
        kind = "symmetric" if symmetric else "any"
        title = f"Fixed point {N} × {BATCH}, {kind} W of norm 0.9, {asked.threads} threads"
        best = race(title, field, asked.seconds)
        for method, most in ALLOWED.items():
            cost = best[f"banach, ONNX, {method}"] / counts[method] / best["one f, in torch"]
            met = "met" if cost <= most else "NOT met"
            print(f"  goal: {method}, f per iteration at most {most}: {cost:.2f}, {met}")
        more = counts["anderson"] - counts["picard"]
        print(
            f"  goal: anderson at most picard + 2 iterations: {more:+d}, {'met' if more <= 2 else 'NOT met'}"
        )


if __name__ == "__main__":
    main()
