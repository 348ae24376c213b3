"""A response's own examples as a program for the sandbox: asserts, doctests, printed calls with what they print. [ours]

Nothing of the data runs in this process: its code is parsed here, and run in the sandbox alone. There code and
examples share a process, so code that set out to look right could; pairs of such code are no target of a ranking.
"""

from __future__ import annotations

import ast
import doctest
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.errors import CodeBlockError
from codeblock.data.filter.words import last_request
from codeblock.data.rank.asks import uses
from codeblock.sandbox.oracles import Limits, UnitTest
from codeblock.sandbox.pool import Pool, Settings
from codeblock.sandbox.sandbox import Outcome, Sandbox, Verdict
from codeblock.segmentation import find_regions

LIMITS = Limits(timeout_seconds=2.0, memory_mb=512)
"""Of one response: seconds, and MiB."""
MAX_CHARACTERS = 50_000
"""The code of a longer response is not run."""
MISSING = re.compile(
    r"\b(?:ModuleNotFoundError|ImportError|EOFError|FileNotFoundError|PermissionError|ConnectionError|ConnectionRefusedError"
    r"|URLError|gaierror|OSError|SystemExit|KeyboardInterrupt)\b"
)
"""Errors of a place without packages, input, files or a network: they say nothing of the code."""
_UNDEFINED = re.compile(r"name '(\w+)' is not defined")
_MARK = re.compile(
    r"^(?:expected |the )?(?:outputs?|prints?|returns?|results?|expected|should (?:print|return|be))?\s*(?:is\s+)?"
    r"(?::|=>|->|==)\s*",
    re.IGNORECASE,
)
_WORD_MARK = re.compile(r"^(?:outputs?|prints?|returns?|should (?:print|return|be))\s+", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|\r|\n")
"""As Python counts lines; `str.splitlines` ends them at form feeds and other marks too."""
_DOCTEST = re.compile(r"^[ \t]*>>> .*(?:\n(?![ \t]*(?:```|~~~|$)).+)*", re.MULTILINE)

PRELUDE = """
_codeblock_told = {}
def _codeblock_tell(_key, *_values, _text=str, _shape=repr):
    _codeblock_told[_key] = ([_text(_value) for _value in _values], [_shape(_value) for _value in _values])
"""
"""Runs before the response's code: keeps what its examples give."""

TESTS = """
import ast, doctest, io, math, unittest

def _codeblock_same(one, other):
    if isinstance(one, float) or isinstance(other, float):
        return isinstance(one, (int, float)) and isinstance(other, (int, float)) and math.isclose(one, other, rel_tol=1e-3)
    return one == other

def _codeblock_right(key, wanted):
    if key not in _codeblock_told:
        return False
    texts, shapes = _codeblock_told[key]
    if wanted in (" ".join(texts), " ".join(shapes), ", ".join(shapes)):
        return True
    try:
        return len(shapes) == 1 and _codeblock_same(ast.literal_eval(shapes[0]), ast.literal_eval(wanted))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False

def _codeblock_doctest(text):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(text, globals(), "example", None, 0)
    return doctest.DocTestRunner(verbose=False, optionflags=flags).run(test, out=io.StringIO().write, clear_globs=False).failed

class TestCases(unittest.TestCase):
    def test_prints(self):
        for key, wanted in PRINTS:
            self.assertTrue(_codeblock_right(key, wanted), wanted)
    def test_doctests(self):
        for text in DOCTESTS:
            self.assertEqual(_codeblock_doctest(text), 0, text)
"""


class ExampleProgram(NamedTuple):
    """The Python code of a response with its examples."""

    code: str
    prints: list[tuple[int, str]]
    """Number of an example, and what the response says that it gives."""
    doctests: list[str]
    others: int
    """Asserts, and calls whose value the response does not tell: they have to run."""

    @property
    def oracle(self) -> UnitTest:
        """The tests, which run beside the code."""
        names = TESTS.replace("PRINTS", repr(self.prints)).replace("DOCTESTS", repr(self.doctests))
        return UnitTest(names)


def run_examples(tables: Iterable[pa.Table], rows: int, settings: Settings) -> NDArray[np.float32]:
    """float32[rows]: 1 where the examples of a response come true, 0 where not, NaN where there is nothing to say.

    `tables` have the columns `messages` and `response`. Raises CodeBlockError where layers of the sandbox are missing and may
    not be, and where the harness fails. A response takes at most LIMITS.timeout_seconds; `settings.processes` run at a time.
    """
    found: list[float] = []
    if not rows:
        return np.zeros(0, dtype=np.float32)
    with Pool(settings, rows) as pool:
        for table in tables:
            requests = [last_request(turns) for turns in table["messages"].to_pylist()]
            programs = [program_of(response) for response in table["response"].to_pylist()]
            found += pool.map("examples", _verdict, list(zip(programs, requests, strict=True)))
    return np.array(found, dtype=np.float32)


def _verdict(sandbox: Sandbox, job: tuple[ExampleProgram | None, str]) -> float:
    program, request = job
    return float("nan") if program is None else value_of(sandbox.run(program.code, program.oracle, LIMITS), request)


def value_of(outcome: Outcome, request: str) -> float:
    """The signal of an outcome: unknown where the code wants what the sandbox has not, or a value that the request gives."""
    if outcome.verdict is Verdict.HARNESS_ERROR:
        raise CodeBlockError(f"rank.by: runs_examples: {outcome.error}; leave it out, or see to the sandbox")
    undefined = _UNDEFINED.search(outcome.error)
    if outcome.verdict is Verdict.EXCEPTION and (MISSING.search(outcome.error) or (undefined and uses(request, undefined[1]))):
        return float("nan")
    return float(outcome.verdict is Verdict.PASSED)


def program_of(response: str) -> ExampleProgram | None:
    """The program of a response; None where it has no Python code that parses, no example, or needs packages."""
    if len(response) > MAX_CHARACTERS:
        return None
    regions = [region for region in find_regions(response) if region.language == "python"]
    sources = [response[region.start : region.end] for region in regions]
    sessions = any(response[max(0, region.start - 4) : region.start] in (">>> ", "... ") for region in regions)
    parsed = [] if sessions else [(source, tree) for source in sources if (tree := _parsed(source)) is not None]
    if not parsed or any(_imports_packages(tree) for _, tree in parsed):
        return None
    doctests = list(_doctests(response, sources, [tree for _, tree in parsed]))
    body: list[ast.stmt] = []
    prints: list[tuple[int, str]] = []
    others = 0
    for source, tree in parsed:
        for statement in _top_level(tree):
            wanted, shown = _told(statement, _LINE_END.split(source))
            if wanted is not None:
                prints.append((len(prints), wanted))
                body.append(_tell(len(prints) - 1, shown))
            else:
                others += _is_example(statement)
                body.append(statement)
    if not (prints or doctests or others):
        return None
    code = _code(body)
    return ExampleProgram(code, prints, doctests, others) if code is not None else None


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that are none, once for each response
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _imports_packages(tree: ast.Module) -> bool:
    """Whether modules beside the standard library are imported: what a machine happens to have must not rank pairs."""
    nodes = list(ast.walk(tree))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return any(name.partition(".")[0] not in sys.stdlib_module_names for name in names)


def _code(body: list[ast.stmt]) -> str | None:
    """The text of the program: what has to come first, the prelude, the rest."""
    first: list[ast.stmt] = [node for node in body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    rest = [node for node in body if node not in first]
    try:
        return "\n".join([ast.unparse(ast.Module(first, [])), PRELUDE, ast.unparse(ast.Module(rest, []))])
    except (RecursionError, ValueError):
        return None


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a module, those below `if __name__ == "__main__":` among them."""
    for node in tree.body:
        if isinstance(node, ast.If) and "__name__" in ast.dump(node.test) and not node.orelse:
            yield from node.body
        else:
            yield node


def _told(statement: ast.stmt, lines: list[str]) -> tuple[str | None, list[ast.expr]]:
    """What the comment behind a printed value or a bare call says that it gives, and the expressions that are told."""
    if not (isinstance(statement, ast.Expr) and isinstance(call := statement.value, ast.Call)):
        return None, []
    end, line = statement.end_lineno or 0, lines[(statement.end_lineno or 1) - 1].encode()
    comment = line[statement.end_col_offset or 0 :].decode().strip()
    following = lines[end].strip() if end < len(lines) else ""
    wanted = _expected(comment[1:]) if comment.startswith("#") else None
    if wanted is None and not comment and following.startswith("#"):
        wanted = _expected(following[1:], marked=True)
    if wanted is None or not (is_print := _calls(call, "print")):
        return wanted, [call]
    return (None, []) if call.keywords and is_print else (wanted, call.args)


def _expected(comment: str, marked: bool = False) -> str | None:
    """The value in a comment: a Python literal, or any text after a mark such as `Output:`; None where there is none.

    `marked`: a literal alone does not do.
    """
    text = comment.strip()
    bare = _WORD_MARK.sub("", _MARK.sub("", text)).strip()
    told = bare != text
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.literal_eval(bare)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return bare if told and bare and len(bare.split()) <= 3 else None
    return bare if told or not marked else None


def _tell(key: int, values: list[ast.expr]) -> ast.stmt:
    call = ast.Call(ast.Name("_codeblock_tell", ast.Load()), [ast.Constant(key), *values], [])
    return ast.fix_missing_locations(ast.Expr(call))


def _is_example(statement: ast.stmt) -> bool:
    """Whether a statement asserts, or calls something and does not keep the value: print(f(1)), f(1), assert f(1) == 2."""
    if isinstance(statement, ast.Assert):
        return True
    if not (isinstance(statement, ast.Expr) and isinstance(call := statement.value, ast.Call)):
        return False
    return not _calls(call, "print") or any(isinstance(node, ast.Call) for each in call.args for node in ast.walk(each))


def _calls(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == name


def _doctests(response: str, sources: list[str], trees: list[ast.Module]) -> Iterator[str]:
    """Sessions with expected values: in docstrings, and in the response outside its code."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) or "" for tree in trees for node in ast.walk(tree) if isinstance(node, documented)]
    outside = response
    for source in sources:
        outside = outside.replace(source, "\n")
    for text in [*texts, outside]:
        yield from (match[0] for match in _DOCTEST.finditer(text) if _has_values(match[0]))


def _has_values(session: str) -> bool:
    try:
        return any(example.want for example in doctest.DocTestParser().get_examples(session))
    except ValueError:
        return False
