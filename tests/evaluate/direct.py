"""Carries out an oracle in the process of the test, without a sandbox: for code that the tests wrote themselves."""

from __future__ import annotations

import copy
import sys
import types
import unittest
from typing import Any

from codeblock.evaluate.benchmarks import Task
from codeblock.sandbox.compare import same, tolerances
from codeblock.sandbox.oracles import Cases, Script


def error_of(task: Task, code: str) -> str:
    """Empty where the solution is right, else what is wrong with it."""
    try:
        if isinstance(task.oracle, Script):
            _script(task.oracle, code)
        elif isinstance(task.oracle, Cases):
            _cases(task.oracle, code)
        else:
            _unit_test(task.oracle.test, task.oracle.name, code)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "solution"}
    exec(code, names)
    return names


def _script(oracle: Script, code: str) -> None:
    names = run(code)
    trusted = run(oracle.setup)
    trusted.pop(oracle.calls, None)
    names.update(trusted)
    exec(oracle.test, names)


def _cases(oracle: Cases, code: str) -> None:
    reference, solution = run(oracle.reference)[oracle.calls], run(code)[oracle.calls]
    expected = [reference(*copy.deepcopy(list(each))) for each in oracle.inputs]
    for inputs, right, atol in zip(oracle.inputs, expected, tolerances(expected, oracle.base, oracle.atol), strict=True):
        output = solution(*copy.deepcopy(list(inputs)))
        assert same(oracle.compare, output, right, inputs, atol), f"{inputs}: {output} is not {right}"


def _unit_test(test: str, name: str, code: str) -> None:
    module = types.ModuleType("__test__")
    sys.modules["__test__"] = module
    exec(f"{code}\n{test}", module.__dict__)
    result = unittest.TestResult()
    unittest.TestLoader().loadTestsFromTestCase(getattr(module, name)).run(result)
    assert not result.failures + result.errors, result.failures + result.errors
