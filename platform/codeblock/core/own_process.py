"""Whether this process does itself what workers and actors of Ray would do: it has the resources of one, and stays warm.

A process that imports torch takes longer to start than a small model takes to train, and a fit by Ray Train starts three. A
trial of a sweep whose config asks for one worker is such a process by itself.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_here = False


@contextmanager
def as_worker() -> Iterator[None]:
    """Within the block this process, all its threads, does the work of one worker or actor itself."""
    global _here
    before, _here = _here, True
    try:
        yield
    finally:
        _here = before
        give_back()


def is_worker() -> bool:
    """Whether work is to be done in this process."""
    return _here


def begin() -> None:
    """Forget the peak memory of earlier work, so that the next piece reports its own."""
    give_back()
    with suppress(OSError):  # not Linux, or not allowed: then the peak is that of the process so far
        Path("/proc/self/clear_refs").write_text("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def give_back() -> None:
    """Give back the memory of models that nobody holds, the GPU's too, where others may wait for it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
