"""The demo: four models checked, compiled and run, each held against an independent answer.

    python docs/demo.py [FOLDER]

Data are real: the diabetes table (shipped), a photograph of scikit-image, the digits of scikit-learn.
"""

import os
import shlex
import sys
from pathlib import Path

import numpy as np

import banach
from banach.compiler.cli import main

FOLDER: list[Path] = []  # where files go, once it is known
MODELS = Path(__file__).resolve().parent.parent / "specs" / "models"


def demo(folder: Path) -> None:
    """All four models in turn; files go to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    FOLDER[:] = [folder]
    os.chdir(MODELS)
    lasso(folder)
    too_fast()
    deblur(folder)
    deq(folder)
    say(f"\nEverything above was computed just now; the files are in {folder}.")


def lasso(folder: Path) -> None:
    """Sparse regression, against scikit-learn's coordinate descent."""
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Lasso

    title("Sparse regression by FISTA, on the diabetes data")
    banach_("check -v lasso.yaml")
    banach_(f"compile lasso.yaml -o {folder}/lasso.onnx")
    banach_(f"run {folder}/lasso.onnx")
    banach_(f"verify {folder}/lasso.onnx")
    X, y = load_diabetes(return_X_y=True)
    y = y - y.mean()
    weight = 94.943526
    peer = Lasso(alpha=weight / len(y), fit_intercept=False, tol=1e-14, max_iter=10**6).fit(X, y).coef_

    def objective(w: np.ndarray) -> float:
        return 0.5 * np.sum((X @ w - y) ** 2) + weight * np.sum(np.abs(w))

    say(f"\n  scikit-learn       objective {objective(peer):.6f}, support {support(peer)}")
    for backend in ("oracle", "onnx", "fx"):
        result = banach.load("lasso.yaml").compile(to=backend).run()
        w = result["coefficients"].astype(float)
        gap = objective(w) / objective(peer) - 1
        say(f"  {backend:18} objective {objective(w):.6f}, support {support(w)}, relative gap {gap:.1e}")


def too_fast() -> None:
    """The same with a step of 3/L: refused, with a witness."""
    title("The same, with a step that is three times too large")
    banach_("check too_fast.yaml")
    witness = banach.load("too_fast.yaml").check().certificates["x"].witness
    assert witness is not None
    norms = ", ".join(f"{n:.2g}" for n in witness.growth)
    say(f"\n  the witness, replayed by the oracle: ‖x‖ = {norms}")


def deblur(folder: Path) -> None:
    """A photograph, against the closed form by FFT."""
    from PIL import Image
    from skimage.data import camera

    title("Deblurring a photograph by conjugate gradients")
    sharp = camera().reshape(256, 2, 256, 2).mean((1, 3)) / 255
    distance = np.minimum(np.arange(256), 256 - np.arange(256))
    bell = np.exp(-(distance**2) / 8)
    response = np.fft.fft(bell / bell.sum())
    response = response[:, None] * response[None, :]
    blurred = np.fft.ifft2(response * np.fft.fft2(sharp)).real
    blurred = blurred + 0.01 * np.random.default_rng(1).standard_normal(sharp.shape)
    np.save(folder / "blurred.npy", blurred)
    banach_(f"compile deblur.yaml -o {folder}/deblur.onnx")
    banach_(f"run {folder}/deblur.onnx --input y={folder}/blurred.npy -o {folder}/deblur")
    found = np.load(folder / "deblur" / "x.npy").astype(float)
    exact = np.fft.ifft2(response.conj() * np.fft.fft2(blurred) / (abs(response) ** 2 + 0.01)).real
    for name, picture in (("before", blurred), ("after", found)):
        levels = np.clip(np.round(picture * 255), 0, 255).astype(np.uint8)
        Image.fromarray(levels).save(folder / f"{name}.png")
        say(f"  {name + '.png':18} {psnr(picture, sharp):.2f} dB")
    say(f"  against the FFT    largest difference {np.abs(found - exact).max():.1e}")


def deq(folder: Path) -> None:
    """A deep equilibrium layer on a batch of digits, against scipy's root finder."""
    from scipy.optimize import root
    from sklearn.datasets import load_digits

    title("A deep equilibrium layer: every sample of a batch stops by itself")
    digits = load_digits().data[:8] / 16
    np.save(folder / "digits.npy", digits)
    banach_(f"compile deq.yaml -o {folder}/deq.onnx")
    banach_(f"verify {folder}/deq.onnx")
    banach_(f"run {folder}/deq.onnx --input x={folder}/digits.npy -o {folder}/deq")
    z = np.load(folder / "deq" / "z.npy").astype(float)
    say(f"  iterations of each sample: {np.load(folder / 'deq' / 'z.iterations.npy').tolist()}")
    W, U, b = (table_of("deq.yaml", name) for name in ("W", "U", "b"))
    exact = np.stack(
        [root(lambda z, x=x: np.tanh(W @ z + U @ x + b) - z, np.zeros(48), tol=1e-12).x for x in digits]
    )
    say(f"  against scipy.optimize.root: largest difference {np.abs(z - exact).max():.1e}")


def table_of(spec: str, name: str) -> np.ndarray:
    """A parameter of a spec, as an array."""
    return banach.load(spec).elaborated.names.find(name).array


def support(w: np.ndarray) -> set[int]:
    return set(np.flatnonzero(w).tolist())


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal to noise ratio in decibels, for a peak of 1."""
    return -10 * np.log10(np.mean((picture - truth) ** 2))


def banach_(command: str) -> None:
    """Shows a command, and runs it."""
    words = shlex.split(command)
    shown = command.replace(str(FOLDER[0]), FOLDER[0].name)
    say(f"\n$ banach {shown}")
    main(words)
    sys.stderr.flush()


def title(text: str) -> None:
    say(f"\n{'─' * 100}\n{text}\n{'─' * 100}")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    demo(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output").resolve())
