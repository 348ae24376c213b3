"""Which pairs are kept, and which are held out, of pairs in the order of their rank. METHOD: stage 1, rank and keep."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codeblock.core.draws import lottery
from codeblock.core.errors import CodeBlockError
from codeblock.core.shares import Shares
from codeblock.core.storage.tables import read_table
from codeblock.selection.mixture import kept_of_each

TRAIN, DEV = "train", "dev"
ROLES = ("", TRAIN, DEV)
"""What a kept pair can be for an arm; "" is a pair that it leaves out."""
DRAWN_AT_ONCE = 8192
"""Ids that are Python strings at a time while lots are drawn."""


@dataclass(frozen=True)
class Split:
    """Which pairs an arm trains on and which are held out; `pool_*` count all but `dev`.

    Shapes: R, the ranks that are looked at: the pairs of this split are among the first `reach`.
    """

    ids_R: pa.StringArray
    role_R: NDArray[np.uint8]
    """Place in ROLES."""
    pool_pairs: int
    pool_tokens: int
    """Response tokens of the pool."""
    kept_tokens: int
    """Response tokens of `train`."""

    @property
    def reach(self) -> int:
        return int(self.role_R.size)

    @cached_property
    def train(self) -> frozenset[str]:
        """Ids; some 150 bytes each, so not for what passes over all pairs."""
        return self._of(TRAIN)

    @cached_property
    def dev(self) -> frozenset[str]:
        return self._of(DEV)

    def count(self, role: str) -> int:
        """Pairs of a role."""
        return int((self.role_R == ROLES.index(role)).sum())

    def roles(self, start: int, ids: pa.ChunkedArray) -> NDArray[np.uint8]:
        """Place in ROLES of each pair of a part of the kept pairs, whose first has the rank `start`; "" below the kept share.

        Raises CodeBlockError where the part is not in the order of the ranking.
        """
        expected = self.ids_R.slice(start, len(ids))
        if not ids.combine_chunks().slice(0, len(expected)).equals(expected):
            raise CodeBlockError(f"kept pairs from rank {start} on are not those of the ranking; delete the step's directory")
        return np.concatenate([self.role_R[start : start + len(ids)], np.zeros(len(ids) - len(expected), np.uint8)])

    def _of(self, role: str) -> frozenset[str]:
        return frozenset(self.ids_R.filter(pa.array(self.role_R == ROLES.index(role))).to_pylist())


@dataclass(frozen=True)
class Ranked:
    """The pool, best pair first: ids and response tokens of N pairs."""

    ids: pa.StringArray
    tokens_N: NDArray[np.int64]
    dataset_N: NDArray[np.object_] | None = None
    """Names of the data sets, read where a budget goes by them."""

    @classmethod
    def of(cls, ids: Sequence[str], tokens_N: NDArray[np.int64], dataset_N: NDArray[np.object_] | None = None) -> Ranked:
        """From ids in the order of their rank."""
        return cls(pa.array(ids, pa.string()), tokens_N, dataset_N)

    @classmethod
    def read(cls, directory: Path, datasets: bool = False) -> Ranked:
        """From parts with schema RANKED, in any order."""
        table = read_table(directory, ["id", "tokens", "rank", *(["dataset"] if datasets else [])])
        order = pc.sort_indices(table["rank"])
        names = table["dataset"].take(order).to_numpy() if datasets else None
        tokens_N = table["tokens"].take(order).to_numpy().astype(np.int64)
        ids = table["id"].combine_chunks()
        del table  # of as many ids, two copies at a time and not four
        return cls(ids.take(order), tokens_N, names)

    def kept(self, shares: Shares, among: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Ranks that shares keep, among these (default: all), in order. Raises CodeBlockError for a data set without a pair."""
        ranks = np.arange(len(self.ids)) if among is None else among
        if not shares.mixture:
            return ranks[: shares.kept(self.tokens_N[ranks])]
        assert self.dataset_N is not None
        absent = sorted({name for name, _ in shares.mixture} - set(self.dataset_N))
        if absent:
            known = ", ".join(sorted({str(name) for name in self.dataset_N}))
            raise CodeBlockError(f"select.mixture.{absent[0]}: no pair is of that data set; there are {known}")
        return ranks[kept_of_each(shares, self.tokens_N[ranks], self.dataset_N[ranks])]

    def lotteries(self, seed: int, ranks: NDArray[np.int64]) -> Iterator[tuple[bytes, int]]:
        """The number of each of these ranks in a draw, and the rank."""
        for start in range(0, ranks.size, DRAWN_AT_ONCE):
            some = ranks[start : start + DRAWN_AT_ONCE]
            for identity, rank in zip(self.ids.take(pa.array(some)).to_pylist(), some.tolist(), strict=True):
                yield lottery(seed, identity), rank


def split_pairs(
    ranked: Ranked, shares: Shares, held_out: Shares, dev_pairs: int, seed: int, part: tuple[int, int] = (0, 1)
) -> Split:
    """Hold out `dev_pairs` (at most a tenth of the pool), keep the best of the rest.

    The held-out pairs are drawn by a seeded hash among the pairs that `held_out` would keep, so that they are as good as those
    that are trained on; it is the same for all arms of a run. `part` (number, of how many) keeps one of several equal parts of
    the kept pairs, drawn by the same hash.
    """
    count = len(ranked.ids)
    wanted = min(dev_pairs, count // 10)
    among = _held_out_among(ranked, held_out, wanted)
    dev = np.array([rank for _, rank in heapq.nsmallest(wanted, ranked.lotteries(seed, among))], dtype=np.int64)
    pool = np.delete(np.arange(count), dev)
    kept = ranked.kept(shares, pool)
    reach = 1 + max(int(kept.max(initial=-1)), int(dev.max(initial=-1)))
    number, of = part
    if of > 1:
        drawn = (int.from_bytes(draw, "big") % of for draw, _ in ranked.lotteries(seed, kept))
        kept = kept[np.fromiter(drawn, np.int64, kept.size) == number]
    role_R = np.zeros(reach, dtype=np.uint8)
    role_R[kept], role_R[dev] = ROLES.index(TRAIN), ROLES.index(DEV)
    return Split(
        ids_R=ranked.ids.slice(0, reach),
        role_R=role_R,
        pool_pairs=int(pool.size),
        pool_tokens=int(ranked.tokens_N[pool].sum()),
        kept_tokens=int(ranked.tokens_N[kept].sum()),
    )


def _held_out_among(ranked: Ranked, held_out: Shares, wanted: int) -> NDArray[np.int64]:
    """Ranks that held-out pairs are drawn from: what `held_out` keeps, and the best `wanted` of the others."""
    among = np.zeros(len(ranked.ids), dtype=bool)
    if wanted:
        among[ranked.kept(held_out)] = True
        among[np.flatnonzero(~among)[:wanted]] = True
    return np.flatnonzero(among)
