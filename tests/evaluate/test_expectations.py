"""What references did is kept where a directory is given: they run once on a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from codeblock.evaluate.expectations import Expectations
from codeblock.sandbox.oracles import Limits, Script, UnitTest
from codeblock.sandbox.sandbox import Sandbox, Verdict

REFERENCE = "def f(x):\n    return x + 1\n"
LIMITS = Limits(timeout_seconds=10.0)
SCRIPT = Script("", "assert f(1) == 2", "f")
CLASS = UnitTest(
    "import unittest\nclass TestCases(unittest.TestCase):\n    def test_it(self): self.assertEqual(f(1), 2)", calls="f"
)


@pytest.mark.parametrize("oracle", [SCRIPT, CLASS])
def test_a_reference_that_passed_runs_once(oracle: Script | UnitTest, tmp_path: Path) -> None:
    """The same seconds to the last digit are those of the first run."""
    with Sandbox() as sandbox:
        with Expectations(tmp_path) as expectations:
            first = expectations.of_tests(sandbox, REFERENCE, oracle, LIMITS)
        with Expectations(tmp_path) as expectations:
            assert expectations.of_tests(sandbox, REFERENCE, oracle, LIMITS) == first
            assert first[0].verdict is Verdict.PASSED
            other = expectations.of_tests(sandbox, f"{REFERENCE}# another one\n", oracle, LIMITS)
    assert other[0].seconds != first[0].seconds
    assert len(list(tmp_path.iterdir())) == 2


def test_a_reference_that_failed_runs_again(tmp_path: Path) -> None:
    with Sandbox() as sandbox, Expectations(tmp_path) as expectations:
        outcome, known = expectations.of_tests(sandbox, "def f(x): return x", SCRIPT, LIMITS)
    assert (outcome.verdict, known, list(tmp_path.iterdir())) == (Verdict.WRONG_ANSWER, None, [])
