"""Outputs are compared as EvalPlus compares them.

Where CODEBLOCK_EVALPLUS names a directory with its package, every comparison here is held against it.
"""

from __future__ import annotations

import math
import sys
from collections import OrderedDict, deque
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.evaluate.public import public_module

from codeblock.sandbox.compare import COMPARE, FLOAT_ATOL, same, tolerances

NAN, INF = math.nan, math.inf

# (output, expected, tolerance of the task)
SHAPES: list[tuple[Any, Any, float]] = [
    *[(value, value, 0.0) for value in (None, True, 0, 1.5, "a", b"a", [1], (1,), {1}, {1: 2}, 1j, [], (), {}, INF, [None])],
    (1, True, 0.0),
    (1.0, 1, 0.0),
    (1, 1.0, 0.0),
    (1 + 1e-9, 1, 0.0),
    (1 + 1e-9, 1.0, 0.0),
    (1.0 + 9e-7, 1.0, 0.0),
    (1.0 + 3e-6, 1.0, 0.0),
    (1e9 + 50, 1e9, 0.0),
    (1e9 + 150, 1e9, 0.0),
    (NAN, NAN, 0.0),
    (INF, INF, 0.0),
    (-INF, INF, 0.0),
    (INF, 1.0, 0.0),
    (1.0, INF, 0.0),
    (NAN, 1.0, 1e-4),
    (0.5, "0.5", 0.0),
    ("0.5", 0.5, 0.0),
    (None, 1.0, 0.0),
    (None, 1.0, 1e-4),
    ("a", "b", 1e-4),
    ([1.0, 2.0], [1.0, 2.0 + 1e-8], 0.0),
    ((1.0, 2.0), [1.0, 2.0 + 1e-8], 0.0),
    ((1.0, 2.0), [1.0, 2.0], 0.0),
    ([1.0], [1.0, 2.0], 0.0),
    ([1.0], [1.0 + 1e-8, 1.0], 0.0),
    ([], [1.0], 0.0),
    ([1.0], [], 1e-4),
    ([1, 2.0], [1.0, 2.0 + 1e-8], 0.0),
    ([1, 2.0], [1, 2.0 + 1e-8], 0.0),
    ([1, 2.0], [1, 2.0 + 1e-8], 1e-4),
    ([[1.0, 2.0]], [[1.0, 2.0 + 1e-8]], 0.0),
    ([[1.0, 2.0]], [[1.0, 2.0 + 1e-8]], 1e-4),
    ([(1.0, 2.0)], [[1.0, 2.0 + 1e-8]], 1e-4),
    ([[1.0], [2.0, 3.0]], [[1.0], [2.0, 3.0 + 1e-8]], 1e-4),
    ([1.0, "a"], [1.0 + 1e-8, "a"], 1e-4),
    ([1.0, None], [1.0 + 1e-8, None], 1e-4),
    ({"a": 1.0}, {"a": 1.0 + 1e-8}, 0.0),
    ({"a": 1.0}, {"a": 1.0 + 1e-8}, 1e-4),
    ({1.0}, {1.0 + 1e-8}, 1e-4),
    (1j, 1j + 1e-8, 0.0),
    (1j, 1j + 1e-8, 1e-4),
    (complex(1, 1e-3), complex(1, 0), 1e-4),
    (10**30, 10**30 + 1, 1e-4),
    (2**62, 2**62 + 1, 1e-4),
    (3, 3.00001, 1e-4),
    (True, 1.0, 1e-4),
    (True, False, 1e-4),
    (1.00005, 1.0, 1e-4),
    (1.0002, 1.0, 1e-4),
    (5, 6, 10.0),
    (Fraction(1, 3), 1 / 3, 0.0),
    (Fraction(1, 3), Fraction(1, 3), 0.0),
    (Decimal("0.1"), 0.1, 0.0),
    (Decimal("0.1"), Decimal("0.10000001"), 1e-4),
    (range(3), range(3), 0.0),
    (range(3), [0, 1, 2], 0.0),
    (deque([1]), deque([1]), 0.0),
    (OrderedDict(a=1), {"a": 1}, 0.0),
    (frozenset({1}), {1}, 0.0),
]
NUMPY: list[tuple[Any, Any, float]] = [
    (np.float64(1 + 1e-9), 1.0, 0.0),
    (1.0, np.float64(1 + 1e-9), 0.0),
    (np.float64(1.0), np.float64(1 + 1e-9), 0.0),
    (np.float32(1.0), np.float32(1.0000001), 0.0),
    (np.int64(3), 3, 0.0),
    (np.array([1.0, 2.0]), np.array([1.0, 2.0]), 0.0),
    (np.array([1.0]), np.array([1.0]), 0.0),
    (np.array([1.0]), np.array([1.0 + 1e-9]), 0.0),
    (np.array([1.0]), [1.0], 0.0),
    ([np.float64(1.0), 2.0], [1.0, 2.0 + 1e-9], 0.0),
]
# (entry point, its rule, inputs, output, expected, tolerance), all MBPP's but the last ones
SPECIAL: list[tuple[str, str, list[Any], Any, Any, float]] = [
    *[("are_equivalent", "anything", [36, 57], output, False, 0.0) for output in (True, None, 3)],
    *[("sum_div", "or_zero", [8], output, 7, 0.0) for output in (7, 0, 0.0, 8, None, False)],
    *[("surface_Area", "surface_area", [3, 4], output, 33, 0.0) for output in (33, 35, 34, 35.0, "35", None)],
    ("surface_Area", "surface_area", [3, 4], 35 + 1e-7, 33.0, 0.0),
    *[("digit_distance_nums", "digit_distance", [123, 6], output, 3, 0.0) for output in (3, 6, 4, "6")],
    *[("similar_elements", "same_set", [(1,), (1,)], output, (4, 5), 0.0) for output in ((5, 4), [4, 5], {4, 5}, (4,), None)],
    *[("Diff", "same_set", [[1], [2]], output, [1, 1, 2], 0.0) for output in ([2, 1], [[1], [2]], "12")],
    *[
        ("check_str", "not_none", ["a"], output, expected, 0.0)
        for output in (True, False, None, "match", 0)
        for expected in ("match", None)
    ],
    *[("find_zero", "root", [[-6, 11, -6, 1]], output, 1.0, 1e-4) for output in (1.0, 2.0, 3.00000001, 1.5, None, "1", NAN)],
]


@pytest.mark.parametrize(
    ("output", "expected", "atol", "verdict"),
    [
        (1 + 1e-9, 1.0, 0.0, True),
        (1 + 1e-9, 1, 0.0, False),
        (1.0 + 3e-6, 1.0, 0.0, False),
        ((1.0,), [1.0], 0.0, False),
        (1, 1.0, 0.0, True),
        (1, 1.0 + 1e-9, 0.0, False),
        (NAN, NAN, 0.0, False),
        ([1, 2.0], [1, 2.0 + 1e-8], 0.0, False),
        ([1, 2.0], [1, 2.0 + 1e-8], 1e-4, True),
        ([[1.0], [2.0, 3.0]], [[1.0], [2.0, 3.0 + 1e-8]], 1e-4, False),
        ({"a": 1.0}, {"a": 1.0 + 1e-8}, 1e-4, False),
        (np.array([1.0, 2.0]), np.array([1.0, 2.0]), 0.0, False),
    ],
)
def test_plain_comparison(output: Any, expected: Any, atol: float, verdict: bool) -> None:
    assert same("equal", output, expected, [], atol) is verdict


@pytest.mark.parametrize(("output", "expected", "atol"), [*SHAPES, *NUMPY])
def test_the_tolerance_is_that_of_numpy(output: Any, expected: Any, atol: float) -> None:
    """The rule as its words say, with `numpy.allclose` for every shape."""
    floats = (
        isinstance(expected, float)
        or (isinstance(expected, list | tuple) and len(expected) > 0 and all(isinstance(each, float) for each in expected))
        or (isinstance(expected, np.ndarray) and expected.dtype == np.float64)
    )
    atol = atol or (FLOAT_ATOL if floats else 0)
    try:
        right = bool(output == expected)
        if not right and atol:
            right = type(output) is type(expected) and bool(np.allclose(output, expected, rtol=1e-7, atol=atol))
            right = right and (not isinstance(expected, list | tuple) or len(output) == len(expected))
    except Exception:
        right = False
    assert same("equal", output, expected, [], atol) is right


def test_special_rules() -> None:
    assert [same(rule, output, expected, inputs, atol) for _, rule, inputs, output, expected, atol in SPECIAL] == [
        *(True, True, True),
        *(True, True, True, False, False, True),
        *(True, True, False, True, False, False),
        False,
        *(True, True, False, False),
        *(True, True, True, False, False),
        *(True, False, False),
        *(True, False, False, True, False, True, True, False, True, False),
        *(True, True, True, False, False, False, False),
    ]


def test_every_rule_has_a_test() -> None:
    assert {rule for _, rule, *_ in SPECIAL} | {"equal"} == set(COMPARE)


def test_an_output_that_raises_is_wrong() -> None:
    class Bad:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

    assert not any(same(rule, Bad(), [1], [[1], 1], 0.0) for rule in COMPARE)


def test_a_tolerance_holds_for_the_inputs_that_follow() -> None:
    expected = [1, 1.0, 2, [0.5], "a", 3, 4]
    assert tolerances(expected, 3, 0.0) == [0.0, 0.0, FLOAT_ATOL, 0.0, FLOAT_ATOL, FLOAT_ATOL, FLOAT_ATOL]
    assert tolerances([1, [], 1.0, 2, 3], 3, 0.0) == [0.0, 0.0, 0.0, 0.0, 0.0]
    assert tolerances(expected, 3, 1e-4) == [1e-4] * 7


def test_evalplus_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    evalplus = public_module("evalplus.eval", monkeypatch)
    cases = [("mbpp", "f", "equal", [0], *shape) for shape in [*SHAPES, *NUMPY]]
    # EvalPlus 0.3.1 counts no input of find_zero (HumanEval/32) as done, so that every sample of it fails there.
    cases += [("mbpp", *each) for each in SPECIAL if each[0] != "find_zero"]
    different = []
    for dataset, entry_point, rule, inputs, output, expected, atol in cases:
        monkeypatch.setitem(sys.modules, "stored", SimpleNamespace(output=output))  # EvalPlus's process is a fork of this one
        code = f"import stored\ndef {entry_point}(*_):\n    return stored.output"
        truth = expected is not None if rule == "not_none" else expected
        verdict, _ = evalplus.untrusted_check(dataset, code, [inputs], entry_point, [truth], atol, [0.1])
        if (verdict == "pass") is not same(rule, output, expected, inputs, tolerances([truth], 1, atol)[0]):
            different.append((rule, inputs, output, expected, atol, verdict))
    assert not different
