"""Row 17: scipy's maximum of the likelihood; networkx for the win graph."""

from pathlib import Path

import networkx
import numpy as np
import pytest
from scipy.optimize import minimize

PLAYERS, RIVALS, GAMES = 195, 6, 20
# 585 pairs of players and how many of 20 games the first one won; drawn once for strengths exp(N(0, 9)) on a
# random 6-regular graph whose win graph is strongly connected. Kept, since `together` depends on the data.
TABLE = np.loadtxt(Path(__file__).with_suffix(".csv"), dtype=int, delimiter=",", skiprows=1)


@pytest.fixture(scope="module")
def wins():
    made = np.zeros((PLAYERS, PLAYERS))
    for i, j, won in TABLE:
        made[i, j], made[j, i] = won, GAMES - won
    return made


def likeliest(wins):
    """Strengths of the largest likelihood, of geometric mean 1."""

    def cost(s):
        gap = s[:, None] - s
        chance = 1 / (1 + np.exp(-gap))
        return (wins * np.logaddexp(0, -gap)).sum(), (-(wins * (1 - chance)) + wins.T * chance).sum(1)

    found = minimize(
        cost,
        np.zeros(PLAYERS),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 20000},
    )
    return np.exp(found.x - found.x.mean())


def test_the_data_have_a_maximum(wins):
    """Ford 1957: the win graph is strongly connected, so the likelihood has one maximum, up to scale."""
    assert np.all((wins + wins.T > 0).sum(1) == RIVALS)
    assert networkx.is_strongly_connected(networkx.DiGraph(wins > 0))


def test_sweeps_one_after_the_other_reach_the_maximum(page, wins):
    found = page.run(won=wins)
    best = likeliest(wins)
    for method in ("newman", "by_zermelo", "damped"):
        assert found[f"{method}.status"] == 0
        chance = found[method] / (1 + found[method])
        close = 2e-5 if method == "newman" else 1e-3
        np.testing.assert_allclose(chance, best / (1 + best), rtol=0, atol=close, err_msg=method)
    assert found["by_zermelo.iterations"] >= 10 * found["newman.iterations"]
    assert found["newman.iterations"] < 80


def test_a_sweep_is_numpys(page, wins):
    p = np.ones(PLAYERS)
    for _ in range(3):
        for i in range(PLAYERS):
            p[i] = (wins[i] * p / (p[i] + p)).sum() / (wins[:, i] / (p[i] + p)).sum()
        p = p / np.exp(np.log(p).mean())
    found = page.run(won=wins, **{"newman.max_iterations": 3})
    np.testing.assert_allclose(found["newman"], p, rtol=1e-11)


def test_all_at_once_ends_in_a_cycle_and_says_so(page, wins):
    found = page.run(won=wins)
    assert (found["together.status"], found["together.iterations"]) == (1, 400)
    assert found["together.residual"] > 1e-3
    few = {"newman.max_iterations": 1, "by_zermelo.max_iterations": 1, "damped.max_iterations": 1}
    run = page.model.compile(to="onnx").run
    later = [run(**{"won": wins, **few, "together.max_iterations": most})["together"] for most in (398, 399)]
    np.testing.assert_allclose(later[0], found["together"], rtol=1e-6)
    assert np.abs(later[1] / found["together"] - 1).max() > 1e-2
