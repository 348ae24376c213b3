"""Core logic leaves: METHOD stage 2 [ours]. They score an item; they never decide what of it is supervised."""

from __future__ import annotations

from codeblock.core.schema import ItemKind
from codeblock.segmentation.tree import FlatTree, Grammar

NOTHING, WHOLE, NAME, SKIP, SKIP_FIRST, DOCUMENTED, CALLED, MARKED = range(8)


class CoreRules:
    """What to do at a node, by the number of its type."""

    def __init__(self, grammar: Grammar) -> None:
        rules = grammar.rules
        self.names = rules.not_core_names
        self.string = grammar.ids({rules.string})
        self.comment = grammar.comment
        self.body = grammar.body
        self.statement = grammar.ids(rules.wrappers)
        self.action = [NOTHING] * len(grammar.type_of)
        for action, names in (
            (WHOLE, rules.core),
            (NAME, {rules.identifier}),
            (SKIP, rules.not_core),
            (SKIP_FIRST, rules.not_core_first),
            (DOCUMENTED, rules.documented),
            (CALLED, set(rules.called)),
            (MARKED, set(rules.marks)),
        ):
            for kind in grammar.ids(names):
                self.action[kind] = action
        for kind in grammar.ids(rules.core_tokens, named=False):
            self.action[kind] = WHOLE
        self.types = frozenset(grammar.field(name) for name in rules.not_core_fields)
        self.called = {kind: grammar.field(name) for key, name in rules.called.items() for kind in grammar.ids({key})}
        self.marks = {
            kind: grammar.ids(set(tokens.split()), named=False)
            for name, tokens in rules.marks.items()
            for kind in grammar.ids({name})
        }
        self.defined = grammar.ids({n for n, kind in rules.item_kinds.items() if kind == ItemKind.CLASS.value})


def core_nodes(tree: FlatTree, rules: CoreRules) -> list[int]:
    """Tree nodes of the core logic leaves, in order; no two overlap."""
    kinds, starts, ends, after, data, fields = tree.kinds, tree.starts, tree.ends, tree.after, tree.data, tree.fields
    action, names, types = rules.action, rules.names, rules.types
    found: list[int] = []
    passed: set[int] = set()  # docstrings and marks
    called: list[int] = []
    upto = 0  # nodes before this one are inside something that is not core
    for node, kind in enumerate(kinds):
        what = action[kind]
        if node < upto or (what == NOTHING and not types):
            continue
        if what == SKIP or (types and fields[node] in types):
            upto = after[node]
            while called and called[-1] < upto:
                name = called.pop()
                if name >= node:
                    found.append(name)
        elif what == NAME:
            if data[starts[node] : ends[node]] not in names:
                found.append(node)
        elif what == WHOLE:
            # a string with code inside has leaves of its own
            if after[node] == node + 1 and node not in passed and ends[node] > starts[node]:
                found.append(node)
        elif what == SKIP_FIRST:
            upto = node + 2
        elif what == CALLED:
            called.extend(_called(tree, rules, node))
        elif what == MARKED:
            passed.update(child for child in tree.children(node) if kinds[child] in rules.marks[kind])
        elif what == DOCUMENTED and (doc := _docstring(tree, rules, node)) is not None:
            passed.add(doc)
    return found


def _called(tree: FlatTree, rules: CoreRules, node: int) -> list[int]:
    """The name of the type that a node creates, or that it defines with a body."""
    field = rules.called[tree.kinds[node]]
    name = tree.child(node, field)
    if name is None or (tree.kinds[node] in rules.defined and tree.child_of(node, rules.body) is None):
        return []
    while tree.after[name] > name + 1:
        name += 1
    return [name]


def _docstring(tree: FlatTree, rules: CoreRules, node: int) -> int | None:
    """The string that documents a definition or the module: the first statement of its body, a string alone."""
    kinds, after = tree.kinds, tree.after
    holder = node if node == 0 else tree.child_of(node, rules.body)
    if holder is None:
        return None
    first = next((c for c in tree.children(holder) if kinds[c] not in rules.comment), None)
    if first is None or kinds[first] not in rules.statement or first + 1 == after[first]:
        return None
    string = first + 1
    # one leaf alone: a string with code inside documents nothing
    return string if kinds[string] in rules.string and string + 1 == after[string] == after[first] else None
