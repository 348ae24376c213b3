"""The prepared pairs as rankers see them: part by part in row order, with what several rankers share computed once.

Shapes: N pairs of the pool, D width of an embedding, K nearest other pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.storage.tables import parts, read_part
from codeblock.data.rank.code import CodeFacts, code_facts
from codeblock.data.rank.neighbours import nearest_distances
from codeblock.data.rank.words import embed_words
from codeblock.sandbox.pool import Settings

Signal = NDArray[np.float32]
"""float32[N], higher is better, NaN where nothing is known of a pair."""


@dataclass(frozen=True)
class RankPool:
    """All pairs that are ranked. Rows are in the order of the parts, whatever their borders."""

    prepared: Path
    seed: int
    work: Path
    """Directory for what is computed on the way."""
    sandbox: Settings
    """How the programs of a response are run."""
    scored: Path | None = None
    """Scores (`codeblock.core.storage.scores`) of the whole pool by the reference, in the column `nll`."""
    given: Path | None = None
    """Parts with embeddings by a model (schema EMBEDDED); without them the embedding is made of words."""

    def tables(self, *columns: str) -> Iterator[pa.Table]:
        """Some columns of each part."""
        return (read_part(path, list(columns)) for path in parts(self.prepared))

    def map(self, columns: Sequence[str], signal: Callable[[pa.Table], Sequence[float] | NDArray[np.floating]]) -> Signal:
        """The signal of all rows, from a function of one part's table."""
        return joined([np.asarray(signal(table), dtype=np.float32) for table in self.tables(*columns)])

    def ids(self) -> Iterator[str]:
        """Ids of all pairs, one part in memory at a time: as Python strings they take 80 bytes each."""
        return (id_ for table in self.tables("id") for id_ in table["id"].to_pylist())

    @cached_property
    def tokens(self) -> NDArray[np.int32]:
        """int32[N]: response tokens of each pair."""
        return np.concatenate([np.zeros(0, np.int32), *map(_response_tokens, self.tables("input_ids", "response_start"))])

    @cached_property
    def code(self) -> list[CodeFacts]:
        """What the grammars say of each response."""
        return [code_facts(response) for table in self.tables("response") for response in table["response"].to_pylist()]

    @cached_property
    def distances(self) -> NDArray[np.float32]:
        """float32[N, K]: cosine distances of each pair to the nearest others, nearest first; NaN where there are fewer.

        In steps of a thousandth: below that they are rounding, and equal pairs have to be equal.
        """
        if self.given is None:
            embed_words(self.prepared, self.work / "embedded")
        return np.round(nearest_distances(self.given or self.work / "embedded"), 3)


def joined(pieces: list[Signal]) -> Signal:
    """The signals of all parts, one after the other."""
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def _response_tokens(table: pa.Table) -> NDArray[np.int32]:
    lengths = np.diff(table["input_ids"].combine_chunks().offsets.to_numpy()) if table.num_rows else np.zeros(0)
    return np.asarray(lengths - table["response_start"].to_numpy(), dtype=np.int32)
