"""One ranking over shelves that do not fit in memory together: the cut is found by histograms that can be merged.

A histogram of prices over the priorities says in which bin the budget ends; that bin is cut into finer ones until few enough
units are left to be gathered and tried one by one. Equal priorities are told apart by the tie, equal ties by the place.
Each pass sees one shelf at a time, and histograms of different shelves add up: 4096 numbers whatever the size of the data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codeblock.selection.shelf import Chosen, Load, Shelf, take

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
class _Candidates:
    """The units of one shelf that may be taken: their numbers, prices and keys."""

    shelf: Shelf
    units: NDArray[np.int64]
    price: NDArray[np.int64]
    keys: list[Keys]


def take_best(shelves: Sequence[Load], chosen: list[Chosen], text: bool, left: int, supervise_eos: bool) -> int:
    """Mark the best units (code, or text in pairs that are opened) for `left` tokens in `chosen`; returns what is left.

    Equal to walking all units best first and taking what fits, but for units beyond the gathered ones that would still fit
    into the last few tokens.
    """
    if left <= 0:
        return left
    cut = _Cut((0,) * LEVELS, (2**64 - 1, 2**64 - 1, len(shelves) - 1))
    prices, counts, shift = _histogram(shelves, chosen, cut, text, supervise_eos)
    while counts.sum() > GATHERED and cut.level < LEVELS:
        bin_ = _bin_at(prices, left)
        if bin_ is None:
            break
        left -= int(prices[bin_ + 1 :].sum())
        cut = cut.narrowed(bin_, shift)
        prices, counts, shift = _histogram(shelves, chosen, cut, text, supervise_eos)
    if counts.sum() > GATHERED and _bin_at(prices, left) is None:
        return _take_all(shelves, chosen, cut, text, supervise_eos, left - int(prices.sum()))
    return _take_gathered(shelves, chosen, cut, text, supervise_eos, left)


def _candidates(shelves: Sequence[Load], chosen: list[Chosen], place: int, text: bool, supervise_eos: bool) -> _Candidates:
    shelf = shelves[place]()
    opened_P = shelf.opened(chosen[place])
    # A unit without a token (an item that no token falls on) buys nothing, but would open its pair.
    wanted = (shelf.text == text) & ~chosen[place] & (shelf.size > 0)
    if text:
        wanted &= opened_P[shelf.pair]
    units = np.flatnonzero(wanted)
    price = shelf.size[units].copy()
    if supervise_eos and not text:
        order = units[np.lexsort((units, -shelf.tie[units], -shelf.priority[units]))]
        pairs, first = np.unique(shelf.pair[order], return_index=True)
        price[np.searchsorted(units, order[first[~opened_P[pairs]]])] += 1
    keys = [_key(shelf.priority[units]), _key(shelf.tie[units]), np.full(units.size, len(shelves) - 1 - place, np.uint64)]
    return _Candidates(shelf, units, price, keys)


def _key(values: NDArray[np.float64]) -> Keys:
    """Unsigned integers in the order of the floats (negative zero taken for zero)."""
    bits = (values + 0.0).view(np.uint64)
    sign = np.uint64(1 << 63)
    return np.where(bits & sign, ~bits, bits | sign)


def _histogram(
    shelves: Sequence[Load], chosen: list[Chosen], cut: _Cut, text: bool, supervise_eos: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Prices and numbers of the units inside the cut, by bins of its level; and the width of a bin in bits."""
    level = min(cut.level, LEVELS - 1)
    shift = max(0, (cut.high[level] - cut.low[level]).bit_length() - BINS)
    prices, counts = np.zeros(1 << BINS, dtype=np.int64), np.zeros(1 << BINS, dtype=np.int64)
    for place in range(len(shelves)):
        found = _candidates(shelves, chosen, place, text, supervise_eos)
        _, inside = cut.sides(found.keys)
        bins = ((found.keys[level][inside] - np.uint64(cut.low[level])) >> np.uint64(shift)).astype(np.int64)
        prices += np.bincount(bins, weights=found.price[inside], minlength=prices.size).astype(np.int64)
        counts += np.bincount(bins, minlength=counts.size)
    return prices, counts, shift


def _bin_at(prices: NDArray[np.int64], left: int) -> int | None:
    """The bin in which the budget ends, counted from the highest; None where all fit."""
    spent = np.cumsum(prices[::-1])
    return None if spent[-1] <= left else prices.size - 1 - int(np.searchsorted(spent, left, side="right"))


def _take_all(shelves: Sequence[Load], chosen: list[Chosen], cut: _Cut, text: bool, supervise_eos: bool, left: int) -> int:
    for place in range(len(shelves)):
        found = _candidates(shelves, chosen, place, text, supervise_eos)
        above, inside = cut.sides(found.keys)
        chosen[place][found.units[above | inside]] = True
    return left


def _take_gathered(shelves: Sequence[Load], chosen: list[Chosen], cut: _Cut, text: bool, supervise_eos: bool, left: int) -> int:
    """Take what is above the cut; gather what is inside and take of it what fits, best first."""
    gathered: list[_Gathered] = []
    for place in range(len(shelves)):
        found = _candidates(shelves, chosen, place, text, supervise_eos)
        above, inside = cut.sides(found.keys)
        chosen[place][found.units[above]] = True
        if inside.any():
            gathered.append(_Gathered.of(place, found.shelf, found.units[inside], chosen[place]))
    if not gathered:
        return left
    shelf, opened_P = _side_by_side(gathered)
    taken = np.zeros(shelf.pair.size, dtype=bool)
    left = take(shelf, shelf.best_first(), left, taken, opened_P, supervise_eos)
    start = 0
    for each in gathered:
        chosen[each.place][each.units[taken[start : start + each.units.size]]] = True
        start += each.units.size
    return left


@dataclass
class _Gathered:
    """Some units of one shelf, with pairs of their own numbers; the shelf itself is let go."""

    place: int
    units: NDArray[np.int64]
    shelf: Shelf
    opened_P: NDArray[np.bool_]

    @classmethod
    def of(cls, place: int, shelf: Shelf, units: NDArray[np.int64], chosen: Chosen) -> _Gathered:
        pairs, local = np.unique(shelf.pair[units], return_inverse=True)
        few = Shelf(local, shelf.size[units], shelf.priority[units], shelf.tie[units], shelf.text[units], shelf.tokens_P[pairs])
        return cls(place, units, few, shelf.opened(chosen)[pairs])


def _side_by_side(gathered: list[_Gathered]) -> tuple[Shelf, NDArray[np.bool_]]:
    """One shelf of all of them, and which of its pairs are opened."""
    shelves = [each.shelf for each in gathered]
    bases = np.cumsum([0, *[shelf.tokens_P.size for shelf in shelves[:-1]]])
    shelf = Shelf(
        pair=np.concatenate([shelf.pair + base for shelf, base in zip(shelves, bases, strict=True)]),
        size=np.concatenate([shelf.size for shelf in shelves]),
        priority=np.concatenate([shelf.priority for shelf in shelves]),
        tie=np.concatenate([shelf.tie for shelf in shelves]),
        text=np.concatenate([shelf.text for shelf in shelves]),
        tokens_P=np.concatenate([shelf.tokens_P for shelf in shelves]),
    )
    return shelf, np.concatenate([each.opened_P for each in gathered])
