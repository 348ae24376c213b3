"""Coding items: METHOD stage 2 [ours].

A statement with at most `max_item_tokens` tokens is one item. A larger compound statement gives a header item (decorators
and all, up to the body), then its body is walked in turn; each clause (`elif`, `except`, `case` ...) has its own header.
A comment on the line where an item ends rides with that item; comments on lines of their own are items of kind
`comment`, one for each run of lines without a blank line between.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from codeblock.schema import ItemKind
from codeblock.segment.tree import FlatTree, Grammar
from codeblock.segment.types import Span


@dataclass(frozen=True, slots=True)
class Draft:
    """An item before its offsets are characters: bytes `start .. end`, first tree node `node`."""

    node: int
    start: int
    end: int
    kind: str


class ItemRules:
    """The node types that decide where items are cut, by number."""

    def __init__(self, grammar: Grammar) -> None:
        rules = grammar.rules
        self.kind_of = [rules.item_kinds.get(name) if grammar.named[i] else None for i, name in enumerate(grammar.type_of)]
        self.statement_wrapper = grammar.ids({rules.statement_wrapper})
        self.definition_wrapper = grammar.ids({rules.definition_wrapper})
        self.string = grammar.ids({rules.string})
        self.compound = grammar.ids(rules.compound)
        self.body = grammar.body
        self.comment = grammar.comment


def draft_items(tree: FlatTree, rules: ItemRules, max_tokens: int, token_starts: list[int] | None) -> list[Draft]:
    """The items of a tree in the order of the source. `token_starts` are bytes; without them the tree's leaves count."""
    kinds, starts, ends = tree.kinds, tree.starts, tree.ends
    items: list[Draft] = []
    todo = list(tree.children(0))[::-1]
    while todo:
        node = todo.pop()
        kind = kinds[node]
        if kind in rules.comment:
            _add_comment(items, tree, node)
            continue
        if kind in rules.body:
            todo.extend(list(tree.children(node))[::-1])
            continue
        inner = node
        if kind in rules.definition_wrapper:
            inner = tree.child_of(node, rules.compound) or node
        if kinds[inner] not in rules.compound or _tokens(tree, node, token_starts) <= max_tokens:
            items.append(Draft(node, starts[node], ends[node], kind_of(tree, rules, node)))
            continue
        header_end = starts[node] + 1
        rest: list[int] = []
        for child in tree.children(inner):
            kind = kinds[child]
            if rest or kind in rules.body or kind in rules.compound:
                rest.append(child)
            elif kind in rules.comment:
                # between the header's colon and its body; inside brackets it is no child of the statement
                rest.append(child)
            else:
                header_end = ends[child]
        items.append(Draft(node, starts[node], header_end, kind_of(tree, rules, inner)))
        todo.extend(rest[::-1])
    return items


def _tokens(tree: FlatTree, node: int, token_starts: list[int] | None) -> int:
    if token_starts is None:
        return tree.leaf_total(node)
    start = tree.starts[node]
    first = bisect_left(token_starts, start)
    if first and (first == len(token_starts) or token_starts[first] > start):
        first -= 1  # a token that begins with the white space before the statement
    return bisect_left(token_starts, tree.ends[node]) - first


def kind_of(tree: FlatTree, rules: ItemRules, node: int) -> str:
    """The kind of the item that begins with this statement; a string alone is a comment (a docstring)."""
    kind = tree.kinds[node]
    if kind in rules.definition_wrapper:
        node = tree.child_of(node, rules.compound) or node
    elif kind in rules.statement_wrapper and node + 1 < tree.after[node]:
        node += 1
        if tree.kinds[node] in rules.string:
            return ItemKind.COMMENT.value
    return rules.kind_of[tree.kinds[node]] or ItemKind.OTHER.value


def _add_comment(items: list[Draft], tree: FlatTree, node: int) -> None:
    start, end = tree.starts[node], tree.ends[node]
    if items:
        last = items[-1]
        between = tree.data[last.end : start]
        lines = between.count(b"\n") or between.count(b"\r")
        if lines == 0 or (lines == 1 and last.kind == ItemKind.COMMENT.value and tree.kinds[last.node] == tree.kinds[node]):
            items[-1] = Draft(last.node, last.start, end, last.kind)
            return
    items.append(Draft(node, start, end, ItemKind.COMMENT.value))


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
