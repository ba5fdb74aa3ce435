"""PageRank and personalised propagation as contractions: a part of the symmetric smoothing of a graph."""

import networkx as nx
import numpy as np
import pytest

import banach


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_pagerank_of_les_miserables(backend, compiled, model_file):
    """x = 0.85 W D⁻¹ x + 0.15/n is this equation for y = D^(−½) x; the step is symmetric, ‖S‖ = 1."""
    graph = nx.les_miserables_graph()
    certificate = banach.load(model_file("pagerank")).check().certificates["y"]
    assert (certificate.verdict, certificate.theorem) == ("proved", "banach")
    assert certificate.upper_factor is not None
    assert 0.85 * (1 - 1e-12) <= certificate.upper_factor <= 0.85 * (1 + 1e-6)
    result = compiled("pagerank", backend).run()
    rank = dict(zip(graph, result["rank"]))
    peer = nx.pagerank(graph, alpha=0.85, weight="weight", tol=1e-13, max_iter=1000)
    np.testing.assert_allclose([rank[name] for name in graph], [peer[name] for name in graph], atol=1e-10)
    assert rank["Valjean"] == pytest.approx(0.099558, abs=5e-7)
    assert rank["Marius"] == pytest.approx(0.051668, abs=5e-7)


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_two_labels_tell_the_karate_club_apart(backend, compiled, model_file):
    """z = 0.1 (I − 0.9 S)⁻¹ y from the labels of the two leaders: 33 of 34 members right, number 8 wrong."""
    graph = nx.karate_club_graph()
    links = nx.to_numpy_array(graph, weight=None) + np.eye(34)
    certificate = banach.load(model_file("appnp")).check().certificates["z"]
    assert certificate.verdict == "proved"
    assert certificate.upper_factor is not None
    assert 0.9 * (1 - 1e-12) <= certificate.upper_factor <= 0.9 * (1 + 1e-6)
    labels = np.zeros(34)
    labels[0], labels[33] = 1, -1
    z = compiled("appnp", backend).run(labels=labels)["z"]
    root = np.sqrt(links.sum(axis=1))
    exact = 0.1 * np.linalg.solve(np.eye(34) - 0.9 * links / np.outer(root, root), labels)
    np.testing.assert_allclose(z, exact, atol=1e-10)
    clubs = np.array([1 if graph.nodes[i]["club"] == "Mr. Hi" else -1 for i in graph])
    assert list(np.flatnonzero(np.sign(z) != clubs)) == [8]


def test_without_the_symmetric_form_nothing_is_proved(model_file):
    """W D⁻¹ keeps sums, but not lengths: a hub gathers more than 1/0.85 of them."""
    path = model_file("pagerank")
    text = path.read_text("utf-8").replace("links / sqrt(degree * reshape(degree, n, 1))", "links / degree")
    assert text != path.read_text("utf-8")
    assert banach.loads(text, folder=path.parent).check().certificates["y"].verdict == "unknown"
