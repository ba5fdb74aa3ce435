"""Total variation denoising of 256 × 256 pixels by the primal-dual method, per iteration."""

from pathlib import Path

import numpy as np
from race import FAST, Goal, compared, fx, onnx, options, peer, race

SPEC = Path(__file__).parents[1] / "specs/models/tv.yaml"
N, WEIGHT, ITERATIONS = 256, 0.1, 100
STEP = 8**-0.5


def torch_run(noisy: np.ndarray, every: int = 10, device: str = "cpu"):
    """By hand: forward differences in place, the dual projected onto balls, a look at the residual."""
    import torch

    data = torch.from_numpy(noisy).to(device)

    def forward(u):
        d = torch.zeros(2, N, N, device=device)
        torch.sub(u[1:], u[:-1], out=d[0, :-1])
        torch.sub(u[:, 1:], u[:, :-1], out=d[1, :, :-1])
        return d

    def backward(p):
        v = torch.zeros(N, N, device=device)
        v[1:] += p[0, :-1]
        v[:-1] -= p[0, :-1]
        v[:, 1:] += p[1, :, :-1]
        v[:, :-1] -= p[1, :, :-1]
        return v

    def run():
        u, p = data, torch.zeros(2, N, N, device=device)
        for k in range(ITERATIONS):
            old, before = u, p
            u = (u - STEP * backward(p) + STEP * data) / (1 + STEP)
            p = p + STEP * forward(2 * u - old)
            p = p / torch.clamp(torch.linalg.vector_norm(p, dim=0) / WEIGHT, min=1)
            if k % every == every - 1:
                moved = torch.linalg.vector_norm(u - old) + torch.linalg.vector_norm(p - before)
                if not (moved / STEP > 0).item():
                    break
        return u.cpu()

    return torch.inference_mode()(run)


def deepinv_run(noisy: np.ndarray):
    deepinv = peer("deepinv")
    if deepinv is None:
        return None
    import torch

    denoiser = deepinv.models.TVDenoiser(n_it_max=ITERATIONS, crit=0.0)
    data = torch.from_numpy(noisy)[None, None]
    return lambda: denoiser(data, WEIGHT)[0, 0].numpy()


def main() -> None:
    asked = options(__doc__)
    import torch

    import banach

    torch.set_num_threads(asked.threads)
    squares = np.kron(np.eye(4), np.ones((N // 4, N // 4)))
    noisy = (squares + 0.1 * np.random.default_rng(0).standard_normal((N, N))).astype(np.float32)
    text = SPEC.read_text().replace("{n: 64}", f"{{n: {N}}}").replace("float64", "float32")
    model = banach.loads(text)
    given = {"noisy": noisy, "u.tolerance": np.float32(0), "u.max_iterations": np.asarray(ITERATIONS)}
    runs = {
        "torch by hand": torch_run(noisy),
        "banach, ONNX": onnx(model.compile(options=FAST), asked.threads, **given),
        "banach, fx": fx(model.compile(to="fx", options=FAST), **given),
        "deepinv TVDenoiser": deepinv_run(noisy),
    }
    race(
        f"TV by the primal-dual method 256 × 256, per iteration, {asked.threads} threads",
        compared(runs, "u", runs["torch by hand"](), ITERATIONS),
        asked.seconds,
        [Goal("banach, ONNX", "torch by hand", 1.0), Goal("banach, fx", "torch by hand", 1.0)],
    )


if __name__ == "__main__":
    main()
