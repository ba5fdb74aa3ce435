"""The models of specs/models on their data, a page for each, made by running it.

    python docs/gallery.py FOLDER [NAME ...]

A page has the spec, what `banach check` says of it, iterations foretold and observed on three backends, the
answer beside that of an independent program, and pictures. `make docs` puts the pages into the site.
"""

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import banach
from banach.compiler import telling

DOCS = Path(__file__).resolve().parent
MODELS = DOCS.parent / "specs" / "models"
BACKENDS = ("oracle", "onnx", "fx")


def _data() -> Any:
    spec = importlib.util.spec_from_file_location("banach_data", DOCS / "data.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


data = _data()


@dataclass(frozen=True)
class Answer:
    """What is looked at in a result, ours and somebody else's, and by whom; `off` is how far they differ."""

    what: str
    ours: str
    theirs: str
    whose: str
    off: float


@dataclass(frozen=True)
class Shown:
    """What a page shows of a run."""

    answers: list[Answer] = field(default_factory=list)
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Entry:
    """A model, its inputs, and what to show of a result; `train` says that it is trained first."""

    title: str
    inputs: Callable[[], dict[str, np.ndarray]]
    show: Callable[[Any, dict[str, np.ndarray]], Shown]
    train: bool = False


def nothing() -> dict[str, np.ndarray]:
    return {}


def number(what: str, ours: float, theirs: float, whose: str, digits: int = 9) -> Answer:
    off = abs(ours - theirs) / max(abs(theirs), 1e-300)
    return Answer(what, f"{ours:.{digits}g}", f"{theirs:.{digits}g}", whose, off)


def array(what: str, ours: np.ndarray, theirs: np.ndarray, whose: str) -> Answer:
    """Two arrays by their norms, and by the norm of their difference over the second's."""
    size = float(np.linalg.norm(theirs))
    off = float(np.linalg.norm(ours - theirs)) / size
    return Answer(f"norm of {what}", f"{np.linalg.norm(ours):.9g}", f"{size:.9g}", whose, off)


def decibels(picture: np.ndarray, truth: np.ndarray) -> str:
    return f"{-10 * np.log10(np.mean((picture - truth) ** 2)):.2f} dB"


# --- the models -------------------------------------------------------------------------------------------


def lasso(result: Any, given: dict[str, np.ndarray]) -> Shown:
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Lasso

    A, y = load_diabetes(return_X_y=True)
    y, weight = y - y.mean(), 94.943526
    peer = Lasso(alpha=weight / len(y), fit_intercept=False, tol=1e-14, max_iter=10**6).fit(A, y).coef_
    ours = np.asarray(result["coefficients"], float)

    def objective(w: np.ndarray) -> float:
        return float(0.5 * np.sum((A @ w - y) ** 2) + weight * np.abs(w).sum())

    support = [str(np.flatnonzero(w).tolist()) for w in (ours, peer)]
    same = Answer("features used", *support, "scikit-learn", float(support[0] != support[1]))
    return Shown([number("objective", objective(ours), objective(peer), "scikit-learn"), same])


def logistic(result: Any, given: dict[str, np.ndarray]) -> Shown:
    from sklearn.linear_model import LogisticRegression

    table = data.breast_cancer()
    A = (table["features"] - table["features"].mean(0)) / table["features"].std(0)
    labels = 2.0 * table["benign"] - 1
    peer = LogisticRegression(C=1, fit_intercept=False, tol=1e-12, max_iter=10**5).fit(A, labels).coef_[0]

    def objective(x: np.ndarray) -> float:
        return float(np.logaddexp(0, -labels * (A @ x)).sum() + x @ x / 2)

    right = [float(np.mean(np.sign(A @ x) == labels)) for x in (result["x"], peer)]
    return Shown(
        [
            number("objective", objective(result["x"]), objective(peer), "scikit-learn"),
            number("part that is told right", *right, "scikit-learn", 5),
        ]
    )


def _variation(u: np.ndarray) -> float:
    down, right = np.zeros_like(u), np.zeros_like(u)
    down[:-1], right[:, :-1] = np.diff(u, axis=0), np.diff(u, axis=1)
    return float(np.hypot(down, right).sum())


def _least(seen: np.ndarray, kept: np.ndarray, weight: float) -> np.ndarray:
    """The optimum by an interior-point method, Clarabel's."""
    import cvxpy as cp

    u = cp.Variable(seen.shape)
    down = cp.vstack([u[1:] - u[:-1], np.zeros((1, seen.shape[1]))])
    right = cp.hstack([u[:, 1:] - u[:, :-1], np.zeros((seen.shape[0], 1))])
    arrows = cp.vstack([cp.vec(down, order="C"), cp.vec(right, order="C")])
    misfit = cp.sum_squares(u[kept] - seen[kept]) / 2
    cp.Problem(cp.Minimize(misfit + weight * cp.sum(cp.norm(arrows, 2, axis=0)))).solve(solver=cp.CLARABEL)
    return np.asarray(u.value)


def denoised(result: Any, given: dict[str, np.ndarray]) -> Shown:
    sharp, noisy = data.noisy_cameraman()
    best = _least(noisy, np.ones(noisy.shape, bool), 0.1)

    def objective(u: np.ndarray) -> float:
        return float(np.sum((u - noisy) ** 2) / 2) + 0.1 * _variation(u)

    u = np.asarray(result["u"])
    return Shown(
        [number("objective", objective(u), objective(best), "Clarabel")],
        {"noisy": noisy, "denoised": u, "the photograph": sharp},
        f"{decibels(noisy, sharp)} before, {decibels(u, sharp)} after.",
    )


def inpainted(result: Any, given: dict[str, np.ndarray]) -> Shown:
    sharp, seen, kept = data.spotted_coins()
    best = _least(seen, kept, 0.01)

    def objective(u: np.ndarray) -> float:
        return float(np.sum((u - seen)[kept] ** 2) / 2) + 0.01 * _variation(u)

    u = np.asarray(result["u"])
    return Shown(
        [number("objective", objective(u), objective(best), "Clarabel")],
        {"seen": seen, "filled in": u, "the photograph": sharp},
        f"{decibels(seen, sharp)} before, {decibels(u, sharp)} after.",
    )


def deblurred(result: Any, given: dict[str, np.ndarray]) -> Shown:
    sharp, blurred, response = data.blurred_cameraman()
    spectrum = response.conj() * np.fft.fft2(blurred) / (np.abs(response) ** 2 + 0.01)
    exact, x = np.fft.ifft2(spectrum).real, np.asarray(result["x"], float)
    return Shown(
        [array("the picture", x, exact, "closed form by FFT")],
        {"blurred": blurred, "deblurred": x, "the photograph": sharp},
        f"{decibels(blurred, sharp)} before, {decibels(x, sharp)} after.",
    )


def darcy(result: Any, given: dict[str, np.ndarray]) -> Shown:
    elevation = data.terrain().astype(float)
    exact = data.flow_on_squares(np.exp((elevation - elevation.mean()) / elevation.std()))
    u = np.asarray(result["u"])
    return Shown(
        [
            number("largest u", float(u.max()), float(exact.max()), "scipy's sparse LU"),
            number("mean u", float(u.mean()), float(exact.mean()), "scipy's sparse LU"),
        ],
        {"terrain": elevation, "u": u},
    )


def pagerank(result: Any, given: dict[str, np.ndarray]) -> Shown:
    import networkx as nx

    graph = nx.les_miserables_graph()
    peer = nx.pagerank(graph, alpha=0.85, tol=1e-14, max_iter=10**4)
    ours = dict(zip(graph, np.asarray(result["rank"], float)))
    named = ("Valjean", "Marius")
    return Shown([number(f"rank of {name}", ours[name], peer[name], "networkx", 6) for name in named])


def appnp(result: Any, given: dict[str, np.ndarray]) -> Shown:
    import networkx as nx

    A = data.karate()
    root = np.sqrt(A.sum(1))
    exact = 0.1 * np.linalg.solve(np.eye(34) - 0.9 * A / np.outer(root, root), given["labels"])
    club = nx.get_node_attributes(nx.karate_club_graph(), "club")
    truth = np.array([1 if club[i] == "Mr. Hi" else -1 for i in range(34)])
    wrong = np.flatnonzero(np.sign(result["z"]) != truth).tolist()
    note = f"{34 - len(wrong)} of 34 members follow whom they followed; member {wrong} does not."
    return Shown([array("z", result["z"], exact, "numpy's dense solve")], note=note)


def leaders() -> dict[str, np.ndarray]:
    labels = np.zeros(34)
    labels[[0, 33]] = 1, -1
    return {"labels": labels}


def digits(result: Any, given: dict[str, np.ndarray]) -> Shown:
    from scipy.optimize import root

    table = result["weights"]
    W = 0.9 * table["free"] / np.linalg.norm(table["free"], 2)
    exact = np.stack(
        [
            root(lambda z, x=x: np.tanh(W @ z + table["U"] @ x + table["b"]) - z, np.zeros(128), tol=1e-13).x
            for x in given["x"][:20]
        ]
    )
    answers = data.digits()["answers"]
    right = float(np.mean(np.argmax(result["scores"], axis=1) == answers))
    counts = result["z.iterations"]
    note = (
        f"{right:.1%} of {len(answers)} pictures that it has not seen are told right. Each stops by itself, "
        f"after {counts.min()} to {counts.max()} iterations."
    )
    return Shown([array("z for 20 pictures", result["z"][:20], exact, "scipy.optimize.root")], note=note)


def unseen() -> dict[str, np.ndarray]:
    return {"x": data.digits()["unseen"]}


def flows(result: Any, given: dict[str, np.ndarray]) -> Shown:
    exact, u = data.darcy_flows(16, 32, 99)["u"], np.asarray(result["u"])
    off = np.sqrt(((u - exact) ** 2).sum((1, 2)) / (exact**2).sum((1, 2)))
    note = (
        f"Relative error on rocks that it has not seen: {off.mean():.1%} on average, {off.max():.1%} at most."
    )
    return Shown([], {"log k": given["a"][0], "learned u": u[0], "u by scipy": exact[0]}, note)


def rocks() -> dict[str, np.ndarray]:
    return {"a": data.darcy_flows(16, 32, 99)["a"]}


def plain(result: Any, given: dict[str, np.ndarray]) -> Shown:
    return Shown()


def coins() -> dict[str, np.ndarray]:
    _, seen, kept = data.spotted_coins()
    return {"seen": seen, "kept": kept}


ENTRIES = {
    "lasso": Entry("Sparse regression", nothing, lasso),
    "logistic": Entry("Logistic regression", nothing, logistic),
    "tv": Entry("Denoising a photograph", lambda: {"noisy": data.noisy_cameraman()[1]}, denoised),
    "inpainting": Entry("Filling in a photograph", coins, inpainted),
    "deblur": Entry("Deblurring a photograph", lambda: {"y": data.blurred_cameraman()[1]}, deblurred),
    "darcy": Entry("Flow through real terrain", nothing, darcy),
    "pagerank": Entry("Who matters in Les Misérables", nothing, pagerank),
    "appnp": Entry("Who follows whom in a karate club", leaders, appnp),
    "digits": Entry("Digits by a deep equilibrium layer", unseen, digits, train=True),
    "fno_darcy": Entry("A neural operator for random rock", rocks, flows, train=True),
    "too_fast": Entry("Refuted: a step that is too large", nothing, plain),
    "mystery": Entry("Unknown: a free denoiser", coins, plain),
}


# --- pages ------------------------------------------------------------------------------------------------


def main(folder: Path, names: list[str]) -> None:
    """Writes pages and pictures; the data go beside copies of the specs, in a folder that is thrown away."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        for path in MODELS.iterdir():
            if path.suffix in (".yaml", ".csv"):
                (here / path.name).write_bytes(path.read_bytes())
        data.main(here)
        for name in names or list(ENTRIES):
            (folder / f"{name}.md").write_text(page(name, here, folder), "utf-8")
    (folder / "index.md").write_text(index(), "utf-8")


def index() -> str:
    """The page that leads to the others."""
    rows = [f"- [{entry.title}]({name}.md)\n" for name, entry in ENTRIES.items()]
    told = (
        "Specs of `specs/models` on their data. Every number on these pages comes from a run of `make docs`."
    )
    return f"# Models\n\n{told}\n\n" + "".join(rows)


def page(name: str, here: Path, folder: Path) -> str:
    """The page of one model: it is checked, trained where it says so, and run on every backend."""
    entry = ENTRIES[name]
    text = (here / f"{name}.yaml").read_text("utf-8")
    weights = None
    if entry.train:
        trained = banach.load(here / f"{name}.yaml").train(here / f"{name}.trained")
        weights = here / f"{name}.trained" / "weights.safetensors"
    model = banach.load(here / f"{name}.yaml", weights=weights)
    certificates = model.check().certificates
    parts = [f"# {entry.title}\n", "```yaml\n" + text + "```\n", "## What is known before it runs\n"]
    told = [telling.certificate(found, verbose=True) for found in certificates.values()]
    parts.append(
        "```text\n" + "\n".join(told or ["There is no iteration, and nothing to prove."]) + "\n```\n"
    )
    refuted = any(found.verdict == "refuted" for found in certificates.values())
    if entry.train:
        parts.append(f"Trained for {trained.steps} steps, to a loss of {trained.losses[-1]:.3g}.\n")
    if refuted:
        parts.append("It is refused: nothing is compiled, and nothing runs.\n")
    else:
        parts += _runs(model, entry, certificates, weights, folder / name)
    return "\n".join(parts)


def _runs(model: Any, entry: Entry, certificates: Any, weights: Path | None, stem: Path) -> list[str]:
    from banach.backends import weights as stored

    given, parts, counted, compared = entry.inputs(), ["## What happens\n"], [], []
    shown = Shown()
    for backend in BACKENDS:
        result = dict(model.compile(to=backend).run(**given))
        if weights is not None:
            result["weights"] = stored.read(weights)[0]
        for solve, found in certificates.items():
            most = int(np.max(result[f"{solve}.iterations"]))
            status = ("converged", "not converged", "not finite")[int(np.max(result[f"{solve}.status"]))]
            counted.append(f"| {backend} | {solve} | {found.iterations or '—'} | {most} | {status} |\n")
        shown = entry.show(result, given)
        for a in shown.answers:
            compared.append(f"| {backend} | {a.what} | {a.ours} | {a.theirs} | {a.whose} | {a.off:.1e} |\n")
    if counted:
        head = "| backend | solve | iterations, foretold at most | observed | ends |\n|---|---|---|---|---|\n"
        parts.append(head + "".join(counted))
    if compared:
        head = "| backend | what | here | elsewhere | by | relative difference |\n|---|---|---|---|---|---|\n"
        parts.append(head + "".join(compared))
    if shown.note:
        parts.append(shown.note + "\n")
    for title, picture in shown.pictures.items():
        path = stem.parent / f"{stem.name}_{title.replace(' ', '_')}.png"
        _draw(picture, path)
        parts.append(f"![{title}]({path.name}) *{title}*\n")
    return parts


def _draw(picture: np.ndarray, path: Path) -> None:
    """A grey picture, from the least to the greatest number; small ones with larger pixels."""
    from PIL import Image

    low, high = float(picture.min()), float(picture.max())
    levels = np.clip((picture - low) / (high - low or 1) * 255, 0, 255).astype(np.uint8)
    larger = max(1, 256 // len(levels))
    Image.fromarray(np.kron(levels, np.ones((larger, larger), np.uint8))).save(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
