"""Reach and bridge against networkx."""

from __future__ import annotations

import random
import time

import networkx as nx
import numpy as np
import pytest

from codeblock.segmentation import reach_and_bridge


def random_edges(seed: int, n: int, count: int) -> list[tuple[int, int]]:
    rng = random.Random(seed)
    return [(rng.randrange(n), rng.randrange(n)) for _ in range(count)]


def graph_of(n: int, edges: list[tuple[int, int]]) -> nx.DiGraph[int]:
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from((a, b) for a, b in edges if a != b)
    return graph


@pytest.mark.parametrize("seed", range(60))
def test_equals_networkx_on_random_graphs_with_cycles_and_repeated_edges(seed: int) -> None:
    n = 3 + seed % 23
    edges = random_edges(seed, n, seed * n // 20)
    reach, bridge = reach_and_bridge(n, edges)
    graph = graph_of(n, edges)
    expected = [len(nx.descendants(graph, node)) / (n - 1) for node in range(n)]
    np.testing.assert_allclose(reach, expected, atol=1e-6)
    betweenness = nx.betweenness_centrality(graph, normalized=True)
    np.testing.assert_allclose(bridge, [betweenness[node] for node in range(n)], atol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_items_have_no_structure(n: int) -> None:
    reach, bridge = reach_and_bridge(n, [(0, n - 1)] if n else [])
    assert reach.shape == bridge.shape == (n,)
    assert not reach.any()
    assert not bridge.any()
    assert reach.dtype == bridge.dtype == np.float32


def test_the_middle_of_a_chain_is_the_bridge() -> None:
    reach, bridge = reach_and_bridge(3, [(0, 1), (1, 2)])
    assert reach.tolist() == [1.0, 0.5, 0.0]
    assert bridge.tolist() == [0.0, 0.5, 0.0]


def test_a_cycle_of_three_thousand_nodes_needs_no_recursion() -> None:
    n = 3_000
    reach, bridge = reach_and_bridge(n, [(i, (i + 1) % n) for i in range(n)])
    assert reach.tolist() == [1.0] * n
    assert (bridge > 0).sum() > n // 2


def test_bridge_of_a_very_large_graph_is_estimated_without_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 400
    edges = [(a, b) for a, b in random_edges(7, n, 1600) if a < b]
    _, exact = reach_and_bridge(n, edges)
    monkeypatch.setattr("codeblock.segmentation.structure.EXACT_WORK", n * 500)
    _, estimate = reach_and_bridge(n, edges)
    assert not np.array_equal(exact, estimate)
    assert estimate.sum() == pytest.approx(exact.sum(), rel=0.3)
    assert np.corrcoef(exact, estimate)[0, 1] > 0.8


@pytest.mark.parametrize(("n", "limit"), [(100, 0.05), (300, 0.15), (1000, 1.5)])
def test_hundreds_of_items_stay_fast(n: int, limit: float) -> None:
    """Xeon 2.5 GHz, one busy core, 3 edges an item, most of them short: 3, 37 and 353 ms."""
    rng = random.Random(n)
    starts = [rng.randrange(n) for _ in range(3 * n)]
    edges = [(a, min(n - 1, a + int(rng.expovariate(1 / 30)))) for a in starts]
    assert min(_seconds(n, edges) for _ in range(3)) < limit


def _seconds(n: int, edges: list[tuple[int, int]]) -> float:
    start = time.process_time()
    reach_and_bridge(n, edges)
    return time.process_time() - start
