"""Sparse deblurring of 256 × 256 pixels by FISTA, per iteration."""

from pathlib import Path

import numpy as np
from race import FAST, Contender, Goal, compared, fx, onnx, options, peer, race

SPEC = Path(__file__).parent / "specs/deblur.yaml"
N, WEIGHT, ITERATIONS = 256, 0.001, 100


def ring() -> np.ndarray:
    """The blur along one axis: a bell of σ = 2 on a ring, of sum 1, without its subnormal ends."""
    distance = np.minimum(np.arange(N), N - np.arange(N))
    bell = np.exp(-(distance**2) / 8) * (distance < 12)
    return bell / bell.sum()


def circulant() -> np.ndarray:
    return np.stack([np.roll(ring(), i) for i in range(N)], axis=1)


def numpy_run(y: np.ndarray):
    """By the transform, in float32."""
    from scipy import fft

    gram = (np.abs(fft.fft(ring()))[:, None] * np.abs(fft.rfft(ring()))).astype(np.float32) ** 2
    row = circulant().astype(np.float32)
    back = row.T @ y @ row

    def run() -> np.ndarray:
        x = z = np.zeros_like(y)
        s = 1.0
        for _ in range(ITERATIONS):
            u = z - (fft.irfft2(gram * fft.rfft2(z), s=y.shape) - back)
            old, x = x, u - np.clip(u, -WEIGHT, WEIGHT)
            s, before = (1 + (1 + 4 * s * s) ** 0.5) / 2, s
            z = x + (before - 1) / s * (x - old)
        return x

    return run


def torch_run(y: np.ndarray, transform: bool, every: int = 10, device: str = "cpu"):
    """By hand in the Gram form, by the transform or by two products, with a look at the residual."""
    import torch

    row = torch.from_numpy(circulant().astype(np.float32)).to(device)
    data = torch.from_numpy(y).to(device)
    gram = row.T @ row
    spectrum = torch.fft.fft(torch.from_numpy(ring())).to(device)
    multiplier = ((spectrum.abs()[:, None] * spectrum.abs()[: N // 2 + 1]) ** 2).float()
    back = row.T @ data @ row

    def run():
        x = z = torch.zeros_like(data)
        s = 1.0
        for k in range(ITERATIONS):
            hz = torch.fft.irfft2(multiplier * torch.fft.rfft2(z), s=(N, N)) if transform else gram @ z @ gram
            u = z - hz + back
            old, x = x, u - u.clamp(-WEIGHT, WEIGHT)
            s, before = (1 + (1 + 4 * s * s) ** 0.5) / 2, s
            if k % every == every - 1 and not (torch.linalg.vector_norm(x - z) > 0).item():
                break
            z = x + (before - 1) / s * (x - old)
        return x.cpu()

    return torch.inference_mode()(run)


def deepinv_run(y: np.ndarray):
    """The neighbours' FISTA on their own blur by the transform."""
    deepinv = peer("deepinv")
    if deepinv is None:
        return None
    import torch

    bell = np.exp(-(np.arange(-12, 13) ** 2) / 8)
    kernel = torch.from_numpy(np.outer(bell, bell) / bell.sum() ** 2).float()[None, None]
    physics = deepinv.physics.BlurFFT(img_size=(1, N, N), filter=kernel)
    solver = deepinv.optim.optim_builder(
        iteration="FISTA",
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.L1Prior(),
        params_algo={"stepsize": 1.0, "lambda": WEIGHT, "a": 3},
        max_iter=ITERATIONS,
        early_stop=False,
    )
    data = torch.from_numpy(y)[None, None]

    def run():
        with torch.no_grad():
            return solver(data, physics)[0, 0].numpy()

    return run


def main() -> None:
    asked = options(__doc__)
    import torch

    import banach

    torch.set_num_threads(asked.threads)
    random = np.random.default_rng(0)
    picture = np.zeros((N, N))
    picture[random.integers(0, N, 400), random.integers(0, N, 400)] = 1
    row = circulant()
    y = (row @ picture @ row.T + 0.01 * random.standard_normal((N, N))).astype(np.float32)
    model = banach.load(SPEC)
    given = {"y": y, "x.tolerance": np.float32(0), "x.max_iterations": np.asarray(ITERATIONS)}
    runs = {
        "torch by hand, Gram by the transform": torch_run(y, transform=True),
        "torch by hand, Gram by two products": torch_run(y, transform=False),
        "banach, ONNX": onnx(model.compile(options=FAST), asked.threads, **given),
        "banach, fx": fx(model.compile(to="fx", options=FAST), **given),
        "numpy and scipy.fft": numpy_run(y),
        "deepinv": deepinv_run(y),
    }
    field = compared(runs, "x", numpy_run(y.astype(np.float64))(), ITERATIONS)
    field[:2] = sorted(field[:2], key=lambda c: timed(c))  # ratios are to the better of the two by hand
    best = field[0].name
    race(
        f"FISTA deblurring 256 × 256, per iteration, {asked.threads} threads",
        field,
        asked.seconds,
        [
            Goal("banach, fx", best, 1.1),
            Goal("banach, ONNX", best, 1.4),
            Goal("banach, fx", "deepinv", 0.4),
            Goal("banach, ONNX", "deepinv", 0.4),
        ],
    )


def timed(contender: Contender) -> float:
    """The least of three runs."""
    import time

    spent = []
    for _ in range(3):
        begun = time.perf_counter()
        contender.run()
        spent.append(time.perf_counter() - begun)
    return min(spent)


if __name__ == "__main__":
    main()
