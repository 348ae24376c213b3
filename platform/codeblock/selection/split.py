"""Which pairs are kept, and which are held out, of pairs in the order of their rank. METHOD: stage 1, rank and keep."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from codeblock.core.draws import lottery
from codeblock.core.errors import CodeBlockError
from codeblock.core.shares import Shares
from codeblock.core.storage.tables import read_table
from codeblock.selection.mixture import kept_of_each

TRAIN, DEV = "train", "dev"


@dataclass(frozen=True)
class Split:
    """Which pairs an arm trains on and which are held out; `pool_*` count all but `dev`."""

    train: frozenset[str]
    dev: frozenset[str]
    pool_pairs: int
    pool_tokens: int
    """Response tokens of the pool."""
    kept_tokens: int
    """Response tokens of `train`."""
    reach: int
    """Ranks that are looked at: the pairs of this split are among the first `reach`."""

    def role(self, id_: str) -> str | None:
        """`train`, `dev`, or None for a pair below the kept share."""
        return DEV if id_ in self.dev else TRAIN if id_ in self.train else None


@dataclass(frozen=True)
class Ranked:
    """The pool, best pair first: ids and response tokens of N pairs."""

    ids: Sequence[str]
    tokens_N: NDArray[np.int64]
    dataset_N: NDArray[np.object_] | None = None
    """Names of the data sets, read where a budget goes by them."""

    @classmethod
    def read(cls, directory: Path, datasets: bool = False) -> Ranked:
        """From parts with schema RANKED, in any order."""
        table = read_table(directory, ["id", "tokens", "rank", *(["dataset"] if datasets else [])])
        table = table.take(pc.sort_indices(table["rank"]))
        names = table["dataset"].to_numpy() if datasets else None
        return cls(table["id"].to_pylist(), table["tokens"].to_numpy().astype(np.int64), names)

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
    draws = {rank: lottery(seed, ranked.ids[rank]) for rank in _held_out_among(ranked, held_out, wanted)}
    dev = set(heapq.nsmallest(wanted, draws, key=draws.__getitem__))
    pool = np.array([rank for rank in range(count) if rank not in dev], dtype=np.int64)
    kept = ranked.kept(shares, pool).tolist()
    reach = 1 + max([*kept, *dev], default=-1)
    number, of = part
    if of > 1:
        kept = [rank for rank in kept if int.from_bytes(lottery(seed, ranked.ids[rank]), "big") % of == number]
    return Split(
        train=frozenset(ranked.ids[rank] for rank in kept),
        dev=frozenset(ranked.ids[rank] for rank in dev),
        pool_pairs=int(pool.size),
        pool_tokens=int(ranked.tokens_N[pool].sum()),
        kept_tokens=int(ranked.tokens_N[kept].sum()),
        reach=reach,
    )


def _held_out_among(ranked: Ranked, held_out: Shares, wanted: int) -> list[int]:
    """Ranks that held-out pairs are drawn from: what `held_out` keeps, and the best `wanted` of the others."""
    if not wanted:
        return []
    kept = ranked.kept(held_out)
    others = np.setdiff1d(np.arange(len(ranked.ids)), kept)[:wanted]
    return sorted([*kept.tolist(), *others.tolist()])
