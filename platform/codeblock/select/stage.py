"""The stage `selected`: keep the best pairs, hold some out, and write the weights of one arm."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from codeblock.config import SelectConfig
from codeblock.errors import CodeBlockError
from codeblock.quality import factor_to_scale, quality_bin
from codeblock.schema import SELECTED
from codeblock.select.pair import COLUMNS, ScoredPair, iter_pairs
from codeblock.select.selection import Selection, select
from codeblock.tables import iter_rows, parts, read_part, write_part


@dataclass(frozen=True)
class Split:
    """Which pairs an arm trains on and which are held out; `pool_tokens` counts the response tokens of all but `dev`."""

    train: frozenset[str]
    dev: frozenset[str]
    pool_pairs: int
    pool_tokens: int


def select_parts(
    scored: Path,
    output: Path,
    strategy: str,
    settings: SelectConfig,
    dev_pairs: int,
    seed: int,
    long_tail: Path | None = None,
) -> dict[str, Any]:
    """Select over all parts of `scored`, write `output` with the same part names (schema SELECTED); returns the facts.

    `long_tail`: directory of the pairs' long-tail scores, which rank pairs of equal quality. Raises CodeBlockError where no
    token was selected.
    """
    split = split_pairs(scored, settings.subset_ratio, dev_pairs, seed, long_tail)
    train = select(_pairs(scored, split.train), strategy, settings, seed=seed, pool_tokens=split.pool_tokens)
    dev = _select_dev(scored, split, strategy, settings, seed)
    if train.supervised_tokens == 0:
        raise CodeBlockError(
            f"strategy {strategy}: no supervised token among {len(split.train)} pairs "
            f"({train.asked_tokens} tokens asked); raise select.token_budget or select.subset_ratio"
        )
    _write(scored, output, split, train, dev)
    return {
        "pool_pairs": split.pool_pairs,
        "pool_tokens": split.pool_tokens,
        "kept_pairs": len(split.train),
        "below_subset_ratio": split.pool_pairs - len(split.train),
        "dev_pairs": len(split.dev),
        "supervised_pairs": train.supervised_pairs,
        "unsupervised_pairs": len(split.train) - train.supervised_pairs,
        "supervised_tokens": train.supervised_tokens,
        "asked_tokens": train.asked_tokens,
        "supervised_share": train.supervised_tokens / split.pool_tokens,
        "asked_share": settings.token_budget if train.asked_tokens is not None else None,
    }


def split_pairs(scored: Path, subset_ratio: float, dev_pairs: int, seed: int, long_tail: Path | None = None) -> Split:
    """Hold out the same `dev_pairs` in every arm (at most a tenth), keep the best `subset_ratio` of the rest.

    Best is the highest quality; with `long_tail` (schema LONG_TAIL) the highest bin of quality, 0 to 5, and in it the highest
    long-tail score. A pair without a quality comes after those that have one; equals are ordered by a
    seeded hash.
    """
    rows = [row for path in parts(scored) for row in _ranking(path, seed)]
    if long_tail is not None:
        rows = _by_bin_and_rarity(rows, long_tail)
    dev = {row.id for row in heapq.nsmallest(min(dev_pairs, len(rows) // 10), rows, key=lambda row: row.lottery)}
    pool = sorted(row for row in rows if row.id not in dev)
    kept = pool[: max(1, round(subset_ratio * len(pool)))]
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


def _pairs(scored: Path, ids: frozenset[str]) -> Iterator[ScoredPair]:
    for path in parts(scored):
        for pair in iter_pairs(read_part(path, COLUMNS)):
            if pair.id in ids:
                yield pair


def _select_dev(scored: Path, split: Split, strategy: str, settings: SelectConfig, seed: int) -> Selection:
    """The held-out pairs under the same rule, at the density that the kept pairs have."""
    pairs = list(_pairs(scored, split.dev))
    tokens = sum(int(pair.response.sum()) for pair in pairs)
    density = min(1.0, settings.token_budget / (len(split.train) / split.pool_pairs))
    carried = settings.model_copy(update={"token_budget": density, "scope": "dataset"})
    return select(pairs, strategy, carried, seed=seed, pool_tokens=tokens or 1)


def _write(scored: Path, output: Path, split: Split, train: Selection, dev: Selection) -> None:
    """Pairs with a supervised token, and all held-out ones."""
    train_weights, dev_weights = iter(train.weights), iter(dev.weights)
    for path in parts(scored):
        table = read_part(path, ["id", "input_ids", "token_class"])
        rows: list[int] = []
        splits: list[str] = []
        weights: list[Any] = []
        for row, id_ in enumerate(table["id"].to_pylist()):
            if id_ in split.dev:
                weight, name = next(dev_weights), "dev"
            elif id_ in split.train:
                weight, name = next(train_weights), "train"
            else:
                continue
            if name == "dev" or weight.any():
                rows.append(row)
                splits.append(name)
                weights.append(weight)
        kept = table.take(pa.array(rows, pa.int64()))
        kept = kept.append_column("split", pa.array(splits, pa.string()))
        kept = kept.append_column("weight", pa.array(weights, SELECTED.field("weight").type, from_pandas=False))
        write_part(output / path.name, kept.select(SELECTED.names).cast(SELECTED))
