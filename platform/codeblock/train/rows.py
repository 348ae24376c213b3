"""From a selected table to pairs worth training on: trimmed, supervised, counted.

Shape legend: T tokens of a rendered pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import tables

COLUMNS = ["id", "split", "input_ids", "token_class", "weight"]


@dataclass(frozen=True, slots=True)
class TokenPair:
    """One rendered pair. The token at position t is predicted at t-1, so T tokens are T-1 inputs of the model."""

    id: str
    input_ids_T: NDArray[np.int32]
    token_class_T: NDArray[np.uint8]
    weight_T: NDArray[np.float32]

    @property
    def inputs(self) -> int:
        """Positions that the model computes for this pair."""
        return len(self.input_ids_T) - 1

    @property
    def supervised(self) -> int:
        """Tokens with a weight above 0. The first token has no position that predicts it and never counts."""
        return int(np.count_nonzero(self.weight_T[1:]))

    @property
    def weight(self) -> float:
        """Sum of the weights, in float64."""
        return float(self.weight_T[1:].sum(dtype=np.float64))


@dataclass(frozen=True, slots=True)
class Trimming:
    """What exact trimming and dropping saved, in inputs of the model per pass: `whole = kept + tails + dropped`."""

    pairs: int
    """Pairs with a supervised token."""
    dropped_pairs: int
    """Pairs without a supervised token: they have no loss."""
    kept_inputs: int
    """Inputs up to the last supervised token of each pair."""
    tail_inputs: int
    """Inputs after it, cut off."""
    dropped_inputs: int
    """Inputs of the dropped pairs."""


def trim(pair: TokenPair) -> TokenPair:
    """The pair up to its last supervised token. In a causal model later tokens cannot influence its loss.

    The pair needs a supervised token (`pair.supervised`).
    """
    end = int(np.flatnonzero(pair.weight_T)[-1]) + 1
    return TokenPair(pair.id, pair.input_ids_T[:end], pair.token_class_T[:end], pair.weight_T[:end])


def trim_all(pairs: Sequence[TokenPair]) -> tuple[list[TokenPair], Trimming]:
    """Drop the pairs without a supervised token, trim the others, and count what that saved."""
    kept = [trim(pair) for pair in pairs if pair.supervised]
    whole = sum(pair.inputs for pair in pairs if pair.supervised)
    kept_inputs = sum(pair.inputs for pair in kept)
    dropped = sum(pair.inputs for pair in pairs if not pair.supervised)
    return kept, Trimming(len(kept), len(pairs) - len(kept), kept_inputs, whole - kept_inputs, dropped)


def read_pairs(selected: Path, split: str) -> list[TokenPair]:
    """The pairs of one split ("train" or "dev") of a selected table, in row order, untrimmed.

    Raises CodeBlockError where a row's lists differ in length, or a weight is negative or no finite number.
    """
    pairs: list[TokenPair] = []
    for path in tables.parts(selected):
        table = tables.read_part(path, COLUMNS)
        pairs.extend(pair for pair, of in _pairs_of(table) if of == split)
    return pairs


def _pairs_of(table: pa.Table) -> Iterator[tuple[TokenPair, str]]:
    ids, splits = table["id"].to_pylist(), table["split"].to_pylist()
    lists = zip(_lists(table["input_ids"]), _lists(table["token_class"]), _lists(table["weight"]), strict=True)
    for id_, split, (input_ids_T, class_T, weight_T) in zip(ids, splits, lists, strict=True):
        if not len(input_ids_T) == len(class_T) == len(weight_T) > 0:
            raise CodeBlockError(
                f"selected pair {id_}: {len(input_ids_T)} tokens, {len(class_T)} classes, {len(weight_T)} weights; "
                "delete the selected table and select again"
            )
        if not (np.isfinite(weight_T).all() and (weight_T >= 0).all()):
            raise CodeBlockError(f"selected pair {id_}: a weight is negative or not finite; select again")
        yield TokenPair(id_, input_ids_T, class_T, weight_T), split


def _lists(column: pa.ChunkedArray) -> Iterator[NDArray[Any]]:
    """The rows of a list column as views of one array, without making Python numbers."""
    for chunk in column.chunks:
        values = chunk.values.to_numpy(zero_copy_only=False)
        offsets = chunk.offsets.to_numpy()
        for start, end in pairwise(offsets):
            yield values[start:end]
