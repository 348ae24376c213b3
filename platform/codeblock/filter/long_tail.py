"""Moved to `codeblock.rank`; what is left here serves the plan that still reads `filter.long_tail`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from codeblock.rank.neighbours import EXACT_ROWS, nearest_distances, score
from codeblock.schema import LONG_TAIL
from codeblock.tables import count_rows, parts, read_part, write_part


def long_tail(embedded: Path, output: Path) -> dict[str, Any]:
    """Score the parts of `embedded` into parts of `output` of the same names (schema LONG_TAIL)."""
    rows, start = count_rows(embedded), 0
    scores = score(nearest_distances(embedded))
    for path in parts(embedded):
        ids = read_part(path, ["id"])["id"]
        some = pa.array(scores[start : start + len(ids)], pa.float32())
        write_part(output / path.name, pa.table([ids, some], schema=LONG_TAIL))
        start += len(ids)
    return {"kept": rows, "mean_long_tail": float(scores.sum()) / rows if rows else 0.0, "exact": rows <= EXACT_ROWS}


def check_installed() -> None:
    """The index is a main dependency now."""
