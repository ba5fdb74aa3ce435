"""A forward pass of a Fourier neural operator: 64 × 64 points, 24 × 12 modes, 32 channels, batch 8."""

import tempfile
from pathlib import Path
from shutil import copy

import numpy as np
from race import FAST, Contender, Goal, compared, fx, onnx, options, peer, race

SPEC = Path(__file__).parent / "specs/fno.yaml"
SAMPLES, N, MODES, WIDTH = 8, 64, 12, 32


def weights() -> dict[str, np.ndarray]:
    """The parameters; `mixing` has the complex matrices of `modal` as real ones, on pairs (re, im)."""
    random = np.random.default_rng(0)

    def normal(deviation: float, *shape: int) -> np.ndarray:
        return (deviation * random.standard_normal(shape)).astype(np.float32)

    re, im = normal(0.1, 2, 4, 2 * MODES, MODES, WIDTH, WIDTH)
    mixing = np.stack([np.stack([re, im], axis=-1), np.stack([-im, re], axis=-1)], axis=-3)
    return {
        "lift": normal(0.7, WIDTH, 1),
        "mixing": mixing.reshape(4, 2 * MODES, MODES, 2 * WIDTH, 2 * WIDTH),
        "W": normal(0.17, 4, WIDTH, WIDTH),
        "read": normal(0.17, 4 * WIDTH, WIDTH),
        "last": normal(0.09, 4 * WIDTH),
        "modal": (re + 1j * im).astype(np.complex64),
    }


def compiled(held: dict[str, np.ndarray], to: str):
    import banach

    with tempfile.TemporaryDirectory() as folder:
        for name, array in held.items():
            np.save(Path(folder) / f"{name}.npy", array)
        copy(SPEC, folder)
        return banach.load(Path(folder) / SPEC.name).compile(to=to, options=FAST)


def torch_run(a: np.ndarray, w: dict[str, np.ndarray], transform: bool):
    """By hand: by products with the transforms' matrices, or by rfft2 and a product for every mode."""
    import torch

    w = {name: torch.from_numpy(array) for name, array in w.items()}
    points, modes = np.arange(N), np.arange(MODES)
    angle = 2 * np.pi * np.outer(points, modes) / N
    forth = np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)
    twice = np.where(modes == 0, 1, 2)[:, None]
    back = np.concatenate([twice * np.cos(angle).T, -twice * np.sin(angle).T]) / N
    order = np.concatenate([modes, modes - MODES])
    turn = np.exp(-2j * np.pi * np.outer(order, points) / N)
    down = np.empty((2 * MODES, 2, N, 2))
    down[:, 0, :, 0] = down[:, 1, :, 1] = turn.real
    down[:, 0, :, 1], down[:, 1, :, 0] = -turn.imag, turn.imag
    down = down.reshape(4 * MODES, 2 * N)
    matrices = [torch.from_numpy(m.astype(np.float32)) for m in (forth, back, down, down.T / N)]
    forth, back, down, up = matrices
    data = torch.from_numpy(a)[:, None]

    def by_products(layer: int, v):
        rows = (v @ forth).reshape(SAMPLES, WIDTH, 2 * N, MODES)
        modal = (down @ rows).reshape(SAMPLES, WIDTH, 2 * MODES, 2, MODES).permute(2, 4, 0, 1, 3)
        mixed = modal.reshape(2 * MODES, MODES, SAMPLES, 2 * WIDTH) @ w["mixing"][layer]
        apart = mixed.reshape(2 * MODES, MODES, SAMPLES, WIDTH, 2).permute(2, 3, 0, 4, 1)
        columns = up @ apart.reshape(SAMPLES, WIDTH, 4 * MODES, MODES)
        return columns.reshape(SAMPLES, WIDTH, N, 2 * MODES) @ back

    def by_transform(layer: int, v):
        spectrum = torch.fft.rfft2(v)
        kept = torch.cat([spectrum[:, :, :MODES, :MODES], spectrum[:, :, -MODES:, :MODES]], dim=2)
        mixed = (kept.permute(2, 3, 0, 1) @ w["modal"][layer]).permute(2, 3, 0, 1)
        out = torch.zeros_like(spectrum)
        out[:, :, :MODES, :MODES], out[:, :, -MODES:, :MODES] = mixed[:, :, :MODES], mixed[:, :, MODES:]
        return torch.fft.irfft2(out, s=(N, N))

    def pointwise(matrix, v):
        return (matrix @ v.reshape(SAMPLES, -1, N * N)).reshape(SAMPLES, -1, N, N)

    def run():
        v = pointwise(w["lift"], data)
        for layer in range(4):
            spectral = by_transform(layer, v) if transform else by_products(layer, v)
            v = torch.nn.functional.gelu(spectral + pointwise(w["W"][layer], v))
        v = torch.nn.functional.gelu(pointwise(w["read"], v))
        return (w["last"] @ v.reshape(SAMPLES, -1, N * N)).reshape(SAMPLES, N, N)

    return torch.inference_mode()(run)


def neuralop_run(a: np.ndarray):
    """The neighbours' model of the same size; its weights are its own, so its numbers are not compared."""
    neuralop = peer("neuralop.models")
    if neuralop is None:
        return None
    import torch

    model = neuralop.FNO(
        n_modes=(2 * MODES, 2 * MODES),
        in_channels=1,
        out_channels=1,
        hidden_channels=WIDTH,
        n_layers=4,
        lifting_channel_ratio=0,
        projection_channel_ratio=4,
        positional_embedding=None,
    )
    data = torch.from_numpy(a)[:, None]
    return torch.inference_mode()(lambda: model(data))


def main() -> None:
    asked = options(__doc__)
    import torch

    torch.set_num_threads(asked.threads)
    a = np.random.default_rng(0).standard_normal((SAMPLES, N, N)).astype(np.float32)
    held = weights()
    by_products = torch_run(a, held, transform=False)
    runs = {
        "torch by hand, products": by_products,
        "torch by hand, rfft2": torch_run(a, held, transform=True),
        "banach, ONNX": onnx(compiled(held, "onnx"), asked.threads, a=a),
        "banach, fx": fx(compiled(held, "fx"), a=a),
    }
    field = compared(runs, "y", by_products())
    run = neuralop_run(a)
    if run is not None:
        field.append(Contender("neuraloperator", run))
    race(
        f"FNO {N} × {N}, {2 * MODES} × {MODES} modes, {WIDTH} channels, {asked.threads} threads",
        field,
        asked.seconds,
        [
            Goal("banach, ONNX", "torch by hand, products", 1.2),
            Goal("banach, ONNX", "neuraloperator", 0.6),
        ],
    )


if __name__ == "__main__":
    main()
