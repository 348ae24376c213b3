"""Alignment: character spans of items, core logic tokens and words become columns over tokens.

Shapes: T tokens of the pair, L characters of the response.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from codeblock.prepare.render import Rendered
from codeblock.schema import TokenClass

Span = tuple[int, int]
_WORD = re.compile(r"[^\W\d_][\w'-]*")


def item_of_token(rendered: Rendered, item_spans: Sequence[Sequence[Span]], response: str) -> NDArray[np.int32]:
    """Item index of each token, int32[T], -1 where it touches none; a token that straddles two goes to the larger overlap."""
    item_L = np.full(len(response) + 1, -1, dtype=np.int32)
    for index, spans in enumerate(item_spans):
        for start, end in spans:
            item_L[start:end] = index
    starts, ends = _inside(rendered, len(response))
    owner_T = np.where(ends > starts, item_L[starts], -1).astype(np.int32)
    changes_L = np.concatenate([[0], np.cumsum(item_L[1:] != item_L[:-1])])
    # Only a token whose first and last character lie in different runs needs its overlaps counted.
    mixed = np.flatnonzero((ends > starts) & (changes_L[starts] != changes_L[np.maximum(ends - 1, starts)]))
    for token in mixed:
        owners = item_L[starts[token] : ends[token]]
        owned = owners[owners >= 0]
        owner_T[token] = np.bincount(owned).argmax() if owned.size else -1
    return owner_T


def class_of_token(rendered: Rendered, regions: Iterable[Span], core: Iterable[Span], response: str) -> NDArray[np.uint8]:
    """TokenClass of each token, uint8[T]: core where at least half of its visible characters are core logic."""
    length = len(response)
    starts, ends = _inside(rendered, length)
    visible_L = np.fromiter((not char.isspace() for char in response), dtype=bool, count=length)
    region_count = _covered(regions, starts, ends, length)
    core_count = _covered(core, starts, ends, length)
    visible_count = _sums(visible_L, starts, ends)
    class_T = np.full(rendered.input_ids.size, TokenClass.TEXT, dtype=np.uint8)
    class_T[2 * region_count > np.maximum(ends - starts, 0)] = TokenClass.CODE
    class_T[(core_count > 0) & (2 * core_count >= visible_count)] = TokenClass.CORE
    class_T[: rendered.response_start] = TokenClass.PROMPT
    class_T[-1] = TokenClass.STOP
    return class_T


def word_of_token(rendered: Rendered, class_T: NDArray[np.uint8], response: str) -> NDArray[np.int32]:
    """Number of the informative natural-language word that a token is part of, int32[T], -1 elsewhere.

    Words are runs of letters outside code, without stop words, markdown and punctuation (METHOD: stage 4, ours).
    """
    text = class_T == TokenClass.TEXT
    word_T = np.full(class_T.size, -1, dtype=np.int32)
    if not text.any():
        return word_T
    words = [m.span() for m in _WORD.finditer(response) if m.end() - m.start() > 2 and m[0].lower() not in stop_words()]
    word_L = np.full(len(response) + 1, -1, dtype=np.int32)
    for index, (start, end) in enumerate(words):
        word_L[start:end] = index
    starts, ends = _inside(rendered, len(response))
    # A byte-level token carries the blank before its word, so its last character tells which word it is.
    last = np.maximum(ends - 1, 0)
    word_T[text] = np.where(ends > starts, word_L[last], -1)[text]
    return word_T


@cache
def stop_words() -> frozenset[str]:
    """English stop words."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)


def _inside(rendered: Rendered, length: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Token spans clipped to the response; a token outside it becomes empty."""
    return np.clip(rendered.starts, 0, length), np.clip(rendered.ends, 0, length)


def _covered(spans: Iterable[Span], starts: NDArray[np.int32], ends: NDArray[np.int32], length: int) -> NDArray[np.int64]:
    """Characters of each token that lie in the (disjoint) spans."""
    step_L = np.zeros(length + 1, dtype=np.int32)
    bounds = np.array(list(spans), dtype=np.int64).reshape(-1, 2)
    np.add.at(step_L, bounds[:, 0], 1)
    np.add.at(step_L, bounds[:, 1], -1)
    return _sums(np.cumsum(step_L)[:length] > 0, starts, ends)


def _sums(flag_L: NDArray[np.bool_], starts: NDArray[np.int32], ends: NDArray[np.int32]) -> NDArray[np.int64]:
    total = np.concatenate([[0], np.cumsum(flag_L)])
    return np.asarray(total[ends] - total[starts], dtype=np.int64)
