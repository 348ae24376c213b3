"""Where a statement that is too large is cut: its headers, and the statements in its outermost bodies."""

from __future__ import annotations

from typing import NamedTuple

from codeblock.core.schema import ItemKind
from codeblock.segmentation.tree import FlatTree, Grammar


class ItemRules:
    """The node types that decide where items are cut, by number."""

    def __init__(self, grammar: Grammar) -> None:
        rules = grammar.rules
        self.kind_of = [rules.item_kinds.get(name) if grammar.named[i] else None for i, name in enumerate(grammar.type_of)]
        self.named = grammar.named
        self.wrappers = grammar.ids(rules.wrappers)
        self.attached = grammar.ids(rules.attached)
        self.string = grammar.ids({rules.string}) if rules.documented else frozenset[int]()
        self.compound = grammar.ids(rules.compound)
        self.clauses = grammar.ids(rules.clauses)
        self.clause_tokens = grammar.ids(rules.clause_tokens, named=False)
        self.body = grammar.body
        self.header_parts = grammar.ids(rules.header_parts)
        self.header_fields = frozenset(grammar.field(name) for name in rules.header_parts) - {-1}
        self.trailing = grammar.ids(rules.trailing)
        self.comment = grammar.comment
        self.cut = self.body | grammar.ids(set(rules.opened_by))
        self.opened_by = {
            kind: grammar.ids({token}, named=False) for name, token in rules.opened_by.items() for kind in grammar.ids({name})
        }


class HeaderGroup:
    """A header and the bodies behind it: the statement itself, or one of its clauses. An item once it has a piece."""

    __slots__ = ("is_clause", "item", "kind", "node", "tokens", "until")

    def __init__(self, node: int, until: int, kind: str, is_clause: bool) -> None:
        self.node, self.until, self.kind, self.is_clause = node, until, kind, is_clause
        self.item: int | None = None
        self.tokens = 0


class Event(NamedTuple):
    """A stretch of a group, in bytes: a part of its header, or a statement (a tree node) of one of its bodies."""

    group: HeaderGroup
    start: int
    end: int
    statement: int | None


def outline(tree: FlatTree, rules: ItemRules, statement: int, kind: str) -> list[Event]:
    """The headers of a statement and the statements in its outermost bodies, in the order of the source.

    `tokens` of each group are the leaves of its part of the tree, where the statement's model tokens are not known.
    """
    return _Outline(tree, rules, statement, kind).events


class _Outline:
    def __init__(self, tree: FlatTree, rules: ItemRules, statement: int, kind: str) -> None:
        self.tree, self.rules = tree, rules
        self.events: list[Event] = []
        self.groups = [HeaderGroup(statement, tree.after[statement], kind, False)]
        self.parents = [statement]
        self.opened: set[int] = set()  # nodes that hold statements of their own from here on
        self._open(statement)
        node = statement + 1
        while node < self.groups[0].until:
            self._close(node)
            node = self._visit(node)
        self._close(node)

    def _visit(self, node: int) -> int:
        """Take in a node; returns the next one to visit."""
        tree, rules = self.tree, self.rules
        kind, parent = tree.kinds[node], self.parents[-1]
        in_body = parent in self.opened or (
            tree.kinds[parent] in rules.body and kind not in rules.header_parts and tree.fields[node] not in rules.header_fields
        )
        if not rules.named[kind]:
            if kind in rules.clause_tokens and tree.starts[node] > tree.starts[self.groups[-1].node]:
                self._begin(HeaderGroup(node, tree.after[parent], ItemKind.CONTROL.value, True))
            if tree.kinds[parent] not in rules.body or node == parent + 1 or tree.after[node] == tree.after[parent]:
                self._head(tree.starts[node], tree.ends[node])  # a separator in a body goes with the item before it
            if kind in rules.opened_by.get(tree.kinds[parent], ()):
                self.opened.add(parent)
            return node + 1
        if kind in rules.clauses and not in_body:
            self._begin(HeaderGroup(node, tree.after[node], rules.kind_of[kind] or ItemKind.CONTROL.value, True))
        elif kind in rules.comment:
            if in_body or parent == self.groups[-1].node or tree.kinds[parent] in rules.compound:
                return self._statement(node)
        elif in_body and (kind not in rules.body or self._is_delimited(node)):
            return self._statement(node)
        if tree.after[node] == node + 1:
            self._head(tree.starts[node], tree.ends[node])
            return node + 1
        self.parents.append(node)
        self._open(node)
        return node + 1

    def _is_delimited(self, node: int) -> bool:
        """Whether a body has a header of its own (`{`) where it stands as a statement; else it is one with that around it."""
        return node + 1 < self.tree.after[node] and not self.rules.named[self.tree.kinds[node + 1]]

    def _open(self, node: int) -> None:
        """Enter a node: the header of the innermost group goes on at least to its start."""
        kind = self.tree.kinds[node]
        if kind not in self.rules.body:
            self._head(self.tree.starts[node], self.tree.starts[node])

    def _close(self, node: int) -> None:
        """Leave what ends before a node; a header reaches to the end of what it ends with (dropped punctuation)."""
        after, ends = self.tree.after, self.tree.ends
        while self.parents and after[self.parents[-1]] <= node:
            parent = self.parents.pop()
            group, _, end, statement = self.events[-1] if self.events else (self.groups[0], 0, 0, 0)
            inside = statement is None and group.node <= parent and after[parent] <= group.until
            if inside and self.tree.kinds[parent] not in self.rules.body:
                self.events[-1] = self.events[-1]._replace(end=max(end, ends[parent]))
        while len(self.groups) > 1 and self.groups[-1].until <= node:
            self.groups.pop()

    def _begin(self, group: HeaderGroup) -> None:
        tree = self.tree
        leaves = tree.leaves_before(group.until) - tree.leaves[group.node]
        self.groups[-1].tokens -= leaves
        group.tokens += leaves
        self.groups.append(group)
        self.events.append(Event(group, tree.starts[group.node], tree.starts[group.node], None))

    def _head(self, start: int, end: int) -> None:
        group = self.groups[-1]
        if self.events:
            last = self.events[-1]
            if last.statement is None and last.group is group:
                self.events[-1] = last._replace(end=max(last.end, end))
                return
        self.events.append(Event(group, start, end, None))

    def _statement(self, node: int) -> int:
        tree = self.tree
        if tree.ends[node] > tree.starts[node]:
            self.events.append(Event(self.groups[-1], tree.starts[node], tree.ends[node], node))
        return tree.after[node]
