"""The stage `filtered` as plain functions on a table of pairs, in two passes.

`screen` judges each row by itself and signs the rows that pass; between the passes the near duplicates are found among all of
them; `finish` takes those out, has the rest rated, and applies the least quality to what was rated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codeblock.core.config import FilterConfig
from codeblock.core.schema import PAIRS, REJECTED, Reason
from codeblock.data.filter.contamination import Index
from codeblock.data.filter.minhash import signatures
from codeblock.data.filter.rating import Rating
from codeblock.data.filter.words import Messages, last_request, pair_text, words

RATINGS: pa.Schema = pa.schema([("id", pa.string()), ("quality", pa.float32()), ("failure", pa.string())])

Rate = Callable[[list[Messages], list[str]], list[Rating]]


@dataclass(frozen=True)
class Screened:
    """What `screen` found: the rows that passed, their signatures (uint32[rows, 128], None where not asked for), the others."""

    kept: NDArray[np.int32]
    signatures: NDArray[np.uint32] | None
    rejected: pa.Table


@dataclass(frozen=True)
class NearDuplicate:
    """The pair that is kept for a near duplicate, and the estimate of their Jaccard similarity."""

    id: str
    jaccard: float


def screen(pairs: pa.Table, config: FilterConfig, index: Index | None) -> Screened:
    """Contamination, the least quality where nothing is rated, and signatures, for a table of pairs (schema PAIRS)."""
    messages, responses = pairs["messages"].to_pylist(), pairs["response"].to_pylist()
    kept: list[int] = []
    rejected: list[dict[str, Any]] = []
    texts = [words(pair_text(turns, response)) for turns, response in zip(messages, responses, strict=True)]
    for row, quality in enumerate(pairs["quality"].to_pylist()):
        found = index.find(texts[row], words(last_request(messages[row]))) if index else None
        if found is not None:
            rejected.append(_rejection(pairs, row, Reason.CONTAMINATED, found))
        elif config.rating is None and below(quality, config.min_quality):
            rejected.append(_rejection(pairs, row, Reason.BELOW_MIN_QUALITY, f"quality {quality:g}"))
        else:
            kept.append(row)
    signed = signatures(texts[row] for row in kept) if config.near_duplicates is not None else None
    return Screened(np.array(kept, dtype=np.int32), signed, pa.Table.from_pylist(rejected, schema=REJECTED))


def finish(
    pairs: pa.Table, config: FilterConfig, duplicates: Mapping[int, NearDuplicate], rate: Rate | None, factor: float
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Take the near duplicates (by row number) out of a table of screened pairs and rate what is left.

    `factor` brings the quality of the data to 0..5 where pairs are rated. Returns the pairs that are kept (schema PAIRS), the
    rejected rows (schema REJECTED) and what the endpoint said (RATINGS, empty without one).
    """
    rejected = [
        _rejection(pairs, row, Reason.NEAR_DUPLICATE, f"of {duplicate.id}, Jaccard {duplicate.jaccard:.2f}")
        for row, duplicate in duplicates.items()
    ]
    kept = pairs.take(pa.array([row for row in range(pairs.num_rows) if row not in duplicates], pa.int64()))
    ratings = RATINGS.empty_table()
    if rate is not None:
        kept, ratings = _rated(kept, config, rate, factor)
        poor = [row for row, quality in enumerate(kept["quality"].to_pylist()) if below(quality, config.min_quality)]
        rejected += [
            _rejection(kept, row, Reason.BELOW_MIN_QUALITY, f"quality {kept['quality'][row].as_py():g}") for row in poor
        ]
        kept = kept.take(pa.array(sorted(set(range(kept.num_rows)) - set(poor)), pa.int64()))
    return kept.select(PAIRS.names).cast(PAIRS), pa.Table.from_pylist(rejected, schema=REJECTED), ratings


def below(quality: float | None, least: float | None) -> bool:
    """Whether a pair has a quality, and it is too low."""
    return quality is not None and least is not None and quality < least


def _rated(pairs: pa.Table, config: FilterConfig, rate: Rate, factor: float) -> tuple[pa.Table, pa.Table]:
    quality = pc.multiply(pairs["quality"], pa.scalar(factor, pa.float32())).to_pylist()
    asked = [row for row, value in enumerate(quality) if _rerated(config, value)]
    chosen = pairs.take(pa.array(asked, pa.int64()))
    ratings = rate(chosen["messages"].to_pylist(), chosen["response"].to_pylist())
    for row, rating in zip(asked, ratings, strict=True):
        quality[row] = quality[row] if rating.quality is None else rating.quality
    told = [chosen["id"], [rating.quality for rating in ratings], [rating.failure for rating in ratings]]
    column = pairs.schema.get_field_index("quality")
    return pairs.set_column(column, "quality", pa.array(quality, pa.float32())), pa.table(told, schema=RATINGS)


def _rerated(config: FilterConfig, quality: float | None) -> bool:
    return config.rating is not None and (quality is None or config.rating.overwrite)


def _rejection(pairs: pa.Table, row: int, reason: Reason, detail: str) -> dict[str, Any]:
    place = {name: pairs[name][row].as_py() for name in ("id", "source")}
    return {**place, "stage": "filtered", "reason": reason.value, "detail": detail}
