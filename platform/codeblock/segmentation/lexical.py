"""Names of languages with block scope: who declares them, who sees them. METHOD stage 4 [ours].

A name declared inside a nested block is known to the walk by a key of its own (`x`, a zero byte, a number), so that two
variables of one name never mix. A definition of a name that its function does not declare is one of the function
around it, or of the class, or of the module. Where assignment itself declares (`binding` = `assigned`), it is local.
"""

from __future__ import annotations

from typing import Any

from codeblock.segmentation.bindings import Piece
from codeblock.segmentation.defuse import DefUse, FlowStep
from codeblock.segmentation.flow_rules import NAME, FlowRules
from codeblock.segmentation.scopes import Scope
from codeblock.segmentation.tree import FlatTree


class Lexical(DefUse):
    """Who a name belongs to, and the walk over nodes; `Definitions` has what defines names, `ControlFlow` what takes a way."""

    def __init__(self, tree: FlatTree, rules: FlowRules, pieces: list[Piece], mutation_defines: bool) -> None:
        super().__init__(tree, rules, pieces, mutation_defines)
        self.keep_uses = True
        self.keys = 0
        self.defined_names: set[bytes] = set()  # of functions and classes

    def _methods(self) -> list[Any]:
        """The method of each node type that has one; looked up once for a language."""
        methods = [None if role == "scan" else getattr(type(self), role) for role in self.rules.statement]
        self.rules.methods[type(self)] = methods
        return methods

    # -- names

    def key(self, scope: Scope, name: bytes) -> bytes:
        """What a name is known by where the walk stands in a scope."""
        for block in reversed(scope.blocks):
            if name in block:
                return block[name]
        return name

    def use(self, name: bytes, item: int) -> None:
        """Note a use."""
        if name[:1] == b"@" and (owner := self.class_around()) is not None:
            owner.used_members.append((name, item))
        super().use(self.key(self.scope, name), item)

    def class_around(self) -> Scope | None:
        """The class that the walk is in."""
        scope: Scope | None = self.scope
        while scope is not None and not scope.is_class:
            scope = scope.parent
        return scope

    def declare(self, name: bytes, item: int) -> None:
        """Note a definition that makes the name one of the innermost block."""
        blocks = self.scope.blocks
        if blocks:
            if name not in blocks[-1]:
                self.keys += 1
                blocks[-1][name] = b"%b\0%d" % (name, self.keys)
            name = blocks[-1][name]
        self.scope.declared.pop(name, None)
        self.define(name, item)

    def declare_in_function(self, name: bytes, item: int) -> None:
        """Note a definition that makes the name one of the function (`var`)."""
        self.scope.declared.pop(name, None)
        self.define(name, item)

    def assign_name(self, name: bytes, item: int) -> None:
        """Note a definition of a name that is declared elsewhere."""
        if name[:1] == b"@" and (owner := self.class_around()) is not None:
            owner.assigned_members.append((name, item))
        scope, name = self.scope, self.key(self.scope, name)
        if name not in scope.defined and scope is not self.module and not self.rules.assignment_declares:
            scope.declared.setdefault(name, False)
        self.define(name, item)

    def close_scope(self) -> None:
        """End the scope: hand free names, and definitions of names that it does not own, to the scope around it."""
        scope, parent, incoming = self.scope, self.scope.parent, self.incoming
        defined, foreign = scope.defined, scope.foreign
        for name, bits in scope.exported:
            if name in defined or parent is None:
                defined[name] = defined.get(name, 0) | bits
                foreign[name] = foreign.get(name, 0) | bits
            else:
                parent.exported.append((self.key(parent, name), bits))
        for name, item in scope.assigned_members:
            defined[name] = defined.get(name, 0) | 1 << item
            foreign[name] = foreign.get(name, 0) | 1 << item
        scope.free += [use for use in scope.used_members if use[0] in defined]
        if foreign:
            for name, item in scope.uses:
                incoming[item] |= foreign.get(name, 0)
        for name, item in scope.free:
            if name in defined:
                incoming[item] |= defined[name]
            elif parent is not None and self.leaves(scope, name):
                parent.free.append((self.key(parent, name), item))
        if parent is not None:
            for name, item in scope.open_uses:
                if name not in defined and self.leaves(scope, name):
                    parent.free.append((self.key(parent, name), item))
            self.scope = parent

    def leaves(self, scope: Scope, name: bytes) -> bool:
        """Whether a scope sees a name of the scope around it: where assignment declares, a function sees no variables there."""
        return not scope.is_isolated or name in self.defined_names or name in scope.declared

    # -- expressions, in the order of evaluation; a node with a method of its own does its steps before the rest

    def scan(self, node: int) -> None:
        """Walk an expression or a statement."""
        self.walk((node, self.after[node]))

    def visit(self, node: int) -> None:
        """Walk an expression or a statement."""
        self.walk((node, self.after[node]))

    def inside(self, node: int) -> None:
        """Walk the children of a node next (not now: what is nested deep must not recurse)."""
        self.todo.append((self.walk, (node + 1, self.after[node])))

    def walk(self, nodes: tuple[int, int]) -> None:
        """Walk a run of nodes; code that is never reached has no data flow."""
        node, end = nodes
        if self.scope.dead[-1]:
            return
        special, kinds, methods, not_a_use = self.special, self.kinds, self.methods, self.rules.not_a_use
        while node < end:
            kind = kinds[node]
            if special[kind] == NAME:
                if self.fields[node] not in not_a_use:
                    self.use(self.text(node), self.owner[node])
            elif (method := methods[kind]) is not None:
                self.todo.append((self.walk, (self.after[node], end)))
                method(self, node)
                return
            node += 1

    def without(self, node: int, *skipped: int | None) -> list[FlowStep]:
        """Steps that walk the children of a node but for some."""
        return [(self.scan, child) for child in self.tree.children(node) if child not in skipped]

    def first(self, node: int, fields: tuple[int, ...]) -> int | None:
        """The first child in the first of these fields that has one."""
        for field in fields:
            if (child := self.tree.child(node, field)) is not None:
                return child
        return None

    def skip(self, node: int) -> None:
        """Nothing in here is a name of a variable."""

    # -- blocks

    def enter_block(self, _: Any) -> None:
        """Begin a block: names that are declared from here on end with it."""
        self.scope.blocks.append({})

    def leave_block(self, _: Any) -> None:
        """End a block."""
        self.scope.blocks.pop()

    def block(self, node: int) -> None:
        """Statements with names of their own."""
        self.enter_block(None)
        self.then((self.statements, node), (self.leave_block, None))

    def statements(self, node: int) -> None:
        """Statements in a row; functions and classes are known from the first of them on."""
        self.hoist(node)
        self.inside(node)

    def hoist(self, node: int) -> None:
        """Define the functions and classes of a run of statements."""
        todo = list(self.tree.children(node))[::-1]
        while todo:
            child = todo.pop()
            kind = self.kinds[child]
            if kind in self.rules.wrapper:
                todo.extend(list(self.tree.children(child))[::-1])
            elif kind in self.rules.definition and (name := self.name_of(child)) is not None:
                self.defined_names.add(self.text(name))
                self.declare(self.text(name), self.owner[name])

    def name_of(self, node: int) -> int | None:
        """The name that a function or class defines."""
        rules = self.rules
        name = self.first(node, (rules.f_name, rules.f_declarator))
        while name is not None and name + 1 < self.after[name]:
            inner = self.first(name, (rules.f_declarator, rules.f_name))
            name = name + 1 if inner is None else inner
        return name
