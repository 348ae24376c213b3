"""Names in expressions: who is used, who is defined, and in which scope."""

from __future__ import annotations

from bisect import bisect_left

from codeblock.segmentation.flow_rules import CALL, CLOSURE, COMPREHENSION, MAYBE, NAME, TARGET, WALRUS, FlowRules
from codeblock.segmentation.scopes import OPEN, Scope
from codeblock.segmentation.tree import FlatTree

Piece = tuple[int, int, int]
"""Item, and bytes `start .. end` of one stretch of it."""

Hidden = tuple[int, frozenset[bytes], tuple[tuple[int, int], ...], bool]
"""An inner scope of an expression: its end, its own names, the node ranges outside it, whether it runs later (lambda)."""


class Bindings:
    """The state of the walk, and the uses and definitions of one statement at a time."""

    def __init__(self, tree: FlatTree, rules: FlowRules, pieces: list[Piece], mutation_defines: bool) -> None:
        self.tree, self.rules, self.mutation_defines = tree, rules, mutation_defines
        self.special = rules.special if mutation_defines else rules.without_calls
        self.kinds, self.fields, self.after = tree.kinds, tree.fields, tree.after
        self.owner = _owners(pieces, tree.starts)
        self.incoming = [0] * (1 + max(pieces)[0])  # set of defining items, by using item
        self.module = self.scope = Scope(None)
        self.keep_uses = b"global" in tree.data or b"nonlocal" in tree.data
        self.maybe_until = 0  # definitions at nodes before this one may not happen

    def text(self, node: int) -> bytes:
        """Source of a node."""
        return self.tree.data[self.tree.starts[node] : self.tree.ends[node]]

    def body_of(self, node: int) -> int | None:
        """The body of a statement or clause."""
        return self.tree.child_of(node, self.rules.body)

    # -- one name

    def use(self, name: bytes, item: int) -> None:
        """Note a use: every definition that reaches it, and what must wait until a loop or the scope ends."""
        scope = self.scope
        if self.keep_uses:
            scope.uses.append((name, item))
            if name in scope.declared:
                scope.free.append((name, item))
        layers, loops = scope.layers, scope.loops
        found, place, inner = OPEN, len(layers) - 1, len(loops) - 1
        while place >= 0:
            value = layers[place].get(name)
            if value is not None:
                found |= value
                if not value & OPEN:
                    break
            if inner >= 0 and loops[inner].bottom == place:
                exposed = loops[inner].exposed
                exposed[name] = exposed.get(name, 0) | 1 << item
                inner -= 1
            place -= 1
        else:
            scope.open_uses.append((name, item))
        if found > OPEN:
            self.incoming[item] |= found >> 1

    def define(self, name: bytes, item: int, kills: bool = True) -> None:
        """Note a definition; one that does not kill joins those before it."""
        scope = self.scope
        value = 2 << item
        layer = scope.layers[-1]
        layer[name] = value if kills else value | layer.get(name, OPEN)
        if scope.logs:
            log = scope.logs[-1]
            log[name] = log.get(name, 0) | value
        if name not in scope.declared:
            scope.defined[name] = scope.defined.get(name, 0) | 1 << item
        elif not scope.declared[name]:
            scope.exported.append((name, 1 << item))
        elif scope is not self.module:
            foreign = self.module.foreign
            foreign[name] = foreign.get(name, 0) | 1 << item

    def close_scope(self) -> None:
        """End the scope: hand free names to the scope around it."""
        scope = self.scope
        parent = scope.parent
        defined = scope.defined
        if parent is None:
            for name, bits in scope.foreign.items():
                defined[name] = defined.get(name, 0) | bits
        for name, bits in scope.exported:
            if scope.declared.get(name) is not False and name in defined:
                defined[name] |= bits
                scope.foreign[name] = scope.foreign.get(name, 0) | bits
            elif parent is not None:
                parent.exported.append((name, bits))
        if scope.foreign:
            for name, item in scope.uses:
                self.incoming[item] |= scope.foreign.get(name, 0)
        for name, item in scope.free:
            if name in defined:
                self.incoming[item] |= defined[name]
            elif parent is not None:
                (self.module if scope.declared.get(name) else parent).free.append((name, item))
        if parent is not None:
            parent.free.extend(use for use in scope.open_uses if use[0] not in defined)
            self.scope = parent

    # -- expressions

    def scan_maybe(self, node: int) -> None:
        """An expression that may not be evaluated."""
        self.maybe_until = max(self.maybe_until, self.after[node])
        self.scan(node)

    def scan(self, node: int) -> None:
        """The uses of an expression, and the names that it defines on its way."""
        special, fields, not_a_use = self.special, self.fields, self.rules.not_a_use
        data, starts, ends, use, owner = self.tree.data, self.tree.starts, self.tree.ends, self.use, self.owner
        end = self.after[node]
        for at, kind in enumerate(self.kinds[node:end], node):
            if what := special[kind]:
                if what != NAME:
                    self._scan_special(at, end)
                    return
                if fields[at] not in not_a_use:
                    use(data[starts[at] : ends[at]], owner[at])

    def _scan_special(self, node: int, end: int) -> None:
        """As `scan`, from a node on that may begin a scope of its own or define a name."""
        special, kinds, fields, after = self.special, self.kinds, self.fields, self.after
        not_a_use, owner = self.rules.not_a_use, self.owner
        hidden: list[Hidden] = []
        late: list[tuple[int, int]] = []
        while True:
            while late and node >= late[-1][0]:
                self._define_late(late.pop()[1])
            while hidden and node >= hidden[-1][0]:
                hidden.pop()
            if node >= end:
                return
            what = special[kinds[node]]
            if what == NAME:
                if fields[node] not in not_a_use:
                    if hidden:
                        self._use_hidden(node, hidden)
                    else:
                        self.use(self.text(node), owner[node])
            elif what == TARGET:
                self.targets(node)
                node = after[node]
                continue
            elif what == CLOSURE:
                hidden.append(self._closure(node))
            elif what == COMPREHENSION:
                hidden.append(self._comprehension(node))
            elif what == WALRUS:
                late.append((after[node], node))
            elif what == MAYBE:
                self.maybe_until = max(self.maybe_until, after[node])
            elif what == CALL:
                self._mutating_call(node)
            node += 1

    def _define_late(self, walrus: int) -> None:
        name = self.tree.child(walrus, self.rules.f_name)
        if name is not None:
            self.define(self.text(name), self.owner[name], kills=name >= self.maybe_until)

    def _use_hidden(self, node: int, hidden: list[Hidden]) -> None:
        name = self.text(node)
        later = False
        for _, names, outside, is_later in hidden:
            if any(start <= node < end for start, end in outside):
                continue
            if name in names:
                return
            later = later or is_later
        if later:
            self.scope.free.append((name, self.owner[node]))
        else:
            self.use(name, self.owner[node])

    def _closure(self, node: int) -> Hidden:
        parameters = self.tree.child(node, self.rules.f_parameters)
        if parameters is None:
            return (self.after[node], frozenset(), (), True)
        names, outside = self._parameter_names(parameters)
        spans = tuple((start, self.after[start]) for start in outside)
        return (self.after[node], frozenset(map(self.text, names)), spans, True)

    def _comprehension(self, node: int) -> Hidden:
        rules, after = self.rules, self.after
        self.maybe_until = max(self.maybe_until, after[node])
        names: set[bytes] = set()
        outside: tuple[tuple[int, int], ...] = ()
        for clause in self.tree.children(node):
            if self.kinds[clause] not in rules.for_clause:
                continue
            left, right = self.tree.child(clause, rules.f_left), self.tree.child(clause, rules.f_right)
            if left is not None:
                names.update(self.text(n) for n in range(left, after[left]) if self.kinds[n] == rules.identifier)
            if right is not None and not outside:
                outside = ((right, after[right]),)  # the first iterable belongs to the scope around
        return (after[node], frozenset(names), outside, False)

    def parameters(self, node: int) -> list[int]:
        """The parameters' names; defaults and annotations are used here, outside the function."""
        names, outside = self._parameter_names(node)
        for start in outside:
            self.scan(start)
        return names

    def _parameter_names(self, node: int) -> tuple[list[int], list[int]]:
        """Nodes of the parameters' names, and the nodes of defaults and annotations."""
        rules, kinds, fields, after = self.rules, self.kinds, self.fields, self.after
        names: list[int] = []
        outside: list[int] = []
        end = after[node]
        node += 1
        while node < end:
            if fields[node] in (rules.f_value, rules.f_type):
                outside.append(node)
                node = after[node]
                continue
            if kinds[node] == rules.identifier:
                names.append(node)
            node += 1
        return names, outside

    # -- what is defined

    def targets(self, node: int) -> None:
        """The left side of an assignment: names are defined; what an attribute or a subscript belongs to is used."""
        rules, kinds, after = self.rules, self.kinds, self.after
        end = after[node]
        while node < end:
            if kinds[node] == rules.identifier:
                self.define(self.text(node), self.owner[node])
            elif kinds[node] in rules.member:
                self.scan(node)
                self._mutate(node)
                node = after[node]
                continue
            node += 1

    def _mutate(self, member: int) -> None:
        if not self.mutation_defines:
            return
        while self.kinds[member] in self.rules.member:
            member += 1
        if self.kinds[member] == self.rules.identifier:
            self.define(self.text(member), self.owner[member], kills=False)

    def _mutating_call(self, node: int) -> None:
        callee = node + 1
        if self.kinds[callee] not in self.rules.member:
            return
        method = self.tree.child(callee, self.rules.f_attribute)
        if method is not None and self.text(method) in self.rules.mutators:
            self._mutate(callee)


def _owners(pieces: list[Piece], starts: list[int]) -> list[int]:
    """The item of each node, by where it starts; nodes are in the order of the source."""
    owner: list[int] = []
    for place, (item, _, _) in enumerate(pieces):
        upto = bisect_left(starts, pieces[place + 1][1], len(owner)) if place + 1 < len(pieces) else len(starts)
        owner += [item] * (upto - len(owner))
    return owner
