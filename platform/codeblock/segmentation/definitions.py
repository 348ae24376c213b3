"""What defines names in languages with block scope: patterns, assignments, imports, functions, classes."""

from __future__ import annotations

import re
from typing import Any

from codeblock.segmentation.defuse import FlowStep
from codeblock.segmentation.flow_rules import NAME
from codeblock.segmentation.lexical import Lexical
from codeblock.segmentation.scopes import Layer, Scope

THIS = re.compile(rb"this\s*(?:\.|->)\s*\w+")


class Definitions(Lexical):
    """Each role of a flow table that defines names is a method here."""

    # -- members

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
            self.then((self.scan, node + 1))

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

    # -- what is defined

    def bind(self, pattern: int, note: Any) -> list[FlowStep]:
        """Steps for the left side of a definition: what its parts use, then its names by `note(name, item)`."""
        rules, kinds, after, fields = self.rules, self.kinds, self.after, self.fields
        uses: list[FlowStep] = []
        names: list[FlowStep] = []
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
        rules, steps = self.rules, list[FlowStep]()
        parts = [child for child in self.tree.children(node) if self.kinds[child] in rules.declarator]
        for child in self.tree.children(node) if parts else ():
            steps += self._declarator(child, note) if child in parts else self._plain(child, note)
        self.then(*(steps or self._declarator(node, note)))

    def _plain(self, node: int, note: Any) -> list[FlowStep]:
        rules = self.rules
        return self.bind(node, note) if self.fields[node] in rules.f_target else [(self.scan, node)]

    def _declarator(self, node: int, note: Any) -> list[FlowStep]:
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
        steps: list[FlowStep] = [] if right is None else [(self.scan, right)]
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
        self.then((self.scan, node + 1))

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
        ends: list[FlowStep] = [(self._end_body, ({}, False)), (self._end, outcomes), (self._after_loop, (outcomes, loop))]
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
        within: list[FlowStep] = self.without(node, *parameters) if body is None else [(self._body, body)]
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
        within: list[FlowStep] = [] if body is None else [(self.statements, body)]
        self.then(*rest, (self._open_class, None), *bound, *within, (self._close, None))

    def members(self, node: int) -> None:
        """More members of a class, as those of a class without a name (`impl`)."""
        self.class_body(node)

    def _open_class(self, _: None) -> None:
        self.scope = Scope(self.scope)
        self.scope.is_class = True
