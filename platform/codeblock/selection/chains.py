"""Complete def-use chains [ours]: an item that is selected brings the items that define what it uses.

The failures of thin masks are names that nothing defined. An item's rank goes back along its edges, so that definers rank
with their best user and, standing before it in the source, are taken before it: still one ranking of whole items.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def bring_definers(priority_I: Floats, tie_I: Floats, edges: NDArray[np.int32]) -> tuple[Floats, Floats]:
    """Priority and tie of each item, at least those of the best item that can be reached from it; both float64[I].

    `edges`: int32[2E], flat def, use, def, use ...; cycles are allowed. Equal ranks of one pair are taken in the order of the
    source, in which a definition stands before its use but for functions that are defined below their call.
    """
    definers: list[list[int]] = [[] for _ in range(priority_I.size)]
    for definer, user in edges.reshape(-1, 2).tolist():
        definers[user].append(definer)
    priority, tie = priority_I.copy(), tie_I.copy()
    done = np.zeros(priority.size, dtype=bool)
    for best in np.lexsort((-tie_I, -priority_I)).tolist():
        todo = [best]
        while todo:
            item = todo.pop()
            if not done[item]:
                done[item] = True
                priority[item], tie[item] = priority_I[best], tie_I[best]
                todo += definers[item]
    return priority, tie
