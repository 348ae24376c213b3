"""Peak memory of a process and of its GPU, in MiB."""

from __future__ import annotations

import resource
import sys

_PER_MIB = 2**20 if sys.platform == "darwin" else 2**10
"""`ru_maxrss` is in bytes on macOS and in KiB elsewhere."""


def process_peak_mb() -> float:
    """Largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _PER_MIB


def worker_peak_mb() -> float:
    """Largest memory so far of the GPU that this process uses; of the process where it uses none."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return process_peak_mb()
