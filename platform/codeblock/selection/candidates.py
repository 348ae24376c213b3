"""Candidates: the units that a budget chooses from.

Shapes: U units and P pairs of one part of the table. A data set is a sequence of loads, one for each part; candidates are
loaded when they are looked at, never all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeblock.selection.pair import Units

Load = Callable[[], "Candidates"]
Chosen = NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """The units of the pairs of one part, side by side."""

    pair: NDArray[np.int64]  # [U] sorted, 0..P-1
    size: NDArray[np.int64]  # [U] tokens
    priority: NDArray[np.float64]  # [U] higher is better
    tie: NDArray[np.float64]  # [U] decides between equal priorities
    text: NDArray[np.bool_]  # [U] charged to the natural-language share
    tokens_P: NDArray[np.int64]  # [P] response tokens of each pair
    dataset_P: NDArray[np.object_] | None = None  # [P] name of each pair's data set, where that decides its budget

    @classmethod
    def of(
        cls, units: Sequence[Units], tokens_P: NDArray[np.int64], dataset_P: NDArray[np.object_] | None = None
    ) -> Candidates:
        """The units of pairs in order."""

        def join(arrays: list[NDArray[np.float64]]) -> NDArray[np.float64]:
            return np.concatenate([np.empty(0), *arrays])

        return cls(
            pair=np.repeat(np.arange(len(units)), [unit.priority.size for unit in units]),
            size=np.concatenate([np.empty(0, dtype=np.int64), *[unit.size for unit in units]]),
            priority=join([unit.priority for unit in units]),
            tie=join([unit.tie for unit in units]),
            text=np.concatenate([np.empty(0, dtype=bool), *[unit.text for unit in units]]),
            tokens_P=tokens_P,
            dataset_P=dataset_P,
        )

    def best_first(self) -> NDArray[np.int64]:
        """Order of the units by priority, then tie, then place."""
        return np.lexsort((np.arange(self.pair.size), -self.tie, -self.priority))

    def bounds(self) -> NDArray[np.int64]:
        """Where the units of each pair begin, int64[P + 1]."""
        return np.searchsorted(self.pair, np.arange(self.tokens_P.size + 1))

    def piece(self, units: slice, pair: int) -> Candidates:
        """The units of one pair."""
        return Candidates(
            np.zeros(units.stop - units.start, dtype=np.int64),
            self.size[units],
            self.priority[units],
            self.tie[units],
            self.text[units],
            self.tokens_P[pair : pair + 1],
        )

    def only(self, members_P: NDArray[np.bool_]) -> Candidates:
        """The units of some pairs (bool[P])."""
        units = members_P[self.pair]
        numbers_P = np.cumsum(members_P) - 1
        return Candidates(
            numbers_P[self.pair[units]],
            self.size[units],
            self.priority[units],
            self.tie[units],
            self.text[units],
            self.tokens_P[members_P],
        )

    def opened(self, chosen: Chosen) -> NDArray[np.bool_]:
        """Which pairs have a chosen unit, bool[P]."""
        return np.bincount(self.pair[chosen], minlength=self.tokens_P.size) > 0


def supervised_tokens(candidates: Candidates, chosen: Chosen, supervise_eos: bool) -> int:
    """Tokens that a choice supervises, stop tokens included."""
    return int(candidates.size[chosen].sum()) + (int(candidates.opened(chosen).sum()) if supervise_eos else 0)


def take(
    candidates: Candidates,
    order: NDArray[np.int64],
    left: int,
    chosen: Chosen,
    opened_P: NDArray[np.bool_],
    supervise_eos: bool,
) -> int:
    """Mark units of `order` in `chosen` while they cost at most `left` tokens; returns what is left then.

    A unit that does not fit is skipped. `opened_P` are the pairs whose stop token is counted already; it is brought up to date.
    Until the first unit that does not fit, the cost is a running sum; from there on units are tried one by one.
    """
    order = order[~chosen[order]]
    pairs = candidates.pair[order]
    cost = candidates.size[order].copy()
    if supervise_eos:
        _, first = np.unique(pairs, return_index=True)
        cost[first[~opened_P[pairs[first]]]] += 1
    fits = int(np.searchsorted(np.cumsum(cost), left, side="right"))
    chosen[order[:fits]] = True
    opened_P[pairs[:fits]] = True
    left -= int(cost[:fits].sum())
    for unit, pair, size in zip(
        order[fits:].tolist(), pairs[fits:].tolist(), candidates.size[order[fits:]].tolist(), strict=True
    ):
        if left <= 0:
            break
        asked = size + int(supervise_eos and not opened_P[pair])
        if asked <= left:
            chosen[unit] = True
            opened_P[pair] = True
            left -= asked
    return left
