"""What a benchmark holds a solution against. Plain data: the sandbox carries it out.

`Script` and `Cases` are carried out by a process of their own, which calls the solution in another one: the solution never
holds the tests, the expected values or the verdict in its memory. The class of a `UnitTest` runs beside the solution, because
such tests patch the modules that the solution uses; the verdict is decided outside, by how each test ended. A `Command` is for
solutions in other languages than Python (`foreign.py` says what holds there).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What one solution may use."""

    timeout_seconds: float = 3.0
    """Seconds of one sample, or of one input of `Cases`: wall clock, less the time that the kernel let the solution wait."""
    reference_factor: float = 4.0
    """A sample may always take this many times what the task's reference takes on this machine."""
    total_seconds: float = 60.0
    """Most seconds of a sample over all inputs of `Cases`."""
    memory_mb: int = 1024
    """Address space (MiB) of each process of the solution."""


@dataclass(frozen=True)
class Script:
    """Tests written as code that ends without an error exactly if the solution is right."""

    setup: str
    """Trusted code that runs first: imports and helpers of the tests. Its names win over the solution's, but for `calls`."""
    test: str
    """The tests."""
    calls: str
    """Name of the function or class under test: always the solution's."""
    names: tuple[str, ...] = ()
    """What else of the solution they may use: names that the reference defines. Those of `setup` and of Python win."""
    operators: tuple[str, ...] = ()
    """Special methods that classes of the reference define: objects of the solution are asked these for plain operands too."""

    @classmethod
    def of(cls, setup: str, test: str, calls: str, reference: str) -> Script:
        """Tests that use what a reference (Python code) defines and imports; its imports become part of the setup."""
        tree = ast.parse(reference)
        used = {node.id for code in (setup, test) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
        imports = [text for node in ast.walk(tree) if (text := _import_of(node, used))]
        operators = {name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for name in _operators(node)}
        return cls(
            setup="\n".join([*dict.fromkeys(imports), setup]) if imports else setup,
            test=test,
            calls=calls,
            names=tuple(sorted(defined_names(tree.body))),
            operators=tuple(sorted(operators)),
        )


@dataclass(frozen=True)
class Cases:
    """Inputs whose expected outputs are what the reference returns for them (EvalPlus)."""

    inputs: Sequence[Sequence[Any]]
    """Positional arguments of each call, the base inputs first."""
    base: int
    """Number of base inputs; the rest is the benchmark's "plus"."""
    reference: str
    """Whole solution whose outputs are expected."""
    calls: str
    """Name of the function under test."""
    compare: str = "equal"
    """How an output is held against the expected one: a name of `sandbox.compare`."""
    atol: float = 0.0
    """Absolute tolerance of floats; where 0 and the expected output is made of floats, 1e-6."""


@dataclass(frozen=True)
class UnitTest:
    """A `unittest` class that runs in the solution's own process (BigCodeBench)."""

    test: str
    """Code that defines the class; runs in the solution's module."""
    name: str = "TestCases"
    calls: str = ""
    """Name of the function under test: the tests must fail where its answers are thrown away. Empty: that is not tried."""


@dataclass(frozen=True)
class Command:
    """Tests in another language: one program of solution and tests, which a command runs in the sandbox."""

    command: tuple[str, ...]
    """Program and arguments, of what is installed below /usr: an interpreter, or a shell that compiles and runs."""
    file: str
    """Name of the file that the program is written to, in the directory in which the command starts."""
    test: str
    """Code that follows the solution's."""
    says: str
    """Statement behind the tests that writes `{word}` to standard output: they have come to their end."""
    version: tuple[str, ...]
    """Program and arguments that say by which version of the language programs are run: verdicts of another one are others."""
    silent: bool = False
    """The program may write nothing else, to either stream: what a failed test does is to write, as `console.assert` does."""
    unreadable: str = "SyntaxError"
    """Pattern in the errors of a program that is none in its language."""
    failing: str = "Assertion"
    """Pattern in the errors of a program of which a test failed."""


Oracle = Script | Cases | UnitTest | Command

ORDER = frozenset({"__lt__", "__le__", "__gt__", "__ge__"})


def defined_names(body: Sequence[ast.stmt]) -> set[str]:
    """Names that statements of a module define."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        found.update(each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store))
        for inner in ast.walk(node):
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(inner.name)
    return found


def _import_of(node: ast.AST, used: set[str]) -> str:
    """The import of names that tests use, as code that lets it fail; empty where the node is none."""
    if not isinstance(node, ast.Import | ast.ImportFrom) or (isinstance(node, ast.ImportFrom) and node.level):
        return ""
    wanted = [each for each in node.names if (each.asname or each.name).partition(".")[0] in used]
    if not wanted:
        return ""
    kept = ast.Import(wanted) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, wanted, 0)
    return f"try: {ast.unparse(kept)}\nexcept ImportError: pass"


def _operators(node: ast.ClassDef) -> set[str]:
    """Special methods of a class, with those that `functools.total_ordering` makes of them."""
    found = {each.name for each in node.body if isinstance(each, ast.FunctionDef) and each.name.startswith("__")}
    found |= {
        each.id for line in node.body if isinstance(line, ast.Assign) for each in line.targets if isinstance(each, ast.Name)
    }
    ordered = any("total_ordering" in ast.unparse(decorator) for decorator in node.decorator_list)
    return {name for name in found | (ORDER if ordered else set()) if name.startswith("__")}
