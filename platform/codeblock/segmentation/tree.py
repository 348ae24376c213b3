"""A syntax tree as flat lists in the order of the source: what every later step walks, without recursion.

Node i of the lists comes before its children; its subtree is `i .. after[i] - 1`. Punctuation that no rule needs is left
out, and a string literal without code inside is one leaf.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Language, Node, Parser, Tree

from codeblock.segmentation.languages import LanguageRules

_LOG = logging.getLogger(__name__)
_SAID: list[str] = []
DROP, LEAF, INNER, STRING, MARKED, TWOFOLD = range(6)
QUOTES = b"\"'"


class Grammar:
    """The tables of a language's rules, keyed by the numbers that its grammar gives to node types. One per process."""

    def __init__(self, rules: LanguageRules) -> None:
        self.rules = rules
        self.language = Language(rules.grammar())
        self.parser = Parser(self.language)
        count = range(self.language.node_kind_count)
        self.type_of = [self.language.node_kind_for_id(i) or "" for i in count]
        self.named = [self.language.node_kind_is_named(i) for i in count]
        self.reading = [self._reading(i) for i in count]
        self.body = self.ids(rules.body)
        self.comment = self.ids(rules.comment)
        self.evidence = self.ids(rules.evidence) | self.ids(rules.evidence, named=False)
        self.read_as = {
            kind: (start, min(self.ids({other}))) for name, (start, other) in rules.read_as.items() for kind in self.ids({name})
        }
        self.markers = [rules.leaf_unless.get(name) if self.named[i] else None for i, name in enumerate(self.type_of)]

    def _reading(self, kind: int) -> int:
        name, rules = self.type_of[kind], self.rules
        if not self.named[kind]:
            return DROP if name in rules.punctuation else INNER
        if name == rules.string:
            return STRING
        if name in rules.leaf_unless:
            return MARKED
        if name in rules.read_as:
            return TWOFOLD
        leaf = name in rules.string_parts or name == rules.identifier
        return LEAF if leaf else INNER

    def ids(self, names: frozenset[str] | set[str], *, named: bool = True) -> frozenset[int]:
        """Numbers of the named (or anonymous) node types in `names`."""
        return frozenset(i for i, name in enumerate(self.type_of) if name in names and self.named[i] == named)

    def field(self, name: str) -> int:
        """Number of a field."""
        return self.language.field_id_for_name(name) or -1


@dataclass(frozen=True, slots=True)
class FlatTree:
    """Preorder lists over the recorded nodes; offsets are bytes of `data`."""

    grammar: Grammar
    data: bytes
    kinds: list[int]
    fields: list[int | None]
    starts: list[int]
    ends: list[int]
    after: list[int]
    leaves: list[int]
    """Leaves of the syntax tree (dropped ones too) before this node."""
    leaf_count: int

    def children(self, node: int) -> Iterator[int]:
        """The recorded children of a node, first to last."""
        child, end = node + 1, self.after[node]
        while child < end:
            yield child
            child = self.after[child]

    def child(self, node: int, field: int) -> int | None:
        """The first child in a field."""
        fields, after = self.fields, self.after
        at, end = node + 1, after[node]
        while at < end:
            if fields[at] == field:
                return at
            at = after[at]
        return None

    def child_of(self, node: int, types: frozenset[int]) -> int | None:
        """The first child of one of these types."""
        kinds, after = self.kinds, self.after
        at, end = node + 1, after[node]
        while at < end:
            if kinds[at] in types:
                return at
            at = after[at]
        return None

    def leaves_before(self, node: int) -> int:
        """Leaves before a node, which may be the one behind the last."""
        return self.leaves[node] if node < len(self.leaves) else self.leaf_count


_GRAMMARS: dict[int, Grammar | None] = {}


def grammar_of(rules: LanguageRules) -> Grammar | None:
    """The grammar of a language that has rules; None, said once, where its package is not installed.

    Built once per process, since parsers cannot be pickled.
    """
    key = id(rules)  # the tables are constants of modules
    if key not in _GRAMMARS:
        try:
            _GRAMMARS[key] = Grammar(rules)
        except ImportError:
            _GRAMMARS[key] = None
            _say_what_to_install(rules.name)
    return _GRAMMARS[key]


def _say_what_to_install(language: str) -> None:
    if not _SAID:
        _SAID.append(language)
        _LOG.warning(
            "no grammar for %s is installed: code in this and other languages than Python is cut at blank lines; "
            "pip install 'codeblock[languages]'",
            language,
        )


def top(tree: Tree, lead: int) -> Node:
    """The node whose children are the statements of a text, in front of which `lead` bytes were parsed."""
    return tree.root_node.named_descendant_for_byte_range(lead - 1, lead) or tree.root_node if lead else tree.root_node


def flatten(tree: Tree, data: bytes, grammar: Grammar, lead: int = 0) -> FlatTree:
    """Read a syntax tree with one cursor; `lead` bytes in front of `data` and what closes them behind it are left out."""
    if lead:
        return _without_enclosure(tree, data, grammar, lead)
    return _flatten(tree.root_node, data, grammar)


def _flatten(root: Node, data: bytes, grammar: Grammar) -> FlatTree:
    kinds: list[int] = []
    fields: list[int | None] = []
    starts: list[int] = []
    ends: list[int] = []
    after: list[int] = []
    leaves: list[int] = []
    open_nodes: list[int] = []
    seen = 0
    reading, prefixes = grammar.reading, grammar.rules.interpolated
    markers = grammar.markers
    cursor = root.walk()
    down, along, up = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    while True:
        node = cursor.node
        assert node is not None
        kind = node.kind_id
        how = reading[kind]
        if how != DROP:
            at = len(kinds)
            start = node.start_byte
            kinds.append(kind)
            fields.append(cursor.field_id)
            starts.append(start)
            ends.append(node.end_byte)
            after.append(at + 1)
            leaves.append(seen)
            if how == STRING:
                how = LEAF if data[start] in QUOTES or _prefix(data, start) not in prefixes else INNER
            elif how == MARKED:
                marker = markers[kind]
                assert marker is not None
                how = INNER if data.find(marker, start, node.end_byte) >= 0 else LEAF
            elif how == TWOFOLD:
                beginning, other = grammar.read_as[kind]
                if data.startswith(beginning, start):
                    kinds[at] = other
                how = INNER
            if how == INNER and down():
                open_nodes.append(at)
                continue
        seen += 1
        while not along():
            if not open_nodes:
                return FlatTree(grammar, data, kinds, fields, starts, ends, after, leaves, seen)
            up()
            after[open_nodes.pop()] = len(kinds)


def _without_enclosure(tree: Tree, data: bytes, grammar: Grammar, lead: int) -> FlatTree:
    """The tree of a text with something around it as the tree of the text."""
    flat = _flatten(top(tree, lead), b" " * lead + data, grammar)
    last = len(flat.kinds) - (flat.starts[-1] >= lead + len(data))
    first = 1 + (last > 1 and flat.ends[1] <= lead)
    keep = slice(first, last)
    return FlatTree(
        grammar,
        data,
        [tree.root_node.kind_id, *flat.kinds[keep]],
        [None, *flat.fields[keep]],
        [0, *(start - lead for start in flat.starts[keep])],
        [len(data), *(end - lead for end in flat.ends[keep])],
        [last - first + 1, *(after - first + 1 for after in flat.after[keep])],
        [0, *flat.leaves[keep]],
        flat.leaves[last] if last < len(flat.leaves) else flat.leaf_count,
    )


def _prefix(data: bytes, start: int) -> bytes:
    first = data[start : start + 3].lower()
    return first[: len(first) - len(first.lstrip(b"abcdefghijklmnopqrstuvwxyz"))]
