"""Names of languages with block scope: who declares them, who sees them. METHOD stage 4 [ours].

A name declared inside a nested block is known to the walk by a key of its own (`x`, a zero byte, a number), so that two
variables of one name never mix. A definition of a name that its function does not declare is one of the function
around it, or of the class, or of the module. Where assignment itself declares (`binding` = `assigned`), it is local.
"""

from __future__ import annotations

import re
from typing import Any

from codeblock.segment.defuse import DefUse, Step
from codeblock.segment.flow_rules import NAME
from codeblock.segment.scopes import Layer, Scope

THIS = re.compile(rb"this\s*(?:\.|->)\s*\w+")


class Lexical(DefUse):
    """Names, patterns, functions and classes; `Control` has the statements that choose a way."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
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
        """Walk the children of a node."""
        self.walk((node + 1, self.after[node]))

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

    def without(self, node: int, *skipped: int | None) -> list[Step]:
        """Steps that walk the children of a node but for some."""
        return [(self.scan, child) for child in self.tree.children(node) if child not in skipped]

    def first(self, node: int, fields: tuple[int, ...]) -> int | None:
        """The first child in the first of these fields that has one."""
        for field in fields:
            if (child := self.tree.child(node, field)) is not None:
                return child
        return None

    def invocation(self, node: int) -> None:
        """A call. `a.b(c)` whose tree has b as a name of the call: it is a use only without an object before it."""
        rules, tree = self.rules, self.tree
        changed = self.first(node, rules.f_object)
        name = self.first(node, rules.f_callee) if changed is not None else None
        steps = self.without(node, name)
        if self.mutation_defines:
            callee = node + 1
            if changed is None and self.kinds[callee] in rules.member:
                changed, name = callee, list(tree.children(callee))[-1]
            if name is not None and changed is not None and self.text(name) in rules.mutators:
                steps.append((self._mutate, changed))
        self.then(*steps)

    def this_member(self, node: int) -> None:
        """`this.x`, where a class's functions also see x as a name; another object's member is no use of a name."""
        name, owner = self._member_of_this(node)
        if name is not None and owner is not None:
            owner.used_members.append((self.text(name), self.owner[name]))
        else:
            first = node + 1
            self.scan(first)

    def _member_of_this(self, node: int) -> tuple[int | None, Scope | None]:
        """The name in `this.x`, and the class that it is in."""
        member = list(self.tree.children(node))[-1:]
        if not member or not THIS.fullmatch(self.text(node)) or self.kinds[node] not in self.rules.this_member:
            return None, None
        return member[0], self.class_around()

    def renamed(self, node: int) -> None:
        """A test that gives its object a name (`x instanceof A a`)."""
        name = self.tree.child(node, self.rules.f_name)
        self.then(*self.without(node, name), *([] if name is None else self.bind(name, self.declare)))

    def capture(self, node: int) -> None:
        """A pattern: its names are declared."""
        self.then(*self.bind(node, self.declare))

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
        for child in self.tree.children(node):
            kind = self.kinds[child]
            if kind in self.rules.wrapper:
                self.hoist(child)
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

    # -- what is defined

    def bind(self, pattern: int, note: Any) -> list[Step]:
        """Steps for the left side of a definition: what its parts use, then its names by `note(name, item)`."""
        rules, kinds, after, fields = self.rules, self.kinds, self.after, self.fields
        uses: list[Step] = []
        names: list[Step] = []
        inner: int | None = None
        node, end = pattern, after[pattern]
        while node < end:
            kind = kinds[node]
            if kind in rules.member:
                name, owner = self._member_of_this(node)
                if name is not None and owner is not None:
                    owner.assigned_members.append((self.text(name), self.owner[name]))
                else:
                    uses.append((self.scan, node))
                    names.append((self._mutate, node))
                node = after[node]
            elif kind in rules.type or (node > pattern and node != inner and fields[node] in rules.outside):
                uses.append((self.scan, node))
                node = after[node]
            else:
                if kind in rules.pair:
                    inner = self.tree.child(node, rules.f_value)
                if kind in rules.bindable:
                    names.append((self._note, (note, node)))
                node += 1
        return [*uses, *names]

    def _note(self, argument: tuple[Any, int]) -> None:
        note, node = argument
        note(self.text(node), self.owner[node])

    def _mutate(self, member: int) -> None:
        """`a.b = ..` is a definition of a, where that is asked for."""
        if not self.mutation_defines:
            return
        while self.kinds[member] in self.rules.member:
            member += 1
        if self.kinds[member] in self.rules.bindable:
            name = self.key(self.scope, self.text(member))
            if name not in self.scope.defined and self.scope is not self.module:
                self.scope.declared.setdefault(name, False)
            self.define(name, self.owner[member], kills=False)

    def let(self, node: int) -> None:
        """`let x = value`, in the innermost block."""
        self._declaration(node, self.declare)

    def var(self, node: int) -> None:
        """`var x = value`, in the function."""
        self._declaration(node, self.declare_in_function)

    def _declaration(self, node: int, note: Any) -> None:
        """One declarator or several, as children; what is no declarator is walked (types)."""
        rules, steps = self.rules, list[Step]()
        parts = [child for child in self.tree.children(node) if self.kinds[child] in rules.declarator]
        for child in self.tree.children(node) if parts else ():
            steps += self._declarator(child, note) if child in parts else self._plain(child, note)
        self.then(*(steps or self._declarator(node, note)))

    def _plain(self, node: int, note: Any) -> list[Step]:
        rules = self.rules
        return self.bind(node, note) if self.fields[node] in rules.f_target else [(self.scan, node)]

    def _declarator(self, node: int, note: Any) -> list[Step]:
        rules = self.rules
        targets = [child for child in self.tree.children(node) if self.fields[child] in rules.f_target]
        if not targets and (alone := node + 1) < self.after[node]:
            targets = [alone]
        otherwise = self.tree.child(node, rules.f_alternative)
        uses = self.without(node, otherwise, *targets)
        if otherwise is not None:
            outcomes: list[Layer] = []
            uses += [(self._begin, None), (self.scan, otherwise), (self._end, outcomes), (self._join, (outcomes, False))]
        return [*uses, *(step for target in targets for step in self.bind(target, note))]

    def assign(self, node: int) -> None:
        """`left = right`, `left += right`."""
        if any(self.kinds[child] in self.rules.update for child in self.tree.children(node)):
            self.augment(node)
            return
        left, right = self._sides(node)
        steps: list[Step] = [] if right is None else [(self.scan, right)]
        self.then(*steps, *(self.bind(left, self.assign_name) if left is not None else []))

    def augment(self, node: int) -> None:
        """`left += right`, `x++`: a use and a definition."""
        left, _ = self._sides(node)
        self.then((self.inside, node), *(self.bind(left, self.assign_name) if left is not None else []))

    def _sides(self, node: int) -> tuple[int | None, int | None]:
        rules, named = self.rules, self.tree.grammar.named
        left, right = self.first(node, (*rules.f_target, rules.f_argument)), self.first(node, (rules.f_right, rules.f_value))
        if left is None:
            parts = [child for child in self.tree.children(node) if named[self.kinds[child]]]
            left, right = (parts[0], parts[-1] if len(parts) > 1 else None) if parts else (None, None)
        return left, right

    def import_path(self, node: int) -> None:
        """The last name of a path."""
        names = [n for n in range(node, self.after[node]) if self.kinds[n] in self.rules.bindable]
        for name in names[-1:]:
            self.declare(self.text(name), self.owner[name])

    def imports(self, node: int) -> None:
        """Every name in it, or what it is renamed to."""
        after, end = self.after, self.after[node]
        while node < end:
            alias = self.tree.child(node, self.rules.f_alias)
            if alias is not None:
                self.then(*self.bind(alias, self.declare))
                node = after[node]
                continue
            if self.special[self.kinds[node]] == NAME and self.fields[node] != self.rules.f_path:
                self.declare(self.text(node), self.owner[node])
            node += 1

    def import_string(self, node: int) -> None:
        """`import "a/b"` defines b."""
        name, path = self.tree.child(node, self.rules.f_name), self.tree.child(node, self.rules.f_path)
        if (named := path if name is None else name) is not None:
            self.declare(self.text(named).strip(b'"`').rpartition(b"/")[2], self.owner[named])

    def alias_name(self, node: int) -> None:
        """A type or a macro of that name; its parameters and what it stands for are walked."""
        name = self.name_of(node)
        name = node + 1 if name is None else name
        self.then(*self.without(node, name), (self._note, (self.declare, name)))

    def outer(self, node: int) -> None:
        """`global x`: names of the module."""
        for child in self.tree.children(node):
            self.scope.declared.setdefault(self.text(child), False)

    def first_part(self, node: int) -> None:
        """`a::b`: a is used."""
        self.scan(node + 1)

    def update(self, node: int) -> None:
        """`++x`, `x--`; another operator only uses."""
        text = self.text(node)
        if text.startswith((b"++", b"--")) or text.endswith((b"++", b"--")):
            self.augment(node)
        else:
            self.inside(node)

    def property(self, node: int) -> None:
        """`val x: T = value` of a grammar without fields."""
        targets = [child for child in self.tree.children(node) if self.kinds[child] in self.rules.declarator]
        self.then(*self.without(node, *targets), *(step for t in targets for step in self.bind(t, self.declare)))

    # -- functions and classes

    def isolated(self, node: int) -> None:
        """A method that is no name of its own."""
        self.function(node)

    def inline(self, node: int) -> None:
        """A block that is given to a call, and that shares the names around it: it may run any number of times."""
        parameters = [c for c in self.tree.children(node) if self.kinds[c] in self.rules.parameters]
        outcomes: list[Layer] = []
        self.enter_block(None)
        self._begin_loop()
        loop = self.scope.loops[-1]
        bound = [step for parameter in parameters for step in self.bind(parameter, self.declare)]
        ends: list[Step] = [(self._end_body, ({}, False)), (self._end, outcomes), (self._after_loop, (outcomes, loop))]
        self.then(*bound, *self.without(node, *parameters), *ends, (self.leave_block, None))

    def anonymous(self, node: int) -> None:
        """A function that defines no name around it."""
        self.function(node)

    def function(self, node: int) -> None:
        """A function or a closure: its parameters and body in a scope of its own, the rest (types) around it."""
        rules = self.rules
        body = self.first(node, (rules.f_body,))
        if body is None:
            body = self.tree.child_of(node, rules.function_body) or self.body_of(node)
        name = self.name_of(node) if self.kinds[node] in rules.definition else None
        header_end = self.after[node] if body is None else body
        parameters = self._outermost(node + 1, header_end, rules.parameters)
        if not parameters and (alone := self.first(node, (rules.f_parameter, rules.f_parameters))) is not None:
            parameters = [alone]
        bound = [step for parameter in parameters for step in self.bind(parameter, self.declare)]
        if name is not None:
            self.use_types(node, name, body, parameters)
            if body is None:
                return
        within: list[Step] = self.without(node, *parameters) if body is None else [(self._body, body)]
        self.then((self._open, node), *bound, *within, (self._close, None))

    def _outermost(self, node: int, end: int, kinds: frozenset[int]) -> list[int]:
        found = []
        while node < end:
            if self.kinds[node] in kinds:
                found.append(node)
                node = self.after[node]
            else:
                node += 1
        return found

    def use_types(self, node: int, name: int, body: int | None, parameters: list[int]) -> None:
        """The rest of a header: names in it are used here."""
        inside = [(n, self.after[n]) for n in (*parameters, *([] if body is None else [body]))]
        for n in range(node + 1, self.after[node] if body is None else body):
            if n != name and self.special[self.kinds[n]] == NAME and not any(a <= n < b for a, b in inside):
                self.use(self.text(n), self.owner[n])

    def _open(self, node: int) -> None:
        self.scope = Scope(self.scope)
        self.scope.is_isolated = self.rules.assignment_declares and self.rules.statement[self.kinds[node]] != "anonymous"

    def _close(self, _: None) -> None:
        self.close_scope()

    def _body(self, body: int) -> None:
        if self.rules.statement[self.kinds[body]] == "block":
            self.statements(body)
        else:
            self.scan(body)

    def class_body(self, node: int) -> None:
        """A class: what it is made from is used now; its members are names of its own that its functions see."""
        body = self.first(node, (self.rules.f_body,))
        if body is None:
            body = self.body_of(node)
        parameters = self._outermost(node + 1, self.after[node] if body is None else body, self.rules.parameters)
        if body is None and not parameters:
            self.inside(node)
            return
        bound = [step for parameter in parameters for step in self.bind(parameter, self.declare)]
        rest = self.without(node, body, self.name_of(node) if self.kinds[node] in self.rules.definition else None, *parameters)
        within: list[Step] = [] if body is None else [(self.statements, body)]
        self.then(*rest, (self._open_class, None), *bound, *within, (self._close, None))

    def members(self, node: int) -> None:
        """More members of a class, as those of a class without a name (`impl`)."""
        self.class_body(node)

    def _open_class(self, _: None) -> None:
        self.scope = Scope(self.scope)
        self.scope.is_class = True
