"""Informative words of natural language as units, and how specific a word is to its pair [ours].

A word is told by the ids of its tokens, and counted in a table of fixed size by a hash of them: two words may share a bucket,
which makes both look less rare and nothing else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codeblock.core.config import SelectConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.schema import TokenClass
from codeblock.selection.pair import ScoredPair

BUCKETS = 1 << 20
OPENING_TOKENS = 8
"""Words among so many tokens at the start of a response, before any code, only open it ("Certainly! Here is")."""

Floats = NDArray[np.float64]


def words_of(pair: ScoredPair, value_T: Floats, settings: SelectConfig) -> tuple[NDArray[np.int32], Floats]:
    """Words numbered from 0 per token (int32[T], -1 elsewhere), and the rank of each, float64[W].

    `value_T`: the worth of each token, NaN where it has none. Rank: the mean of it over the word, with `word_rank=specific`
    times `log(P / d) / log(P)`, d of the P kept pairs having the word; an opener has rank 0.
    """
    words_T, count = number_words(pair)
    if count == 0:
        return words_T, np.empty(0)
    member = words_T >= 0
    numbers = words_T[member]
    rank_W = np.bincount(numbers, weights=value_T[member]) / np.maximum(np.bincount(numbers), 1)
    if settings.word_rank == "specific":
        rank_W *= specificity(pair)
    return words_T, rank_W


def number_words(pair: ScoredPair) -> tuple[NDArray[np.int32], int]:
    """Words numbered from 0 per scored token (int32[T], -1 elsewhere), and how many there are."""
    words_T = np.full(pair.nll.size, -1, dtype=np.int32)
    member = (pair.token_word >= 0) & ~np.isnan(pair.nll)
    if not member.any():
        return words_T, 0
    names, words_T[member] = np.unique(pair.token_word[member], return_inverse=True)
    return words_T, names.size


def buckets(pair: ScoredPair) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The words per token as above, and the bucket of each word, int64[W]. Raises CodeBlockError without `input_ids`."""
    if pair.input_ids is None:
        raise CodeBlockError(f"pair {pair.id}: no column input_ids; select.word_rank=specific needs it")
    words_T, count = number_words(pair)
    key_W = np.zeros(count, dtype=np.uint64)
    for token in np.flatnonzero(words_T >= 0).tolist():
        mixed = (int(key_W[words_T[token]]) ^ (int(pair.input_ids[token]) + 1)) * 0x9E3779B97F4A7C15
        key_W[words_T[token]] = np.uint64(mixed & 0xFFFFFFFFFFFFFFFF)
    return words_T, (key_W >> np.uint64(44)).astype(np.int64)


def specificity(pair: ScoredPair) -> Floats:
    """How few of the kept pairs have each word, 0..1, float64[W]; 0 for an opener."""
    words_T, bucket_W = buckets(pair)
    pool = pair.pool
    if pool.word_pairs is None:
        raise CodeBlockError(f"pair {pair.id}: words were not counted over the kept pairs; use select or select_parts")
    pairs_W = np.clip(pool.word_pairs[bucket_W], 1, pool.pairs)
    rare_W: Floats = np.log(pool.pairs / pairs_W) / np.log(max(pool.pairs, 2))
    rare_W[openers(pair, words_T)] = 0.0
    return rare_W


def openers(pair: ScoredPair, words_T: NDArray[np.int32]) -> NDArray[np.int32]:
    """Numbers of the words that open a response before any code."""
    start = int(np.argmax(pair.response))
    opening = slice(start, start + OPENING_TOKENS)
    code = np.isin(pair.token_class[opening], (TokenClass.CODE, TokenClass.CORE))
    first = words_T[opening][: int(np.argmax(code)) if code.any() else None]
    return np.unique(first[first >= 0])
