"""MinHash signatures of pairs and the hashes of their bands.

Locality-sensitive hashing (Leskovec et al., Mining of Massive Datasets, ch. 3): a signature is cut into bands; two texts are
compared only where a whole band is equal. datasketch makes the signatures and chooses the bands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xxhash
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from codeblock.data.filter.words import runs

PERMUTATIONS = 128
SHINGLE_WORDS = 5
MISSES_WEIGH = 0.95
"""Candidates are held against their signatures, so a false one costs time and a missed one a duplicate."""
LARGEST = 0.9
"""Above this similarity the few wide bands that fit would miss pairs; candidates for it serve any higher one."""

_SEED = 1


@dataclass(frozen=True)
class Bands:
    """`count` bands of `width` values each."""

    count: int
    width: int


def bands_for(threshold: float) -> Bands:
    """The bands that find most pairs of at least this Jaccard similarity (16 of 8 for 0.8: 95% at 0.8, 99.4% at 0.85)."""
    index = MinHashLSH(min(threshold, LARGEST), PERMUTATIONS, weights=(1 - MISSES_WEIGH, MISSES_WEIGH))
    return Bands(index.b, index.r)


def signatures(texts: Iterable[list[str]]) -> NDArray[np.uint32]:
    """uint32[rows, PERMUTATIONS], from the words of each row.

    The share of equal values of two rows estimates the Jaccard similarity of their shingles.
    """
    shingles = (_shingle_hashes(text) for text in texts)
    made = MinHash.generator(shingles, num_perm=PERMUTATIONS, seed=_SEED, hashfunc=int, scheme="affine32")
    rows = [minhash.hashvalues for minhash in made]
    return np.array(rows, dtype=np.uint32).reshape(len(rows), PERMUTATIONS)


def _shingle_hashes(text: list[str]) -> list[int]:
    """Hashes of the distinct shingles; a text too short for one is a shingle of its own."""
    shingles = set(runs(text, SHINGLE_WORDS)) or {" ".join(text)}
    return [xxhash.xxh32_intdigest(shingle.encode()) for shingle in shingles]


def band_hashes(signature: NDArray[np.uint32], bands: Bands) -> NDArray[np.uint64]:
    """uint64[rows, bands.count]: one hash for each band of each row."""
    used = np.ascontiguousarray(signature[:, : bands.count * bands.width])
    width = bands.width * used.itemsize
    hashes = np.empty((used.shape[0], bands.count), dtype=np.uint64)
    for row, data in enumerate(used):
        raw = data.tobytes()
        hashes[row] = [xxhash.xxh3_64_intdigest(raw[start : start + width]) for start in range(0, len(raw), width)]
    return hashes
