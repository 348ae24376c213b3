"""Processes that tests look for."""

from __future__ import annotations

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
