"""When Python looks for garbage in cycles: not while a process imports. Imports nothing of the platform: workers begin with it.

Left alone, it goes over all that torch, transformers, Ray and MLflow define again and again while they define it: a fifth of
the CPU time of their import, in every driver and every worker.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

IMPORTED = 2_000_000
"""Objects that are made before it looks for the first time; all of these together make 1.1 million."""
PYTHONS = (700, 2000)
"""Objects between two looks as Python has it, up to 3.12 and from 3.13 on."""


@dataclass
class _Waiting:
    """The collector is the process's own, and so is this."""

    began: bool = False
    before: tuple[int, int, int] | None = None


_waiting = _Waiting()


def collect_later() -> None:
    """Let the first look come with `collect_again`, or after IMPORTED objects; what is there then is never looked at again.

    Once in a process, and not where somebody has set the collector otherwise than Python does.
    """
    if not _waiting.began and gc.isenabled() and gc.get_threshold()[0] in PYTHONS:
        _waiting.began, _waiting.before = True, gc.get_threshold()
        gc.set_threshold(IMPORTED, *_waiting.before[1:])
        gc.callbacks.append(_first_look)


def collect_again() -> None:
    """Look as often as Python does from now on: what is imported is there, and garbage may be large, such as tensors."""
    if _waiting.before is not None:
        gc.callbacks.remove(_first_look)
        gc.set_threshold(*_waiting.before)
        gc.freeze()
        _waiting.before = None


def _first_look(phase: str, _: dict[str, int]) -> None:
    if phase == "stop":
        collect_again()
