"""A solution as a program: what its definitions need stays, what only acts (prints, asserts, reads input) goes.

[ours] EvalPlus keeps imports and the definitions that the function under test reaches. Kept here besides: decorated
definitions, functions that return nothing, imports under `try`, definitions that nothing reaches (tests may use them),
statements that fill what is reached. So whatever is left of a solution there is left here, and what could stop the program
there is gone here too. One thing differs: of two definitions of a name in one program the last one counts, as in Python.
"""

from __future__ import annotations

import ast
import builtins
import symtable
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__"}
_SETTINGS = frozenset(("setrecursionlimit", "seed", "setlocale", "set_int_max_str_digits", "filterwarnings", "simplefilter"))
"""Calls whose effect is what they are called for, and which ask for nothing."""
_TYPES = frozenset(("namedtuple", "NamedTuple", "TypedDict", "TypeVar", "NewType", "Enum", "make_dataclass"))
_PLAIN = (ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.Lambda)


def parsed(code: str) -> ast.Module | None:
    """The tree of a text that Python reads; None for any other."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


@dataclass
class Statement:
    """A statement of the top level."""

    node: ast.stmt
    bound: set[str]
    """Names that it binds on the top level."""
    used: set[str]
    """Names that it, or a function in it, looks up on the top level."""
    at_once: set[str] = field(default_factory=set)
    """Those that it looks up when it is run itself."""


def statements_of(tree: ast.Module) -> list[Statement]:
    """The statements of a module with the names that they bind and use."""
    return [Statement(node, *_names(node)) for node in tree.body]


def _names(node: ast.stmt) -> tuple[set[str], set[str], set[str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            top = symtable.symtable(ast.unparse(node), "<statement>", "exec")
    except (SyntaxError, ValueError, RecursionError):  # what only stands in a function: `return`
        return set(), set(), set()
    symbols = top.get_symbols()
    bound = {each.get_name() for each in symbols if each.is_assigned() or each.is_imported() or each.is_namespace()}
    at_once = {each.get_name() for each in symbols if each.is_referenced()}
    used = set(at_once)
    waiting = list(top.get_children())
    while waiting:
        table = waiting.pop()
        free = {each.get_name() for each in table.get_symbols() if each.is_global() and each.is_referenced()}
        used |= free
        bound |= {each.get_name() for each in table.get_symbols() if each.is_declared_global() and each.is_assigned()}
        if table.get_type() == "class":
            at_once |= free
        waiting += table.get_children()
    return bound, used, at_once


def is_stub(node: ast.stmt) -> bool:
    """Whether a definition has no body yet: a docstring, `pass`, `...` or `raise NotImplementedError`."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return all(_says_nothing(each) for each in node.body)


def _says_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Raise):
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def solves(code: str, entry_point: str) -> bool:
    """Whether a text is Python that defines the entry point on its top level, and not as a stub."""
    tree = parsed(code) if entry_point in code else None
    if tree is None:
        return False
    last = [each.node for each in statements_of(tree) if entry_point in each.bound]
    return bool(last) and not all(is_stub(node) for node in last)


def program(code: str, others: Sequence[str], entry_point: str) -> str:
    """The code without what only acts, and with what it lacks and the other pieces of the answer define before it."""
    tree = parsed(code)
    if tree is None:
        return code
    statements = statements_of(tree)
    kept = _kept(statements, entry_point)
    own = _without(code, [each.node for each in statements if each not in kept], [each.node for each in kept])
    lacking = _lacking(kept)
    before = _definitions(lacking, others, entry_point) if lacking else []
    if not before:
        return own
    futures = [_source(code, each.node) for each in kept if _is_future(each.node)]
    return "\n".join([*futures, *before, _without_futures(own) if futures else own])


def _kept(statements: list[Statement], entry_point: str) -> list[Statement]:
    reached = _reached(statements, entry_point)
    safe = set(_BUILTINS).union(*(each.bound for each in statements if _defines(each.node) or each.bound & reached))
    imported = set().union(*(each.bound for each in statements if isinstance(each.node, ast.Import | ast.ImportFrom)))
    whole = set().union(*(each.bound for each in statements if not is_stub(each.node)))
    statements = [each for each in statements if not (is_stub(each.node) and each.bound & whole)]
    return [each for each in statements if _stays(each, reached, safe, reached - imported - _BUILTINS)]


def _reached(statements: Iterable[Statement], entry_point: str) -> set[str]:
    reached, waiting = {entry_point}, [entry_point]
    while waiting:
        name = waiting.pop()
        new = set().union(*(each.used for each in statements if name in each.bound)) - reached
        reached |= new
        waiting += new
    return reached


def _defines(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)


def _stays(statement: Statement, reached: set[str], safe: set[str], variables: set[str]) -> bool:
    node = statement.node
    if _asks_for_main(node):
        return _never_runs(node)
    if isinstance(node, ast.Import | ast.ImportFrom) or statement.bound & reached:
        return True
    if _defines(node):
        return statement.at_once - statement.bound <= safe
    if isinstance(node, ast.Assign | ast.AnnAssign):
        value = node.value
        if value is None or not statement.at_once <= safe:
            return False
        return _is_plain(node) or (isinstance(value, ast.Call) and _called(value) in _TYPES)
    if isinstance(node, ast.Expr):
        return _keeps_expression(node.value, variables)
    if isinstance(node, ast.If | ast.Try):
        return all(_defines(each) or _is_plain(each) for each in _inner(node))
    return not isinstance(node, ast.Assert | ast.Raise | ast.Return | ast.Delete) and bool(_filled(node) & variables)


def _is_plain(node: ast.stmt) -> bool:
    """Whether a statement does nothing, or assigns what is written there."""
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        return all(isinstance(each, _PLAIN) for each in ast.walk(node.value) if isinstance(each, ast.expr))
    return isinstance(node, ast.Pass)


def _keeps_expression(value: ast.expr, variables: set[str]) -> bool:
    if isinstance(value, ast.Constant):
        return True
    if not isinstance(value, ast.Call):
        return False
    return _called(value) in _SETTINGS or (isinstance(value.func, ast.Attribute) and _root(value.func) in variables)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _filled(node: ast.stmt) -> set[str]:
    """What a statement changes: the names whose elements it sets, or whose methods it calls."""
    targets = [each for each in ast.walk(node) if isinstance(each, ast.Subscript | ast.Attribute)]
    changed = {_root(each) for each in targets if isinstance(each.ctx, ast.Store)}
    calls = [each.func for each in ast.walk(node) if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)]
    return changed | {_root(each) for each in calls}


def _asks_for_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and any(
        isinstance(each, ast.Name) and each.id == "__name__" for each in ast.walk(node.test)
    )


def _never_runs(node: ast.stmt) -> bool:
    """Whether a statement is `if __name__ == "__main__"`, which a grader does not run."""
    return (
        _asks_for_main(node)
        and isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and (not node.orelse and [type(each) for each in node.test.ops] == [ast.Eq])
    )


def _inner(node: ast.If | ast.Try) -> list[ast.stmt]:
    lists = [node.body, node.orelse]
    if isinstance(node, ast.Try):
        lists += [node.finalbody, *(handler.body for handler in node.handlers)]
    return [each for statements in lists for each in statements]


def _without(code: str, dropped: list[ast.stmt], kept: list[ast.stmt]) -> str:
    """The code without the lines of some statements, but for lines that hold a kept one too."""
    if not dropped:
        return code.rstrip()
    needed = {line for node in kept for line in range(_first_line(node), (node.end_lineno or node.lineno) + 1)}
    gone = {line for node in dropped for line in range(_first_line(node), (node.end_lineno or node.lineno) + 1)} - needed
    lines = code.split("\n")
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in gone).rstrip()


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _lacking(kept: list[Statement]) -> set[str]:
    return set().union(*(each.used for each in kept)) - set().union(_BUILTINS, *(each.bound for each in kept))


def _definitions(names: set[str], others: Sequence[str], entry_point: str) -> list[str]:
    """The statements of other pieces of code that define names, and what those need, as source."""
    trees = [(code, tree) for code in others if (tree := parsed(code)) is not None]
    there = [(code, each) for code, tree in trees for each in statements_of(tree) if _defines(each.node) or _assigns(each.node)]
    wanted, taken = set(names), []
    for _ in range(len(there)):
        found = next(((c, s) for c, s in there if s.bound & wanted and (c, s) not in taken), None)
        if found is None:
            break
        taken.append(found)
        wanted = (wanted | found[1].used) - found[1].bound - {entry_point}
    stars = [(c, s) for c, s in there if isinstance(s.node, ast.ImportFrom) and s.node.names[0].name == "*"]
    order = [*(stars if wanted else []), *(each for each in there if each in taken)]
    ordered = sorted(order, key=lambda each: not isinstance(each[1].node, ast.Import | ast.ImportFrom))
    return [_source(code, each.node) for code, each in ordered]


def _assigns(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AnnAssign)


def _source(code: str, node: ast.stmt) -> str:
    return "\n".join(code.split("\n")[_first_line(node) - 1 : node.end_lineno])


def without_future(code: str) -> str:
    """Code without its `from __future__` imports, which are only legal where nothing stands before them.

    What `annotations` among them does is done here: annotations become strings, so that none is looked up.
    """
    tree = parsed(code) if "__future__" in code else None
    if tree is None:
        return code
    futures = [node for node in tree.body if isinstance(node, ast.ImportFrom) and _is_future(node)]
    if any(alias.name == "annotations" for node in futures for alias in node.names):
        code = _with_quoted_annotations(code, tree)
    return _without_futures(code)


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _without_futures(code: str) -> str:
    tree = parsed(code)
    if tree is None:
        return code
    futures = [node for node in tree.body if _is_future(node)]
    return _without(code, futures, [node for node in tree.body if node not in futures])


def _with_quoted_annotations(code: str, tree: ast.Module) -> str:
    annotations = [
        each
        for node in ast.walk(tree)
        for each in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(each, ast.expr) and each.end_lineno == each.lineno
    ]
    lines = [line.encode() for line in code.split("\n")]
    for each in sorted(annotations, key=lambda each: (each.lineno, each.col_offset), reverse=True):
        line = lines[each.lineno - 1]
        quoted = repr(line[each.col_offset : each.end_col_offset].decode()).encode()
        lines[each.lineno - 1] = line[: each.col_offset] + quoted + line[each.end_col_offset :]
    return b"\n".join(lines).decode()
