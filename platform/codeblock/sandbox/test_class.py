"""Running a `unittest` class beside the solution, as BigCodeBench does: its tests patch the modules that the solution uses.

The solution's process says how each test ended; the checker decides. What holds there:
- The tests come after the solution was loaded, with a secret that the answer has to repeat.
- `unittest` and this harness are out of the solution's sight while it loads: it imports a copy of its own, and the tests run
  with one that no solution has touched, as long as `machinery` finds it whole: before the tests, after each, and after all.
- The tests run a second time with the solution's function spoiled: it is called, and what it returns is thrown away. Tests
  that the reference fails then must fail here too. Whatever made them pass, it was not the answer.

What does not: docs/evaluation.md has examples. Standard library alone.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import signal
import sys
import types
import unittest
import unittest.mock
from collections.abc import Callable, Sequence
from time import monotonic  # the tests may put another clock into the module
from typing import Any, Final

from codeblock.sandbox import codec, machinery
from codeblock.sandbox.text import describe

TESTS: Final = "<tests>"
"""File name of the tests in tracebacks."""
PARTS: Final = ("async_case", "case", "loader", "main", "mock", "result", "runner", "signals", "suite", "util")
SPOILED_SECONDS: Final = 1.0
"""Most seconds of all tests that run spoiled, where it is not said which."""
ITEMS: Final = 100
"""So many items of a value are asked whether they lie."""
Found = list[list[Any]]

for part in PARTS:
    importlib.import_module(f"unittest.{part}")


def in_sight() -> dict[str, types.ModuleType]:
    """The modules of `unittest` and of this package that an import finds."""
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in machinery.DEEP}


PREPARED: Final[list[Any]] = []
"""Those modules by name, and their picture."""


def prepare() -> None:
    """Keep what is untouched, before any solution runs."""
    _ = unittest.IsolatedAsyncioTestCase  # looked up, and kept, the first time
    unittest.mock.mock_open()  # fills two globals of its module the first time
    modules = in_sight()
    PREPARED[:] = [modules, machinery.picture(modules.values())]


class SlowTestError(BaseException):
    """A spoiled test took too long."""


class Result(unittest.TestResult):
    """How each test ended, in order: its name, a word, the text of the error, and the seconds that it took."""

    def __init__(self, check: Callable[[Any], str | None], seconds: float | None = None) -> None:
        super().__init__()
        self.found: dict[str, list[Any]] = {}
        self._check, self._seconds, self._started, self._first = check, seconds, 0.0, monotonic()

    def startTest(self, test: Any) -> None:  # noqa: N802
        super().startTest(test)
        self.found.setdefault(name_of(test), [name_of(test), "ok", "", 0.0])
        self._started = monotonic()
        if self._seconds is not None:
            signal.signal(signal.SIGALRM, stop_test)
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def stopTest(self, test: Any) -> None:  # noqa: N802
        if self._seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.shouldStop = monotonic() - self._first > SPOILED_SECONDS
        self.found[name_of(test)][3] = monotonic() - self._started
        if change := self._check(test):
            self._keep("changed", test, change)
        super().stopTest(test)

    def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        self._keep("failure", test, describe(err[1], TESTS))

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        kind = type(err[1])
        word = "memory" if issubclass(kind, MemoryError) else "slow" if issubclass(kind, SlowTestError) else "error"
        self._keep(word, test, describe(err[1], TESTS))

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802, ARG002
        if err is not None:
            self._keep("failure" if issubclass(err[0], test.failureException) else "error", test, describe(err[1], TESTS))

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
        self._keep("failure", test, "unexpected success")

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        self._keep("skipped", test, str(reason))

    def _keep(self, word: str, test: Any, text: str) -> None:
        """The first that is told of a test counts, but for a change of what runs it."""
        entry = self.found.setdefault(name_of(test), [name_of(test), "ok", "", 0.0])
        if entry[1] == "ok" or word == "changed":
            entry[1:3] = [word, text]


class Tests:
    """The test class of one solution. Made before the solution runs: it takes itself and `unittest` out of sight."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module
        self._class: Any = None
        self._own: machinery.Pieces = {}
        self._modules, self._untouched = PREPARED
        for name in self._modules:
            del sys.modules[name]

    def run(self, test: str, name: str) -> Found:
        """Define the class `name` by the code `test`, in the solution's module, and run it."""
        self._put_back()
        if change := self._change_of_all():
            return [[name, "changed", change, 0.0]]
        exec(compile(test, TESTS, "exec", dont_inherit=True), self._module.__dict__)
        self._class = self._module.__dict__[name]
        self._own = machinery.of_class(self._class)
        found = self._run(None, None)
        if change := self._change_of_all():
            found.append([name, "changed", change, 0.0])
        return found

    def run_spoiled(self, calls: str, names: Sequence[str] | None, seconds: float, spoil: bool) -> Found:
        """Run these tests (None: all, as far as there is time) again, each for so many seconds.

        spoil: what the solution's function `calls` returns does not reach them.
        """
        lies: list[str] = []
        original = self._module.__dict__[calls]
        self._module.__dict__[calls] = stand_in(original, lies, spoil)
        try:
            found = self._run(names, seconds)
        finally:
            self._module.__dict__[calls] = original
        return [*found, *([calls, "lies", text, 0.0] for text in lies[:1])]

    def _run(self, names: Sequence[str] | None, seconds: float | None) -> Found:
        suite = unittest.TestLoader().loadTestsFromTestCase(self._class)
        if names is not None:
            suite = unittest.TestSuite(test for test in suite if name_of(test) in names)
        result = Result(self._change_by, seconds)
        suite.run(result)
        return list(result.found.values())

    def _put_back(self) -> None:
        """Have the untouched modules found again, also under the names that the solution gave to its own copy of them."""
        own = in_sight()
        for name in own:
            del sys.modules[name]
        sys.modules.update({name: module for name, module in self._modules.items() if name.partition(".")[0] == "unittest"})
        for name, value in list(self._module.__dict__.items()):
            if type(value) is types.ModuleType and value.__name__ in self._modules:
                self._module.__dict__[name] = self._modules[value.__name__]
            elif type(value) in (type, types.FunctionType) and value.__module__ in self._modules:
                self._module.__dict__[name] = getattr(self._modules[value.__module__], value.__name__, value)

    def _change_of_all(self) -> str | None:
        return machinery.difference(self._untouched, machinery.picture(self._modules.values())) or self._hook()

    def _change_by(self, test: Any) -> str | None:
        """What a test, or the solution that it called, changed of what it is run by."""
        shadowed = next((name for name in vars(test) if callable(getattr(unittest.TestCase, name, None))), None)
        if shadowed is not None:
            return f"{shadowed} of the test"
        return machinery.difference(self._own, machinery.of_class(self._class)) or self._hook()

    def _hook(self) -> str | None:
        return next((name for name, value in machinery.hooks().items() if value is not None), None)


def name_of(test: Any) -> str:
    return str(getattr(test, "_testMethodName", test))


def stop_test(*_: object) -> None:
    raise SlowTestError("the spoiled test does not end")


def stand_in(function: Any, lies: list[str], spoil: bool) -> Callable[..., Any]:
    """The solution's function; or one that calls it, tells of an answer that lies, and returns an object that is none."""

    @functools.wraps(function)
    def called(*arguments: Any, **keywords: Any) -> Any:
        if not spoil:
            return function(*arguments, **keywords)
        try:
            value = function(*arguments, **keywords)
        except SlowTestError:
            raise
        except BaseException:
            return object()
        if (found := lie(value)) is not None:
            lies.append(found)
        return object()

    return called


class Stranger:
    """Equal to nothing but itself."""


def lie(value: Any, depth: int = 3) -> str | None:
    """The type of an object, in a value, that claims to be equal to everything, or near to it."""
    kind = type(value)
    if kind in codec.ATOMS or depth == 0:
        return None
    if kind in (list, tuple, set, frozenset, dict):
        items = itertools.islice(value.values() if kind is dict else value, ITEMS)
        return next((found for item in items if (found := lie(item, depth - 1))), None)
    for claim in (is_equal_to_a_stranger, is_near_to_all_numbers):
        try:
            if claim(value):
                return kind.__name__
        except Exception:  # it compares with nothing
            continue
    return None


def is_equal_to_a_stranger(value: Any) -> bool:
    return bool(value == Stranger()) or bool(Stranger() == value)


def is_near_to_all_numbers(value: Any) -> bool:
    return all(abs(value - number) < 1 for number in (-1e9, 1e9))
