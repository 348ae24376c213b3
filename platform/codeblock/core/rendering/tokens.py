"""Text to tokens as generation has them: a prompt by itself, and what goes on from it.

A prompt is tokenized alone, for a model that answers sees it alone. What follows is tokenized as its continuation, so that no
token holds the end of one and the beginning of the other. Shapes: T tokens of one text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeblock.core.errors import RowError
from codeblock.core.schema import Reason

Int32s = NDArray[np.int32]
MARK = "\ufdd0"
"""A noncharacter of Unicode: stands in a special token that is quoted, and is no part of the text (`ControlTokens.mark`)."""
_ANCHORS = ("\n", ".", "a", "1", ")")
_TAIL = 8
_LONGEST = 64


@dataclass(frozen=True)
class Tokens:
    """Tokens of a text. `ids` int32[T]; `starts`, `ends` int32[T]: its characters that each token stands for, without gaps."""

    ids: Int32s
    starts: Int32s
    ends: Int32s


class ControlTokens:
    """The tokens of a vocabulary that only a template may write, found in texts and told apart from those that are quoted."""

    def __init__(self, ids: dict[str, int]) -> None:
        self.ids = ids
        """Number of each by its text."""
        self.numbers = frozenset(ids.values())
        longest_first = sorted(filter(None, ids), key=len, reverse=True)
        self._first = frozenset(text[0] for text in longest_first)
        self.written = _any(re.escape(text) + f"(?!{MARK})" for text in longest_first)
        """Matches one that is not marked as quoted."""
        self.quoted = _any(re.escape(text[0]) + MARK + re.escape(text[1:]) for text in longest_first)
        """Matches one that is."""

    def mark(self, text: str, spared: Sequence[int] = ()) -> str:
        """The text with each of these tokens in it marked as quoted, but those that begin at `spared` characters."""
        if not any(first in text for first in self._first):
            return text
        return self.written.sub(lambda m: m[0] if m.start() in spared else m[0][0] + MARK + m[0][1:], text)


def _any(patterns: Any) -> re.Pattern[str]:
    return re.compile("|".join(patterns) or "(?!)")


class Encoder:
    """Encodes with one fast tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        self.special = {str(token): int(id_) for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
        """Special tokens by their text. Added tokens that are not special, as runs of blanks, are ordinary ones."""
        self.special |= dict(zip(tokenizer.all_special_tokens, map(int, tokenizer.all_special_ids), strict=True))
        self._written = ControlTokens(self.special).written
        self._ids_of = lru_cache(maxsize=1024)(lambda text: self._encode([text], offsets=True)[0].ids)

    @cached_property
    def opening(self) -> list[int]:
        """What the tokenizer puts before a text of its own: the beginning-of-text token, or nothing."""
        self._reset()
        whole, plain = (self._backend.encode("x", add_special_tokens=add).ids for add in (True, False))
        places = [at for at in range(len(whole) - len(plain) + 1) if whole[at : at + len(plain)] == plain]
        return list(whole[: places[0]]) if places and plain else []

    def begin(self, texts: Sequence[str]) -> list[Int32s]:
        """The tokens of texts that stand at the beginning; special tokens in them are real."""
        return [np.array(each.ids, dtype=np.int32) for each in self._encode(texts, offsets=False)]

    def go_on(self, heads: Sequence[str], texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text as it goes on from its head; special tokens in them are real."""
        if self._alone:
            return [_tokens(found) for found in self._encode(texts, offsets=True)]
        tails = [self._tail(head) for head in heads]
        found = self._encode([tail + text for tail, text in zip(tails, texts, strict=True)], offsets=True)
        return [self._behind(tail, each) or self._anchored(text) for tail, text, each in zip(tails, texts, found, strict=True)]

    def go_on_quoting(self, head: str, text: str, control: ControlTokens) -> Tokens:
        """The tokens of one text in which marked tokens are quoted: they become plain text. Starts and ends are without marks.

        Raises RowError where the tokenizer has no plain text for one of them.
        """
        parts: list[Tokens] = []
        place = 0
        for index, piece in enumerate(_cut(text, control.quoted)):
            if piece:
                plain = piece.replace(MARK, "", 1) if index % 2 else piece
                made = self._plain(head, plain, control) if index % 2 else self.go_on([head], [plain])[0]
                parts.append(Tokens(made.ids, made.starts + np.int32(place), made.ends + np.int32(place)))
                place += len(plain)
                head += piece
        return _joined(parts)

    def _plain(self, head: str, token: str, control: ControlTokens) -> Tokens:
        """The text of a special token as other tokens: whole where the tokenizer can, else in two pieces."""
        for cut in range(len(token)):
            pieces = [(0, token)] if not cut else [(0, token[:cut]), (cut, token[cut:])]
            made = _joined([_shifted(self._without_special(head + token[:at], piece), at) for at, piece in pieces])
            if control.numbers.isdisjoint(made.ids.tolist()) and made.ids.size:
                return made
        raise RowError(Reason.SPECIAL_TOKEN, f"the text holds {token!r}, which this tokenizer cannot write as plain text")

    def _without_special(self, head: str, text: str) -> Tokens:
        self._backend.encode_special_tokens = True
        try:
            if self._alone:
                return _tokens(self._backend.encode(text, add_special_tokens=False))
            for anchor in (head[-1:].replace(MARK, ""), *_ANCHORS):
                before = self._backend.encode(anchor, add_special_tokens=False).ids
                made = _cut_off(before, len(anchor), self._backend.encode(anchor + text, add_special_tokens=False))
                if made is not None:
                    return made
            return _tokens(self._backend.encode(text, add_special_tokens=False))
        finally:
            self._backend.encode_special_tokens = False

    @cached_property
    def _alone(self) -> bool:
        """Whether a text that goes on has the tokens that it has alone: not where a blank is put before each text."""
        return all(self._ids_of("\n" + text) == self._ids_of("\n") + self._ids_of(text) for text in ("x", "Here is", " x"))

    def _tail(self, head: str) -> str:
        """The end of a text, which decides how its continuation is tokenized: its last special token and what follows."""
        special = list(self._written.finditer(head, max(len(head) - _LONGEST, 0)))
        return (head[special[-1].start() :] if special else head[-_TAIL:]).replace(MARK, "")

    def _behind(self, head: str, found: Any) -> Tokens | None:
        return _cut_off(self._ids_of(head), len(head), found)

    def _anchored(self, text: str) -> Tokens:
        """The tokens of a text behind the first anchor that leaves them alone; with no anchor where none does."""
        for anchor in _ANCHORS:
            made = self._behind(anchor, self._encode([anchor + text], offsets=True)[0])
            if made is not None:
                return made
        return _tokens(self._encode([text], offsets=True)[0])

    def _encode(self, texts: Sequence[str], offsets: bool) -> list[Any]:
        self._reset()
        encode = self._backend.encode_batch if offsets else self._backend.encode_batch_fast
        return list(encode(list(texts), add_special_tokens=False))

    def _reset(self) -> None:
        """Undo what other users of the same tokenizer may have set."""
        self._backend.no_padding()
        self._backend.no_truncation()
        self._backend.encode_special_tokens = False


def _cut_off(ids: list[int], length: int, found: Any) -> Tokens | None:
    """What follows the tokens `ids`, which stand for `length` characters; None where the text does not begin with just them."""
    count = len(ids)
    if found.ids[:count] != ids or (count and found.offsets[count - 1][1] > length):
        return None
    made = _tokens(found)
    return _shifted(Tokens(made.ids[count:], np.maximum(made.starts[count:], length), made.ends[count:]), -length)


def _tokens(found: Any) -> Tokens:
    ids = np.array(found.ids, dtype=np.int32)
    offsets = np.fromiter(chain.from_iterable(found.offsets), np.int32, 2 * ids.size).reshape(-1, 2)
    starts, ends = offsets[:, 0].copy(), offsets[:, 1]
    # Some tokenizers leave blanks out of their offsets: they belong to the token behind them.
    starts[1:] = np.minimum(starts[1:], ends[:-1])
    starts[:1] = 0
    return Tokens(ids, starts, ends)


def _shifted(tokens: Tokens, by: int) -> Tokens:
    return Tokens(tokens.ids, tokens.starts + np.int32(by), tokens.ends + np.int32(by))


def _joined(parts: Sequence[Tokens]) -> Tokens:
    empty = np.zeros(0, dtype=np.int32)
    columns = zip(*((part.ids, part.starts, part.ends) for part in parts), strict=True)
    return Tokens(*(np.concatenate(column) for column in columns)) if parts else Tokens(empty, empty, empty)


def _cut(text: str, pattern: re.Pattern[str]) -> list[str]:
    """Pieces of a text: at odd places those that match, at even ones what is between them."""
    pieces, place = [], 0
    for match in pattern.finditer(text):
        pieces += [text[place : match.start()], match[0]]
        place = match.end()
    return [*pieces, text[place:]]
