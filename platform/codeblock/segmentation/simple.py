"""Simple statements and patterns: what they define and use."""

from __future__ import annotations

from codeblock.segmentation.bindings import Bindings
from codeblock.segmentation.flow_rules import TARGET


class Simple(Bindings):
    """Statements without a body; each role of the flow table is a method."""

    def assign(self, node: int) -> None:
        """`left = right`, chained or with an annotation; an annotation alone defines nothing."""
        rules, tree = self.rules, self.tree
        lefts: list[int] = []
        right: int | None = node
        while right is not None and self.rules.statement[self.kinds[right]] == "assign":
            here = right
            left, right = tree.child(here, rules.f_left), tree.child(here, rules.f_right)
            if left is not None:
                lefts.append(left)
            if (annotation := tree.child(here, rules.f_type)) is not None:
                self.scan(annotation)
        if right is None:
            for left in lefts:
                if self.kinds[left] in rules.member:
                    self.scan(left)
            return
        self.scan(right)
        for left in lefts:
            self.targets(left)

    def augment(self, node: int) -> None:
        """`left += right`: a use and a definition."""
        self.scan(node)
        if (left := self.tree.child(node, self.rules.f_left)) is not None:
            self.targets(left)

    def alias(self, node: int) -> None:
        """`type left = right`."""
        left, right = self.tree.child(node, self.rules.f_left), self.tree.child(node, self.rules.f_right)
        if right is not None:
            self.scan(right)
        if left is not None:
            self._define_first(left)

    def imports(self, node: int) -> None:
        """Each imported name, or its alias; `import a.b` defines a."""
        rules = self.rules
        for child in self.tree.children(node):
            if self.fields[child] == rules.f_name:
                alias = self.tree.child(child, rules.f_alias)
                self._define_first(child if alias is None else alias)

    def _define_first(self, node: int) -> None:
        for inner in range(node, self.after[node]):
            if self.kinds[inner] == self.rules.identifier:
                self.define(self.text(inner), self.owner[inner])
                return

    def delete(self, node: int) -> None:
        """`del x`: a use, after which no definition reaches further; of `del x[k]` just the use."""
        rules = self.rules
        self.scan(node)
        end = self.after[node]
        node += 1
        while node < end:
            if self.kinds[node] in rules.member:
                self._mutate(node)
                node = self.after[node]
                continue
            if self.kinds[node] == rules.identifier:
                self.scope.layers[-1][self.text(node)] = 0
            node += 1

    def declare_global(self, node: int) -> None:
        """`global x`."""
        self._declare(node, True)

    def declare_nonlocal(self, node: int) -> None:
        """`nonlocal x`."""
        self._declare(node, False)

    def _declare(self, node: int, is_global: bool) -> None:
        if self.scope is self.module:
            return
        for child in self.tree.children(node):
            if self.kinds[child] == self.rules.identifier:
                self.scope.declared[self.text(child)] = is_global

    # -- match

    def case_header(self, case: int) -> None:
        """The pattern's captures and uses, then the guard."""
        for child in self.tree.children(case):
            if self.kinds[child] in self.rules.pattern:
                self._pattern(child)
            elif self.fields[child] == self.rules.f_guard:
                self.scan(child)

    def _pattern(self, node: int) -> None:
        rules, kinds, after = self.rules, self.kinds, self.after
        end = after[node]
        while node < end:
            kind = kinds[node]
            if kind in rules.pattern_class:  # a class's name is used
                self._use_first(node + 1)
                node = after[node + 1]
            elif kind in rules.pattern_name:  # `x` captures, `m.x` is a value
                parts = [n for n in self.tree.children(node) if kinds[n] == rules.identifier]
                if len(parts) == 1:
                    self.define(self.text(parts[0]), self.owner[parts[0]])
                elif parts:
                    self.use(self.text(parts[0]), self.owner[parts[0]])
                node = after[node]
            elif kind in rules.pattern_key:  # the attribute's name
                node += 2
            else:
                if kind == rules.identifier:
                    self.define(self.text(node), self.owner[node])
                node += 1

    def _use_first(self, node: int) -> None:
        for inner in range(node, self.after[node]):
            if self.kinds[inner] == self.rules.identifier:
                self.use(self.text(inner), self.owner[inner])
                return

    def is_wildcard(self, case: int) -> bool:
        """Whether a case always matches: a bare name or `_`, without a guard."""
        patterns = [child for child in self.tree.children(case) if self.kinds[child] in self.rules.pattern]
        guarded = any(self.fields[child] == self.rules.f_guard for child in self.tree.children(case))
        return len(patterns) == 1 and not guarded and self.text(patterns[0]).decode().isidentifier()

    def handler_names(self, handler: int) -> list[bytes]:
        """Names that `except .. as` binds until the handler's end."""
        rules = self.rules
        found: list[bytes] = []
        for node in range(handler, self.body_of(handler) or self.after[handler]):
            if self.special[self.kinds[node]] == TARGET:
                found += [self.text(n) for n in range(node, self.after[node]) if self.kinds[n] == rules.identifier]
        return found
