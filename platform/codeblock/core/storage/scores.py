"""Scores by pair: values of each token, kept by id, of pairs that were scored for whatever run.

A directory of scores grows: its parts hold ids and one list column, in the order in which they were asked for. An id names the
content of a pair, so a value is right for every pool, ranking and segmentation that the pair is found in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage.manifest import files_of
from codeblock.core.storage.tables import parts, read_part

VALUES = pa.list_(pa.float32())


@dataclass(frozen=True, eq=False)
class Places(Mapping[str, tuple[Path, int]]):
    """Part and row of each id that has scores, in 24 bytes an id: a dictionary of two million takes half a gigabyte.

    Ids are held as digests of 128 bits (XXH3), sorted. Of an id that stands twice the last place counts.
    """

    files: tuple[Path, ...]
    digests: NDArray[np.bytes_]
    parts: NDArray[np.int32]
    rows: NDArray[np.int32]

    @classmethod
    def of(cls, files: tuple[Path, ...]) -> Places:
        """The places in these parts."""
        found = [_digests(read_part(path, ["id"])["id"].to_pylist()) for path in files]
        digests = np.concatenate([np.empty(0, _DIGEST), *found])
        order = np.argsort(digests, kind="stable").astype(np.int32)
        part_of = np.repeat(np.arange(len(files), dtype=np.int32), [each.size for each in found])
        row_of = np.concatenate([np.empty(0, np.int32), *[np.arange(each.size, dtype=np.int32) for each in found]])
        return cls(files, digests[order], part_of[order], row_of[order])

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Where each of these ids is in `parts` and `rows`, -1 where it has no scores."""
        asked = _digests(ids)
        if not self.digests.size:
            return np.full(asked.size, -1)
        at = np.searchsorted(self.digests, asked, side="right") - 1
        return np.where((at >= 0) & (self.digests[at] == asked), at, -1)

    def has_all(self, ids: pa.StringArray) -> bool:
        """Whether all of these have scores; they become Python's strings, of 80 bytes each, a piece at a time."""
        pieces = (ids.slice(start, _AT_ONCE).to_pylist() for start in range(0, len(ids), _AT_ONCE))
        return all(bool((self.find(piece) >= 0).all()) for piece in pieces)

    def __getitem__(self, id_: str) -> tuple[Path, int]:
        at = int(self.find([id_])[0])
        if at < 0:
            raise KeyError(id_)
        return self.files[self.parts[at]], int(self.rows[at])

    def __contains__(self, id_: object) -> bool:
        return isinstance(id_, str) and bool(self.find([id_])[0] >= 0)

    def __len__(self) -> int:
        return int((self.digests[1:] != self.digests[:-1]).sum()) + int(self.digests.size > 0)

    def __iter__(self) -> Iterator[str]:
        """The ids, out of the parts."""
        last = {(int(part), int(row)) for part, row in zip(*self._last(), strict=True)}
        for number, path in enumerate(self.files):
            ids = read_part(path, ["id"])["id"].to_pylist()
            yield from (id_ for row, id_ in enumerate(ids) if (number, row) in last)

    def _last(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        ends = np.append(self.digests[1:] != self.digests[:-1], True)[: self.digests.size]
        return self.parts[ends], self.rows[ends]


_DIGEST = "S16"
_AT_ONCE = 65536


def _digests(ids: Iterable[str]) -> NDArray[np.bytes_]:
    return np.frombuffer(b"".join(xxhash.xxh3_128_digest(id_.encode()) for id_ in ids), _DIGEST)


def places(directory: Path) -> Places:
    """Part and row of each id that has scores."""
    listed = files_of(directory) or {}
    found = ((path, listed[path.name].xxh3 if path.name in listed else path.stat().st_mtime_ns) for path in parts(directory))
    return _places(tuple(found))


@lru_cache(maxsize=4)
def _places(files: tuple[tuple[Path, str | int], ...]) -> Places:
    return Places.of(tuple(path for path, _ in files))


def values_of(ids: Sequence[str], directory: Path, column: str) -> pa.Array:
    """The values of these pairs, in this order. Raises CodeBlockError where one has none."""
    where = places(directory)
    at = where.find(ids)
    if (at < 0).any():
        missing = ids[int(np.argmax(at < 0))]
        raise CodeBlockError(f"{directory.name}: pair {missing} has no scores there; run the same command again")
    tables: list[pa.Table] = []
    numbers = np.unique(where.parts[at])
    starts = np.zeros(len(where.files), dtype=np.int64)
    for number in numbers.tolist():
        starts[number] = sum(table.num_rows for table in tables)
        tables.append(read_part(where.files[number], [column]))
    if not tables:
        return pa.array([], VALUES)
    rows = starts[where.parts[at]] + where.rows[at]
    return pa.concat_tables(tables).combine_chunks()[column].combine_chunks().take(pa.array(rows))


def with_scores(table: pa.Table, scores: Mapping[str, Path]) -> pa.Table:
    """A table of pairs with a column from each directory of scores, by the column's name."""
    ids = table["id"].to_pylist()
    for column, directory in scores.items():
        table = table.append_column(column, values_of(ids, directory, column))
    return table


@dataclass
class Covered:
    """Whether a directory of scores has all pairs that are asked for."""

    wanted: Callable[[], pa.StringArray | None]
    """Ids of the pairs; None where it is not known yet which they are."""
    _whole: bool = False

    def __call__(self, directory: Path) -> bool:
        if not self._whole:  # what was there once stays there
            wanted = self.wanted()
            self._whole = wanted is not None and places(directory).has_all(wanted)
        return self._whole
