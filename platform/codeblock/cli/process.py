"""`codeblock` as a process of its own: how it ends."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from contextlib import suppress


def command() -> None:
    """Run what the command line says, and end the process with its status."""
    status: list[int] = []
    atexit.register(_leave, status)  # before anything else is registered, so that it is called last
    from codeblock.cli.commands import main

    try:
        main()
    except SystemExit as end:
        status.append(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise


def _leave(status: list[int]) -> None:
    """End here: Python would take apart what torch, Ray and MLflow have loaded, for seconds after the last line."""
    if not status:  # an error that has its traceback yet to come
        return
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status[0])
