"""The best pairs of the pool in the order of their rank: what is scored, and selected from.

The rows of `segmented` are written best first, as many as the arms need, so that the rest costs nothing. Part k holds the
ranks k * PART_ROWS and up: a run that needs more adds parts to those that are there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeblock.core.storage import store
from codeblock.core.storage.tables import count_rows, part_name, parts, read_part, write_part

PART_ROWS = 256
"""Pairs of a part: small, since a few hundred kept pairs should still be shared out among actors."""
WINDOW_PARTS = 128
"""Parts that are gathered in one pass over the pool: the memory that keeping takes."""


def keep(prepared: Path, ranked: Path, output: Path, pairs: int) -> dict[str, Any]:
    """Write at least the best `pairs` pairs into parts of `output` (schema SEGMENTED); parts that are there stay."""
    rank = {path.name: read_part(path, ["rank"])["rank"].to_numpy() for path in parts(ranked)}
    total = sum(of_part.size for of_part in rank.values())
    wanted = range(-(-min(pairs, total) // PART_ROWS))
    done = {path.name for path in store.children(output)}
    missing = [number for number in wanted if part_name(number) not in done]
    for start in range(0, len(missing), WINDOW_PARTS):
        _gather(prepared, rank, output, missing[start : start + WINDOW_PARTS])
    return {"kept": count_rows(output), "pool_pairs": total}


def _gather(prepared: Path, rank: dict[str, np.ndarray[Any, Any]], output: Path, numbers: list[int]) -> None:
    """Write the parts of these numbers."""
    found: list[pa.Table] = []
    ranks: list[np.ndarray[Any, Any]] = []
    for path in parts(prepared):
        rows = np.flatnonzero(np.isin(rank[path.name] // PART_ROWS, numbers))
        if rows.size:
            found.append(read_part(path).take(pa.array(rows)))
            ranks.append(rank[path.name][rows])
    table = pa.concat_tables(found)
    at = np.concatenate(ranks)
    order = np.argsort(at)
    table, part_of_row = table.take(pa.array(order)), at[order] // PART_ROWS
    for number in numbers:
        rows = pc.equal(pa.array(part_of_row), number)
        write_part(output / part_name(number), table.filter(rows).combine_chunks())
