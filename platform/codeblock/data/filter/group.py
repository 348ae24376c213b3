"""Near duplicates among any number of rows, in memory that holds about 40 bytes a row and never a text.

The store lies on disk as plain columns: one file per band, and one of all signatures that is read at single rows. One band is
in memory at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeblock.data.filter.minhash import PERMUTATIONS

RowNumbers = NDArray[np.uint32]
"""Row numbers: four bytes each, so at most 4.29 billion rows."""

CHUNK_ROWS = 2**16
"""Signatures in memory at a time (32 MiB)."""
MAX_LEADERS = 64
"""Rows of one bucket that the others are held against. More unlike rows in a bucket share boilerplate; the other bands tell
them apart."""


class SignatureStore:
    """Signatures and hashes of `bands` bands on disk. Rows are numbered in the order in which they were added."""

    def __init__(self, directory: Path, bands: int) -> None:
        self._directory, self.bands = directory, bands
        directory.mkdir(parents=True, exist_ok=True)
        self._signatures.touch()
        self.rows = self._signatures.stat().st_size // (4 * PERMUTATIONS)

    def add(self, signatures: NDArray[np.uint32], hashes: NDArray[np.uint64]) -> None:
        """Append rows: uint32[rows, PERMUTATIONS] and uint64[rows, bands]."""
        with self._signatures.open("ab") as file:
            np.ascontiguousarray(signatures).tofile(file)
        for number in range(self.bands):
            with self._band(number).open("ab") as file:
                np.ascontiguousarray(hashes[:, number]).tofile(file)
        self.rows += signatures.shape[0]

    def band(self, number: int) -> NDArray[np.uint64]:
        """Hashes of one band, uint64[rows]."""
        return np.fromfile(self._band(number), dtype=np.uint64)

    def signatures(self, rows: RowNumbers) -> NDArray[np.uint32]:
        """uint32[len(rows), PERMUTATIONS]. Read and not mapped: mapped pages would count as memory of the process."""
        found = np.empty((rows.size, PERMUTATIONS), dtype=np.uint32)
        file = os.open(self._signatures, os.O_RDONLY)
        try:
            for place, row in zip(found, rows.tolist(), strict=True):
                os.preadv(file, [place.data], row * place.nbytes)
        finally:
            os.close(file)
        return found

    @property
    def _signatures(self) -> Path:
        return self._directory / "signatures"

    def _band(self, number: int) -> Path:
        return self._directory / f"band-{number:03d}"


@dataclass(frozen=True)
class Groups:
    """`owner[row]` is the row that is kept for it, itself where it is kept; `jaccard[row]` the estimate between the two."""

    owner: RowNumbers
    jaccard: NDArray[np.float32]


def group(store: SignatureStore, threshold: float) -> Groups:
    """Groups of near duplicates; of each the first row is kept. Deterministic.

    Rows that agree in a band and reach the threshold are joined. A row joined through others only, and itself below the
    threshold to the first one, goes into another round among its like, so that every row that is dropped is a near duplicate
    of the row that is kept for it.
    """
    owner = np.arange(store.rows, dtype=np.uint32)
    jaccard = np.ones(store.rows, dtype=np.float32)
    active = owner.copy()
    while active.size:
        for number in range(store.bands):
            for leaders, joined in _matches(store, store.band(number)[active], active, owner, threshold):
                _union(owner, leaders, joined)
        owner[active] = _roots(owner, active)
        joined = active[owner[active] != active]
        for chunk in _chunks(joined):
            jaccard[chunk] = _similarity(store.signatures(chunk), store.signatures(owner[chunk]))
        active = joined[jaccard[joined] < threshold]
        owner[active], jaccard[active] = active, 1.0
    return Groups(owner, jaccard)


def _matches(
    store: SignatureStore, keys: NDArray[np.uint64], active: RowNumbers, owner: RowNumbers, threshold: float
) -> Iterable[tuple[RowNumbers, RowNumbers]]:
    """Pairs (leader, row) of one band that reach the threshold; `keys` are the hashes of the active rows."""
    rows, buckets = _buckets(keys, active)
    for begin, end in _spans(buckets):
        places = np.arange(begin, end)
        first = np.searchsorted(buckets, buckets[begin])
        if first < begin:  # the rest of a bucket that was cut: its first row comes along
            places = np.append(first, places)
        yield from _matches_in_memory(store, rows[places], buckets[places], owner, threshold)


def _buckets(keys: NDArray[np.uint64], active: RowNumbers) -> tuple[RowNumbers, RowNumbers]:
    """The rows that share a key with another, by key and then in order, and the number of each row's bucket."""
    order = np.argsort(keys, kind="stable").astype(np.uint32)
    keys = keys[order]
    equal = keys[1:] == keys[:-1]
    shared = np.zeros(keys.size, dtype=bool)
    shared[1:] |= equal
    shared[:-1] |= equal
    rows, keys = active[order[shared]], keys[shared]
    return rows, np.cumsum(np.append(False, keys[1:] != keys[:-1]), dtype=np.uint32)[: rows.size]


def _spans(buckets: RowNumbers) -> Iterable[tuple[int, int]]:
    """Ranges of whole buckets of at most CHUNK_ROWS rows; a larger one is cut: then its first row alone meets all."""
    edges = np.append(np.flatnonzero(buckets[1:] != buckets[:-1]) + 1, buckets.size)
    begin = 0
    while begin < buckets.size:
        last = np.searchsorted(edges, begin + CHUNK_ROWS, side="right")
        end = int(edges[last - 1]) if last else 0
        end = end if end > begin else begin + CHUNK_ROWS
        yield begin, end
        begin = end


def _matches_in_memory(
    store: SignatureStore, rows: RowNumbers, buckets: RowNumbers, owner: RowNumbers, threshold: float
) -> Iterable[tuple[RowNumbers, RowNumbers]]:
    """Hold the rows of each bucket against its first, those that are left against the first of them, and so on."""
    rows, buckets = _undecided(rows, buckets, owner)
    signatures = store.signatures(rows)
    left = np.arange(rows.size)
    for _ in range(MAX_LEADERS):
        if not left.size:
            return
        leader = _first_of_bucket(buckets[left])
        alike = _similarity(signatures[left], signatures[left[leader]]) >= threshold
        matched = alike & (leader != np.arange(left.size))
        yield rows[left[leader[matched]]], rows[left[matched]]
        left = left[~alike]


def _undecided(rows: RowNumbers, buckets: RowNumbers, owner: RowNumbers) -> tuple[RowNumbers, RowNumbers]:
    """Without the buckets whose rows an earlier band has joined already: most of them."""
    roots = _roots(owner, rows)
    other = roots != roots[_first_of_bucket(buckets)]
    undecided = np.bincount(buckets - buckets[0], weights=other)[buckets - buckets[0]] > 0
    return rows[undecided], buckets[undecided]


def _first_of_bucket(buckets: RowNumbers) -> NDArray[np.intp]:
    """For each place the first place with the same bucket; equal buckets lie together."""
    first = np.append(True, buckets[1:] != buckets[:-1])
    places: NDArray[np.intp] = np.flatnonzero(first)[np.cumsum(first) - 1]
    return places


def _similarity(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> NDArray[np.float32]:
    shares: NDArray[np.float32] = (left == right).mean(axis=1, dtype=np.float32)
    return shares


def _chunks(rows: RowNumbers) -> Iterable[RowNumbers]:
    for start in range(0, rows.size, CHUNK_ROWS):
        yield rows[start : start + CHUNK_ROWS]


def _roots(owner: RowNumbers, rows: RowNumbers) -> RowNumbers:
    """The first row of each row's group; `owner` gets shorter ways on the way."""
    roots = owner[rows]
    while not np.array_equal(higher := owner[roots], roots):
        roots = higher
    owner[rows] = roots
    return roots


def _union(owner: RowNumbers, left: RowNumbers, right: RowNumbers) -> None:
    """Join the groups of each pair of rows under the earlier first row."""
    for one, other in zip(left.tolist(), right.tolist(), strict=True):
        a, b = _root(owner, one), _root(owner, other)
        if a != b:
            owner[max(a, b)] = min(a, b)


def _root(owner: RowNumbers, row: int) -> int:
    while (above := int(owner[row])) != row:
        owner[row] = owner[above]
        row = above
    return row
