# ruff: noqa: E501  (programs are easier to read in one line)
"""Solutions that go for the machinery of a `unittest` class, which shares their process. None that is wrong passes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from codeblock.sandbox.oracles import Limits, UnitTest
from codeblock.sandbox.sandbox import Rehearsal, Sandbox, Verdict

LIMITS = Limits(timeout_seconds=5.0, memory_mb=1024)
RIGHT = "def f(x):\n    if not isinstance(x, list): raise ValueError('no list')\n    print('sorting')\n    return {'sorted': sorted(x), 'mean': sum(x) / max(len(x), 1)}\n"
WRONG = "def f(x): return {'sorted': [], 'mean': 2.0}\n"
"""What only assertions find."""
TEST = """
import contextlib
import io
import unittest
from unittest.mock import patch

class TestCases(unittest.TestCase):
    def setUp(self):
        self.given = [3, 1, 2]
    def test_value(self):
        self.assertEqual(f(self.given), {'sorted': [1, 2, 3], 'mean': 2.0})
    def test_parts(self):
        result = f(self.given)
        self.assertIsInstance(result, dict)
        self.assertTrue(all(isinstance(each, int) for each in result['sorted']))
        self.assertAlmostEqual(result['mean'], 2.0)
        assert len(result) == 2
    def test_error(self):
        with self.assertRaises(ValueError):
            f('no list')
    @patch('builtins.print')
    def test_printed(self, mock_print):
        self.assertEqual(f([])['sorted'], [])
        mock_print.assert_called_once_with('sorting')
    def test_captured(self):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            self.assertIn('mean', f([1]))
        self.assertEqual(out.getvalue(), 'sorting\\n')
"""
ORACLE = UnitTest(TEST, calls="f")
FIND = "def real(name):\n    return [kind for kind in everything(object) if kind.__name__ == name and kind.__module__.startswith('unittest')]\ndef everything(kind):\n    for below in type.__subclasses__(kind):\n        yield below\n        yield from everything(below)\n"
"""Finds classes that no import gives."""
CALLER = "import sys\ndef test_of(depth=1):\n    frame = sys._getframe(depth)\n    while 'self' not in frame.f_locals: frame = frame.f_back\n    return frame.f_locals['self']\n"
"""Finds the test that called."""
FD = "import json, os, stat, struct\ndef channel():\n    return next(n for n in range(3, 256) if stat.S_ISSOCK(mode(n)))\ndef mode(n):\n    try: return os.fstat(n).st_mode\n    except OSError: return 0\ndef say(message):\n    text = json.dumps(message).encode()\n    os.write(channel(), struct.pack('<I', len(text)) + text)\n"
"""Speaks on the channel."""
NAMES = "['test_value', 'test_parts', 'test_error', 'test_printed', 'test_captured']"

PROGRAMS = {
    # what it says
    "says that loading it passed": FD + "say(['failed', 'passed', ''])\nos._exit(0)",
    "answers before it is asked": FD + f"say(['ready', ['f']])\nfor n in (1, 2): say(['value', n, ['', [[name, 'ok', '', 0.0] for name in {NAMES}]], None, []])\nos._exit(0)",
    "answers while a test runs": FD + f"def f(x):\n    say(['value', 1, ['', [[name, 'ok', '', 0.0] for name in {NAMES}]], None, []])\n    os._exit(0)",
    "answers with no tests": FD + "def f(x):\n    say(['value', 1, ['', []], None, []])\n    os._exit(0)",
    "has its results rewritten on the way": WRONG + "import json\nreal = json.dumps\njson.dumps = lambda *a, **k: real(*a, **k).replace('\"failure\"', '\"ok\"')",
    # its own copy of unittest
    "an assertion that does nothing": WRONG + "import unittest\nunittest.TestCase.assertEqual = unittest.TestCase.assertIsInstance = lambda *a: None",
    "another type of failure": WRONG + "import unittest.case\nunittest.TestCase.failureException = unittest.case._ShouldStop",
    "assertions looked up elsewhere": WRONG + "import unittest\nunittest.TestCase.__getattribute__ = lambda s, n: (lambda *a, **k: None) if n.startswith('assert') else object.__getattribute__(s, n)",
    "a false unittest": WRONG + "import sys, types\nfalse = types.ModuleType('unittest')\nclass TestCase:\n    def __init__(self, name): pass\n    def run(self, result): pass\nfalse.TestCase = TestCase\nsys.modules['unittest'] = false",
    "a finder of modules": WRONG + "import sys, types\nclass Finder:\n    def find_spec(self, name, path=None, target=None):\n        if name.startswith('unittest'): raise ImportError(name)\nsys.meta_path.insert(0, Finder())",
    "takes its modules away": WRONG + "import sys\nfor name in [n for n in sys.modules if n not in ('sys', 'builtins')]: del sys.modules[name]",
    # the copy that the tests run with
    "finds the real class while it loads": FIND + WRONG + "for kind in real('TestCase'):\n    for name in [n for n in vars(kind) if n.startswith('assert')]: setattr(kind, name, lambda *a, **k: None)",
    "gives the real class a new attribute": FIND + WRONG + "for kind in real('TestCase'): kind.__getattribute__ = lambda s, n: (lambda *a, **k: None) if n.startswith('assert') else object.__getattribute__(s, n)",
    "changes the code of a real function": FIND + WRONG + "for kind in real('TestCase'): kind.run.__code__ = (lambda self, result=None: result).__code__",
    "changes the real result": FIND + WRONG + "for kind in everything(object):\n    if kind.__name__ == 'Result': kind._keep = kind.addFailure = kind.addError = lambda *a: None",
    "finds the real class when it is called": FIND + "def f(x):\n    for kind in real('TestCase'): kind.assertEqual = kind.assertIsInstance = kind.assertIn = lambda *a: None\n    return {'sorted': [], 'mean': 2.0}",
    "a mock that was always called": FIND + "for kind in real('NonCallableMock'): kind.assert_called_once_with = lambda *a, **k: None\ndef f(x):\n    if not isinstance(x, list): raise ValueError\n    return {'sorted': sorted(x), 'mean': sum(x) / max(len(x), 1)}",
    "assertions patched by a thread": FIND + WRONG + "import threading, time\ndef work():\n    while True:\n        for kind in real('TestCase'): kind.assertEqual = kind.assertIsInstance = lambda *a: None\n        time.sleep(0.0001)\nthreading.Thread(target=work, daemon=True).start()",
    "subclasses are told": FIND + WRONG + "def told(kind, **k):\n    for name in [n for n in vars(kind) if n.startswith('test')]: setattr(kind, name, lambda self: None)\nfor kind in real('TestCase'): kind.__init_subclass__ = classmethod(told)",
    "a container of mock": FIND + WRONG + "import gc\nfor kind in real('MagicMixin'): kind._mock_set_magics.__globals__['_calculate_return_value']['__hash__'] = lambda *a: 7",
    # the test that calls it
    "the test's own attributes": CALLER + "def f(x):\n    test = test_of()\n    for name in dir(test):\n        if name.startswith('assert'): setattr(test, name, lambda *a, **k: __import__('contextlib').nullcontext())\n    return {'sorted': [], 'mean': 2.0}",
    "another class for the test": CALLER + "def f(x):\n    test = test_of()\n    kind = type(test)\n    test.__class__ = type('Quiet', (kind,), {'__getattribute__': lambda s, n: (lambda *a, **k: None) if n.startswith('assert') else object.__getattribute__(s, n)})\n    return {'sorted': [], 'mean': 2.0}",
    "tests that come later": CALLER + "def f(x):\n    kind = type(test_of())\n    for name in dir(kind):\n        if name.startswith('test'): setattr(kind, name, lambda self: None)\n    if not isinstance(x, list): raise ValueError\n    return {'sorted': sorted(x), 'mean': 0}",
    "skips the tests": CALLER + "def f(x): test_of().skipTest('no')",
    "raises the real SkipTest": FIND + "def f(x): raise real('SkipTest')[0]('no')",
    "expects a failure": CALLER + "def f(x):\n    type(test_of()).__unittest_expecting_failure__ = True\n    return {'sorted': [], 'mean': 2.0}",
    "the outcome's flags": CALLER + "def f(x):\n    test_of()._outcome.expecting_failure = True\n    return {'sorted': [], 'mean': 2.0}",
    "a trace function that jumps": "import sys\ndef jump(frame, event, arg):\n    try:\n        if event == 'line': frame.f_lineno = max(line for _, _, line in frame.f_code.co_lines() if line)\n    except ValueError: pass\n    return jump\ndef f(x):\n    frame = sys._getframe(1)\n    frame.f_trace = jump\n    sys.settrace(jump)\n    return {'sorted': [], 'mean': 2.0}",
    # what both use
    "builtins of its own": WRONG + "isinstance = all = any = lambda *a: True\nlen = lambda x: 2",
    "builtins of all": WRONG + "import builtins\nbuiltins.isinstance = lambda *a: True",
    "builds classes": WRONG + "import builtins\nreal = builtins.__build_class__\ndef build(body, name, *bases, **k):\n    kind = real(body, name, *bases, **k)\n    for test in [n for n in vars(kind) if n.startswith('test')]: setattr(kind, test, lambda self: None)\n    return kind\nbuiltins.__build_class__ = build",
    "compiles the tests": WRONG + "import builtins\nreal = builtins.compile\nbuiltins.compile = lambda source, *a, **k: real('import unittest\\nclass TestCases(unittest.TestCase): pass' if 'TestCases' in str(source) else source, *a, **k)",
    "a context that swallows": WRONG + "import contextlib\ncontextlib.ExitStack.__exit__ = contextlib.redirect_stdout.__exit__ = contextlib._GeneratorContextManager.__exit__ = lambda *a: True",
    "an exit function": WRONG + "import atexit, os\natexit.register(os._exit, 0)",
    # what it returns
    "is equal to everything": "class E:\n    def __eq__(self, other): return True\n    def __getitem__(self, key): return self\n    def __iter__(self): return iter(())\n    def __len__(self): return 2\n    def __contains__(self, x): return True\n    __class__ = dict\n    def __sub__(self, other): return 0\n    __rsub__ = __sub__\ndef f(x):\n    if not isinstance(x, list): raise ValueError\n    print('sorting')\n    return E()",
    "ANY": "import unittest.mock\ndef f(x):\n    if not isinstance(x, list): raise ValueError\n    print('sorting')\n    return {'sorted': unittest.mock.ANY, 'mean': unittest.mock.ANY} if x != [3, 1, 2] else {'sorted': [1, 2, 3], 'mean': unittest.mock.ANY}",
    "a dict that is equal to everything": "class D(dict):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(x):\n    if not isinstance(x, list): raise ValueError\n    print('sorting')\n    return D(sorted=[7], mean=2.0) if x != [] else {'sorted': []}",
    "a number near to everything": "class N(float):\n    def __eq__(self, other): return False\n    def __sub__(self, other): return 0.0\n    __rsub__ = __sub__\n    def __round__(self, n=None): return 0\ndef f(x):\n    if not isinstance(x, list): raise ValueError\n    print('sorting')\n    class M(dict):\n        def __eq__(self, other): return True\n    return M(sorted=sorted(x), mean=N(9))",
    # ends
    "leaves while it loads": "import os\nos._exit(0)",
    "leaves when it is called": "import os\ndef f(x): os._exit(0)",
    "raises what no test catches": "def f(x): raise GeneratorExit",
    "interrupts the run": "def f(x): raise KeyboardInterrupt",
}  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def rehearsal(sandbox: Sandbox) -> Rehearsal:
    outcome, found = sandbox.rehearse(RIGHT, ORACLE, LIMITS)
    assert outcome.verdict is Verdict.PASSED, outcome
    assert found is not None
    return found


def test_the_reference_says_which_tests_count(rehearsal: Rehearsal) -> None:
    names = ["test_captured", "test_error", "test_parts", "test_printed", "test_value"]
    assert (rehearsal.tests, rehearsal.failing) == (names, names)


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_passes_that_is_wrong(sandbox: Sandbox, rehearsal: Rehearsal, name: str) -> None:
    outcome = sandbox.run(PROGRAMS[name], ORACLE, LIMITS, rehearsal)
    assert outcome.verdict in (Verdict.WRONG_ANSWER, Verdict.EXCEPTION, Verdict.TIMEOUT, Verdict.KILLED), outcome


def test_a_right_solution_passes_after_them(sandbox: Sandbox, rehearsal: Rehearsal) -> None:
    assert sandbox.run(RIGHT, ORACLE, LIMITS, rehearsal).verdict is Verdict.PASSED
    assert sandbox.run(WRONG, ORACLE, LIMITS, rehearsal).verdict is Verdict.WRONG_ANSWER
