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

Rule = Callable[[Any, Any, Any, Sequence[Any], float], Any]


def same(name: str, output: Any, expected: Any, inputs: Sequence[Any], atol: float) -> bool:
    """Whether `output` is right where the reference returns `expected` for the arguments `inputs`.

    `name`: a rule of `COMPARE`. `atol`: absolute tolerance, from `tolerances`. An output that cannot be compared is wrong.
    """
    try:
        if name == "root":
            return bool(abs(_polynomial(inputs[0], output)) <= atol)
        if name == "not_none":
            expected = expected is not None
        if COMPARE[name](output == expected, output, expected, inputs, atol):
            return True
        atol = atol or _own_tolerance(expected)
        return atol != 0 and _close(output, expected, atol)
    except Exception:  # an output of any type may raise anything when it is compared
        return False


def tolerances(expected: Sequence[Any], base: int, atol: float) -> list[float]:
    """The tolerance with which each output is compared: that of an output made of floats also holds for those that follow.

    [EvalPlus 0.3.1] keeps it so, for the first `base` inputs and for the rest each. `same` adds the output's own.
    """
    found: list[float] = []
    for half in (expected[:base], expected[base:]):
        current = atol
        for output in half:
            found.append(current)
            current = current or _own_tolerance(output)
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


def _anything(exact: Any, *_: Any) -> Any:
    return exact or True


def _or_zero(exact: Any, output: Any, *_: Any) -> Any:
    return exact or output == 0


def _surface_area(exact: Any, output: Any, _: Any, inputs: Sequence[Any], atol: float) -> Any:
    """Mbpp/581 leaves open which height of the pyramid is meant: the slant one, or the one that stands upright."""
    if exact:
        return True
    edge, height = inputs
    upright = edge**2 + 2 * edge * math.sqrt((edge / 2) ** 2 + height**2)
    return abs(output - round(upright)) <= atol


def _digit_distance(exact: Any, output: Any, _: Any, inputs: Sequence[Any], *__: Any) -> Any:
    """Mbpp/558: the digits may also be compared from the right, the shorter number filled with zeros."""
    if exact:
        return True
    one, other = (str(number) for number in inputs)
    width = max(len(one), len(other))
    digits = zip(one.zfill(width), other.zfill(width), strict=True)
    return output == sum(abs(int(a) - int(b)) for a, b in digits)


def _same_set(_: Any, output: Any, expected: Any, *__: Any) -> Any:
    return set(output) == set(expected)


def _truth(exact: Any, output: Any, expected: bool, *_: Any) -> Any:
    """The tests of these tasks look no further than whether something is found. `expected`: whether the reference found."""
    return exact if isinstance(output, bool) else expected == (output is not None)


def _polynomial(coefficients: Sequence[float], x: float) -> float:
    """HumanEval/32: its value at the root that was found."""
    return sum(each * math.pow(x, power) for power, each in enumerate(coefficients))


def _plain(exact: Any, *_: Any) -> Any:
    return exact


COMPARE: dict[str, Rule] = {
    "equal": _plain,
    "root": _plain,  # decided in `same`, without the expected output
    "anything": _anything,
    "or_zero": _or_zero,
    "surface_area": _surface_area,
    "digit_distance": _digit_distance,
    "same_set": _same_set,
    "not_none": _truth,
}
"""From (whether `==` holds, output, expected, inputs, tolerance) to whether the output is right without a tolerance."""
