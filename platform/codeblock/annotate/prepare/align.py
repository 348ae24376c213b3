"""Alignment: character spans of items, core logic tokens and words become columns over tokens.

A whole batch is aligned at once over one axis of characters, the responses one after the other: NumPy then works on
long arrays instead of many short ones. Shapes: T tokens and C characters of all pairs of the batch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from codeblock.annotate.prepare.render import RenderedPair
from codeblock.core.markdown import fences_of
from codeblock.core.schema import TokenClass

Span = tuple[int, int]
Ints = NDArray[np.int64]
_WORD = re.compile(r"[^\W\d_][\w'-]*")
_SHORTEST_WORD = 3
_BLANKS = [point for point in range(0x3001) if chr(point).isspace()]


@dataclass(frozen=True)
class Spans:
    """What was found in one response, in its characters."""

    items: Sequence[Sequence[Span]]
    regions: Sequence[Span]
    core: Sequence[Span]


@dataclass(frozen=True)
class Aligned:
    """The columns of one pair, each over its tokens."""

    token_class: NDArray[np.uint8]
    token_item: NDArray[np.int32]
    token_word: NDArray[np.int32]


def align(rendered: Sequence[RenderedPair], responses: Sequence[str], spans: Sequence[Spans]) -> list[Aligned]:
    """The class, item and word of every token of a batch of pairs."""
    if not rendered:
        return []
    batch = _Batch.of(rendered, responses)
    class_T = _class_of_token(batch, spans)
    items = [_with_fences(response, found) for response, found in zip(responses, spans, strict=True)]
    item_T = _with_layout(_item_of_token(batch, items), class_T, batch)
    word_T = np.where(item_T < 0, _word_of_token(batch, class_T), -1).astype(np.int32)
    cuts = np.cumsum([pair.input_ids.size for pair in rendered])[:-1]
    columns = zip(*(np.split(column, cuts) for column in (class_T, item_T, word_T)), strict=True)
    return [Aligned(*each) for each in columns]


@dataclass(frozen=True)
class _Batch:
    """Tokens and characters of a batch; `starts` and `ends` are characters of the common axis."""

    responses: Sequence[str]
    base: Ints  # first character of each response
    starts: Ints  # [T]
    ends: Ints  # [T]
    prompt: NDArray[np.bool_]  # [T]
    last: Ints  # index of each pair's stop token
    length: int  # C

    @classmethod
    def of(cls, rendered: Sequence[RenderedPair], responses: Sequence[str]) -> _Batch:
        counts = np.array([pair.input_ids.size for pair in rendered])
        lengths = np.array([len(response) for response in responses])
        # One character more than each response has: an empty token at its end still has a place.
        base = np.concatenate([[0], np.cumsum(lengths + 1)])
        base_T, length_T = np.repeat(base[:-1], counts), np.repeat(lengths, counts)
        starts = np.clip(np.concatenate([pair.starts for pair in rendered]), 0, length_T) + base_T
        ends = np.clip(np.concatenate([pair.ends for pair in rendered]), 0, length_T) + base_T
        first = np.cumsum(counts) - counts
        position_T = np.arange(counts.sum()) - np.repeat(first, counts)
        prompt = position_T < np.repeat([pair.response_start for pair in rendered], counts)
        return cls(responses, base[:-1], starts, ends, prompt, first + counts - 1, int(base[-1]))


def _item_of_token(batch: _Batch, items: Sequence[Sequence[Sequence[Span]]]) -> NDArray[np.int32]:
    """Item that each token overlaps most, -1 where it overlaps none."""
    item_C = np.full(batch.length, -1, dtype=np.int32)
    for base, of_response in zip(batch.base.tolist(), items, strict=True):
        for index, spans in enumerate(of_response):
            for start, end in spans:
                item_C[base + start : base + end] = index
    starts, ends = batch.starts, batch.ends
    some = ends > starts
    owner_T = np.where(some, item_C[starts], -1).astype(np.int32)
    change_C = np.concatenate([[0], np.cumsum(item_C[1:] != item_C[:-1])])
    # Only a token whose first and last character lie in different runs needs its overlaps counted.
    for token in np.flatnonzero(some & (change_C[starts] != change_C[np.maximum(ends - 1, starts)])):
        owners = item_C[starts[token] : ends[token]]
        owned = owners[owners >= 0]
        owner_T[token] = np.bincount(owned).argmax() if owned.size else -1
    return owner_T


def _with_fences(response: str, found: Spans) -> list[Sequence[Span]]:
    """The items' spans; the first item of a fenced region has the line that opens it, the last one that which ends it [ours].

    A block is complete in a response only with its fence: a model that was trained on blocks alone forgot the fences.
    """
    items = list(found.items)
    closed = 0  # end of the last closing fence, which opens nothing
    for start, end in found.regions:
        inside = [index for index, spans in enumerate(items) if start <= spans[0][0] < end]
        if not inside:
            continue
        fences = fences_of(response, start, end)
        if fences is not None and fences[0][0] >= closed:
            opening, closing = fences
            first = min(inside, key=lambda index: items[index][0])
            items[first] = [opening, *items[first]]
            if closing is not None:
                last = max(inside, key=lambda index: items[index][-1])  # a header may own the bracket that closes the region
                items[last] = [*items[last], closing]
                closed = closing[1]
    return items


def _with_layout(item_T: NDArray[np.int32], class_T: NDArray[np.uint8], batch: _Batch) -> NDArray[np.int32]:
    """White space between items goes with the item behind it [ours].

    An item that is learned without its line break and indent is not syntax-complete: a model that was trained on such items
    forgot to break lines.
    """
    blank = (item_T < 0) & (class_T == TokenClass.CODE) & (_count(~_blank(batch), batch) == 0)
    place_T = np.arange(item_T.size)
    next_T = np.minimum.accumulate(np.where(blank, item_T.size - 1, place_T)[::-1])[::-1]
    # The stop token ends each pair and is never blank, so no item is reached across two pairs.
    return np.where(blank, item_T[next_T], item_T).astype(np.int32)


def _class_of_token(batch: _Batch, spans: Sequence[Spans]) -> NDArray[np.uint8]:
    """TokenClass of each token: code where more than half of it, core where half of its visible characters lie in it."""
    inside = _covered(batch, [found.regions for found in spans])
    core = _covered(batch, [found.core for found in spans])
    visible = _count(~_blank(batch), batch)
    class_T = np.full(batch.starts.size, TokenClass.TEXT, dtype=np.uint8)
    class_T[2 * inside > batch.ends - batch.starts] = TokenClass.CODE
    class_T[(core > 0) & (2 * core >= visible)] = TokenClass.CORE
    class_T[batch.prompt] = TokenClass.PROMPT
    class_T[batch.last] = TokenClass.STOP
    return class_T


def _word_of_token(batch: _Batch, class_T: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Number of the informative natural-language word that a token is part of, -1 elsewhere.

    Words are runs of letters outside code, without stop words, markdown and punctuation (METHOD: stage 4, ours).
    """
    text = (class_T == TokenClass.TEXT) & (batch.ends > batch.starts)
    word_C = np.full(batch.length, -1, dtype=np.int32)
    response_T = np.searchsorted(batch.base, batch.starts[text], side="right") - 1
    for row in np.unique(response_T).tolist():
        base = int(batch.base[row])
        for index, (start, end) in enumerate(_words(batch.responses[row])):
            word_C[base + start : base + end] = index
    # A byte-level token carries the blank before its word, so its last character tells which word it is.
    return np.where(text, word_C[np.maximum(batch.ends - 1, 0)], -1).astype(np.int32)


def _words(response: str) -> list[Span]:
    return [
        match.span()
        for match in _WORD.finditer(response)
        if match.end() - match.start() >= _SHORTEST_WORD and match[0].lower() not in stop_words()
    ]


@cache
def stop_words() -> frozenset[str]:
    """English stop words."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)


def _covered(batch: _Batch, spans: Iterable[Sequence[Span]]) -> Ints:
    """Characters of each token that lie in the (disjoint) spans of its response."""
    rows = [(base + start, base + end) for base, found in zip(batch.base.tolist(), spans, strict=True) for start, end in found]
    bounds = np.array(rows, dtype=np.int64).reshape(-1, 2)
    step_C = np.bincount(bounds[:, 0], minlength=batch.length) - np.bincount(bounds[:, 1], minlength=batch.length)
    return _count(np.cumsum(step_C) > 0, batch)


def _count(flag_C: NDArray[np.bool_], batch: _Batch) -> Ints:
    total = np.concatenate([[0], np.cumsum(flag_C)])
    return np.asarray(total[batch.ends] - total[batch.starts], dtype=np.int64)


def _blank(batch: _Batch) -> NDArray[np.bool_]:
    """Which characters are white space; bool[C]."""
    table = np.zeros(0x3002, dtype=bool)
    table[_BLANKS] = True
    text = "\n".join(batch.responses) + "\n"
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return table[np.minimum(points, 0x3001)]
