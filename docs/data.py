"""The data of the models of specs/models, from packages or drawn with a seed; nothing is downloaded.

    python docs/data.py FOLDER     writes the files that specs name; `make data` puts them beside the specs

Pictures are inputs of their models, and stand here as functions.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np


def main(folder: Path) -> None:
    """Writes every file that a spec of specs/models names and that is not shipped."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        made = make()
        if isinstance(made, dict):
            np.savez_compressed(folder / name, **made)
        else:
            np.save(folder / name, made)


# --- files ------------------------------------------------------------------------------------------------


def breast_cancer() -> dict[str, np.ndarray]:
    """scikit-learn's table: 30 features of 569 tumours, and which are benign."""
    from sklearn.datasets import load_breast_cancer

    features, benign = load_breast_cancer(return_X_y=True)
    return {"features": features, "benign": benign}


def terrain() -> np.ndarray:
    """The elevation of 128 × 128 points near Jacksboro, in metres, from matplotlib."""
    from matplotlib import cbook

    with cbook.get_sample_data("jacksboro_fault_dem.npz") as dem:
        return dem["elevation"][:128, :128]


def les_miserables() -> np.ndarray:
    """How often two of the 77 characters of the novel meet, from networkx."""
    import networkx as nx

    return nx.to_numpy_array(nx.les_miserables_graph())


def karate() -> np.ndarray:
    """Who of the 34 members of Zachary's club meets whom, himself included, from networkx."""
    import networkx as nx

    return nx.to_numpy_array(nx.karate_club_graph(), weight=None) + np.eye(34)


def digits() -> dict[str, np.ndarray]:
    """scikit-learn's 1797 digits of 8 × 8 pixels from 0 to 1, and which they are: four fifths to learn from,
    the rest (`unseen`, `answers`) with as many of each kind."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pictures, kinds = load_digits(return_X_y=True)
    x, unseen, y, answers = train_test_split(
        pictures / 16, kinds, test_size=0.2, stratify=kinds, random_state=0
    )
    return {"x": x, "y": y, "unseen": unseen, "answers": answers}


def darcy_flows(samples: int, n: int, seed: int) -> dict[str, np.ndarray]:
    """Random rocks and the flow through them: −∇·(k∇u) = 1 on the unit square, u = 0 around it, by scipy.

    a   [samples, n, n]: log k at the middles of n × n cells, a Gaussian field; the sum of 64 cosines with
        normal factors of deviation (1 + (i² + j²)/4)^-1.5, so that one seed is one field on every grid
    u   [samples, n, n]: the solution by finite volumes; a face has the harmonic mean of its two cells
    """
    factors = np.random.default_rng(seed).standard_normal((samples, 8, 8))
    order = np.arange(8)
    factors = factors / (1 + (order[:, None] ** 2 + order**2) / 4) ** 1.5
    waves = np.cos(np.pi * np.outer(order, (np.arange(n) + 0.5) / n))
    a = waves.T @ factors @ waves
    return {"a": a.astype(np.float32), "u": np.stack([flow(np.exp(field)) for field in a]).astype(np.float32)}


def flow(k: np.ndarray) -> np.ndarray:
    """The solution u of −∇·(k∇u) = 1 on cells of permeability k [n, n], with u = 0 around the square."""
    import scipy.sparse as sp
    from scipy.sparse.linalg import spsolve

    n = len(k)
    matrix = sp.csc_matrix((n * n, n * n))
    for one in (k, k.T):
        # Towards the border it is half a cell: a face there conducts twice as well as between two cells.
        faces = np.vstack([2 * one[:1], 2 / (1 / one[1:] + 1 / one[:-1]), 2 * one[-1:]])
        step = sp.diags([np.ones(n), -np.ones(n)], [0, -1], shape=(n + 1, n))
        along = sp.kron(step, sp.eye(n)) if one is k else sp.kron(sp.eye(n), step)
        conductance = faces.ravel() if one is k else faces.T.ravel()
        matrix = matrix + along.T @ sp.diags(conductance) @ along
    return spsolve(matrix.tocsc(), np.full(n * n, 1 / n**2)).reshape(n, n)


def flow_on_squares(k: np.ndarray) -> np.ndarray:
    """The solution of −∇·(k∇u) = 1 at the n × n inner points of a square, n + 1 steps a side, u = 0 around.

    k [n, n] stands at the points, is repeated beyond them, and has its harmonic mean between two of them.
    """
    import scipy.sparse as sp
    from scipy.sparse.linalg import spsolve

    n = len(k)
    step = sp.diags([np.ones(n), -np.ones(n)], [0, -1], shape=(n + 1, n))
    total = sp.csc_matrix((n * n, n * n))
    for along, turned in ((sp.kron(step, sp.eye(n)), False), (sp.kron(sp.eye(n), step), True)):
        padded = np.pad(k.T if turned else k, ((1, 1), (0, 0)), "edge")
        faces = 2 / (1 / padded[1:] + 1 / padded[:-1])
        total = total + along.T @ sp.diags((faces.T if turned else faces).ravel()) @ along
    return spsolve(total.tocsc(), np.full(n * n, 1 / (n + 1) ** 2)).reshape(n, n)


FILES: dict[str, Callable[[], np.ndarray | dict[str, np.ndarray]]] = {
    "breast_cancer.npz": breast_cancer,
    "terrain.npy": terrain,
    "les_miserables.npy": les_miserables,
    "karate.npy": karate,
    "digits.npz": digits,
    "flows.npz": partial(darcy_flows, samples=256, n=32, seed=11),
}


# --- pictures ---------------------------------------------------------------------------------------------


def noisy_cameraman() -> tuple[np.ndarray, np.ndarray]:
    """(sharp, noisy), 64 × 64 pixels of a photograph of scikit-image: noise of 0.1, seed 0."""
    from skimage.data import camera

    sharp = camera()[100:164, 200:264] / 255
    return sharp, sharp + 0.1 * np.random.default_rng(0).standard_normal(sharp.shape)


def spotted_coins() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(sharp, seen, kept), 64 × 64 pixels: half of them kept, then noise of 0.02, both from seed 0."""
    from skimage.data import coins

    sharp, random = coins()[40:104, 20:84] / 255, np.random.default_rng(0)
    kept = random.random(sharp.shape) < 0.5
    return sharp, np.where(kept, sharp + 0.02 * random.standard_normal(sharp.shape), 0), kept


def blurred_cameraman() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(sharp, blurred, response), 256 × 256 pixels: a Gaussian of width 2, then noise of 0.01, seed 1.

    `response` is the Fourier transform of the kernel.
    """
    from skimage.data import camera

    sharp = camera().reshape(256, 2, 256, 2).mean((1, 3)) / 255
    distance = np.minimum(np.arange(256), 256 - np.arange(256))
    kernel = np.exp(-(distance**2) / 8)
    row = np.fft.fft(kernel / kernel.sum())
    response = np.outer(row, row)
    blurred = np.fft.ifft2(response * np.fft.fft2(sharp)).real
    return sharp, blurred + 0.01 * np.random.default_rng(1).standard_normal(sharp.shape), response


if __name__ == "__main__":
    main(Path(sys.argv[1]))
