"""PageRank and personalised propagation as contractions: a part of the symmetric smoothing of a graph."""

import networkx as nx
import numpy as np
import pytest

import banach

SPEC = """
banach: 1
precision: float64
sizes: {{n: {n}}}
inputs: {{given: "real[n]"}}
parameters:
  links: {{file: links.npy, type: "real[n, n]"}}
  degree: sum(links, axis=1)
  S: links / sqrt(degree * reshape(degree, n, 1))
operators:
  T(y): {keep} * (S @ y) + (1 - {keep}) * given
solve:
  y: {{method: picard(T), start: zeros(n), stop: {{residual: 1e-12, most: 1000}}}}
outputs: {{y: y, rank: sqrt(degree) * y}}
require: {{y: converges}}
"""


def model(links: np.ndarray, keep: str, folder) -> banach.Model:
    np.save(folder / "links.npy", links)
    return banach.loads(SPEC.format(n=len(links), keep=keep), folder=folder)


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_pagerank_of_les_miserables(backend, tmp_path):
    """x = 0.85 W D⁻¹ x + 0.15/n is this equation for y = D^(−½) x; the step is symmetric, ‖S‖ = 1."""
    graph = nx.les_miserables_graph()
    links = nx.to_numpy_array(graph)
    found = model(links, "0.85", tmp_path)
    certificate = found.check().certificates["y"]
    assert (certificate.verdict, certificate.theorem) == ("proved", "banach")
    assert 0.85 * (1 - 1e-12) <= certificate.upper_factor <= 0.85 * (1 + 1e-6)
    given = 1 / (len(links) * np.sqrt(links.sum(axis=1)))
    result = found.compile(to=backend).run(given=given)
    rank = dict(zip(graph, result["rank"]))
    peer = nx.pagerank(graph, alpha=0.85, weight="weight", tol=1e-13, max_iter=1000)
    np.testing.assert_allclose([rank[name] for name in graph], [peer[name] for name in graph], atol=1e-10)
    assert rank["Valjean"] == pytest.approx(0.099558, abs=5e-7)
    assert rank["Marius"] == pytest.approx(0.051668, abs=5e-7)


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_two_labels_tell_the_karate_club_apart(backend, tmp_path):
    """z = 0.1 (I − 0.9 S)⁻¹ y from the labels of the two leaders: 33 of 34 members right, number 8 wrong."""
    graph = nx.karate_club_graph()
    links = nx.to_numpy_array(graph, weight=None) + np.eye(34)
    found = model(links, "0.9", tmp_path)
    certificate = found.check().certificates["y"]
    assert certificate.verdict == "proved"
    assert 0.9 * (1 - 1e-12) <= certificate.upper_factor <= 0.9 * (1 + 1e-6)
    labels = np.zeros(34)
    labels[0], labels[33] = 1, -1
    z = found.compile(to=backend).run(given=labels)["y"]
    root = np.sqrt(links.sum(axis=1))
    exact = 0.1 * np.linalg.solve(np.eye(34) - 0.9 * links / np.outer(root, root), labels)
    np.testing.assert_allclose(z, exact, atol=1e-10)
    clubs = np.array([1 if graph.nodes[i]["club"] == "Mr. Hi" else -1 for i in graph])
    assert list(np.flatnonzero(np.sign(z) != clubs)) == [8]


def test_without_the_symmetric_form_nothing_is_proved(tmp_path):
    """W D⁻¹ keeps sums, but not lengths: a hub gathers more than 1/0.85 of them."""
    links = nx.to_numpy_array(nx.les_miserables_graph())
    np.save(tmp_path / "links.npy", links)
    text = SPEC.format(n=len(links), keep="0.85").replace(
        "links / sqrt(degree * reshape(degree, n, 1))", "links / degree"
    )
    certificate = banach.loads(text, folder=tmp_path).check().certificates["y"]
    assert certificate.verdict == "unknown"
