"""An independent source of truth for Python's data flow: `ast`, `symtable` and textbook reaching definitions.

It shares nothing with the package: it parses with `ast`, resolves every name by `symtable`,
builds a control-flow graph over single uses and definitions, and iterates to the fixpoint. What it takes for truth: a use
of the scope's own variable sees the definitions that reach it; a use of an outer function's or the module's variable sees
all of them, and so does every use where an inner function rebinds it (`nonlocal`, `global`); an exception may leave a
`try` before and after any use or definition; class bodies and comprehensions run in place; dead code has no edges.
"""

from __future__ import annotations

import ast
import symtable
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from tests.segmentation.oracle.graph import Around, Place, Unit, Variable, reaching

COMPREHENSIONS = {ast.ListComp: "listcomp", ast.SetComp: "setcomp", ast.DictComp: "dictcomp", ast.GeneratorExp: "genexpr"}


class Oracle(ast.NodeVisitor):
    """Pairs of source offsets (definition, use)."""

    def __init__(self, source: str) -> None:
        data = source.encode()
        self.lines = [0]
        for line in data.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))
        self.scopes = 0
        self.functions: list[int] = []
        self.units: list[Unit] = []
        self.all_definitions: dict[Variable, set[int]] = defaultdict(set)
        self.foreign_definitions: dict[Variable, set[int]] = defaultdict(set)
        self.foreign_uses: list[tuple[Variable, int]] = []
        self.in_string: int | None = None
        unit = self.new_unit()
        self.module = self.place = Place(symtable.symtable(source, "module", "exec"), None, unit, 0, "")
        self.block(ast.parse(source).body)
        self.pairs = {(d, u) for unit in self.units for d, u in reaching(unit, self.foreign_definitions)}
        for variable, use in self.foreign_uses:
            self.pairs |= {(definition, use) for definition in self.all_definitions[variable]}

    def new_unit(self) -> Unit:
        unit = Unit()
        self.units.append(unit)
        unit.event("join")
        return unit

    # -- names

    def at(self, node: ast.AST) -> int:
        return self.in_string if self.in_string is not None else self.lines[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]

    def resolve(self, name: str) -> tuple[Variable, Place]:
        place: Place | None = self.place
        own = self.mangled(name)
        first = True
        while place is not None and place is not self.module:
            if (first or place.table.get_type() == "function") and own in place.table.get_identifiers():
                symbol = place.table.lookup(own)
                if symbol.is_global():
                    break
                if symbol.is_local():
                    return (place.number, own), place
            first, place = False, place.parent
        return (0, own), self.module

    def mangled(self, name: str) -> str:
        private = self.place.mangling and name.startswith("__") and not name.endswith("__")
        return f"_{self.place.mangling.lstrip('_')}{name}" if private else name

    def name(self, kind: str, name: str, node: ast.AST) -> None:
        unit = self.place.unit
        if not unit.frontier:
            return
        variable, owner = self.resolve(name)
        where = self.at(node)
        if kind == "define":
            self.all_definitions[variable].add(where)
        if owner.unit is not unit:
            if kind == "define":
                self.foreign_definitions[variable].add(where)
            elif kind == "use":
                self.foreign_uses.append((variable, where))
            return
        event = unit.event(kind, variable, where)
        if kind == "use" and owner.table.get_type() == "class":
            unit.fallbacks[event] = unit.event("use", (0, variable[1]), where)

    # -- statements

    def block(self, body: Sequence[ast.AST]) -> None:
        for statement in body:
            if self.place.unit.frontier:
                self.visit(statement)

    def visit_each(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Del):
            self.name("use", node.id, node)
        self.name({ast.Load: "use", ast.Store: "define", ast.Del: "forget"}[type(node.ctx)], node.id, node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        outermost, self.in_string = self.in_string, self.at(node)  # offsets inside are wrong before Python 3.12
        self.generic_visit(node)
        self.in_string = outermost

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit_each([node.value, *node.targets])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value is not None:
            self.visit_each([node.value, node.target])
        elif not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.name("use", node.target.id, node.target)
        self.visit_each([node.value, node.target])

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name != "*":
                name = alias.asname or (alias.name.split(".")[0] if isinstance(node, ast.Import) else alias.name)
                self.name("define", name, alias)

    visit_ImportFrom = visit_Import

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self.alternatives([lambda: self.block(node.body), lambda: self.block(node.orelse)])

    def alternatives(self, ways: Iterable[Callable[[], None]]) -> None:
        unit = self.place.unit
        start, end = unit.frontier, set()
        for way in ways:
            unit.frontier = set(start)
            way()
            end |= unit.frontier
        unit.frontier = end

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self.loop(lambda: self.visit(node.target), node.body, node.orelse, endless=False, leaves_before=True)

    visit_AsyncFor = visit_For

    def visit_While(self, node: ast.While) -> None:
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        self.loop(lambda: self.visit(node.test), node.body, node.orelse, endless, leaves_before=False)

    def loop(
        self, enter: Callable[[], None], body: list[ast.stmt], orelse: list[ast.stmt], endless: bool, leaves_before: bool
    ) -> None:
        unit = self.place.unit
        head = unit.event("join")
        leave = set(unit.frontier)
        enter()
        if not leaves_before:
            leave = set() if endless else set(unit.frontier)
        context = Around("loop")
        unit.around.append(context)
        self.block(body)
        unit.around.pop()
        unit.before[head] |= unit.frontier | context.continues
        unit.frontier = leave
        self.block(orelse)
        unit.frontier = unit.frontier | context.breaks

    def jump(self, stop_at_loop: bool) -> Around | None:
        """Run the cleanups on the way out."""
        unit = self.place.unit
        saved, found = unit.around, None
        for depth in range(len(saved) - 1, -1, -1):
            if saved[depth].kind == "loop" and stop_at_loop:
                found = saved[depth]
                break
            if saved[depth].kind == "finally":
                unit.around = saved[:depth]
                self.block(saved[depth].cleanup)
        unit.around = saved
        return found

    def visit_Return(self, node: ast.Return) -> None:
        self.visit_each([node.value])
        self.jump(stop_at_loop=False)
        self.place.unit.frontier = set()

    def visit_Raise(self, node: ast.Raise) -> None:
        self.generic_visit(node)
        self.place.unit.throw(self.place.unit.frontier)
        self.place.unit.frontier = set()

    def visit_Break(self, node: ast.Break | ast.Continue) -> None:
        loop = self.jump(stop_at_loop=True)
        assert loop is not None
        leaving = loop.breaks if isinstance(node, ast.Break) else loop.continues
        leaving |= self.place.unit.frontier
        self.place.unit.frontier = set()

    visit_Continue = visit_Break

    def visit_Try(self, node: ast.Try) -> None:
        unit = self.place.unit
        under = Around("finally", node.finalbody)
        if node.finalbody:
            unit.around.append(under)
        body = Around("try", thrown=set(unit.frontier))
        unit.throw(unit.frontier)
        if node.handlers:
            unit.around.append(body)
        self.block(node.body)
        if node.handlers:
            unit.around.pop()
            if all(handler.type is not None for handler in node.handlers):
                unit.throw(body.thrown)
        self.block(node.orelse)
        end = unit.frontier
        for handler in node.handlers:
            unit.frontier = set(body.thrown)
            self.handler(handler)
            end = end | unit.frontier
        if node.finalbody:
            unit.around.pop()
            unit.frontier = under.thrown
            self.block(node.finalbody)
            unit.throw(unit.frontier)
        unit.frontier = end
        self.block(node.finalbody)

    visit_TryStar = visit_Try

    def handler(self, node: ast.ExceptHandler) -> None:
        self.visit_each([node.type])
        if node.name:
            self.name("define", node.name, node)
        self.block(node.body)
        if node.name:
            self.name("forget", node.name, node)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            self.visit_each([item.context_expr, item.optional_vars])
        self.block(node.body)

    visit_AsyncWith = visit_With

    def visit_Match(self, node: ast.Match) -> None:
        unit = self.place.unit
        self.visit(node.subject)
        end: set[int] = set()
        for case in node.cases:
            start = unit.frontier
            self.visit(case.pattern)
            refused = set() if isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None else start
            if case.guard is not None:
                self.visit(case.guard)
                refused = start | unit.frontier
            self.block(case.body)
            end |= unit.frontier
            unit.frontier = set(refused)
        unit.frontier = unit.frontier | end

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self.generic_visit(node)
        if node.name:
            self.name("define", node.name, node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self.name("define", node.rest, node)

    # -- expressions

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit_each([node.value, node.target])

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        decided: set[int] = set()
        for value in node.values:
            self.visit(value)
            decided |= self.place.unit.frontier
        self.place.unit.frontier = decided

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self.alternatives([lambda: self.visit(node.body), lambda: self.visit(node.orelse)])

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        unit = self.place.unit
        self.visit(node.generators[0].iter)
        self.enter(COMPREHENSIONS[type(node)], node, unit)
        head = unit.event("join")
        for index, generator in enumerate(node.generators):
            self.visit_each([generator.iter] if index else [])
            self.visit_each([generator.target, *generator.ifs])
        self.visit_each([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        unit.before[head] |= unit.frontier
        unit.frontier = unit.frontier | {head}
        self.leave()

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_each([*node.args.defaults, *node.args.kw_defaults])
        self.enter("lambda", node, self.new_unit())
        for argument in arguments(node.args):
            self.name("define", argument.arg, argument)
        self.visit(node.body)
        self.leave()

    # -- scopes

    def enter(self, name: str, node: ast.AST, unit: Unit, mangling: str | None = None) -> None:
        table = self.place.children[name, node.lineno].pop(0)  # type: ignore[attr-defined]
        self.scopes += 1
        self.place = Place(table, self.place, unit, self.scopes, self.place.mangling if mangling is None else mangling)

    def leave(self) -> None:
        assert self.place.parent is not None
        self.place = self.place.parent

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.visit_each(node.decorator_list)
        self.visit_each([*node.args.defaults, *node.args.kw_defaults])
        self.visit_each([*(argument.annotation for argument in arguments(node.args)), node.returns])
        self.name("define", node.name, node)
        self.functions.append(self.at(node))
        self.enter(node.name, node, self.new_unit())
        for argument in arguments(node.args):
            self.name("define", argument.arg, node)
        self.block(node.body)
        self.leave()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_each([*node.decorator_list, *node.bases, *node.keywords])
        unit = self.place.unit
        self.enter(node.name, node, unit, node.name)
        for symbol in self.place.table.get_symbols():
            if symbol.is_local():
                unit.event("unbound", (self.place.number, symbol.get_name()))
        self.block(node.body)
        self.leave()
        self.name("define", node.name, node)


def arguments(args: ast.arguments) -> list[ast.arg]:
    optional = [args.vararg, args.kwarg]
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *(arg for arg in optional if arg is not None)]
