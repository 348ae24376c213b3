"""Running a `unittest` class beside the solution, as BigCodeBench does: its tests patch the modules that the solution uses.

What holds: the number of tests that ran is told, so that tests that vanish are seen; a solution that changed `unittest` or
Python's builtins fails. What does not: code in this process that forges the answer itself, or changes `unittest` and mends it
again before the tests end. Standard library alone.
"""

from __future__ import annotations

import builtins
import types
import unittest
import unittest.case
import unittest.loader
import unittest.mock
import unittest.result
import unittest.suite
from typing import Any

from codeblock.sandbox import wire

TESTS = "<tests>"
"""File name of the tests in tracebacks."""


class Result(unittest.TestResult):
    """Keeps the first failure as a verdict and a text."""

    def __init__(self) -> None:
        super().__init__()
        self.first: list[str] | None = None

    def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self._keep("wrong_answer", test, err[1])

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self._keep("out_of_memory" if isinstance(err[1], MemoryError) else "exception", test, err[1])

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._keep("wrong_answer" if isinstance(err[1], AssertionError) else "exception", subtest, err[1])

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
        super().addUnexpectedSuccess(test)
        self._keep("wrong_answer", test, AssertionError("unexpected success"))

    def _keep(self, verdict: str, test: Any, error: BaseException) -> None:
        if self.first is None:
            name = str(getattr(test, "_testMethodName", test))
            self.first = [verdict, f"{name}: {wire.describe(error, TESTS)}"]


def pieces() -> dict[str, object]:
    """What a solution must leave alone, by name."""
    found: dict[str, object] = {f"builtins.{name}": value for name, value in vars(builtins).items() if name != "_"}
    for module in (unittest.case, unittest.loader, unittest.mock, unittest.result, unittest.suite):
        for name, value in vars(module).items():
            place = f"{module.__name__}.{name}"
            found[place] = value
            members = vars(value).items() if isinstance(value, type) and value.__module__ == module.__name__ else ()
            for attribute, member in members:
                if isinstance(member, types.FunctionType | staticmethod | classmethod):
                    found[f"{place}.{attribute}"] = member
                    found[f"{place}.{attribute} (code)"] = getattr(member, "__code__", None)
    return found


unittest.mock.mock_open()  # fills two globals of the module the first time
UNTOUCHED = pieces()
"""Taken before any solution runs."""


def run_tests(module: types.ModuleType, test: str, name: str) -> list[Any]:
    """Run the test class `name` that the code `test` defines in the solution's module.

    `["tests", number that ran, None or the first failure as verdict and text]`, or `["failed", verdict, text]`.
    """
    try:
        exec(compile(test, TESTS, "exec", dont_inherit=True), module.__dict__)
        suite = unittest.loader.TestLoader().loadTestsFromTestCase(module.__dict__[name])
        result = Result()
        suite.run(result)
    except MemoryError:
        return ["failed", "out_of_memory", "MemoryError"]
    except BaseException as error:
        return ["failed", "exception", wire.describe(error, TESTS)]
    if result.first is None and (changed := first_change()):
        return ["failed", "exception", f"the solution changed {changed}"]
    return ["tests", result.testsRun - len(result.skipped), result.first]


def first_change() -> str | None:
    """The first piece of Python's builtins or of unittest that is not what it was."""
    now = pieces()
    return next((name for name, value in UNTOUCHED.items() if now.get(name) is not value), None)
