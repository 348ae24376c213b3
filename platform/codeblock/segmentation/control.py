"""Branches, loops and jumps of languages with block scope: METHOD stage 4 [ours]."""

from __future__ import annotations

from codeblock.segmentation.definitions import Definitions
from codeblock.segmentation.defuse import ALWAYS, FlowStep
from codeblock.segmentation.scopes import Layer, join


class ControlFlow(Definitions):
    """Each role of a flow table is a method here or in `Definitions`; names that a header declares end with the statement."""

    def in_block(self, *steps: FlowStep) -> None:
        """Do these steps in a block of names."""
        self.then((self.enter_block, None), *steps, (self.leave_block, None))

    def way(self, steps: list[FlowStep], outcomes: list[Layer]) -> list[FlowStep]:
        """Steps of one of several ways."""
        return [(self._begin, None), *steps, (self._end, outcomes)]

    # -- branches

    def branch(self, node: int) -> None:
        """`if`, `?:`: what is no consequence or alternative comes before both."""
        rules, fields = self.rules, self.fields
        before: list[FlowStep] = []
        ways: list[FlowStep] = []
        outcomes: list[Layer] = []
        exhaustive = False
        for child in self.tree.children(node):
            if fields[child] in (rules.f_consequence, rules.f_body):
                ways += self.way([(self.scan, child)], outcomes)
            elif fields[child] == rules.f_alternative:
                if self.kinds[child] in rules.otherwise_if:
                    condition = self.tree.child(child, rules.f_condition)
                    ways += [] if condition is None else [(self.scan, condition)]
                    body = self.first(child, (rules.f_consequence, rules.f_body))
                    ways += self.way([] if body is None else [(self.scan, body)], outcomes)
                else:
                    ways += self.way([(self.scan, child)], outcomes)
                    exhaustive = True
            elif not ways or fields[child] == rules.f_condition:
                before.append((self.scan, child))
        self.in_block(*before, *ways, (self._join, (outcomes, exhaustive)))

    def split(self, node: int) -> None:
        """`if` of a grammar without fields: condition, way, `else`, way."""
        outcomes: list[Layer] = []
        steps: list[FlowStep] = []
        parts = self._parts(node)
        for place, child in enumerate(parts):
            steps += self.way([(self.scan, child)], outcomes) if place else [(self.scan, child)]
        self.in_block(*steps, (self._join, (outcomes, len(parts) > 2)))

    def maybe(self, node: int) -> None:
        """`a && b`: b may not be evaluated. Another operator: both are."""
        children = list(self.tree.children(node))
        if not any(self.kinds[child] in self.rules.short for child in children):
            self.inside(node)
            return
        outcomes: list[Layer] = []
        rest: list[FlowStep] = [(self.scan, child) for child in children[1:]]
        self.then((self.scan, children[0]), *self.way(rest, outcomes), (self._join, (outcomes, False)))

    # -- switch

    def switch(self, node: int) -> None:
        """Cases; one that is no arm falls through to the next. `break` leaves."""
        rules = self.rules
        body = self.first(node, (rules.f_body,))
        if body is None:
            body = self.body_of(node)
        own = [child for child in self.tree.children(node) if self.kinds[child] in rules.case]
        body = None if own else body
        cases = own or [
            child for child in self.tree.children(node if body is None else body) if self.kinds[child] in rules.case
        ]
        outcomes: list[Layer] = []
        before = self.without(node, *([body] if body is not None else cases))
        before += [
            step
            for child in self.tree.children(node)
            if self.fields[child] == rules.f_alias
            for step in self.bind(child, self.declare)
        ]
        steps: list[FlowStep] = []
        exhaustive = False
        for case in cases:
            fallen = [] if self.kinds[case] in rules.arm else outcomes
            steps += [(self._begin_case, fallen), (self.case, case), (self._end_case, outcomes)]
            exhaustive = exhaustive or self.is_default(case)
        self.in_block(*before, (self._begin_switch, None), *steps, (self._end_switch, (outcomes, exhaustive)))

    def is_default(self, case: int) -> bool:
        """Whether a case takes everything that is left."""
        text = self.text(case)
        return self.kinds[case] in self.rules.default_case or text.startswith(
            (b"default", b"else", b"_ ", b"_\t", b"* ", b"*)")
        )

    def _begin_switch(self, _: None) -> None:
        self._begin_loop()
        self.scope.loops[-1].is_switch = True

    def _begin_case(self, fallen: list[Layer]) -> None:
        state = join([{}, fallen.pop()]) if fallen else {}
        self.scope.push(state)
        self.enter_block(None)

    def case(self, node: int) -> None:
        """A case's patterns define, its guard and its body are walked."""
        rules, steps = self.rules, list[FlowStep]()
        for child in self.tree.children(node):
            if self.kinds[child] in rules.pattern:
                steps += self.bind(child, self.declare)
            else:
                steps.append((self.scan, child))
        self.then(*steps)

    def _end_case(self, outcomes: list[Layer]) -> None:
        self.leave_block(None)
        self._end(outcomes)

    def _end_switch(self, argument: tuple[list[Layer], bool]) -> None:
        outcomes, exhaustive = argument
        scope = self.scope
        scope.pop()
        loop = scope.loops.pop()
        ends = [*outcomes, *loop.breaks]
        scope.settle(ends if exhaustive else [*ends, {}])

    # -- loops

    def loop(self, node: int) -> None:
        """`for (a; b; c)`, `while`: a once, then b, the body, c at each turn."""
        rules = self.rules
        holder = self.tree.child_of(node, rules.for_clause) or node
        if (target := self.first(holder, rules.f_each)) is not None:
            self._each(node, holder, target)
            return
        condition = self.tree.child(holder, rules.f_condition)
        step = self.first(holder, rules.f_step)
        body = self._loop_part(node, holder, condition, step)
        before: list[FlowStep] = self.without(holder, condition, step, body)
        if condition is None and holder == node:
            condition = next((c for c in self._parts(node) if c != body and self.fields[c] is None), None)
            before = self.without(holder, condition, step, body)
        asked = b"" if condition is None else self.text(condition).strip(b"( ;)")
        endless = not asked or asked in ALWAYS
        turn: list[FlowStep] = [] if condition is None else [(self.scan, condition)]
        self.in_block(*before, (self._enter_loop, None), *turn, (self._turn, (body, step, endless)))

    def _parts(self, node: int) -> list[int]:
        grammar, kinds = self.tree.grammar, self.kinds
        return [c for c in self.tree.children(node) if grammar.named[kinds[c]] and kinds[c] not in grammar.comment]

    def _loop_part(self, node: int, holder: int, condition: int | None, step: int | None) -> int | None:
        body = self.tree.child(node, self.rules.f_body)
        if body is None:
            body = self.body_of(node)
        if body is None:
            body = next((c for c in self._parts(node)[::-1] if c not in (condition, step, holder)), None)
        return body

    def each(self, node: int) -> None:
        """`for (x in y)` of a grammar without fields: the declared name, or else the second part, is x."""
        parts = self._parts(node)
        target = next((part for part in parts if self.kinds[part] in self.rules.declarator), parts[min(1, len(parts) - 1)])
        body = self._loop_part(node, node, None, None)
        note = self.assign_name if self.rules.assignment_declares else self.declare
        before: list[FlowStep] = [(self.scan, part) for part in parts if part not in (target, body)]
        bound = self.bind(target, note)
        self.in_block(*before, (self._enter_loop, None), *bound, (self._each_turn, (body, None, False)))

    def _each(self, node: int, holder: int, target: int) -> None:
        body = self._loop_part(node, holder, None, None)
        source = self.first(holder, (self.rules.f_right, self.rules.f_value))
        before = [] if source is None else [(self.scan, source)]
        rest = self.without(holder, target, source, body) if holder == node else []
        words = self.tree.data[self.tree.starts[node] : self.tree.starts[target]]
        note = self.declare
        if self.rules.assignment_declares or (self.rules.f_kind != -1 and not words.endswith((b"let ", b"const "))):
            note = self.declare_in_function if words.endswith(b"var ") else self.assign_name
        self.in_block(
            *rest, *before, (self._enter_loop, None), *self.bind(target, note), (self._each_turn, (body, None, False))
        )

    def loop_body_first(self, node: int) -> None:
        """`do .. while`, `loop`: the body, then the condition."""
        rules = self.rules
        condition = self.tree.child(node, rules.f_condition)
        body = self._loop_part(node, node, condition, None)
        if condition is None:
            condition = next((c for c in self._parts(node) if c != body), None)
        endless = condition is None or self.text(condition).strip(b"( )") in ALWAYS
        self.then((self._enter_loop, None), (self._body_first, (body, condition, endless)))

    def _enter_loop(self, _: None) -> None:
        self._begin_loop()

    def _turn(self, argument: tuple[int | None, int | None, bool]) -> None:
        self._walk_body(argument, dict(self.scope.layers[-1]))

    def _each_turn(self, argument: tuple[int | None, int | None, bool]) -> None:
        self._walk_body(argument, {})

    def _body_first(self, argument: tuple[int | None, int | None, bool]) -> None:
        self._walk_body(argument, None)

    def _walk_body(self, argument: tuple[int | None, int | None, bool], head: Layer | None) -> None:
        body, step, endless = argument
        loop = self.scope.loops[-1]
        outcomes: list[Layer] = []
        steps: list[FlowStep] = [] if body is None else [(self.scan, body)]
        if step is not None:
            steps += [(self._before_step, None), (self.scan, step)]
        self.then(*steps, (self._end_body, (head, endless)), (self._end, outcomes), (self._after_loop, (outcomes, loop)))

    def _before_step(self, _: None) -> None:
        """The step of a loop also runs after `continue`."""
        scope = self.scope
        loop = scope.loops[-1]
        if loop.continues:
            states = [*loop.continues, *([] if scope.dead[-1] else [scope.layers[-1]])]
            scope.layers[-1], scope.dead[-1] = join(states), False
            loop.continues = []

    def leave(self, node: int) -> None:
        """`return`, `throw`."""
        self.then((self.inside, node), (self._die, None))

    def _die(self, _: None) -> None:
        self.scope.dead[-1] = True

    def next_turn(self, _: int) -> None:
        """`continue`: of a loop, not of a `switch`."""
        scope = self.scope
        loop = next((loop for loop in reversed(scope.loops) if not loop.is_switch), None)
        if loop is not None:
            loop.continues.append(scope.since(loop.bottom))
        scope.dead[-1] = True

    # -- try

    def within(self, node: int) -> None:
        """A clause with a body: what is caught is declared, the body is walked."""
        rules = self.rules
        steps: list[FlowStep] = []
        body = self.body_of(node)
        for child in self.tree.children(node):
            caught = self.fields[child] in (rules.f_parameter, rules.f_name, rules.f_variable)
            if child != body and (caught or self.kinds[child] in (rules.parameters | rules.bindable)):
                steps += self.bind(child, self.declare)
            else:
                steps.append((self.scan, child))
        self.in_block(*steps)

    def resources(self, node: int) -> None:
        """`try (x = ..)`, `using (x = ..)`: what is not a part of the `try` comes first, its names end with it."""
        rules, tree = self.rules, self.tree
        body = self.first(node, (rules.f_body,)) or self.body_of(node)
        if body is None:
            self.guarded(node)
            return
        clauses = rules.handler | rules.cleanup
        first = [child for child in tree.children(node) if child != body and self.kinds[child] not in clauses]
        self.in_block(*((self.scan, child) for child in first), (self.guarded, node))

    def guarded_body(self, node: int) -> list[FlowStep]:
        """Steps of the part that handlers watch; a grammar may have it as statements beside the clauses."""
        body = self.first(node, (self.rules.f_body,)) or self.body_of(node)
        if body is not None:
            return [(self.scan, body)]
        clauses = self.rules.handler | self.rules.cleanup
        return [(self.scan, child) for child in self.tree.children(node) if self.kinds[child] not in clauses]

    def clause_body(self, clause: int) -> int | None:
        """What a clause runs."""
        body = self.body_of(clause)
        return clause if body is None or self.methods[self.kinds[clause]] is not None else body

    def maybe_guarded(self, node: int) -> None:
        """A body that may have handlers."""
        kinds = {self.kinds[child] for child in self.tree.children(node)}
        if kinds & (self.rules.handler | self.rules.cleanup):
            self.guarded(node)
        else:
            self.statements(node)

    def scoped(self, node: int) -> None:
        """A statement whose header declares names for itself (`using`)."""
        self.in_block((self.inside, node))

    def chain(self, node: int) -> None:
        """`if a; then ..; elif b; then ..; else ..; fi` as one run of children."""
        rules = self.rules
        clauses = rules.otherwise_if | rules.otherwise
        outcomes: list[Layer] = []
        steps: list[FlowStep] = []
        exhaustive = False
        children = self._parts(node)
        own = [child for child in children if self.kinds[child] not in clauses]
        for place, parts in enumerate([own, *(self._parts(c) for c in children if self.kinds[c] in clauses)]):
            last = place > 0 and self.kinds[children[len(own) + place - 1]] in rules.otherwise
            if not last and parts:
                steps.append((self.scan, parts.pop(0)))
            steps += self.way([(self.scan, part) for part in parts], outcomes)
            exhaustive = exhaustive or last
        self.then(*steps, (self._join, (outcomes, exhaustive)))

    def command(self, node: int) -> None:
        """A shell command: its name may be a function, `read x` defines x."""
        self.then((self.inside, node), (self._run_command, node))

    def _run_command(self, node: int) -> None:
        parts = self._parts(node)
        text = self.text(parts[0]) if parts else b""
        if parts:
            self.use(text, self.owner[parts[0]])
        if text in (b"return", b"exit"):
            self.scope.dead[-1] = True
        elif text in (b"break", b"continue"):
            (self.leave_loop if text == b"break" else self.next_turn)(node)
        for part in parts[1:] if text in (b"read", b"mapfile", b"readarray") else ():
            if (name := self.text(part)).decode().isidentifier():
                self.assign_name(name, self.owner[part])

    def local(self, node: int) -> None:
        """`local x=1`, `declare x`; `export x` and `readonly x` are not local."""
        if self.text(node).startswith((b"local", b"declare", b"typeset")):
            inner = self._parts(node)
            uses = [(self.scan, v) for c in inner if (v := self.tree.child(c, self.rules.f_value)) is not None]
            names = [self.tree.child(c, self.rules.f_name) or c for c in inner]
            self.then(*uses, *(step for n in names for step in self.bind(n, self.declare_in_function)))
        else:
            self.inside(node)

    def handler_names(self, _: int) -> list[bytes]:
        """What is caught is a name of the handler's block alone."""
        return []
