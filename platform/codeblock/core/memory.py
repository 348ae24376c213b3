"""Peak memory of a process and of its GPU, in MiB."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_PER_MIB = 2**20 if sys.platform == "darwin" else 2**10
"""`ru_maxrss` is in bytes on macOS and in KiB elsewhere."""


def process_peak_mb() -> float:
    """Largest resident set of this process so far."""
    # A new process inherits its parent's `ru_maxrss`; the kernel's high-water mark begins anew with each program.
    found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE) if _STATUS.exists() else None
    return int(found[1]) / 2**10 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _PER_MIB


def worker_peak_mb() -> float:
    """Largest memory so far of the GPU that this process uses; of the process where it uses none."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return process_peak_mb()
