"""Does many tasks in a few processes that share one GPU, until a deadline; what is done is not done again."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tests.proof.pack import Job
from tests.proof.work import BASE, Setting, Task, carry_out

Facts = dict[str, Any]


def tasks_of(job: Job) -> list[Task]:
    """All tasks, the most telling first: every arm of seed 0, the other seeds, then the answers, seed by seed."""
    trained = [Task(BASE, 0), *(Task(arm, seed) for arm, seed in job.selections if arm != BASE)]
    answered = [
        Task(arm, seed, benchmark)
        for seed in range(job.generate_seeds)
        for benchmark in job.benchmarks
        for arm in job.generate
        if Task(arm, seed) in trained
    ]
    return trained + answered


class Queue:
    """The tasks of a job, and how far they are."""

    def __init__(self, job: Job, setting: Setting, on_done: Callable[[Queue], None]) -> None:
        """`on_done` is called after each task, so that what is done can be brought to safety."""
        self.setting, self._on_done = setting, on_done
        tasks = tasks_of(job)
        self.already = [task for task in tasks if task.facts(setting).exists()]
        self.waiting = [task for task in tasks if task not in self.already]
        self.running: dict[Future[Facts], Task] = {}
        self.done: dict[str, Facts] = {}
        self.failed: dict[str, str] = {}

    def run_here(self) -> None:
        """One task after the other, in this process."""
        while (task := self._next()) is not None:
            self.waiting.remove(task)
            self._finish(task, lambda task=task: carry_out(task, self.setting))  # type: ignore[misc]

    def run(self, processes: int) -> None:
        """`processes` tasks at a time. A process that dies fails its task and those beside it, and new ones go on."""
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        while self.waiting and self._next() is not None:
            with ProcessPoolExecutor(processes, context) as executor:
                self._run(executor, processes)

    def _run(self, executor: Executor, processes: int) -> None:
        broken = False
        while self.running or (not broken and self._next() is not None):
            while not broken and len(self.running) < processes and (task := self._next()) is not None:
                self.waiting.remove(task)
                self.running[executor.submit(carry_out, task, self.setting)] = task
            for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                broken |= isinstance(future.exception(), BrokenProcessPool)
                self._finish(self.running.pop(future), future.result)

    def _next(self) -> Task | None:
        """The first task that can begin: before the deadline, and answers only where the model is trained."""
        if time.time() > self.setting.deadline:
            return None
        return next((task for task in self.waiting if self._ready(task)), None)

    def _ready(self, task: Task) -> bool:
        return task.benchmark is None or Task(task.arm, task.seed).facts(self.setting).exists()

    def _finish(self, task: Task, result: Callable[[], Facts]) -> None:
        try:
            self.done[task.name] = result()
        except Exception as error:  # one task's failure must not take the others' results with it
            self.failed[task.name] = f"{type(error).__name__}: {str(error)[:300]}"
        print(f"{time.strftime('%H:%M:%S')} {task.name}: {self.failed.get(task.name) or self.done[task.name]}", flush=True)
        self._on_done(self)


def names(tasks: Sequence[Task]) -> list[str]:
    return [task.name for task in tasks]
