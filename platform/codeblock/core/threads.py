"""One rule for the threads of torch in everything that Ray starts. Imports torch only where something else did."""

from __future__ import annotations

import sys


def use_threads(cpus: float) -> None:
    """Let torch use as many threads as the worker or actor was given CPUs, at least one."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(max(1, int(cpus)))
