"""Processes that tests look for."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil


def running_below(pid: int, title: str) -> list[psutil.Process]:
    """The processes below one whose title holds `title`, such as `ray::MapWorker`.

    One that has ended is none, whether or not its parent has noticed: where nothing reaps orphans such ones stay for ever.
    """
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):
            if title in " ".join(process.cmdline()):
                found.append(process)
    return found


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended. A zombie has: whoever adopted it may ask late, or never."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill_tree(top: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started as a machine that goes down does: at once, none of them asked."""
    processes = [psutil.Process(top.pid), *psutil.Process(top.pid).children(recursive=True)] if top.poll() is None else []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    top.wait()
    wait_for_end(processes)


def wait_for_end(processes: Iterable[psutil.Process], seconds: float = 10.0) -> None:
    """Wait until none of them runs, for so long at most."""
    until, left = time.monotonic() + seconds, list(processes)
    while (left := [process for process in left if runs(process)]) and time.monotonic() < until:
        time.sleep(0.02)
