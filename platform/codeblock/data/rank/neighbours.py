"""The long-tail score of DS2 (arXiv 2410.10877): how far a pair lies from its nearest neighbours.

`2 / (1 + exp(-d)) - 1`, d the mean cosine distance to the 10 nearest other pairs: 0 in a crowd, larger where it is rare.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeblock.core.storage.tables import count_rows, part_rows, parts, read_part

NEIGHBOURS = 10
EXACT_ROWS = 20_000
"""Up to so many rows every pair is held against every other."""
PROBES = 64
"""Cells that are searched for each pair above that."""
TRAIN_ROWS_PER_CELL = 64
_SEED = 1


def nearest_distances(embedded: Path) -> NDArray[np.float32]:
    """float32[N, NEIGHBOURS]: cosine distances of each pair to its nearest others, nearest first; NaN where there are fewer.

    `embedded` has parts of unit vectors (schema EMBEDDED). The index alone is in memory: 4 bytes a dimension and row up to
    EXACT_ROWS, 2 bytes above.
    """
    rows = count_rows(embedded)
    found = np.full((rows, NEIGHBOURS), np.nan, dtype=np.float32)
    index = build_index(parts(embedded)) if rows else None
    start = 0
    for path in parts(embedded):
        embeddings = embeddings_of(path)
        if index is None or not embeddings.size:
            continue
        own = np.arange(start, start + embeddings.shape[0])
        distances = distances_to_others(index, embeddings, own)
        found[own, : distances.shape[1]] = distances
        start += embeddings.shape[0]
    return found


def score(distances: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[N]: DS2's score of the distances [N, K] to the nearest others; 0 for a pair that is alone."""
    known = np.isfinite(distances)
    distance = np.where(known, distances, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.asarray(2 / (1 + np.exp(-distance)) - 1, dtype=np.float32)


def build_index(paths: list[Path]) -> Any:
    """An index by inner product of the embeddings (unit vectors) in some parts, numbered in row order.

    Exact up to EXACT_ROWS; above, an inverted file with cells by k-means and 16-bit floats. Equal input gives equal cells: the
    seed is fixed, and the rows that the cells are made from come from parts all over the data.
    """
    rows = sum(part_rows(path) for path in paths)
    paths = [path for path in paths if part_rows(path)]
    width = embeddings_of(paths[0]).shape[1]
    if rows <= EXACT_ROWS:
        index = _faiss().IndexFlatIP(width)
    else:
        index = _inverted_file(width, rows)
        step = max(1, rows // (index.nlist * TRAIN_ROWS_PER_CELL))
        index.train(_sample(paths, step))
    for path in paths:
        index.add(embeddings_of(path))
    return index


def _sample(paths: list[Path], step: int) -> NDArray[np.float32]:
    """Every row whose number is a multiple of `step`, whatever the borders of the parts."""
    pieces, start = [], 0
    for path in paths:
        rows = embeddings_of(path)
        pieces.append(rows[-start % step :: step])
        start += rows.shape[0]
    return np.concatenate(pieces)


def _inverted_file(width: int, rows: int) -> Any:
    cells = int(2 * np.sqrt(rows))
    faiss = _faiss()
    quantizer = faiss.IndexFlatIP(width)
    half = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexIVFScalarQuantizer(quantizer, width, cells, half, faiss.METRIC_INNER_PRODUCT, False)
    index.cp.seed, index.cp.spherical, index.nprobe = _SEED, True, PROBES
    return index


def distances_to_others(index: Any, embeddings: NDArray[np.float32], own: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32[n, up to NEIGHBOURS]: cosine distances of each row to its nearest other rows, nearest first, NaN where fewer.

    `own` are the rows' numbers in the index.
    """
    similarity, found = index.search(embeddings, min(NEIGHBOURS + 1, index.ntotal))
    similarity[(found == own[:, None]) | (found < 0)] = -np.inf  # found < 0: the cells held fewer rows
    nearest = -np.sort(-similarity, axis=1)[:, :NEIGHBOURS]
    return np.where(np.isfinite(nearest), np.maximum(1 - nearest, 0), np.nan).astype(np.float32)


def embeddings_of(path: Path) -> NDArray[np.float32]:
    """float32[rows, D] of one part."""
    column = read_part(path, ["embedding"])["embedding"].combine_chunks()
    rows = len(column)
    return np.asarray(column.flatten(), dtype=np.float32).reshape(rows, -1 if rows else 0)


def _faiss() -> Any:
    """Imported where it is used: every plan comes by this module, and few rank pairs."""
    import faiss

    return faiss
