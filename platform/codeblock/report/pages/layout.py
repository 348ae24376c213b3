"""The response cut into what the page draws: blocks of lines, boxes of items, pieces of tokens.

A run of whole lines that belong to one item is a block with one outline; a line that several items share holds inline boxes.
Joined together, the pieces are the response, character by character.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from codeblock.report.pages.sample import SampleView

TAB = 4
MAX_INDENT = 40
TEXT, BLANK, MIXED = -1, -2, -3  # owners of a line that is not one item's
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PagePiece:
    """Characters of one token (-1: of none). `shade` is 0 to 9 by GCE."""

    text: Markup
    token: int
    shade: int


@dataclass(frozen=True)
class Box:
    """A run of characters of one item (-1: of none) in one line. `first`: the item's first on the page."""

    item: int
    first: bool
    pieces: list[PagePiece]


@dataclass(frozen=True)
class PageLine:
    """One line with its line break. `indent`: columns before the first visible character."""

    indent: int
    boxes: list[Box]


@dataclass(frozen=True)
class PageBlock:
    """Lines of one item (-1: lines without one, or shared by several, whose first item numbers are `shared`)."""

    item: int
    first: bool
    indent: int
    lines: list[PageLine]
    shared: list[int]
    code: bool


@dataclass(frozen=True)
class _Characters:
    """Owner of each character."""

    text: str
    token: Ints
    item: Ints


def blocks(sample: SampleView) -> Iterator[PageBlock]:
    """The blocks of the response in order."""
    characters = _owners(sample)
    shades = [shade(nll, sample.gce_q) for nll in sample.token_nll]
    bounds = _line_bounds(sample.response)
    owners = _close_gaps([_owner(characters, low, high) for low, high in bounds])
    seen: set[int] = set()
    # Shared lines stand alone, so that each has a label of its own.
    keys = [(owner, place if owner == MIXED else -1) for place, owner in enumerate(owners)]
    for (owner, _), group in groupby(zip(keys, bounds, strict=True), key=lambda pair: pair[0]):
        yield _block(owner, [bound for _, bound in group], characters, shades, seen)


def line_numbers(sample: SampleView) -> list[tuple[int, int]]:
    """First and last line of each item, counted from 1 in the response."""
    ends = np.array([high for _, high in _line_bounds(sample.response)] or [0])
    numbers = []
    for item in sample.items:
        low = min((span[0] for span in item.spans), default=0)
        high = max((span[1] for span in item.spans), default=0)
        first, last = np.searchsorted(ends, [low, max(low, high - 1)], side="right").tolist()
        numbers.append((first + 1, last + 1))
    return numbers


def shade(nll: float, q: float) -> int:
    """Step 0 to 9 of the shade: 1 - p^q, the generalized cross-entropy over its largest value; for q = 0, 1 - p."""
    return 0 if math.isnan(nll) else min(int(10 * -math.expm1(-nll * (q or 1.0))), 9)


def plain(text: str) -> Markup:
    """Escaped so that a browser gives back the same characters: HTML turns a bare carriage return into a line feed."""
    return Markup(str(escape(text)).replace("\r", "&#13;"))


def _owners(sample: SampleView) -> _Characters:
    token = np.full(len(sample.response), -1, dtype=np.int64)
    for index, (low, high) in enumerate(sample.token_spans):
        token[max(low, 0) : max(high, 0)] = index
    item = np.full(len(sample.response), -1, dtype=np.int64)
    for index, view in enumerate(sample.items):
        for low, high in view.spans:
            item[low:high] = index
    return _Characters(sample.response, token, item)


def _line_bounds(text: str) -> list[tuple[int, int]]:
    bounds, start = [], 0
    for line in text.split("\n"):
        end = min(start + len(line) + 1, len(text))
        if end > start:
            bounds.append((start, end))
        start = end
    return bounds


def _owner(characters: _Characters, low: int, high: int) -> int:
    """The item that owns every visible character of a line, else what the line is."""
    owners = {int(characters.item[at]) for at in range(low, high) if not characters.text[at].isspace()}
    if len(owners) > 1:
        return MIXED
    return owners.pop() if owners else BLANK


def _close_gaps(owners: list[int]) -> list[int]:
    """Blank lines go with the item around them, or are text."""
    closed: list[int] = []
    for owner, group in groupby(enumerate(owners), key=lambda pair: pair[1]):
        places = [place for place, _ in group]
        if owner == BLANK:
            before = closed[-1] if closed else TEXT
            after = owners[places[-1] + 1] if places[-1] + 1 < len(owners) else TEXT
            owner = before if before == after and before >= 0 else TEXT
        closed += [owner] * len(places)
    return closed


def _block(owner: int, bounds: list[tuple[int, int]], characters: _Characters, shades: list[int], seen: set[int]) -> PageBlock:
    item, first = max(owner, -1), owner >= 0 and owner not in seen
    if owner >= 0:
        seen.add(owner)
    code = owner >= 0 or owner == MIXED
    lines = []
    for low, high in bounds:
        indent = _indent(characters.text[low:high]) if code else 0
        boxes = [Box(-1, False, _pieces(characters, low, high, shades))]
        if owner == MIXED:
            boxes = list(_shared_line(characters, low, high, shades, seen))
        lines.append(PageLine(indent, boxes))
    visible = [line.indent for line, (low, high) in zip(lines, bounds, strict=True) if not characters.text[low:high].isspace()]
    shared = [box.item for line in lines for box in line.boxes if box.first]
    return PageBlock(item, first, min(visible, default=0), lines, shared, code)


def _shared_line(characters: _Characters, low: int, high: int, shades: list[int], seen: set[int]) -> Iterator[Box]:
    text = characters.text[low:high]
    item = characters.item[low:high].copy()
    item[: len(text) - len(text.lstrip())] = -1
    item[len(text.rstrip()) :] = -1
    for owner, group in groupby(range(low, high), key=lambda at: int(item[at - low])):
        places = list(group)
        first = owner >= 0 and owner not in seen
        seen.add(owner)
        yield Box(owner, first, _pieces(characters, places[0], places[-1] + 1, shades))


def _pieces(characters: _Characters, low: int, high: int, shades: list[int]) -> list[PagePiece]:
    """Tokens of a stretch of one line. Its blank ends are pieces without a shade: nobody can read them."""
    text = characters.text[low:high]
    margins = {low + len(text) - len(text.lstrip()), low + len(text.rstrip())}
    change = np.flatnonzero(np.diff(characters.token[low:high])) + low + 1
    cuts = sorted({low, high, *(at for at in margins if low < at < high), *change.tolist()})
    pieces = []
    for start, end in pairwise(cuts):
        token, part = int(characters.token[start]), characters.text[start:end]
        pieces.append(PagePiece(plain(part), token, 0 if token < 0 or part.isspace() else shades[token]))
    return pieces


def _indent(line: str) -> int:
    body = line.lstrip(" \t")
    return min(len(line[: len(line) - len(body)].expandtabs(TAB)), MAX_INDENT)
