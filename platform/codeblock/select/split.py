"""Which pairs are kept, and which are held out. METHOD: stage 1, rank and keep."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codeblock.quality import factor_to_scale, quality_bin
from codeblock.tables import iter_rows, parts, read_part

TRAIN, DEV = "train", "dev"


@dataclass(frozen=True)
class Split:
    """Which pairs an arm trains on and which are held out; `pool_tokens` counts the response tokens of all but `dev`."""

    train: frozenset[str]
    dev: frozenset[str]
    pool_pairs: int
    pool_tokens: int

    def role(self, id_: str) -> str | None:
        """`train`, `dev`, or None for a pair below the kept share."""
        return DEV if id_ in self.dev else TRAIN if id_ in self.train else None


def split_pairs(
    scored: Path,
    subset_ratio: float,
    dev_pairs: int,
    seed: int,
    long_tail: Path | None = None,
    share: tuple[int, int] = (0, 1),
) -> Split:
    """Hold out the same `dev_pairs` in every arm (at most a tenth), keep the best `subset_ratio` of the rest.

    Best is the highest quality; with `long_tail` (schema LONG_TAIL) the highest bin of quality, 0 to 5, and in it the highest
    long-tail score. A pair without a quality comes after those that have one; equals are ordered by a seeded hash.
    `share` (number, of how many) keeps one of several equal parts of these, drawn by the same hash.
    """
    rows = [row for path in parts(scored) for row in _ranking(path, seed)]
    if long_tail is not None:
        rows = _by_bin_and_rarity(rows, long_tail)
    dev = {row.id for row in heapq.nsmallest(min(dev_pairs, len(rows) // 10), rows, key=lambda row: row.lottery)}
    pool = sorted(row for row in rows if row.id not in dev)
    kept = pool[: max(1, round(subset_ratio * len(pool)))]
    number, shares = share
    kept = [row for row in kept if int.from_bytes(row.lottery, "big") % shares == number]
    return Split(
        train=frozenset(row.id for row in kept),
        dev=frozenset(dev),
        pool_pairs=len(pool),
        pool_tokens=sum(row.tokens for row in pool),
    )


class _Ranked(NamedTuple):
    """A pair in the ranking, best first: lower values of the first three fields are better."""

    quality: float  # with its sign changed; infinite without one
    rarity: float  # the same of the long-tail score, 0 without one
    lottery: bytes
    id: str
    tokens: int


def _ranking(path: Path, seed: int) -> Iterator[_Ranked]:
    table = read_part(path, ["id", "quality", "input_ids", "response_start"])
    lengths = np.diff(table["input_ids"].combine_chunks().offsets.to_numpy()) if table.num_rows else []
    starts, qualities = table["response_start"].to_pylist(), table["quality"].to_pylist()
    for id_, quality, start, length in zip(table["id"].to_pylist(), qualities, starts, lengths, strict=True):
        lottery = hashlib.blake2b(f"{seed}:{id_}".encode(), digest_size=8).digest()
        known = quality is not None and not np.isnan(quality)
        yield _Ranked(-quality if known else np.inf, 0.0, lottery, id_, int(length) - start)


def _by_bin_and_rarity(rows: list[_Ranked], long_tail: Path) -> list[_Ranked]:
    """The rows with bins for qualities (the rule is in codeblock.quality) and their long-tail scores."""
    scores = {row["id"]: row["long_tail"] for row in iter_rows(long_tail)}
    factor = factor_to_scale(max((-row.quality for row in rows if row.quality < np.inf), default=0.0))
    return [
        row._replace(quality=-quality_bin(-row.quality, factor) if row.quality < np.inf else np.inf, rarity=-scores[row.id])
        for row in rows
    ]
