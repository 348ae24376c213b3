"""Reach and bridge of the items of one region: METHOD stage 4 [ours]."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import rustworkx
from numpy.typing import NDArray

MOST_WORK = 60_000_000
"""Node and edge visits (n x (n + edges)) up to which bridge is computed; more would take over about 2 s."""


def reach_and_bridge(n: int, edges: Iterable[tuple[int, int]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Reach and bridge of n items. Returns two float32 arrays [n], both zero where n < 3.

    Reach: share of the other items that can be reached. Bridge: directed betweenness centrality (Brandes 2001), divided
    by (n-1)(n-2); zero for graphs beyond `MOST_WORK`. Self-edges and repeated edges count for nothing.
    """
    reach, bridge = np.zeros(n, np.float32), np.zeros(n, np.float32)
    between = [(a, b) for a, b in edges if a != b] if n >= 3 else []
    if not between:
        return reach, bridge
    graph = rustworkx.PyDiGraph(multigraph=False)
    graph.add_nodes_from(range(n))
    graph.add_edges_from_no_data(between)
    reach[:] = _reach(graph)
    if n * (n + graph.num_edges()) <= MOST_WORK:
        # One thread: a stage has a process for each core already, and sums keep their order.
        found = rustworkx.digraph_betweenness_centrality(graph, normalized=True, parallel_threshold=n + 1)
        bridge[:] = [found[node] for node in range(n)]
    return reach, bridge


def _reach(graph: rustworkx.PyDiGraph[int, None]) -> list[float]:
    """Share of the other nodes that can be reached. The bits of an integer are a set of nodes, so that a node's set is made of
    those of its successors: asking the library for each node's descendants visits every edge n times."""
    n = graph.num_nodes()
    reached = [0] * n  # all nodes that can be reached, and the whole component itself
    share = [0.0] * n
    for component in rustworkx.strongly_connected_components(graph):  # each before those that lead to it
        bits = 0
        for node in component:
            bits |= 1 << node
            for nearby in graph.successor_indices(node):
                bits |= reached[nearby]
        others = (bits.bit_count() - 1) / (n - 1)
        for node in component:
            reached[node] = bits
            share[node] = others
    return share
