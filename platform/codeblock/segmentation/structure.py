"""Reach and bridge of the items of one region: METHOD stage 4 [ours]."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

EXACT_WORK = 4_000_000
"""Node and edge visits (sources x (n + edges)) up to which bridge uses every source; more would take over about 2 s."""


def reach_and_bridge(n: int, edges: Iterable[tuple[int, int]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Reach and bridge of n items. Returns two float32 arrays [n], both zero where n < 3.

    Reach: share of the other items that can be reached. Bridge: directed betweenness centrality (Brandes 2001), divided
    by (n-1)(n-2). Self-edges and repeated edges count for nothing. Very large graphs (beyond `EXACT_WORK`) estimate
    bridge from evenly spaced sources (Brandes and Pich 2007).
    """
    reach, bridge = np.zeros(n, np.float32), np.zeros(n, np.float32)
    if n < 3:
        return reach, bridge
    following: list[list[int]] = [[] for _ in range(n)]
    for a, b in edges:
        if a != b:
            following[a].append(b)
    following = [sorted(set(nearby)) for nearby in following]
    edge_count = sum(map(len, following))
    if not edge_count:
        return reach, bridge
    components = _components(following)
    reach[:] = _reach(following, components)
    bridge[:] = _bridge(following, edge_count)
    return reach, bridge


def _components(following: list[list[int]]) -> list[list[int]]:
    """Strongly connected components, each before those that lead to it (Tarjan 1972, without recursion)."""
    n = len(following)
    order = [0] * n  # 0: not seen; else 1 + time of discovery
    low = [0] * n
    done = [False] * n
    stack: list[int] = []
    components: list[list[int]] = []
    clock = 0
    for root in range(n):
        if order[root]:
            continue
        path = [(root, iter(following[root]))]
        clock += 1
        order[root] = low[root] = clock
        stack.append(root)
        while path:
            node, rest = path[-1]
            for nearby in rest:
                if not order[nearby]:
                    clock += 1
                    order[nearby] = low[nearby] = clock
                    stack.append(nearby)
                    path.append((nearby, iter(following[nearby])))
                    break
                if not done[nearby] and order[nearby] < low[node]:
                    low[node] = order[nearby]
            else:
                path.pop()
                if path and low[node] < low[path[-1][0]]:
                    low[path[-1][0]] = low[node]
                if low[node] == order[node]:
                    component: list[int] = []
                    while not component or component[-1] != node:
                        component.append(stack.pop())
                        done[component[-1]] = True
                    components.append(component)
    return components


def _reach(following: list[list[int]], components: list[list[int]]) -> list[float]:
    """Share of the other nodes that can be reached; the bits of an integer are a set of nodes."""
    n = len(following)
    reached = [0] * n  # all nodes that can be reached, and the whole component itself
    share = [0.0] * n
    for component in components:
        bits = 0
        for node in component:
            bits |= 1 << node
            for nearby in following[node]:
                bits |= reached[nearby]
        others = (bits.bit_count() - 1) / (n - 1)
        for node in component:
            reached[node] = bits
            share[node] = others
    return share


def _bridge(following: list[list[int]], edge_count: int) -> list[float]:
    """Directed betweenness by Brandes' accumulation, normalised."""
    n = len(following)
    starts = [node for node in range(n) if following[node]]
    step = max(1, -(-len(starts) * (n + edge_count) // EXACT_WORK))
    used = starts[::step]
    score = [0.0] * n
    for source in used:
        _accumulate(following, source, score)
    scale = len(starts) / (len(used) * (n - 1) * (n - 2))
    return [value * scale for value in score]


def _accumulate(following: list[list[int]], source: int, score: list[float]) -> None:
    """Add the dependencies of one source on every other node."""
    distance = [0] * len(following)  # 1 + edges from the source; 0: not reached
    paths = [0.0] * len(following)
    distance[source], paths[source] = 1, 1.0
    order = [source]
    shortest: list[tuple[int, int]] = []  # the edges of shortest paths, from near to far
    for node in order:
        further, here = distance[node] + 1, paths[node]
        for nearby in following[node]:
            known = distance[nearby]
            if known == 0:
                distance[nearby] = further
                paths[nearby] = here
                order.append(nearby)
                shortest.append((node, nearby))
            elif known == further:
                paths[nearby] += here
                shortest.append((node, nearby))
    if len(order) < 3:
        return
    share = [0.0] * len(following)
    for node, nearby in reversed(shortest):
        share[node] += paths[node] * (1.0 + share[nearby]) / paths[nearby]
    share[source] = 0.0
    for node in order:
        score[node] += share[node]
