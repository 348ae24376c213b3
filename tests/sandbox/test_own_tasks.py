# ruff: noqa: E501  (programs are easier to read in one line)
"""Tests behave as in one process; no object of a solution gets the better of them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

import pytest
from tests.sandbox.own_tasks import TASKS, Own

from codeblock.sandbox.oracles import Limits, Script
from codeblock.sandbox.sandbox import Outcome, Sandbox, Verdict

LIMITS = Limits(timeout_seconds=5.0, memory_mb=1024)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def oracle(task: Own) -> Script:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    calls = [node.name for node in ast.parse(task.code).body if isinstance(node, kinds)][-1]
    return Script.of(task.setup, task.test, calls, task.code)


@pytest.mark.parametrize("task", TASKS, ids=[task.name for task in TASKS])
def test_a_task_passes_as_in_one_process(sandbox: Sandbox, task: Own) -> None:
    streams = sys.stdout, sys.stderr
    exec(compile(f"{task.code}\n{task.setup}\n{task.test}", "<plain>", "exec", dont_inherit=True), {"__name__": "__main__"})
    assert (sys.stdout, sys.stderr) == streams
    outcome = sandbox.run(task.code, oracle(task), LIMITS)
    assert outcome.verdict == Verdict.PASSED, outcome


def run(sandbox: Sandbox, code: str, test: str, reference: str = "def f(x): return 3.0", setup: str = "") -> Outcome:
    return sandbox.run(code, Script.of(setup, test, "f", reference), LIMITS)


MOODS = "class Moody:\n    k = 0\n    def turn(self, *values):\n        self.k += 1\n        return values[(self.k - 1) % len(values)]\n    {}\ndef f(x): return Moody()"
CHAMELEONS = {
    "float": (
        "def __float__(self): return self.turn(1.0, 2.0)",
        "import math\nx = f(0)\nassert math.pow(x, 1) == 1 and math.pow(x, 1) == 2",
    ),
    "int": ("def __int__(self): return self.turn(1, 2)", "x = f(0)\nassert int(x) == 1 and int(x) == 2"),
    "index": ("def __index__(self): return self.turn(0, 1)", "x = f(0)\nassert 'ab'[x] == 'a' and 'ab'[x] == 'b'"),
    "complex": ("def __complex__(self): return self.turn(1j, 2j)", "x = f(0)\nassert complex(x) == 1j and complex(x) == 2j"),
    "len": ("def __len__(self): return self.turn(1, 2)", "x = f(0)\nassert len(x) == 1 and len(x) == 2"),
    "bool": ("def __bool__(self): return self.turn(True, False)", "x = f(0)\nassert x and not x"),
    "str": (
        "def __str__(self): return self.turn('a', 'b')",
        "x = f(0)\nassert str(x) == 'a' and f'{x}' == 'b' and str(x) == 'b'",
    ),
    "repr": ("def __repr__(self): return self.turn('a', 'b')", "x = f(0)\nassert repr(x) == 'a' and repr(x) == 'b'"),
    "hash": ("def __hash__(self): return self.turn(1, 2)", "x = f(0)\nassert hash(x) == 1 and hash(x) == 2"),
    "format": (
        "def __format__(self, s): return self.turn('a', 'b')",
        "x = f(0)\nassert format(x, 'z') == 'a' and format(x, 'z') == 'b'",
    ),
    "attribute": ("@property\n    def v(self): return self.turn(1, 2)", "x = f(0)\nassert x.v == 1 and x.v == 2"),
    "any attribute": ("def __getattr__(self, name): return self.turn(1, 2)", "x = f(0)\nassert x.v == 1 and x.v == 2"),
    "item": ("def __getitem__(self, i): return self.turn(1, 2)", "x = f(0)\nassert x[0] == 1 and x[0] == 2"),
    "iteration": ("def __iter__(self): return iter([self.turn(1, 2)])", "x = f(0)\nassert list(x) == [1] and list(x) == [2]"),
    "iteration and unpacking": (
        "def __iter__(self): return iter([self.turn(1, 2)])",
        "x = f(0)\n(a,), (b,) = x, x\nassert (a, b) == (1, 2)",
    ),
    "sum and max": ("def __iter__(self): return iter([self.turn(1, 2)])", "x = f(0)\nassert sum(x) == 1 and max(x) == 2"),
    "reversed": (
        "def __reversed__(self): return [self.turn(1, 2)]\n    def __len__(self): return 1",
        "x = f(0)\nassert reversed(x) == [1] and reversed(x) == [2]",
    ),
    "abs and round": ("def __abs__(self): return self.turn(1, 2)", "x = f(0)\nassert abs(x) == 1 and abs(x) == 2"),
    "order among its own": (
        "def __lt__(self, other): return self.turn(True, False)",
        "x, y = f(0), f(0)\nassert x < y and not x < y",
    ),
    "equality among its own": (
        "def __eq__(self, other): return self.turn(True, False)\n    __hash__ = None",
        "x, y = f(0), f(0)\nassert x == y and not x == y",
    ),
    "contents of a list": (
        "pass\nclass Moody(list):\n    k = 0\n    def __len__(self):\n        Moody.k += 1\n        list.append(self, 1)\n        return Moody.k",
        "x = f(0)\nassert len(x) == 1 and x == [1] and len(x) == 2",
    ),
}


@pytest.mark.parametrize("name", CHAMELEONS)
def test_what_is_read_twice_is_the_same(sandbox: Sandbox, name: str) -> None:
    body, test = CHAMELEONS[name]
    assert run(sandbox, MOODS.format(body), test).verdict == Verdict.WRONG_ANSWER, name


def test_what_a_test_changes_is_read_anew(sandbox: Sandbox) -> None:
    code = "class f:\n    def __init__(self): self.xs = []\n    def add(self, x): self.xs.append(x)\n    def __len__(self): return len(self.xs)\n    def __iter__(self): return iter(self.xs)\n    @property\n    def last(self): return self.xs[-1]"
    test = "s = f()\nassert len(s) == 0 and not s\nfor n in (1, 2):\n    s.add(n)\n    assert len(s) == n and s.last == n and list(s) == list(range(1, n + 1)) and list(s) == list(s)"
    assert run(sandbox, code, test).verdict == Verdict.PASSED


def test_a_function_that_was_given_makes_nothing_be_read_anew(sandbox: Sandbox) -> None:
    code = "class M:\n    def __init__(self, g): self.g, self.k = g, 0\n    def __float__(self):\n        self.g()\n        self.k += 1\n        return float(self.k)\ndef f(g): return M(g)"
    test = "x = f(lambda: None)\nassert float(x) == 1 and float(x) == 2"
    assert run(sandbox, code, test).verdict == Verdict.WRONG_ANSWER


LIAR = "class Liar:\n    def yes(self, *a): return True\n    def me(self, *a): return self\n    def nought(self, *a): return 0\n    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __bool__ = yes\n    __ne__ = lambda *a: False\n    __sub__ = __rsub__ = __mod__ = __xor__ = __floordiv__ = __rtruediv__ = nought\n    __abs__ = __round__ = me\n    def __hash__(self): return hash(3.0)\ndef f(x): return Liar()"
ASKED = [
    "assert f(0) == 3.0",
    "assert 3.0 == f(0)",
    "assert not f(0) != 3.0",
    "assert f(0) in [1, 3.0]",
    "assert 3.0 in {f(0)}",
    "assert 3.0 in f(0)",
    "assert {f(0): 1}[3.0]",
    "assert [f(0)] == [3.0]",
    "assert abs(f(0) - 3.0) < 1e-6",
    "assert 3.0 - f(0) == 0",
    "assert f(0) % 3.0 == 0",
    "assert f(0) ^ 3 == 0",
    "assert 2.9 < f(0) < 3.1",
    "assert f(0) >= 3.0",
    "import math\nassert math.isclose(f(0), 3.0)",
    "assert sorted([f(0), 3.0])[0] != 4",
    "assert max(f(0), 2.0) == 3.0",
    "import numpy as np\nassert np.allclose(f(0), 3.0)",
    "import numpy as np\nassert (np.array([f(0)], object) == 3.0).all()",
]


@pytest.mark.parametrize("test", ASKED)
def test_an_object_decides_nothing_about_plain_values(sandbox: Sandbox, test: str) -> None:
    for code in (LIAR, LIAR.replace("class Liar:", "class Liar(list):").replace("return Liar()", "return Liar([1])")):
        assert run(sandbox, code, test).verdict in (Verdict.WRONG_ANSWER, Verdict.EXCEPTION)


@pytest.mark.parametrize("base", ["int", "float", "str", "tuple"])
def test_a_plain_value_that_lies_is_what_it_is(sandbox: Sandbox, base: str) -> None:
    code = LIAR.replace("class Liar:", f"class Liar({base}):")
    assert run(sandbox, code, "assert f(0) == 3.0 or f(0) == '3'").verdict == Verdict.WRONG_ANSWER
    assert run(sandbox, code, "assert 2.9 < f(0) < 3.1").verdict in (Verdict.WRONG_ANSWER, Verdict.EXCEPTION)


def test_classes_of_the_task_are_asked_what_the_reference_defines(sandbox: Sandbox) -> None:
    """Where the task's own class compares itself with plain values, its answer counts: the price of such tasks."""
    reference = "class f:\n    def __init__(self, v): self.v = v\n    def __lt__(self, o): return self.v < o"
    assert run(sandbox, reference, "assert f(1) < 2", reference).verdict == Verdict.PASSED
    assert (
        run(sandbox, f"{reference}\n    def __eq__(self, o): return True", "assert f(1) == 1", reference).verdict
        == Verdict.WRONG_ANSWER
    )


ENDS = {
    "all": ("def f(x): raise StopIteration", "assert all(map(lambda x: f(x) == x, [1, 2]))"),
    "an attribute": (
        "class A:\n    @property\n    def v(self): raise StopIteration\ndef f(x): return A()",
        "assert all(map(lambda x: f(x).v == x, [1, 2]))",
    ),
    "a bare except": ("import os\ndef f(x): os._exit(0)", "try:\n    f(1)\nexcept:\n    pass"),
    "a bare except around no memory": ("def f(x): raise MemoryError", "try:\n    f(1)\nexcept:\n    pass"),
    "a with that swallows": (
        "class W:\n    def __enter__(self): return self\n    def __exit__(self, *a): return True\ndef f(x): return W()",
        "with f(1):\n    assert False",
    ),
    "an async with that swallows": (
        "class W:\n    async def __aenter__(self): return self\n    async def __aexit__(self, *a): return True\ndef f(x): return W()",
        "import asyncio\nasync def main():\n    async with f(1):\n        assert False\nasyncio.run(main())",
    ),
    "a class that holds everything": (
        "class M(type):\n    def __contains__(c, x): return True\n    def __len__(c): return 1\n    def __iter__(c): return iter(())\nclass C(metaclass=M): pass\ndef f(x): return C",
        "assert 3 in f(1)",
    ),
    "a generator that swallows": (
        "import contextlib\n@contextlib.contextmanager\ndef f(x):\n    try: yield 1\n    except BaseException: pass",
        "with f(1):\n    assert False",
    ),
    "an iterator that never starts": ("def f(x): return iter(())", "seen = 0\nfor v in f(1): seen += v\nassert seen == 3"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_failed_test_cannot_be_made_to_look_ended(sandbox: Sandbox, name: str) -> None:
    code, test = ENDS[name]
    assert run(sandbox, code, test).verdict not in (Verdict.PASSED, Verdict.HARNESS_ERROR)


FORGED = "import sys\nabs = round = set = len = sorted = isinstance = all = any = lambda *a: True\nmath = numpy = Counter = sys\ndef isclose(*a): return True\ndef check(*a): pass\ndef assert_close(*a): pass\nhelper = extra = lambda *a: 3\nclass AssertionError(BaseException): pass\ndef f(x): return x"
NAMES = [
    "assert abs(f(2)) == 3",
    "assert len(f([1])) == 2",
    "assert set(f([1])) == {2}",
    "assert isinstance(f(1), str)",
    "assert all(v == 3 for v in [f(1)])",
    "assert math.isclose(f(1), 3)",
    "assert isclose(f(1), 3)",
    "assert Counter(f('a')) == {'b': 1}",
    "assert_close(f(1), 3)",
    "check(f)",
    "assert helper(f(1)) == 3",
    "assert extra(f(1)) == 3",
    "assert float_eq(f(1), 3)",
]


@pytest.mark.parametrize("test", NAMES)
def test_names_of_a_solution_change_nothing_that_tests_call(sandbox: Sandbox, test: str) -> None:
    reference = "import math\nfrom math import isclose\nfrom collections import Counter\ndef f(x): return 3"
    setup = "def helper(x): return x\ndef assert_close(a, b): assert abs(a - b) < 1e-6\ndef check(candidate): assert candidate(1) == 3"
    assert run(sandbox, FORGED, test, reference, setup).verdict in (Verdict.WRONG_ANSWER, Verdict.EXCEPTION)


def test_names_that_the_reference_defines_are_the_solutions(sandbox: Sandbox) -> None:
    reference = "import math\nK = 3\nclass P:\n    pass\nif K:\n    def helper(x): return x\ndef f(x): return math.floor(x)"
    test = "assert f(K) == 3 and helper(P) is P and math.pi > 3"
    found = Script.of("", test, "f", reference)
    assert (found.names, found.setup) == (("K", "P", "f", "helper"), "try: import math\nexcept ImportError: pass\n")
    assert sandbox.run(reference, found, LIMITS).verdict == Verdict.PASSED
    outcome = sandbox.run("def f(x): return x", found, LIMITS)
    assert (outcome.verdict, outcome.error) == (Verdict.EXCEPTION, "NameError: name 'K' is not defined (line 1)")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("def f(x): raise ValueError('no')", "ValueError: no (line 1)"),
        ("class Bad(Exception): pass\ndef f(x):\n    raise Bad(1, 'two')", "Bad: (1, 'two') (line 3)"),
        (
            "def f(x): raise ValueError('\\ud800\\x00\\x1b[31mred\\x1b[0m\\u202e\\nnext\\tline' + 'x' * 10 ** 6)",
            "ValueError: \\ud800\\x00red\\u202e next line" + "x" * 247 + "... (line 1)",
        ),
        (
            "class Bad(Exception):\n    def __str__(self): return 5\ndef f(x): raise Bad",
            "Bad: (its text raised an error) (line 3)",
        ),
        (
            "class Meta(type):\n    __name__ = property(lambda c: 1 / 0)\nclass Bad(Exception, metaclass=Meta): pass\ndef f(x): raise Bad('x')",
            "Bad: x (line 4)",
        ),
        ("def f(x): raise type('\\x1b[2J\\n\\u202e', (Exception,), {})('x')", "\\u202e: x (line 1)"),
        ("def f(x): raise SystemExit('\\u2028\\u200b' * 500)", "SystemExit: \\u200b \\u200b" + 9 * "x"),
    ],
)
def test_the_text_of_an_error_is_short_and_clean(sandbox: Sandbox, code: str, error: str) -> None:
    for where in (code, f"{code}\nf(1)"):
        found = run(sandbox, where, "f(1)")
        assert found.verdict == Verdict.EXCEPTION
        assert found.error.startswith(error.partition(" (line")[0][:25])
        assert len(found.error) <= 330
        assert found.error.isprintable()
        assert "(line " in found.error
