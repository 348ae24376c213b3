"""Python's def-use graph: METHOD stage 4 [ours]. One walk over the flat tree, without recursion.

Edge i -> j: a definition in item i can reach a use in item j. Reaching definitions inside a function or the module follow the
flow (branches, loops, `try`, `break`); a function body sees every definition of a free name in the scope around it,
since it may be called at any time. Not seen: dynamic calls, aliases, attributes, `exec`.

Python's edges equal those of an oracle over `ast` and `symtable` (tests/segmentation/test_defuse_stdlib.py) on the 7,025
functions of the standard library's top-level modules but for 2 of 78,740 (a walrus inside a condition or comprehension).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from codeblock.segmentation.scopes import Layer, Loop, Scope, compose, members, opened, over
from codeblock.segmentation.simple import Simple

ALWAYS = (b"True", b"true", b"1")
"""Conditions of loops that only `break` ends."""

FlowStep = tuple[Callable[[Any], None], Any]


class DefUse(Simple):
    """The walk over statements with bodies; `Simple` has those without, `Bindings` the expressions.

    Each role of the language's flow table is a method.
    """

    def run(self) -> list[tuple[int, int]]:
        """Walk the module."""
        self.methods = self.rules.methods.get(type(self)) or self._methods()
        self.todo: list[FlowStep] = [(self.visit, 0)]
        todo = self.todo
        while todo:
            step, argument = todo.pop()
            step(argument)
        self.close_scope()
        edges = [
            (source, target)
            for target, sources in enumerate(self.incoming)
            if sources
            for source in members(sources)
            if source != target
        ]
        edges.sort()
        return edges

    def _methods(self) -> list[Any]:
        """The method of each node type; looked up once for a language."""
        methods = [getattr(type(self), role) for role in self.rules.statement]
        self.rules.methods[type(self)] = methods
        return methods

    def then(self, *steps: FlowStep) -> None:
        """Do these steps next, in this order."""
        self.todo.extend(reversed(steps))

    def visit(self, node: int) -> None:
        """Walk a statement, or a run of them; code that is never reached has no data flow."""
        if self.scope.dead[-1]:
            return
        self.methods[self.kinds[node]](self, node)

    def sequence(self, node: int) -> None:
        """Statements in a row."""
        visit, after = self.visit, self.after
        child, end = node + 1, after[node]
        if child < end and after[child] == end:
            visit(child)
            return
        steps: list[FlowStep] = []
        while child < end:
            steps.append((visit, child))
            child = after[child]
        self.todo.extend(steps[::-1])

    def within(self, node: int) -> None:
        """A header and a body that runs just once (`with`)."""
        self.then(
            *((self.visit if self.kinds[child] in self.rules.body else self.scan, child) for child in self.tree.children(node))
        )

    # -- branches

    def branch(self, node: int) -> None:
        """`if`, its `elif` and `else` clauses."""
        outcomes: list[Layer] = []
        steps: list[FlowStep] = []
        exhaustive = False
        rules = self.rules
        for child in self.tree.children(node):
            field = self.fields[child]
            if field == rules.f_condition:
                steps.append((self.scan, child))
            elif field == rules.f_consequence:
                steps.extend(self._alternative(child, outcomes))
            elif field == rules.f_alternative:
                condition = self.tree.child(child, rules.f_condition)
                if condition is not None:
                    steps.append((self.scan_maybe, condition))
                else:
                    exhaustive = True
                steps.extend(self._alternative(self.body_of(child), outcomes))
        self.then(*steps, (self._join, (outcomes, exhaustive)))

    def match(self, node: int) -> None:
        """`match`: each case is an alternative; a bare `_` leaves no other."""
        outcomes: list[Layer] = []
        exhaustive = False
        rules = self.rules
        for child in self.tree.children(node):
            if self.fields[child] == rules.f_subject:
                self.scan(child)
        steps: list[FlowStep] = []
        for case in self.tree.children(self.body_of(node) or node):
            if self.kinds[case] not in rules.case:
                continue
            steps += [(self._begin, None), (self.case_header, case)]
            if (body := self.body_of(case)) is not None:
                steps.append((self.visit, body))
            steps.append((self._end, outcomes))
            exhaustive = exhaustive or self.is_wildcard(case)
        self.then(*steps, (self._join, (outcomes, exhaustive)))

    def _alternative(self, body: int | None, outcomes: list[Layer]) -> list[FlowStep]:
        visit: list[FlowStep] = [] if body is None else [(self.visit, body)]
        return [(self._begin, None), *visit, (self._end, outcomes)]

    def _begin(self, layer: Layer | None) -> None:
        self.scope.push({} if layer is None else layer)

    def _end(self, outcomes: list[Layer]) -> None:
        layer, dead = self.scope.pop()
        if not dead:
            outcomes.append(layer)

    def _join(self, argument: tuple[list[Layer], bool]) -> None:
        outcomes, exhaustive = argument
        self.scope.settle(outcomes if exhaustive else [*outcomes, {}])

    # -- loops

    def loop_over(self, node: int) -> None:
        """`for`: the iterable once, the target and the body any number of times."""
        rules, tree = self.rules, self.tree
        if (iterable := tree.child(node, rules.f_right)) is not None:
            self.scan(iterable)
        self._begin_loop()
        if (target := tree.child(node, rules.f_left)) is not None:
            self.targets(target)
        self._loop_body(node, head={}, endless=False)

    def loop_while(self, node: int) -> None:
        """`while`: the condition at each turn; `while True` and `while 1` end by `break` alone."""
        condition = self.tree.child(node, self.rules.f_condition)
        self._begin_loop()
        if condition is not None:
            self.scan(condition)
        endless = condition is not None and self.text(condition).strip(b"( )") in ALWAYS
        self._loop_body(node, head=dict(self.scope.layers[-1]), endless=endless)

    def _begin_loop(self) -> None:
        self.scope.push({})
        self.scope.loops.append(Loop(len(self.scope.layers) - 1))

    def _loop_body(self, node: int, head: Layer, endless: bool) -> None:
        loop = self.scope.loops[-1]
        outcomes: list[Layer] = []
        steps: list[FlowStep] = []
        if (body := self.body_of(node)) is not None:
            steps.append((self.visit, body))
        steps.append((self._end_body, (head, endless)))
        otherwise = self.tree.child(node, self.rules.f_alternative)
        if otherwise is not None and (body := self.body_of(otherwise)) is not None:
            steps.append((self.visit, body))
        self.then(*steps, (self._end, outcomes), (self._after_loop, (outcomes, loop)))

    def _end_body(self, argument: tuple[Layer | None, bool]) -> None:
        head, endless = argument  # no head: the loop ends where its body does
        scope = self.scope
        layer, dead = scope.pop()
        loop = scope.loops.pop()
        back: Layer = {}
        for state in loop.continues if dead else (layer, *loop.continues):
            for name, value in state.items():
                back[name] = back.get(name, 0) | value
        for name, items in loop.exposed.items():
            if carried := back.get(name, 0) >> 1:
                for item in members(items):
                    self.incoming[item] |= carried
        loop.breaks = [over(opened(back), state) for state in loop.breaks]  # broken off after any number of turns
        leaving = opened(back)
        compose(leaving, layer if head is None else head)
        scope.push(leaving, dead=endless or (head is None and dead))

    def _after_loop(self, argument: tuple[list[Layer], Loop]) -> None:
        outcomes, loop = argument
        self.scope.settle([*outcomes, *loop.breaks])

    def leave(self, node: int) -> None:
        """`return`, `raise`."""
        self.scan(node)
        self.scope.dead[-1] = True

    def leave_loop(self, _: int) -> None:
        """`break`."""
        self._jump(lambda loop: loop.breaks)

    def next_turn(self, _: int) -> None:
        """`continue`."""
        self._jump(lambda loop: loop.continues)

    def _jump(self, states: Callable[[Loop], list[Layer]]) -> None:
        scope = self.scope
        if scope.loops and not scope.dead[-1]:
            states(scope.loops[-1]).append(scope.since(scope.loops[-1].bottom))
        scope.dead[-1] = True

    # -- try

    def guarded(self, node: int) -> None:
        """`try`: a handler may begin after any part of the body; `finally` after any part of the whole."""
        rules, tree, scope = self.rules, self.tree, self.scope
        outcomes: list[Layer] = []
        log: Layer = {}
        normal: list[Layer] = []
        otherwise = cleanup = None
        handlers: list[FlowStep] = []
        for child in tree.children(node):
            kind = self.kinds[child]
            if kind in rules.handler:
                handlers += [(self._begin_handler, log), (self.within, child), (self._end_handler, (child, outcomes))]
            elif kind in rules.cleanup:
                cleanup = self.clause_body(child)
            elif kind in rules.otherwise:
                otherwise = self.body_of(child)
        steps: list[FlowStep] = []
        if cleanup is not None:
            scope.logs.append({})
            scope.push({})
            loop = scope.loops[-1] if scope.loops else None
            steps.append((self._cleanup, (cleanup, loop and (loop, len(loop.breaks), len(loop.continues)))))
        scope.logs.append({})
        scope.push({})
        self.then(
            *self.guarded_body(node),
            (self._end_guarded, (log, normal)),
            *handlers,
            (self._otherwise, (normal, otherwise, outcomes)),
            (self._join, (outcomes, True)),
            *steps,
        )

    def guarded_body(self, node: int) -> list[FlowStep]:
        """Steps of the part that handlers watch."""
        body = self.body_of(node)
        return [] if body is None else [(self.visit, body)]

    def clause_body(self, clause: int) -> int | None:
        """What a clause runs."""
        return self.body_of(clause)

    def _end_guarded(self, argument: tuple[Layer, list[Layer]]) -> None:
        log, normal = argument
        self._end(normal)
        log.update(self.scope.end_log())

    def _begin_handler(self, log: Layer) -> None:
        self.scope.push(opened(log))

    def _end_handler(self, argument: tuple[int, list[Layer]]) -> None:
        handler, outcomes = argument
        for name in self.handler_names(handler):
            self.scope.layers[-1][name] = 0  # Python deletes it
        self._end(outcomes)

    def _otherwise(self, argument: tuple[list[Layer], int | None, list[Layer]]) -> None:
        normal, body, outcomes = argument
        if body is None or not normal:
            outcomes.extend(normal)
            return
        self.scope.push(normal[0])
        self.then((self.visit, body), (self._end, outcomes))

    def _cleanup(self, argument: tuple[int, tuple[Loop, int, int] | None]) -> None:
        body, jumps = argument
        normal: list[Layer] = []
        self._end(normal)
        self.scope.push(opened(self.scope.end_log()))
        self.scope.push({})
        self.then((self.visit, body), (self._end_cleanup, (normal, jumps)))

    def _end_cleanup(self, argument: tuple[list[Layer], tuple[Loop, int, int] | None]) -> None:
        normal, jumps = argument
        layer, dead = self.scope.pop()
        self.scope.pop()
        if jumps is not None:
            loop, breaks, continues = jumps
            for state in (*loop.breaks[breaks:], *loop.continues[continues:]):
                compose(state, layer)
        for state in normal:
            compose(state, layer)
        self.scope.settle([] if dead else normal)

    # -- definitions with a body

    def function(self, node: int) -> None:
        """A function: defaults and annotations now, its name now, its body in a scope of its own."""
        rules, tree = self.rules, self.tree
        name = parameters = None
        for child in tree.children(node):
            field = self.fields[child]
            if field == rules.f_name:
                name = child
            elif field == rules.f_parameters:
                parameters = child
            elif field == rules.f_return_type:
                self.scan(child)
        bound = self.parameters(parameters) if parameters is not None else []
        if name is not None:
            self.define(self.text(name), self.owner[name])
        body = self.body_of(node)
        if body is None:
            return
        self.scope = Scope(self.scope)
        type_parameters = tree.child(node, rules.f_type_parameters)
        if type_parameters is not None:
            bound += [n for n in range(type_parameters, tree.after[type_parameters]) if self.kinds[n] == rules.identifier]
        for parameter in bound:
            self.define(self.text(parameter), self.owner[node])
        self.then((self.visit, body), (self._end_function, None))

    def _end_function(self, _: None) -> None:
        self.close_scope()

    def class_body(self, node: int) -> None:
        """A class: bases now, its body in place on a layer that ends with it, then its name."""
        rules, tree, scope = self.rules, self.tree, self.scope
        if (bases := tree.child(node, rules.f_superclasses)) is not None:
            self.scan(bases)
        name = tree.child(node, rules.f_name)
        after: list[FlowStep] = [(self._end_class, (scope.defined, name))]
        scope.defined = {}
        scope.push({})
        if (body := self.body_of(node)) is not None:
            after.insert(0, (self.visit, body))
        self.then(*after)

    def _end_class(self, argument: tuple[Layer, int | None]) -> None:
        defined, name = argument
        self.scope.pop()
        self.scope.defined = defined
        if name is not None:
            self.define(self.text(name), self.owner[name])
