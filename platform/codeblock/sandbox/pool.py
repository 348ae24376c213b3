"""Several sandboxes side by side: how many, under which limits, and what is told where this machine lacks layers."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from codeblock.core.console import counter
from codeblock.core.errors import CodeBlockError
from codeblock.sandbox.oracles import Limits
from codeblock.sandbox.remedies import remedy
from codeblock.sandbox.sandbox import Sandbox

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Settings:
    """How programs are run."""

    timeout_seconds: float | None = None
    """In place of the benchmark's own seconds per sample or input."""
    memory_mb: int | None = None
    """In place of the benchmark's own MiB."""
    processes: int | None = None
    """Solutions at a time; empty: one per CPU."""
    python: str | None = None
    """Interpreter of the solutions; empty: this one."""
    store: Path | None = None
    """Directory that keeps what references returned on this machine; empty: they run each time."""
    allow_missing_layers: bool = False
    """Go on where this machine lacks layers of the sandbox."""

    def limits(self, limits: Limits) -> Limits:
        """The limits of a task before its reference has run, from those of its benchmark."""
        if self.timeout_seconds is not None:
            limits = replace(limits, timeout_seconds=self.timeout_seconds)
        return limits if self.memory_mb is None else replace(limits, memory_mb=self.memory_mb)


class Pool:
    """Sandboxes, each in a thread of its own. Raises CodeBlockError where the machine lacks layers and may not."""

    def __init__(self, settings: Settings, jobs: int) -> None:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        self.workers = max(min(settings.processes or cpus, jobs), 1)
        self.sandboxes: list[Sandbox] = []
        try:
            # All first, then each waited for: to start takes a quarter of a second.
            self.sandboxes.extend(Sandbox(settings.python, wait=False) for _ in range(self.workers))
            for sandbox in self.sandboxes:
                sandbox.wait()
            self.missing = self.sandboxes[0].missing
            if not settings.allow_missing_layers:
                require_layers(self.missing)
        except BaseException:
            self.close()
            raise

    def map(self, what: str, work: Callable[[Sandbox, Job], Result], jobs: Sequence[Job]) -> list[Result]:
        """The results in order; how many there are is shown beside `what`. The first error stops all."""
        order, stop = iter(range(len(jobs))), threading.Event()
        results: dict[int, Result] = {}
        lock = threading.Lock()

        def run(sandbox: Sandbox, advance: Callable[[int], None]) -> None:
            try:
                while not stop.is_set():
                    with lock:
                        index = next(order, None)
                    if index is None:
                        return
                    results[index] = work(sandbox, jobs[index])
                    advance(1)
            finally:
                if sys.exc_info()[0] is not None:
                    stop.set()

        with counter(what, len(jobs)) as advance, ThreadPoolExecutor(self.workers, "grade") as pool:
            futures = [pool.submit(run, sandbox, advance) for sandbox in self.sandboxes]
            try:
                for future in futures:
                    future.result()
            finally:
                stop.set()
        return [results[index] for index in range(len(jobs))]

    def close(self) -> None:
        """End all sandboxes."""
        for sandbox in self.sandboxes:
            sandbox.hang_up()
        for sandbox in self.sandboxes:
            sandbox.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def require_layers(missing: Sequence[str]) -> None:
    """Raise CodeBlockError where layers of the sandbox are missing."""
    if missing:
        raise CodeBlockError(f"grading: this machine {lacking_layers(missing)}")


def lacking_layers(missing: Sequence[str]) -> str:
    """What a machine lacks, and the remedies of the machine that this runs on; empty where nothing is missing."""
    if not missing:
        return ""
    return (
        f"lacks {len(missing)} layers of the sandbox ({'; '.join(missing)}); "
        f"{remedy(missing[0])}; or accept it with evaluate.allow_missing_layers=true"
    )


def check_sandbox(python: str | None, allow_missing_layers: bool) -> list[str]:
    """The layers that are missing here. Raises CodeBlockError where that is not allowed: before a long run, not after it."""
    with Sandbox(python) as sandbox:
        if not allow_missing_layers:
            require_layers(sandbox.missing)
        return sandbox.missing
