"""The pairs of a fit in a file, of which a step reads its own: a worker's memory does not grow with the selected table.

Parquet has to be decoded by the part, and a step takes pairs from anywhere. So one pass over the parts writes each trimmed pair
as a record of its own: T token ids, T weights, T classes, T marks (10 bytes a token), and the pair's id.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from codeblock.core.errors import naming
from codeblock.train.rows import TokenPair, Trimming, iter_pairs, trim_each

TOKEN_BYTES = 4 + 4 + 1 + 1


class StoredPairs(Sequence[TokenPair]):
    """Pairs in a file without a name, which ends with the process; each is read when it is asked for.

    In memory is an index of 16 bytes a pair. The file lies in the directory for temporary files (`TMPDIR`).
    """

    def __init__(self, pairs: Iterable[TokenPair]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it is open as long as the pairs are
        starts, lengths, supervised = array("q", [0]), array("i"), array("i")
        self.largest_id = 0
        """The largest token id."""
        for pair in pairs:
            starts.append(starts[-1] + self._write(_record(pair)))
            lengths.append(len(pair.input_ids_T))
            supervised.append(pair.supervised)
            self.largest_id = max(self.largest_id, int(pair.input_ids_T.max()))
        with _in_temporary_files():
            self._file.flush()
        self._starts, self._lengths = np.frombuffer(starts, np.int64), np.frombuffer(lengths, np.int32)
        self.supervised_P: NDArray[np.int32] = np.frombuffer(supervised, np.int32)
        """Chosen tokens of each pair."""

    def _write(self, record: bytes) -> int:
        with _in_temporary_files():
            return self._file.write(record)

    def __len__(self) -> int:
        return int(self._lengths.size)

    @overload
    def __getitem__(self, number: int) -> TokenPair: ...
    @overload
    def __getitem__(self, number: slice) -> list[TokenPair]: ...
    def __getitem__(self, number: int | slice) -> TokenPair | list[TokenPair]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        number = range(len(self))[number]  # counts from the end, and raises IndexError, as a list does
        start, end = int(self._starts[number]), int(self._starts[number + 1])
        return _pair(os.pread(self._file.fileno(), end - start, start), int(self._lengths[number]))


@contextmanager
def _in_temporary_files() -> Iterator[None]:
    """Name the directory of a file that has no name where its disk is full."""
    try:
        yield
    except OSError as error:
        raise naming(error, tempfile.gettempdir()) from error


def _record(pair: TokenPair) -> bytes:
    arrays = (
        pair.input_ids_T.astype(np.int32, copy=False),
        pair.weight_T.astype(np.float32, copy=False),
        pair.token_class_T.astype(np.uint8, copy=False),
        pair.selected_T.astype(np.bool_, copy=False),
    )
    return b"".join([*(each.tobytes() for each in arrays), pair.id.encode()])


def _pair(record: bytes, tokens: int) -> TokenPair:
    return TokenPair(
        id=record[TOKEN_BYTES * tokens :].decode(),
        input_ids_T=np.frombuffer(record, np.int32, tokens),
        weight_T=np.frombuffer(record, np.float32, tokens, 4 * tokens),
        token_class_T=np.frombuffer(record, np.uint8, tokens, 8 * tokens),
        selected_T=np.frombuffer(record, np.bool_, tokens, 9 * tokens),
    )


def store_pairs(selected: Path) -> tuple[StoredPairs, list[TokenPair]]:
    """The training pairs of a selected table, trimmed, without those that have no loss; and the held-out ones, whole.

    Raises as `iter_pairs`.
    """
    dev: list[TokenPair] = []

    def training() -> Iterable[TokenPair]:
        for pair, split in iter_pairs(selected):
            if split == "train":
                yield pair
            else:
                dev.append(_copied(pair))

    return StoredPairs(trim_each(training(), Trimming())), dev


def _copied(pair: TokenPair) -> TokenPair:
    """The pair without the part that it is a view of."""
    return replace(
        pair,
        input_ids_T=pair.input_ids_T.copy(),
        token_class_T=pair.token_class_T.copy(),
        weight_T=pair.weight_T.copy(),
        selected_T=pair.selected_T.copy(),
    )


@dataclass(frozen=True)
class Survey:
    """What a driver has to know of the training pairs, in 4 bytes a pair."""

    saved: Trimming
    supervised_P: NDArray[np.int32]
    """Chosen tokens of each pair that has a loss."""
    longest: int = field(default=0)
    """Inputs of the longest trimmed pair."""
    longest_id: str = ""


def survey(selected: Path) -> Survey:
    """A pass over the training pairs of a selected table; raises as `iter_pairs`."""
    saved, supervised, longest, longest_id = Trimming(), array("i"), 0, ""
    for pair in trim_each((pair for pair, split in iter_pairs(selected) if split == "train"), saved):
        supervised.append(pair.supervised)
        if pair.inputs > longest:
            longest, longest_id = pair.inputs, pair.id
    return Survey(saved, np.frombuffer(supervised, np.int32), longest, longest_id)


def supervised_of(pairs: Sequence[TokenPair]) -> NDArray[np.int32]:
    """Chosen tokens of each pair, without a look at pairs that are stored."""
    if isinstance(pairs, StoredPairs):
        return pairs.supervised_P
    return np.array([pair.supervised for pair in pairs], dtype=np.int32)
