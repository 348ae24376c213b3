"""What ends a command from outside, the same in each of its phases: SIGTERM, and SIGHUP where a terminal is closed, do what
Ctrl-C does. Ray lets no other exception than KeyboardInterrupt out of its own waiting, so each of them raises that.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)

_came: signal.Signals | None = None


def end_in_order() -> None:
    """Let each of `ENDING` close what is open; one that is ignored, as SIGHUP under `nohup`, stays so."""
    global _came
    _came = None
    for number in heeded(ENDING):
        signal.signal(number, _interrupt)


def heeded(numbers: tuple[signal.Signals, ...]) -> list[signal.Signals]:
    """Those that are not ignored."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def remember(number: int) -> None:
    """Note what has come, for the exit status and the last line. After SIGHUP the terminal is gone, and writing there fails."""
    global _came
    if number in ENDING:
        _came = signal.Signals(number)
    if number == signal.SIGHUP:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):  # a terminal that hung up says no more that it is one
                os.dup2(nowhere, descriptor)
        os.close(nowhere)


def came() -> signal.Signals | None:
    """Which of `ENDING` has come; None before, and after Ctrl-C."""
    return _came


@contextmanager
def kept() -> Iterator[None]:
    """Handlers that this program has set stay what they are, whatever a library sets in the block.

    Ray's start takes SIGTERM: the process would end with status 15, in every later phase too. Its end gives SIGTERM back to the
    kernel, behind Python's back: while the report is written, the process would end at once, with nothing closed.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if callable(handler):
                    signal.signal(number, handler)


def _interrupt(number: int, _: FrameType | None) -> None:
    remember(number)
    raise KeyboardInterrupt
