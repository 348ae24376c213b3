"""One ranking over loads that do not fit in memory together: the cut is found by histograms that can be merged.

A histogram of costs over the priorities says in which bin the budget ends; that bin is cut into finer ones until few enough
units are left to be gathered and tried one by one. Equal priorities are told apart by the tie, equal ties by the place.
Each pass sees one candidates at a time, and histograms of different loads add up: 4096 numbers whatever the size of the data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codeblock.selection.candidates import Candidates, Chosen, Load, take

BINS = 12
"""Bits by which one pass narrows the cut."""
GATHERED = 200_000
"""So many units at the cut are looked at one by one."""

Keys = NDArray[np.uint64]
LEVELS = 3


@dataclass(frozen=True)
class _Cut:
    """A range of keys at each level; a level counts only where the ones before have narrowed to a single key."""

    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def level(self) -> int:
        return next((level for level in range(LEVELS) if self.low[level] < self.high[level]), LEVELS)

    def sides(self, keys: Sequence[Keys]) -> tuple[Chosen, Chosen]:
        """Which units are above the range, and which inside."""
        above, inside = np.zeros(keys[0].size, dtype=bool), np.ones(keys[0].size, dtype=bool)
        for level, key in enumerate(keys):
            low, high = np.uint64(self.low[level]), np.uint64(self.high[level])
            above |= inside & (key > high)
            inside &= (key >= low) & (key <= high)
        return above, inside

    def narrowed(self, bin_: int, shift: int) -> _Cut:
        at = self.level
        low = self.low[at] + (bin_ << shift)
        high = min(self.high[at], low + (1 << shift) - 1)
        return replace(
            self,
            low=(*self.low[:at], low, *self.low[at + 1 :]),
            high=(*self.high[:at], high, *self.high[at + 1 :]),
        )


@dataclass
class _Eligible:
    """The units of one candidates that may be taken: their numbers, costs and keys."""

    candidates: Candidates
    units: NDArray[np.int64]
    cost: NDArray[np.int64]
    keys: list[Keys]


def take_best(loads: Sequence[Load], chosen: list[Chosen], text: bool, left: int, supervise_eos: bool) -> int:
    """Mark the best units (code, or text in pairs that are opened) for `left` tokens in `chosen`; returns what is left.

    Equal to walking all units best first and taking what fits, but for units beyond the gathered ones that would still fit
    into the last few tokens.
    """
    if left <= 0:
        return left
    cut = _Cut((0,) * LEVELS, (2**64 - 1, 2**64 - 1, len(loads) - 1))
    costs, counts, shift = _histogram(loads, chosen, cut, text, supervise_eos)
    while counts.sum() > GATHERED and cut.level < LEVELS:
        bin_ = _bin_at(costs, left)
        if bin_ is None:
            break
        left -= int(costs[bin_ + 1 :].sum())
        cut = cut.narrowed(bin_, shift)
        costs, counts, shift = _histogram(loads, chosen, cut, text, supervise_eos)
    if counts.sum() > GATHERED and _bin_at(costs, left) is None:
        return _take_all(loads, chosen, cut, text, supervise_eos, left - int(costs.sum()))
    return _take_gathered(loads, chosen, cut, text, supervise_eos, left)


def _eligible(loads: Sequence[Load], chosen: list[Chosen], place: int, text: bool, supervise_eos: bool) -> _Eligible:
    candidates = loads[place]()
    opened_P = candidates.opened(chosen[place])
    # A unit without a token (an item that no token falls on) buys nothing, but would open its pair.
    wanted = (candidates.text == text) & ~chosen[place] & (candidates.size > 0)
    if text:
        wanted &= opened_P[candidates.pair]
    units = np.flatnonzero(wanted)
    cost = candidates.size[units].copy()
    if supervise_eos and not text:
        order = units[np.lexsort((units, -candidates.tie[units], -candidates.priority[units]))]
        pairs, first = np.unique(candidates.pair[order], return_index=True)
        cost[np.searchsorted(units, order[first[~opened_P[pairs]]])] += 1
    keys = [
        _key(candidates.priority[units]),
        _key(candidates.tie[units]),
        np.full(units.size, len(loads) - 1 - place, np.uint64),
    ]
    return _Eligible(candidates, units, cost, keys)


def _key(values: NDArray[np.float64]) -> Keys:
    """Unsigned integers in the order of the floats (negative zero taken for zero)."""
    bits = (values + 0.0).view(np.uint64)
    sign = np.uint64(1 << 63)
    return np.where(bits & sign, ~bits, bits | sign)


def _histogram(
    loads: Sequence[Load], chosen: list[Chosen], cut: _Cut, text: bool, supervise_eos: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Prices and numbers of the units inside the cut, by bins of its level; and the width of a bin in bits."""
    level = min(cut.level, LEVELS - 1)
    shift = max(0, (cut.high[level] - cut.low[level]).bit_length() - BINS)
    costs, counts = np.zeros(1 << BINS, dtype=np.int64), np.zeros(1 << BINS, dtype=np.int64)
    for place in range(len(loads)):
        found = _eligible(loads, chosen, place, text, supervise_eos)
        _, inside = cut.sides(found.keys)
        bins = ((found.keys[level][inside] - np.uint64(cut.low[level])) >> np.uint64(shift)).astype(np.int64)
        costs += np.bincount(bins, weights=found.cost[inside], minlength=costs.size).astype(np.int64)
        counts += np.bincount(bins, minlength=counts.size)
    return costs, counts, shift


def _bin_at(costs: NDArray[np.int64], left: int) -> int | None:
    """The bin in which the budget ends, counted from the highest; None where all fit."""
    spent = np.cumsum(costs[::-1])
    return None if spent[-1] <= left else costs.size - 1 - int(np.searchsorted(spent, left, side="right"))


def _take_all(loads: Sequence[Load], chosen: list[Chosen], cut: _Cut, text: bool, supervise_eos: bool, left: int) -> int:
    for place in range(len(loads)):
        found = _eligible(loads, chosen, place, text, supervise_eos)
        above, inside = cut.sides(found.keys)
        chosen[place][found.units[above | inside]] = True
    return left


def _take_gathered(loads: Sequence[Load], chosen: list[Chosen], cut: _Cut, text: bool, supervise_eos: bool, left: int) -> int:
    """Take what is above the cut; gather what is inside and take of it what fits, best first."""
    gathered: list[_Gathered] = []
    for place in range(len(loads)):
        found = _eligible(loads, chosen, place, text, supervise_eos)
        above, inside = cut.sides(found.keys)
        chosen[place][found.units[above]] = True
        if inside.any():
            gathered.append(_Gathered.of(place, found.candidates, found.units[inside], chosen[place]))
    if not gathered:
        return left
    candidates, opened_P = _side_by_side(gathered)
    taken = np.zeros(candidates.pair.size, dtype=bool)
    left = take(candidates, candidates.best_first(), left, taken, opened_P, supervise_eos)
    start = 0
    for each in gathered:
        chosen[each.place][each.units[taken[start : start + each.units.size]]] = True
        start += each.units.size
    return left


@dataclass
class _Gathered:
    """Some units of one candidates, with pairs of their own numbers; the candidates itself is let go."""

    place: int
    units: NDArray[np.int64]
    candidates: Candidates
    opened_P: NDArray[np.bool_]

    @classmethod
    def of(cls, place: int, candidates: Candidates, units: NDArray[np.int64], chosen: Chosen) -> _Gathered:
        pairs, local = np.unique(candidates.pair[units], return_inverse=True)
        few = Candidates(
            local,
            candidates.size[units],
            candidates.priority[units],
            candidates.tie[units],
            candidates.text[units],
            candidates.tokens_P[pairs],
        )
        return cls(place, units, few, candidates.opened(chosen)[pairs])


def _side_by_side(gathered: list[_Gathered]) -> tuple[Candidates, NDArray[np.bool_]]:
    """One candidates of all of them, and which of its pairs are opened."""
    loads = [each.candidates for each in gathered]
    bases = np.cumsum([0, *[candidates.tokens_P.size for candidates in loads[:-1]]])
    candidates = Candidates(
        pair=np.concatenate([candidates.pair + base for candidates, base in zip(loads, bases, strict=True)]),
        size=np.concatenate([candidates.size for candidates in loads]),
        priority=np.concatenate([candidates.priority for candidates in loads]),
        tie=np.concatenate([candidates.tie for candidates in loads]),
        text=np.concatenate([candidates.text for candidates in loads]),
        tokens_P=np.concatenate([candidates.tokens_P for candidates in loads]),
    )
    return candidates, np.concatenate([each.opened_P for each in gathered])
