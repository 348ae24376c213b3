"""What the samples of a task are made of: its reference, and the same code broken in one place. Standard library only."""

from __future__ import annotations

import ast
import random
import textwrap
from collections.abc import Callable, Iterator

Mutation = Callable[[str, str, random.Random], str | None]
"""(source of the whole solution, name of its function, random) -> the mutated source; None where there is nothing to mutate."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}
RETURNS = ("None", "[{0}]", "str({0})", "not {0}", "{0} + {0}", "({0}, {0})")
"""Other things to return than the right one."""
WRONG_TYPES = ("float({0})", "int({0})", "list({0})", "tuple({0})", "set({0})", "repr({0})", "iter({0})", "bool({0})")
"""Returns that some comparisons of outputs take for the right one, and others do not."""
ENDLESS = "while True:\n    pass"
STATEMENTS = (
    "raise ValueError('mutated')",
    "raise SystemExit(0)",
    "raise KeyboardInterrupt",
    "assert False",
    "undefined_name",
    "import package_that_is_not_there",
    "return",
    "input()",
    "print('x' * 100000)",
    "import sys; sys.stderr.write('noise')",
    "from math import *",
    "global mutated; mutated = globals().get('mutated', 0) + 1",
)
"""Statements put at the beginning of the function; the last ones change nothing (or nothing that counts)."""


def find(tree: ast.Module, name: str) -> ast.FunctionDef | None:
    """The last top-level definition of the function."""
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return found[-1] if found else None


def sites(function: ast.FunctionDef, kinds: type[ast.AST] | tuple[type[ast.AST], ...]) -> list[ast.AST]:
    """Nodes of these kinds in the function, nested functions included."""
    return [node for node in ast.walk(function) if isinstance(node, kinds)]


def blocks(function: ast.FunctionDef) -> Iterator[list[ast.stmt]]:
    """Every list of statements in the function."""
    for node in ast.walk(function):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block


def edited(source: str, name: str, edit: Callable[[ast.FunctionDef], bool]) -> str | None:
    """The source after `edit` of the function's tree; None where it found nothing to do."""
    tree = ast.parse(source)
    function = find(tree, name)
    if function is None or not edit(function):
        return None
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def compare(source: str, name: str, draw: random.Random) -> str | None:
    """Another comparison."""

    def edit(function: ast.FunctionDef) -> bool:
        found = sites(function, ast.Compare)
        if not found:
            return False
        node = draw.choice(found)
        assert isinstance(node, ast.Compare)
        place = draw.randrange(len(node.ops))
        node.ops[place] = COMPARISONS[type(node.ops[place])]()
        return True

    return edited(source, name, edit)


def constant(source: str, name: str, draw: random.Random) -> str | None:
    """A number that is off by one, or a text with a letter more."""

    def edit(function: ast.FunctionDef) -> bool:
        docstring = ast.get_docstring(function, clean=False)
        found = [
            node
            for node in sites(function, ast.Constant)
            if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str) and node.value != docstring
        ]
        if not found:
            return False
        node = draw.choice(found)
        if isinstance(node.value, bool):
            node.value = not node.value
        elif isinstance(node.value, str):
            node.value += "x"
        elif isinstance(node.value, int | float):
            node.value += draw.choice((-1, 1))
        return True

    return edited(source, name, edit)


def operator(source: str, name: str, draw: random.Random) -> str | None:
    """Another operator between numbers, or `and` and `or` exchanged."""

    def edit(function: ast.FunctionDef) -> bool:
        found = [
            node
            for node in sites(function, (ast.BinOp, ast.AugAssign, ast.BoolOp))
            if isinstance(node, ast.BoolOp) or type(getattr(node, "op")) in OPERATORS  # noqa: B009
        ]
        if not found:
            return False
        node = draw.choice(found)
        if isinstance(node, ast.BoolOp):
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        elif isinstance(node, ast.BinOp | ast.AugAssign):
            node.op = OPERATORS[type(node.op)]()
        return True

    return edited(source, name, edit)


def returning(patterns: tuple[str, ...]) -> Mutation:
    """Every return gives something else."""

    def mutate(source: str, name: str, draw: random.Random) -> str | None:
        pattern = draw.choice(patterns)

        def edit(function: ast.FunctionDef) -> bool:
            found = [node for node in sites(function, ast.Return) if isinstance(node, ast.Return) and node.value is not None]
            for node in found:
                assert node.value is not None
                node.value = ast.parse(pattern.format(f"({ast.unparse(node.value)})"), mode="eval").body
            return bool(found)

        return edited(source, name, edit)

    return mutate


def removed(source: str, name: str, draw: random.Random) -> str | None:
    """A statement less."""

    def edit(function: ast.FunctionDef) -> bool:
        found = [(block, place) for block in blocks(function) for place in range(len(block))]
        block, place = draw.choice(found)
        block[place] = ast.Pass()
        return True

    return edited(source, name, edit)


def inserted(statements: tuple[str, ...]) -> Mutation:
    """A statement more, at the function's beginning."""

    def mutate(source: str, name: str, draw: random.Random) -> str | None:
        statement = draw.choice(statements)

        def edit(function: ast.FunctionDef) -> bool:
            place = 1 if ast.get_docstring(function) is not None else 0
            wrapped = ast.parse(f"def f():\n{textwrap.indent(statement, '    ')}").body[0]
            assert isinstance(wrapped, ast.FunctionDef)
            function.body[place:place] = wrapped.body
            return True

        return edited(source, name, edit)

    return mutate


def renamed(source: str, name: str, draw: random.Random) -> str | None:
    """The function has another name."""

    def edit(function: ast.FunctionDef) -> bool:
        function.name = f"{name}_{draw.randrange(10)}"
        return True

    return edited(source, name, edit)


def truncated(source: str, name: str, draw: random.Random) -> str | None:
    """Cut somewhere in its second half, as an answer that ran out of tokens."""
    return source[: draw.randrange(len(source) // 2, len(source))]


def broken(source: str, name: str, draw: random.Random) -> str | None:
    """No Python: a colon, bracket or quote is missing."""
    places = [place for place, sign in enumerate(source) if sign in "():[]'\""]
    place = draw.choice(places)
    return source[:place] + source[place + 1 :]


def empty(source: str, name: str, draw: random.Random) -> str | None:
    """Nothing."""
    return ""


MUTATIONS: dict[str, Mutation] = {
    "compare": compare,
    "constant": constant,
    "operator": operator,
    "return": returning(RETURNS),
    "type": returning(WRONG_TYPES),
    "removed": removed,
    "statement": inserted(STATEMENTS),
    "truncated": truncated,
    "compare again": compare,
    "constant again": constant,
    "operator again": operator,
    "broken": broken,
    "type again": returning(WRONG_TYPES),
    "removed again": removed,
    "empty": empty,
    "renamed": renamed,
    "endless": inserted((ENDLESS,)),
}
"""In the order in which the samples of the tasks take turns."""
