"""The quality of a pair: the share of its task's tests that the response's code passes when it is run."""

from __future__ import annotations

import contextlib
import io
import re

from codeblock.tiny.tasks import Task

_FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def share_passed(response: str, task: Task) -> float:
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
