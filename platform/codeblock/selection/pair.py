"""One scored pair as selection sees it, and what a strategy says about it.

Shapes: T tokens, I items, U units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.schema import TokenClass

EXTRA = ("nll_second", "prompt_attention", "edges", "input_ids")
"""Columns that some strategies and settings read besides."""
COLUMNS = ["id", "token_class", "token_item", "token_word", "item_reach", "item_bridge", "nll"]


@dataclass(frozen=True)
class PoolStatistics:
    """What a selection may know of all kept pairs together; each is found only where the settings ask for it (`survey`)."""

    pairs: int = 0
    noise_nll: float | None = None
    """A core logic token with a higher nll is noise."""
    word_pairs: NDArray[np.int32] | None = None
    """Pairs that have a word, by the word's bucket (`words.buckets`)."""


NO_POOL = PoolStatistics()


@dataclass(frozen=True)
class ScoredPair:
    """The columns of schema.SCORED that decide a selection, and what is known of all kept pairs."""

    id: str
    token_class: NDArray[np.uint8]  # [T]
    token_item: NDArray[np.int32]  # [T]
    token_word: NDArray[np.int32]  # [T]
    item_reach: NDArray[np.float32]  # [I]
    item_bridge: NDArray[np.float32]  # [I]
    nll: NDArray[np.float32]  # [T]
    nll_second: NDArray[np.float32] | None = None  # [T] of a second model, where a strategy needs one
    prompt_attention: NDArray[np.float32] | None = None  # [T] share of the attention that goes to the prompt
    edges: NDArray[np.int32] | None = None  # [2E] flat def, use, def, use ... items
    input_ids: NDArray[np.int32] | None = None  # [T]
    pool: PoolStatistics = NO_POOL

    @property
    def response(self) -> NDArray[np.bool_]:
        """Which tokens belong to the response, stop token included; bool[T]."""
        return np.not_equal(self.token_class, TokenClass.PROMPT)

    @classmethod
    def from_columns(cls, row: dict[str, Any], pool: PoolStatistics = NO_POOL) -> ScoredPair:
        """A row of schema.SCORED (a dictionary of lists or arrays)."""
        fields = cls.__dataclass_fields__
        given = [name for name in fields if name in _DTYPES and (name in COLUMNS or row.get(name) is not None)]
        arrays = {name: np.asarray(row[name], dtype=_DTYPES[name]) for name in given}
        return cls(id=row["id"], pool=pool, **arrays)


_DTYPES: dict[str, Any] = {
    "token_class": np.uint8,
    "token_item": np.int32,
    "token_word": np.int32,
    "item_reach": np.float32,
    "item_bridge": np.float32,
    "nll": np.float32,
    "nll_second": np.float32,
    "prompt_attention": np.float32,
    "edges": np.int32,
    "input_ids": np.int32,
}


def iter_pairs(scored: pa.Table, pool: PoolStatistics = NO_POOL) -> Iterator[ScoredPair]:
    """The rows of a scored table, each list column as a NumPy view; `pool`: what is known of all kept pairs."""
    ids = scored["id"].to_pylist()
    present = [name for name in (*COLUMNS[1:], *EXTRA) if name in scored.column_names]
    columns = {name: scored[name].to_numpy(zero_copy_only=False) for name in present}
    for row, id_ in enumerate(ids):
        yield ScoredPair.from_columns({"id": id_, **{name: values[row] for name, values in columns.items()}}, pool)


@dataclass(frozen=True)
class Units:
    """What a strategy may supervise in one pair: U units, each all or nothing, with a priority.

    The stop token is in no unit and comes with the first one of a pair, unless it is ranked (a unit of its own).
    """

    unit_of_token: NDArray[np.int32]  # [T], -1 where the token is never supervised
    priority: NDArray[np.float64]  # [U], higher is better
    tie: NDArray[np.float64]  # [U], decides between equal priorities
    text: NDArray[np.bool_]  # [U], paid for by the natural-language share

    @property
    def size(self) -> NDArray[np.int64]:
        """Tokens of each unit, int64[U]."""
        members = self.unit_of_token[self.unit_of_token >= 0]
        return np.bincount(members, minlength=self.priority.size)
