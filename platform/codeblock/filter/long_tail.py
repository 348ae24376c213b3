"""The long-tail score of DS2 (arXiv 2410.10877): how far a pair lies from its nearest neighbours.

`2 / (1 + exp(-d)) - 1`, d the mean cosine distance to the 10 nearest other pairs: 0 in a crowd, larger where it is rare.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codeblock.errors import CodeBlockError
from codeblock.schema import LONG_TAIL
from codeblock.tables import count_rows, parts, read_part, write_part

NEIGHBOURS = 10
EXACT_ROWS = 20_000
"""Up to so many rows every pair is held against every other."""
PROBES = 64
"""Cells that are searched for each pair above that."""
TRAIN_ROWS_PER_CELL = 64
_SEED = 1


def long_tail(embedded: Path, output: Path) -> dict[str, Any]:
    """Score the parts of `embedded` into parts of `output` of the same names (schema LONG_TAIL).

    The index alone is in memory: 4 bytes a dimension and row up to EXACT_ROWS, 2 bytes above. Raises CodeBlockError where the
    library of the index is not installed.
    """
    rows = count_rows(embedded)
    index = build_index(parts(embedded)) if rows else None
    start, total = 0, 0.0
    for path in parts(embedded):
        embeddings = embeddings_of(path)
        scores = np.empty(0, dtype=np.float32)
        if index is not None and embeddings.size:
            own = np.arange(start, start + embeddings.shape[0])
            scores = score(neighbour_distance(index, embeddings, own))
        start += scores.size
        total += float(scores.sum())
        ids = read_part(path, ["id"])["id"]
        write_part(output / path.name, pa.table([ids, pa.array(scores, pa.float32())], schema=LONG_TAIL))
    return {"kept": rows, "mean_long_tail": total / rows if rows else 0.0, "exact": rows <= EXACT_ROWS}


def score(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """DS2's score of a mean cosine distance."""
    return np.asarray(2 / (1 + np.exp(-distance)) - 1, dtype=np.float32)


def build_index(paths: list[Path]) -> Any:
    """An index by inner product of the embeddings (unit vectors) in some parts, numbered in row order.

    Exact up to EXACT_ROWS; above, an inverted file with cells by k-means and 16-bit floats. Equal input gives equal cells: the
    seed is fixed, and the rows that the cells are made from come from parts all over the data.
    """
    faiss = _faiss()
    rows = sum(pq.read_metadata(path).num_rows for path in paths)
    paths = [path for path in paths if pq.read_metadata(path).num_rows]
    width = embeddings_of(paths[0]).shape[1]
    if rows <= EXACT_ROWS:
        index = faiss.IndexFlatIP(width)
    else:
        index = _inverted_file(faiss, width, rows)
        step = max(1, rows // (index.nlist * TRAIN_ROWS_PER_CELL))
        index.train(np.concatenate([embeddings_of(path)[::step] for path in paths]))
    for path in paths:
        index.add(embeddings_of(path))
    return index


def _inverted_file(faiss: Any, width: int, rows: int) -> Any:
    cells = int(2 * np.sqrt(rows))
    quantizer = faiss.IndexFlatIP(width)
    half = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexIVFScalarQuantizer(quantizer, width, cells, half, faiss.METRIC_INNER_PRODUCT, False)
    index.cp.seed, index.cp.spherical, index.nprobe = _SEED, True, PROBES
    return index


def neighbour_distance(index: Any, embeddings: NDArray[np.float32], own: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32[n]: mean cosine distance of each row to its nearest other rows; `own` are the rows' numbers in the index.

    A row that is alone has distance 0.
    """
    similarity, found = index.search(embeddings, min(NEIGHBOURS + 1, index.ntotal))
    similarity[(found == own[:, None]) | (found < 0)] = -np.inf  # found < 0: the cells held fewer rows
    nearest = -np.sort(-similarity, axis=1)[:, :NEIGHBOURS]
    valid = np.isfinite(nearest)
    distance = np.where(valid, np.maximum(1 - nearest, 0), 0).sum(axis=1) / np.maximum(valid.sum(axis=1), 1)
    return np.asarray(distance, dtype=np.float32)


def embeddings_of(path: Path) -> NDArray[np.float32]:
    """float32[rows, D] of one part."""
    column = read_part(path, ["embedding"])["embedding"].combine_chunks()
    rows = len(column)
    return np.asarray(column.flatten(), dtype=np.float32).reshape(rows, -1 if rows else 0)


def check_installed() -> None:
    """Raise CodeBlockError where the library of the index is not installed."""
    _faiss()


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise CodeBlockError('filter.long_tail: needs an index of neighbours; pip install "codeblock[longtail]"') from error
    return faiss
