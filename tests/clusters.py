"""What the clusters that tests start have in common."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from filelock import FileLock

WORKERS = {
    # Those that are started in advance have not the environment that the platform gives its workers: nobody takes them.
    "RAY_prestart_worker_first_driver": "0",
    # Ray's own 15 would let each test wait for whatever runs beside it.
    "RAY_worker_niceness": "0",
}
"""Variables of Ray: its worker processes are started when they are wanted, and give way to nobody."""
ANY_PORTS = ("--min-worker-port=0", "--max-worker-port=0")
"""Options of `ray start`: workers listen where nobody does. Left alone, all nodes of a machine begin with the same port."""


def one_start() -> FileLock:
    """To be held while a node starts: of two `ray start` at once on one machine, of whatever processes, one may hang."""
    return FileLock(Path(tempfile.gettempdir()) / f"codeblock-tests-{os.getuid()}.lock")
