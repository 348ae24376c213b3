"""From a selected table to pairs worth training on: trimmed, supervised, counted.

Shape legend: T tokens of a rendered pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import tables
from codeblock.core.supervised import COLUMN, supervised

COLUMNS = ["id", "split", "input_ids", "token_class", "weight", COLUMN]


@dataclass(frozen=True, slots=True)
class TokenPair:
    """One rendered pair. The token at position t is predicted at t-1, so T tokens are T-1 inputs of the model."""

    id: str
    input_ids_T: NDArray[np.int32]
    token_class_T: NDArray[np.uint8]
    weight_T: NDArray[np.float32]
    selected_T: NDArray[np.bool_] = None  # type: ignore[assignment]
    """Which tokens were chosen; left out, those that have a weight."""

    def __post_init__(self) -> None:
        if self.selected_T is None:
            object.__setattr__(self, "selected_T", self.weight_T > 0)

    @property
    def inputs(self) -> int:
        """Positions that the model computes for this pair."""
        return len(self.input_ids_T) - 1

    @property
    def supervised(self) -> int:
        """Chosen tokens. The first token has no position that predicts it and never counts."""
        return int(np.count_nonzero(self.selected_T[1:]))

    @property
    def with_loss(self) -> int:
        """Tokens with a weight above 0: the chosen ones, and with `select.background_weight` the others of the response."""
        return int(np.count_nonzero(self.weight_T[1:]))

    @property
    def weight(self) -> float:
        """Sum of the weights, in float64."""
        return float(self.weight_T[1:].sum(dtype=np.float64))


@dataclass(slots=True)
class Trimming:
    """What exact trimming and dropping saved, in inputs of the model per pass: `whole = kept + tails + dropped`."""

    pairs: int = 0
    """Pairs with a loss."""
    dropped_pairs: int = 0
    """Pairs without a loss."""
    kept_inputs: int = 0
    """Inputs up to the last token with a loss of each pair."""
    tail_inputs: int = 0
    """Inputs after it, cut off."""
    dropped_inputs: int = 0
    """Inputs of the dropped pairs."""


def trim(pair: TokenPair) -> TokenPair:
    """The pair up to its last token with a loss. In a causal model later tokens cannot influence it.

    The pair needs such a token (`pair.with_loss`).
    """
    end = int(np.flatnonzero(pair.weight_T)[-1]) + 1
    return TokenPair(pair.id, pair.input_ids_T[:end], pair.token_class_T[:end], pair.weight_T[:end], pair.selected_T[:end])


def trim_each(pairs: Iterable[TokenPair], saved: Trimming) -> Iterator[TokenPair]:
    """Drop the pairs without a loss, trim the others, and add to `saved` what that saves."""
    for pair in pairs:
        if not pair.with_loss:
            saved.dropped_pairs += 1
            saved.dropped_inputs += pair.inputs
            continue
        kept = trim(pair)
        saved.pairs += 1
        saved.kept_inputs += kept.inputs
        saved.tail_inputs += pair.inputs - kept.inputs
        yield kept


def trim_all(pairs: Iterable[TokenPair]) -> tuple[list[TokenPair], Trimming]:
    """`trim_each` of pairs that fit in memory, and what it saved."""
    saved = Trimming()
    return list(trim_each(pairs, saved)), saved


def iter_pairs(selected: Path) -> Iterator[tuple[TokenPair, str]]:
    """The pairs of a selected table in row order, untrimmed, each with its split ("train" or "dev").

    One part is in memory at a time: a pair is a view of its part, so whoever keeps it keeps the part, or copies it. Raises
    CodeBlockError where a row's lists differ in length, or a weight is negative or no finite number.
    """
    for path in tables.parts(selected):
        yield from _pairs_of(tables.read_part(path, COLUMNS))


def read_pairs(selected: Path, split: str) -> list[TokenPair]:
    """The pairs of one split of a selected table that fits in memory; raises as `iter_pairs`."""
    return [pair for pair, of in iter_pairs(selected) if of == split]


def _pairs_of(table: pa.Table) -> Iterator[tuple[TokenPair, str]]:
    ids, splits = table["id"].to_pylist(), table["split"].to_pylist()
    lists = zip(*(_lists(table[name]) for name in ("input_ids", "token_class", "weight")), supervised(table), strict=True)
    for id_, split, (input_ids_T, class_T, weight_T, selected_T) in zip(ids, splits, lists, strict=True):
        if not len(input_ids_T) == len(class_T) == len(weight_T) == len(selected_T) > 0:
            raise CodeBlockError(
                f"selected pair {id_}: {len(input_ids_T)} tokens, {len(class_T)} classes, {len(weight_T)} weights, "
                f"{len(selected_T)} marks; delete the selected table and select again"
            )
        if not (np.isfinite(weight_T).all() and (weight_T >= 0).all()):
            raise CodeBlockError(f"selected pair {id_}: a weight is negative or not finite; select again")
        yield TokenPair(id_, input_ids_T, class_T, weight_T, selected_T), split


def _lists(column: pa.ChunkedArray) -> Iterator[NDArray[Any]]:
    """The rows of a list column as views of one array, without making Python numbers."""
    for chunk in column.chunks:
        values = chunk.values.to_numpy(zero_copy_only=False)
        offsets = chunk.offsets.to_numpy()
        for start, end in pairwise(offsets):
            yield values[start:end]
