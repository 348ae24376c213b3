# ruff: noqa: E501  (programs are easier to read in one line)
"""Solutions end with the right verdict, and none passes that did not give the right answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codeblock.core.errors import CodeBlockError
from codeblock.sandbox import sandbox as module
from codeblock.sandbox.oracles import Cases, Limits, Script, UnitTest
from codeblock.sandbox.sandbox import Sandbox, Verdict

LIMITS = Limits(timeout_seconds=2.0, memory_mb=512)
TEST = Script(setup="", test="assert f([3, 1, 2]) == [1, 2, 3]\nassert f([]) == []", calls="f")
RIGHT = "def f(x):\n    return sorted(x)\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def verdict(sandbox: Sandbox, code: str, test: str, setup: str = "") -> Verdict:
    return sandbox.run(code, Script(setup, test, "f"), LIMITS).verdict


@pytest.mark.parametrize(
    ("code", "expected", "error"),
    [
        (RIGHT, Verdict.PASSED, ""),
        ("def f(x):\n    return x", Verdict.WRONG_ANSWER, "AssertionError (line 1)"),
        ("def f(x):\n\n    return 1 / 0", Verdict.EXCEPTION, "ZeroDivisionError: division by zero (line 3)"),
        ("def f(x): raise KeyboardInterrupt", Verdict.EXCEPTION, "KeyboardInterrupt (line 1)"),
        ("def f(x): assert False, 'mine'", Verdict.EXCEPTION, "AssertionError: mine"),
        ("def g(x): return x", Verdict.EXCEPTION, "NameError: name 'f' is not defined"),
        ("def f(): return []", Verdict.EXCEPTION, "TypeError"),
        ("input()", Verdict.EXCEPTION, "EOFError"),
        ("", Verdict.EXCEPTION, "name 'f' is not defined"),
        ("def f(:", Verdict.SYNTAX_ERROR, "invalid syntax"),
        ("x = '\x00'", Verdict.SYNTAX_ERROR, "null bytes"),
        ("(" * 5000, Verdict.SYNTAX_ERROR, "too many nested parentheses"),
        ("def f(x): raise MemoryError", Verdict.OUT_OF_MEMORY, "MemoryError"),
        ("x = bytearray(10 ** 12)", Verdict.OUT_OF_MEMORY, "MemoryError"),
        ("import os\nos.abort()", Verdict.KILLED, "SIGABRT"),
        ("def f(x):\n    import ctypes\n    ctypes.string_at(0)", Verdict.KILLED, "SIGSEGV"),
        ("class E(Exception):\n    def __str__(self): return 1 / 0\nraise E", Verdict.EXCEPTION, "raised an error"),
        ("def f(x):\n    while True: pass", Verdict.TIMEOUT, "no end after 2 s"),
        ("import time\ntime.sleep(1000)", Verdict.TIMEOUT, "no end after 2 s"),
        ("def f(n): return f(n)", Verdict.EXCEPTION, "RecursionError"),
    ],
)
def test_verdicts(sandbox: Sandbox, code: str, expected: Verdict, error: str) -> None:
    outcome = sandbox.run(code, TEST, LIMITS)
    assert outcome.verdict == expected, outcome
    assert error in outcome.error


CHEATS = {
    "leaves with code 0 while it loads": "import os\nos._exit(0)",
    "leaves with code 0 when it is called": "import os\ndef f(x): os._exit(0)",
    "sys.exit(0) while it loads": "import sys\nsys.exit(0)",
    "sys.exit(0) when it is called": "import sys\ndef f(x): sys.exit(0)",
    "raises a BaseException": "def f(x): raise BaseException('x')",
    "is equal to everything": "class E:\n    def __eq__(self, other): return True\ndef f(x): return E()",
    "a list that is equal to everything": "class E(list):\n    def __eq__(self, other): return True\ndef f(x): return E()",
    "patched builtins": "import builtins\nbuiltins.sorted = builtins.len = lambda *_: 0\ndef f(x): return x",
    "patched AssertionError": "import builtins\nbuiltins.AssertionError = type('Quiet', (BaseException,), {})\ndef f(x): return x",
    "its own check and assert": "def check(*_): pass\n__debug__ = False\ndef f(x): return x",
    "patched exit and write": "import os\nos._exit = os.write = lambda *_: None\ndef f(x): return x",
    "a tracing function": "import sys\nsys.settrace(lambda *_: None)\ndef f(x): return x",
    "reads the expected output from the frames": (
        "import sys\n"
        "def f(x):\n"
        "    frame = sys._getframe()\n"
        "    while frame:\n"
        "        for value in [*frame.f_locals.values(), *frame.f_globals.values(), *frame.f_code.co_consts]:\n"
        "            if isinstance(value, list) and value and value != x and sorted(x) == value: return value\n"
        "        frame = frame.f_back\n"
        "    return x"
    ),
    "reads the tests from its memory": (
        "import gc\n"
        "def f(x):\n"
        "    found = [o for o in gc.get_objects() if isinstance(o, str) and '[1, 2, 3]' in o]\n"
        "    memory = b''\n"
        "    with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb') as mem:\n"
        "        for line in maps:\n"
        "            if 'heap' in line or line.split()[4:5] == ['0']:\n"
        "                start, end = (int(part, 16) for part in line.split()[0].split('-'))\n"
        "                try:\n"
        "                    mem.seek(start); memory += mem.read(end - start)\n"
        "                except (OSError, ValueError, OverflowError): pass\n"
        "    return [1, 2, 3] if found or (b'==' + b' [1, 2, 3]') in memory else x"
    ),
    "writes to every file descriptor": (
        "import os\nfor n in range(3, 128):\n    try: os.write(n, b'passed')\n    except OSError: pass\ndef f(x): return x"
    ),
    "answers the channel itself": (
        "import json, os, struct\n"
        'for text in (\'["ready", ["f"]]\', \'["passed"]\', \'{"verdict": "passed"}\'):\n'
        "    for n in range(3, 128):\n"
        "        try: os.write(n, struct.pack('<I', len(text)) + text.encode())\n"
        "        except OSError: pass\n"
        "os._exit(0)"
    ),
    "answers in a fork": "import os\ndef f(x):\n    if os.fork() == 0: return sorted(x)\n    os._exit(0)",
    "names that the tests use": "abs = len = sorted = lambda *_: 0\ndef f(x): return x",
    "closes the channel and waits": "import os, time\nos.closerange(3, 128)\ntime.sleep(1000)",
}


@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_passes(sandbox: Sandbox, name: str) -> None:
    started = time.monotonic()
    outcome = sandbox.run(CHEATS[name], TEST, LIMITS)
    assert outcome.verdict not in (Verdict.PASSED, Verdict.HARNESS_ERROR), outcome
    assert time.monotonic() - started < LIMITS.timeout_seconds + 8
    assert sandbox.run(RIGHT, TEST, LIMITS).verdict == Verdict.PASSED


def test_an_object_that_is_near_everything_passes_no_tolerance(sandbox: Sandbox) -> None:
    near = "class N(float):\n    def __sub__(self, other): return 0\n    __rsub__ = __sub__\ndef f(x): return N(7)"
    assert verdict(sandbox, near, "assert abs(f(1) - 3.0) < 1e-6") == Verdict.WRONG_ANSWER
    own = "class N:\n    def __sub__(self, other): return 0\n    def __lt__(self, other): return True\n    def __abs__(self): return self"
    assert verdict(sandbox, f"{own}\ndef f(x): return N()", "assert abs(f(1) - 3.0) < 1e-6") == Verdict.EXCEPTION


@pytest.mark.parametrize(
    ("code", "test"),
    [
        ("def f(x): x.sort()", "a = [2, 1]\nf(a)\nassert a == [1, 2]"),
        ("def f(d): d['k'] = {1}\n", "d = {}\nf(d)\nassert d == {'k': {1}}"),
        ("def f(n):\n    for i in range(n): yield i", "assert list(f(3)) == [0, 1, 2] and 1 in f(3)"),
        ("def f():\n    n = 0\n    while True:\n        yield n\n        n += 1", "g = f()\nassert [next(g), next(g)] == [0, 1]"),
        ("class P:\n    def __init__(self, a): self.a = a\ndef f(ps): return [p.a for p in ps]", "assert f([P(1), P((2,))]) == [1, (2,)]"),
        ("class f:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)", "s = f()\ns.push(1)\nassert s.items == [1]"),
        ("def f(x):\n    if x < 0: raise ValueError('negative')", "try:\n    f(-1)\n    assert False\nexcept ValueError as e:\n    assert 'negative' in str(e)"),
        ("class Own(KeyError): pass\ndef f(x): raise Own(x)", "try:\n    f(1)\n    assert False\nexcept KeyError:\n    pass"),
        ("def f(x): return (1, {'a': {2.5}}, b'x', None)", "assert f(0) == (1, {'a': {2.5}}, b'x', None)"),
        ("def f(x): return 10 ** 5000", "assert f(0) == 10 ** 5000"),
        ("def f(x): return {1: 'a'}.keys()", "assert f(0) == {1}"),
        ("K = 3\ndef f(x): return x + K", "assert f(1) == K + 1"),
        ("def f(n): return lambda x: x + n", "assert f(2)(3) == 5"),
        ("if __name__ == '__main__':\n    raise SystemExit\ndef f(): return 1", "assert f() == 1"),
    ],
)  # fmt: skip
def test_calls_behave_as_in_one_process(sandbox: Sandbox, code: str, test: str) -> None:
    outcome = sandbox.run(code, Script.of("", test, "f", code), LIMITS)
    assert outcome.verdict == Verdict.PASSED, outcome


def test_names_of_the_setup_win_over_the_solution_but_not_for_what_is_called(sandbox: Sandbox) -> None:
    setup = "import math\ndef helper(x): return x\ndef f(x): pass"
    forged = "def helper(x): return 0\nmath = None\ndef f(x): return 5"
    assert verdict(sandbox, forged, "assert helper(f(1)) == 0", setup) == Verdict.WRONG_ANSWER
    assert verdict(sandbox, forged, "assert helper(f(1)) == math.floor(5.5)", setup) == Verdict.PASSED


CASES = Cases([[[3, 1]], [[5, 4]], [[]]], base=1, reference=RIGHT, calls="f")


def test_cases_tell_base_and_plus_apart(sandbox: Sandbox, tmp_path: Path) -> None:
    outcome, expected = sandbox.collect(CASES, LIMITS, tmp_path / "expected")
    assert outcome.verdict == Verdict.PASSED
    assert expected is not None
    assert expected.file.read_text() == "[1, 3]\n[4, 5]\n[]\n"

    def run(code: str) -> tuple[Any, Any]:
        found = sandbox.run(code, CASES, LIMITS, expected)
        return found.verdict, found.base

    assert run(RIGHT) == (Verdict.PASSED, Verdict.PASSED)
    assert run("def f(x): return [1, 3]") == (Verdict.WRONG_ANSWER, Verdict.PASSED)
    assert run("def f(x): return x") == (Verdict.WRONG_ANSWER, Verdict.WRONG_ANSWER)
    assert run("def f(x): return sorted(x) if x else 1 / 0") == (Verdict.EXCEPTION, Verdict.PASSED)
    assert run("import os\ndef f(x): return sorted(x) if x else os._exit(0)") == (Verdict.EXCEPTION, Verdict.PASSED)
    assert run("def f(x):\n    while len(x) == 2 and x[0] == 5: pass\n    return sorted(x)") == (
        Verdict.TIMEOUT,
        Verdict.PASSED,
    )
    assert run("def f(x)") == (Verdict.SYNTAX_ERROR, Verdict.SYNTAX_ERROR)
    assert run("class E:\n    def __eq__(s, o): return True\ndef f(x): return E()") == (
        Verdict.WRONG_ANSWER,
        Verdict.WRONG_ANSWER,
    )


def test_the_memory_of_all_processes_together_is_bound(sandbox: Sandbox) -> None:
    greedy = "import os, time\nfor _ in range(7):\n    if os.fork() == 0: break\nkept = b'x' * (300 << 20)\ntime.sleep(1000)"
    outcome = sandbox.run(greedy, TEST, Limits(timeout_seconds=10.0, memory_mb=512))
    assert outcome.verdict == Verdict.OUT_OF_MEMORY, outcome
    assert "together" in outcome.error


def test_a_reference_that_fails_gives_no_expected_outputs(sandbox: Sandbox, tmp_path: Path) -> None:
    broken = Cases([[1]], base=1, reference="def f(x): return 1 / 0", calls="f")
    outcome, expected = sandbox.collect(broken, LIMITS, tmp_path / "expected")
    assert (outcome.verdict, expected) == (Verdict.EXCEPTION, None)


def test_an_output_that_stays_in_its_process_can_be_all_that_is_asked_for(sandbox: Sandbox, tmp_path: Path) -> None:
    """Three tasks of MBPP+ return a match, or None; only which of them counts."""
    reference = "import re\ndef f(x): return re.match('a', x)"
    oracle = Cases([["a"], ["b"]], base=1, reference=reference, calls="f", compare="not_none")
    outcome, expected = sandbox.collect(oracle, LIMITS, tmp_path / "expected")
    assert outcome.verdict == Verdict.PASSED, outcome
    assert expected is not None
    assert expected.file.read_text() == "true\nnull\n"
    told = {
        code: sandbox.run(f"import re\ndef f(x): return {code}", oracle, LIMITS, expected).verdict
        for code in ("re.match('a', x)", "x if x == 'a' else None", "x == 'a'", "re.match('b', x)", "None", "object()")
    }
    assert [found == Verdict.PASSED for found in told.values()] == [True] * 3 + [False] * 3


def test_what_an_iterator_yields_counts_where_sets_are_compared(sandbox: Sandbox, tmp_path: Path) -> None:
    oracle = Cases([[[1, 2]], [[3]]], base=1, reference="def f(x): return x", calls="f", compare="same_set")
    limits = replace(LIMITS, timeout_seconds=0.5)
    _, expected = sandbox.collect(oracle, limits, tmp_path / "expected")
    assert expected is not None
    told = {
        code: sandbox.run(f"import itertools\ndef f(x): return {code}", oracle, limits, expected).verdict
        for code in ("reversed(x)", "(y for y in x)", "map(str, x)", "filter(None, itertools.repeat(0))", "iter(())")
    }
    assert list(told.values()) == [Verdict.PASSED] * 2 + [Verdict.WRONG_ANSWER, Verdict.TIMEOUT, Verdict.WRONG_ANSWER], told


UNIT = UnitTest(
    "import unittest\n"
    "from unittest.mock import patch\n"
    "class TestCases(unittest.TestCase):\n"
    "    def test_one(self):\n"
    "        self.assertEqual(f([2, 1]), [1, 2])\n"
    "    @patch('builtins.sorted', return_value=[7])\n"
    "    def test_patched(self, mock):\n"
    "        self.assertEqual(f([2, 1]), [7])\n"
)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (RIGHT, Verdict.PASSED),
        ("def f(x): return x", Verdict.WRONG_ANSWER),
        ("def f(x): return 1 / 0", Verdict.EXCEPTION),
        ("def f(x)", Verdict.SYNTAX_ERROR),
        ("def f(x):\n    while True: pass", Verdict.TIMEOUT),
        ("import os\nos._exit(0)", Verdict.EXCEPTION),
        ("import os\ndef f(x): os._exit(0)", Verdict.EXCEPTION),
        ("import sys\ndef f(x): sys.exit(0)", Verdict.EXCEPTION),
        ("import unittest\nunittest.TestCase.assertEqual = lambda *a: None\ndef f(x): return x", Verdict.WRONG_ANSWER),
        ("import unittest\nunittest.TestCase.run = lambda *a: None\ndef f(x): return x", Verdict.WRONG_ANSWER),
        ("import unittest\nunittest.TestLoader.getTestCaseNames = lambda *a: []\ndef f(x): return x", Verdict.WRONG_ANSWER),
        ("import unittest\ndef skip(f): raise unittest.SkipTest\ndef f(x): raise unittest.SkipTest('no')", Verdict.WRONG_ANSWER),
        ("import unittest\nf = unittest.TestCase.assertEqual.__code__\nunittest.TestCase.assertEqual.__code__ = (lambda s, a, b, m=None: None).__code__\ndef f(x): return x", Verdict.WRONG_ANSWER),
        ("import builtins\nbuiltins.AssertionError = ValueError\ndef f(x): return sorted(x)", Verdict.EXCEPTION),
    ],
)  # fmt: skip
def test_unittest_classes(sandbox: Sandbox, code: str, expected: Verdict) -> None:
    outcome = sandbox.run(code, UNIT, LIMITS)
    assert outcome.verdict == expected, outcome


def test_state_does_not_pass_from_one_solution_to_the_next(sandbox: Sandbox) -> None:
    first = "import math, builtins\nmath.pi = 3\nbuiltins.zip = None\ndef f(): return 1"
    assert verdict(sandbox, first, "assert f() == 1") == Verdict.PASSED
    assert (
        verdict(sandbox, "import math\ndef f(): return math.pi > 3 and list(zip('a'))", "assert f() == [('a',)]")
        == Verdict.PASSED
    )


def test_order_of_sets_is_the_same_in_every_sandbox() -> None:
    def order() -> str:
        with Sandbox() as fresh:
            return fresh.run("raise ValueError(list({'a', 'b', 'c', 'd', 'e'}))", TEST, LIMITS).error

    assert order() == order()


def test_dataclasses_threads_and_pickle_work(sandbox: Sandbox) -> None:
    code = (
        "from __future__ import annotations\n"
        "import dataclasses, pickle, threading\n"
        "@dataclasses.dataclass\nclass P:\n    x: int\n"
        "assert pickle.loads(pickle.dumps(P(1))) == P(1)\n"
        "threads = [threading.Thread(target=int) for _ in range(16)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "def f(): return 1"
    )
    assert verdict(sandbox, code, "assert f() == 1") == Verdict.PASSED


@pytest.mark.parametrize("which", ["_solver", "_checker"])
def test_a_helper_that_is_killed_from_outside_is_replaced(which: str) -> None:
    with Sandbox() as sandbox:
        process = getattr(sandbox, which)._process
        process.kill()
        process.wait()
        assert sandbox.run("def f(x): return x", TEST, LIMITS).verdict == Verdict.WRONG_ANSWER
        assert sandbox.run(RIGHT, TEST, LIMITS).verdict == Verdict.PASSED


def test_what_a_solution_returns_cannot_take_the_harness_down(sandbox: Sandbox) -> None:
    deep = "def f(x):\n    a = []\n    for _ in range(10 ** 5): a = [a]\n    return a"
    assert verdict(sandbox, deep, "assert f(0) == 1") == Verdict.EXCEPTION
    large = "def f(x): return 'x' * (300 << 20)"
    assert sandbox.run(large, TEST, Limits(timeout_seconds=20, memory_mb=4096)).verdict in (
        Verdict.EXCEPTION,
        Verdict.OUT_OF_MEMORY,
    )
    assert sandbox.run(RIGHT, TEST, LIMITS).verdict == Verdict.PASSED


def test_endless_values_do_not_hold_the_checker_for_long(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LATE_SECONDS", 1.0)
    endless = "def f(x): return range(10 ** 18)"
    started = time.monotonic()
    outcome = sandbox.run(endless, Script("", "assert all(n < 10 ** 17 for n in f(0))", "f"), Limits(timeout_seconds=1.0))
    assert outcome.verdict == Verdict.TIMEOUT, outcome
    assert (
        sandbox.run(endless, Script("", "assert max(f(0)) == 1", "f"), Limits(timeout_seconds=1.0)).verdict == Verdict.TIMEOUT
    )
    assert time.monotonic() - started < 40
    assert sandbox.run(RIGHT, TEST, LIMITS).verdict == Verdict.PASSED


def test_closing_leaves_no_helper(sandbox: Sandbox) -> None:
    fresh = Sandbox()
    processes = [fresh._solver._process.pid, fresh._checker._process.pid]
    assert all(Path(f"/proc/{pid}").exists() for pid in processes)
    fresh.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)


def test_a_helper_that_does_not_start_is_an_error_of_one_line() -> None:
    with pytest.raises(CodeBlockError, match="/no/such/python does not run") as caught:
        Sandbox(python="/no/such/python")
    assert "\n" not in str(caught.value)
    with pytest.raises(CodeBlockError, match="the sandbox does not start"):
        Sandbox(python="/bin/true")


@pytest.mark.parametrize("given", ["./env/python", "python-of-an-env"])
def test_an_interpreter_may_be_named_as_in_a_shell(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "python").symlink_to(sys.executable)
    (tmp_path / "env" / "python-of-an-env").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path / "env"), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    with Sandbox(given) as sandbox:
        assert sandbox.python == str(tmp_path / "env" / Path(given).name)
        assert sandbox.run(RIGHT, TEST, LIMITS).verdict == Verdict.PASSED


def test_a_harness_that_dies_of_a_right_solution_is_a_harness_error(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = "from codeblock.sandbox import checker\nimport os\nchecker.run_script = lambda *_: os._exit(3)\nchecker.main()"
    start = f"import sys; sys.path.insert(0, {str(module.__file__).rsplit('/codeblock/', 1)[0]!r})\n{broken}"
    arguments = module.arguments
    monkeypatch.setattr(module, "arguments", lambda name: ["-P", "-c", start] if name == "checker" else arguments(name))
    with Sandbox() as sandbox:
        outcome = sandbox.run(RIGHT, TEST, LIMITS)
    assert outcome.verdict == Verdict.HARNESS_ERROR
    assert "the sandbox died twice" in outcome.error


def test_a_solution_waiting_for_a_core_has_more_time() -> None:
    """A second and a half of CPU passes within two, with eight others on the same core: by the wall clock it is far more."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(8)]
    try:
        code = "import time\ndef f(x):\n    while time.process_time() < 1.5: pass\n    return sorted(x)"
        with Sandbox() as sandbox:
            started = time.monotonic()
            outcome = sandbox.run(code, TEST, LIMITS)
        assert outcome.verdict == Verdict.PASSED, outcome
        assert outcome.seconds < time.monotonic() - started
    finally:
        os.sched_setaffinity(0, cores)
        for process in busy:
            process.kill()
            process.wait()


def test_the_interpreter_can_be_another() -> None:
    with Sandbox(python=sys.executable) as sandbox:
        assert sandbox.run(RIGHT, TEST, LIMITS).verdict == Verdict.PASSED


def test_a_checker_is_not_worn_by_the_memory_of_the_process_that_started_it() -> None:
    held = bytearray(b"x") * (600 << 20)  # as torch and Ray hold it in the driver of a run
    with Sandbox() as sandbox:
        checker = sandbox._checker
        outcomes = [sandbox.run("def f(x):\n    return x", Script("", "assert f(1) == 1", "f"), Limits(5.0)) for _ in range(2)]
        assert sandbox._checker is checker
    assert [outcome.verdict for outcome in outcomes] == [Verdict.PASSED] * 2
    assert len(held) == 600 << 20
