"""Limits that the kernel holds each process of a program to."""

from __future__ import annotations

import math
import os
import resource

from codeblock.sandbox import kernel
from codeblock.sandbox.namespaces import in_fork

MAX_PROCESSES = 64
MAX_OPEN_FILES = 128
MAX_FILE_BYTES = 64 << 20
STACK_BYTES = 64 << 20
"""Far more than the usual 8 MiB: deep recursion in C (sorting keys, `json`) then ends as it does with the official graders."""


def cpu_seconds(timeout_seconds: float) -> int:
    """CPU seconds of one process after which it gets SIGXCPU, and a second later SIGKILL."""
    return math.ceil(timeout_seconds) + 1


def set_common_limits() -> None:
    """Bind the helper to what holds for every program, which inherits it."""
    common = [
        limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES),
        limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        limit(resource.RLIMIT_STACK, STACK_BYTES),
        limit(resource.RLIMIT_CORE, 1),  # 0 would still start the program that takes core dumps, where one is set (core(5))
        limit(resource.RLIMIT_MSGQUEUE, 0),
    ]
    kernel.take(common)


def own_limits(timeout_seconds: float, memory_mb: int, count_processes: bool) -> list[kernel.SetupStep]:
    """What binds one program, to be carried out in it. memory_mb: address space (MiB) of each process."""
    bound = cpu_seconds(timeout_seconds)
    steps = [limit(resource.RLIMIT_CPU, bound, bound + 1), limit(resource.RLIMIT_AS, memory_mb << 20)]
    return [*steps, limit(resource.RLIMIT_NPROC, MAX_PROCESSES)] if count_processes else steps


def limit(kind: int, soft: int, hard: int | None = None) -> kernel.SetupStep:
    """Lower one limit; a lower one that the machine has already set stays."""
    ceiling = resource.getrlimit(kind)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    return resource.setrlimit, (kind, (soft, hard))


def can_count_processes() -> bool:
    """Whether the kernel holds this user to a number of processes here, and counts those of its own namespace alone."""

    def start(allowed: int, expected: bool) -> None:
        kernel.take([kernel.capabilities_step(0), limit(resource.RLIMIT_NPROC, allowed)])
        try:
            child = os.fork()
        except BlockingIOError:
            assert not expected
            return
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        assert expected

    return in_fork(lambda: start(8, True)) and in_fork(lambda: start(1, False))
