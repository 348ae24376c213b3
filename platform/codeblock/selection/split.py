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
from codeblock.core.shares import Shares
from codeblock.core.storage.tables import read_table

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

    @classmethod
    def read(cls, directory: Path) -> Ranked:
        """From parts with schema RANKED, in any order."""
        table = read_table(directory, ["id", "tokens", "rank"])
        table = table.take(pc.sort_indices(table["rank"]))
        return cls(table["id"].to_pylist(), table["tokens"].to_numpy().astype(np.int64))


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
    among = min(count, held_out.kept(ranked.tokens_N) + wanted) if wanted else 0
    draws = {rank: lottery(seed, ranked.ids[rank]) for rank in range(among)}
    dev = set(heapq.nsmallest(wanted, draws, key=draws.__getitem__))
    pool = np.array([rank for rank in range(count) if rank not in dev], dtype=np.int64)
    tokens_N = ranked.tokens_N[pool]
    kept = pool[: shares.kept(tokens_N)].tolist()
    reach = 1 + max([*kept, *dev], default=-1)
    number, of = part
    if of > 1:
        kept = [rank for rank in kept if int.from_bytes(lottery(seed, ranked.ids[rank]), "big") % of == number]
    return Split(
        train=frozenset(ranked.ids[rank] for rank in kept),
        dev=frozenset(ranked.ids[rank] for rank in dev),
        pool_pairs=int(pool.size),
        pool_tokens=int(tokens_N.sum()),
        kept_tokens=int(ranked.tokens_N[kept].sum()),
        reach=reach,
    )
