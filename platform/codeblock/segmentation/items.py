"""Coding items: METHOD stage 2 [ours].

A statement with at most `max_item_tokens` tokens is one item. A larger one is cut at its outermost bodies, wherever in it
they are: what is outside of them is its header item (decorators and all, `{` with its `}`), then each body is walked in
turn; each clause (`elif`, `except`, `case` ...) has its own header. A comment on the line where an item ends rides with
that item; comments on lines of their own are items of kind `comment`, one for each run of lines without a blank line
between.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import groupby

from codeblock.core.schema import ItemKind
from codeblock.segmentation.headers import Event, ItemRules, outline
from codeblock.segmentation.tree import FlatTree
from codeblock.segmentation.types import Span

NEWLINE = 10

Piece = tuple[int, int, int]
"""Item, and bytes `start .. end` of one stretch of it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An item before its offsets are characters: first tree node and kind."""

    node: int
    kind: str


def draft_items(
    tree: FlatTree, rules: ItemRules, max_tokens: int, token_starts: list[int] | None
) -> tuple[list[Draft], list[Piece]]:
    """The items of a tree and their pieces, both in the order of the source.

    `token_starts` are bytes; without them the tree's leaves count.
    """
    return _Cutter(tree, rules, max_tokens, token_starts).run()


class _Cutter:
    def __init__(self, tree: FlatTree, rules: ItemRules, max_tokens: int, token_starts: list[int] | None) -> None:
        self.tree, self.rules = tree, rules
        self.max_tokens, self.token_starts = max_tokens, token_starts
        self.items: list[Draft] = []
        self.pieces: list[Piece] = []
        self.waiting: tuple[int, int, int] | None = None  # what is attached to the next statement: node, start, end

    def run(self) -> tuple[list[Draft], list[Piece]]:
        tree, rules = self.tree, self.rules
        kinds, starts, ends = tree.kinds, tree.starts, tree.ends
        todo: list[int | Event] = []
        todo.extend([*tree.children(0)][::-1])
        while todo:
            step = todo.pop()
            if not isinstance(step, int):
                self._flush()
                group, start, end, _ = step
                if group.item is None:
                    group.item = self._item(group.node, group.kind)
                self._piece(group.item, start, end)
                continue
            node, kind = step, kinds[step]
            if starts[node] == ends[node] or (not rules.named[kind] and self.waiting is None):
                continue  # a token between statements; the item before it covers it
            if kind in rules.comment:
                self._comment(node)
            elif kind in rules.trailing and self.pieces:
                self._piece(self.pieces[-1][0], starts[node], ends[node])
            elif kind in rules.attached:
                first, start = self.waiting[:2] if self.waiting else (node, starts[node])
                self.waiting = first, start, ends[node]
            elif rules.named[kind]:
                first, start = self.waiting[:2] if self.waiting else (node, starts[node])
                self.waiting = None
                if self._tokens(start, ends[node], first, node) <= self.max_tokens or self._is_solid(node):
                    self._piece(self._item(first, kind_of(tree, rules, node)), start, ends[node])
                else:
                    todo.extend(self._cut(first, start, node)[::-1])
        self._flush()
        return self.items, self.pieces

    def _item(self, node: int, kind: str) -> int:
        self.items.append(Draft(node, kind))
        return len(self.items) - 1

    def _piece(self, item: int, start: int, end: int) -> None:
        if self.tree.data[end - 1] == NEWLINE:  # some grammars put it into a directive
            end = start + len(self.tree.data[start:end].rstrip())
        if self.pieces and self.pieces[-1][0] == item:
            start = self.pieces.pop()[1]
        self.pieces.append((item, start, end))

    def _flush(self) -> None:
        """Something is attached, but no statement comes behind it."""
        if self.waiting is not None:
            node, start, end = self.waiting
            self.waiting = None
            self._piece(self._item(node, ItemKind.OTHER.value), start, end)

    def _comment(self, node: int) -> None:
        tree = self.tree
        start, end = tree.starts[node], tree.ends[node]
        if self.waiting is not None:
            return  # between a decorator and its definition
        if self.pieces:
            item, _, last = self.pieces[-1]
            between = tree.data[last:start]
            lines = between.count(b"\n") or between.count(b"\r")
            draft = self.items[item]
            same = draft.kind == ItemKind.COMMENT.value and tree.kinds[draft.node] == tree.kinds[node]
            if lines == 0 or (lines == 1 and same):
                self._piece(item, start, end)
                return
        self._piece(self._item(node, ItemKind.COMMENT.value), start, end)

    def _tokens(self, start: int, end: int, first: int, last: int) -> int:
        """Tokens of a stretch of the source, which is that of the sibling nodes `first .. last`."""
        if self.token_starts is None:
            return self.tree.leaves_before(self.tree.after[last]) - self.tree.leaves[first]
        at = bisect_left(self.token_starts, start)
        if at and (at == len(self.token_starts) or self.token_starts[at] > start):
            at -= 1  # a token that begins with the white space before the statement
        return bisect_left(self.token_starts, end) - at

    def _is_solid(self, node: int) -> bool:
        """Whether there is no body in a statement."""
        return self.rules.cut.isdisjoint(self.tree.kinds[node : self.tree.after[node]])

    def _cut(self, first: int, start: int, node: int) -> list[int | Event]:
        """The headers of a statement that is too large, and the statements in its bodies, in order."""
        events = outline(self.tree, self.rules, node, kind_of(self.tree, self.rules, node))
        if first != node:
            head = events[0].group
            head.node = first
            events.insert(0, Event(head, start, start + 1, None))
        if self.token_starts is not None:
            for group, stretch in groupby(events, key=lambda event: event.group):
                run = list(stretch)
                group.tokens += self._tokens(run[0].start, run[-1].end, 0, 0)
        return [
            event.statement
            if event.statement is not None and not (event.group.is_clause and event.group.tokens <= self.max_tokens)
            else event
            for event in events
        ]


def kind_of(tree: FlatTree, rules: ItemRules, node: int) -> str:
    """The kind of the item that begins with this statement; a string alone is a comment (a docstring)."""
    kinds = tree.kinds
    while kinds[node] in rules.wrappers:
        inner = next((c for c in tree.children(node) if rules.named[kinds[c]] and kinds[c] not in rules.attached), None)
        if inner is None:
            break
        node = inner
        if kinds[node] in rules.string:
            return ItemKind.COMMENT.value
    return rules.kind_of[kinds[node]] or ItemKind.OTHER.value


def cover(spans: list[Span], text: str, start: int, end: int) -> list[Span]:
    """Grow spans (sorted, disjoint) so that every non-blank character of `text[start:end]` lies in one.

    What no span has (`:` of a header, `;`, a line continuation, a byte-order mark) goes to the span before it,
    or to the first span.
    """
    covered: list[Span] = []
    for at, (first, last) in enumerate(spans):
        upto = spans[at + 1][0] if at + 1 < len(spans) else end
        if at == 0 and first > start:
            lead = text[start:first]
            first -= len(lead.lstrip()) if lead else 0
        if last < upto:
            last += len(text[last:upto].rstrip())
        covered.append((first, last))
    return covered
