"""Scores by pair: values of each token, kept by id, of pairs that were scored for whatever run.

A directory of scores grows: its parts hold ids and one list column, in the order in which they were asked for. An id names the
content of a pair, so a value is right for every pool, ranking and segmentation that the pair is found in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage.manifest import files_of
from codeblock.core.storage.tables import parts, read_part

VALUES = pa.list_(pa.float32())


def places(directory: Path) -> Mapping[str, tuple[Path, int]]:
    """Part and row of each id that has scores."""
    listed = files_of(directory) or {}
    found = ((path, listed[path.name].xxh3 if path.name in listed else path.stat().st_mtime_ns) for path in parts(directory))
    return _places(tuple(found))


@lru_cache(maxsize=16)
def _places(files: tuple[tuple[Path, str | int], ...]) -> dict[str, tuple[Path, int]]:
    return {id_: (path, row) for path, _ in files for row, id_ in enumerate(read_part(path, ["id"])["id"].to_pylist())}


def values_of(ids: Sequence[str], directory: Path, column: str) -> pa.Array:
    """The values of these pairs, in this order. Raises CodeBlockError where one has none."""
    where = places(directory)
    if missing := next((id_ for id_ in ids if id_ not in where), None):
        raise CodeBlockError(f"{directory.name}: pair {missing} has no scores there; run the same command again")
    found = [where[id_] for id_ in ids]
    files = list(dict.fromkeys(path for path, _ in found))
    starts: dict[Path, int] = {}
    tables: list[pa.Table] = []
    held = 0
    for path in files:
        tables.append(read_part(path, [column]))
        starts[path] = held
        held += tables[-1].num_rows
    if not tables:
        return pa.array([], VALUES)
    rows = np.array([starts[path] + row for path, row in found], dtype=np.int64)
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

    wanted: Callable[[], Collection[str] | None]
    """Ids of the pairs; None where it is not known yet which they are."""
    _whole: bool = False

    def __call__(self, directory: Path) -> bool:
        if not self._whole:  # what was there once stays there
            wanted = self.wanted()
            self._whole = wanted is not None and places(directory).keys() >= set(wanted)
        return self._whole
