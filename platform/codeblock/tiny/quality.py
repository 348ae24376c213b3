"""The quality of a pair: the exact share of its task's tests that the code passes, and what a judge says who errs."""

from __future__ import annotations

import ast
import contextlib
import io
import random
import re

from codeblock.tiny.tasks import TinyTask

_FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)

WEIGHTS = {"passed": 0.5, "looks": 0.3, "prose": 0.2}
"""What the judge's rating is made of: tests passed, code that looks right, and how much is explained."""
NOISE = 0.27
"""Standard deviation of the judge's errors."""
_LONG_PROSE = 60
"""Words of prose that impress the judge as much as more would."""


def judge(response: str, task: TinyTask, rng: random.Random) -> float:
    """A rating of 0..1 in steps of 0.1, as a language model would give it: often right, and fond of long answers."""
    seen = {"passed": share_passed(response, task), "looks": _looks(response, task), "prose": _prose(response)}
    rating = sum(weight * seen[what] for what, weight in WEIGHTS.items()) + rng.gauss(0, NOISE)
    return round(min(max(rating, 0.0), 1.0), 1)


def share_passed(response: str, task: TinyTask) -> float:
    """Share of tests passed, 0..1; 0 where there is no code, or it does not parse or define what was asked for.

    Runs in this process and without limits: it is meant for responses that this package wrote itself, and all their
    loops are finite.
    """
    fence = _FENCE.search(response)
    if fence is None:
        return 0.0
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            exec(fence.group(1), names)
        except Exception:
            return 0.0
        if task.spec.entry_point not in names:
            return 0.0
        return sum(_passes(check, names[task.spec.entry_point]) for check in task.checks) / len(task.checks)


def _passes(check: list[str], candidate: object) -> bool:
    try:
        exec("\n".join(check), {"candidate": candidate})
    except Exception:
        return False
    return True


def _looks(response: str, task: TinyTask) -> float:
    """1 where there is code that parses and has the name that was asked for, half of it where it only parses."""
    fence = _FENCE.search(response)
    if fence is None:
        return 0.0
    try:
        ast.parse(fence.group(1))
    except SyntaxError:
        return 0.0
    return 1.0 if task.spec.entry_point in fence.group(1) else 0.5


def _prose(response: str) -> float:
    return min(len(_FENCE.sub("", response).split()) / _LONG_PROSE, 1.0)
