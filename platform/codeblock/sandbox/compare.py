"""Whether an output is the expected one, as EvalPlus decides it. Runs in the checking process, which holds no untrusted code.

[EvalPlus 0.3.1, evalplus.eval] Equal by `==`, or, where there is a tolerance, of the same type and close: |a - b| <= atol +
1e-7 * |b| for each element. Some tasks have a rule of their own: the names of `COMPARE`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

RTOL = 1e-07
FLOAT_ATOL = 1e-06
"""Tolerance of a task without one, from the first expected output on that is made of floats."""

Rule = Callable[[Any, Any, Sequence[Any], float], Any]


def same(name: str, output: Any, expected: Any, inputs: Sequence[Any], atol: float) -> bool:
    """Whether `output` is right where the reference returns `expected` for the arguments `inputs`.

    `name`: a rule of `COMPARE`. `atol`: absolute tolerance, from `tolerances`. An output that cannot be compared is wrong.
    """
    try:
        if name == "root":
            return bool(abs(_polynomial(*inputs, output)) <= atol)
        if name == "not_none":
            expected = expected is not None
        atol = atol or _own_tolerance(expected)
        exact = COMPARE[name](output, expected, inputs, atol)
        return bool(exact) or (atol != 0 and _close(output, expected, atol))
    except Exception:  # an output of any type may raise anything when it is compared
        return False


def tolerances(expected: Sequence[Any], base: int, atol: float) -> list[float]:
    """The tolerance of each expected output: once one is made of floats, it also holds for those that follow.

    [EvalPlus 0.3.1] keeps it so, for the first `base` inputs and for the rest each.
    """
    found: list[float] = []
    for half in (expected[:base], expected[base:]):
        current = atol
        for output in half:
            current = current or _own_tolerance(output)
            found.append(current)
    return found


def _own_tolerance(expected: Any) -> float:
    return FLOAT_ATOL if _is_floats(expected) else 0.0


def _is_floats(value: Any) -> bool:
    if isinstance(value, float):
        return True
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(each, float) for each in value)
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray) and value.dtype in (numpy.float64, numpy.float32)


def _close(output: Any, expected: Any, atol: float) -> bool:
    """`numpy.allclose`, without NumPy for the float and the flat list of floats that most outputs are."""
    if type(output) is not type(expected):
        return False
    if isinstance(expected, list | tuple) and len(output) != len(expected):
        return False
    pairs = [(output, expected)] if type(expected) is float else None
    if type(expected) in (list, tuple) and all(type(each) is float for each in (*output, *expected)):
        pairs = list(zip(output, expected, strict=True))
    if pairs is not None:
        return all(a == b or (math.isfinite(b) and abs(a - b) <= atol + RTOL * abs(b)) for a, b in pairs)
    import numpy

    return bool(numpy.allclose(output, expected, rtol=RTOL, atol=atol))


def _equal(output: Any, expected: Any, _inputs: Sequence[Any], _atol: float) -> Any:
    return output == expected


def _anything(output: Any, expected: Any, _inputs: Sequence[Any], _atol: float) -> Any:
    return output == expected or True


def _or_zero(output: Any, expected: Any, _inputs: Sequence[Any], _atol: float) -> Any:
    return output == expected or output == 0


def _surface_area(output: Any, expected: Any, inputs: Sequence[Any], atol: float) -> Any:
    """Mbpp/581, whose text leaves open which height of the pyramid is meant: the slant one, or the one that stands upright."""
    if output == expected:
        return True
    edge, height = inputs
    upright = edge**2 + 2 * edge * math.sqrt((edge / 2) ** 2 + height**2)
    return abs(output - round(upright)) <= atol


def _digit_distance(output: Any, expected: Any, inputs: Sequence[Any], _atol: float) -> Any:
    """Mbpp/558: the digits may also be compared from the right, the shorter number filled with zeros."""
    if output == expected:
        return True
    one, other = (str(number) for number in inputs)
    width = max(len(one), len(other))
    digits = zip(one.zfill(width), other.zfill(width), strict=True)
    return output == sum(abs(int(a) - int(b)) for a, b in digits)


def _same_set(output: Any, expected: Any, _inputs: Sequence[Any], _atol: float) -> Any:
    return set(output) == set(expected)


def _truth(output: Any, expected: bool, _inputs: Sequence[Any], _atol: float) -> Any:
    """The tests of these tasks look no further than whether something is found. `expected`: whether the reference found."""
    return expected == (output if isinstance(output, bool) else output is not None)


def _polynomial(coefficients: Sequence[float], x: float) -> float:
    """HumanEval/32: its value at the root that was found."""
    return sum(each * math.pow(x, power) for power, each in enumerate(coefficients))


COMPARE: dict[str, Rule] = {
    "equal": _equal,
    "root": _equal,  # decided in `same`
    "anything": _anything,
    "or_zero": _or_zero,
    "surface_area": _surface_area,
    "digit_distance": _digit_distance,
    "same_set": _same_set,
    "not_none": _truth,
}
