"""Grade samples: hold each in a sandbox against its task's oracle, several at a time, and count.

The benchmark's own solutions come first. They give the expected outputs of tasks that have inputs alone, and the time that a
task takes on this machine, which its limit is never below a multiple of. A task whose reference fails here is named in the
result: its verdicts say something about the machine, not about the model. It still counts, as it does for public graders.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from codeblock.core.console import counter
from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks import Benchmark, Task
from codeblock.evaluate.environment import importable
from codeblock.evaluate.expectations import Expectations
from codeblock.evaluate.formats import read_samples
from codeblock.evaluate.result import GradeResult, Sample, VerdictRow, task_names
from codeblock.sandbox.oracles import Cases, Limits, UnitTest
from codeblock.sandbox.sandbox import REFERENCE_PATIENCE, Expected, Outcome, Rehearsal, Sandbox, Verdict

MOST_PATIENCE_SECONDS = 60.0
"""A reference has at most so long where the official limit is shorter."""

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Reference:
    """How a task's own solution did on this machine."""

    outcome: Outcome
    known: Expected | Rehearsal | None
    """What its samples are held against."""
    limits: Limits
    """The limits of the task's samples here."""


class Program(NamedTuple):
    """A whole solution of a task."""

    task_id: str
    code: str


@dataclass(frozen=True)
class Settings:
    """How grading is carried out."""

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

    def limits(self, task: Task) -> Limits:
        """The limits of a task before its reference has run."""
        limits = task.limits
        if self.timeout_seconds is not None:
            limits = replace(limits, timeout_seconds=self.timeout_seconds)
        return limits if self.memory_mb is None else replace(limits, memory_mb=self.memory_mb)


class Pool:
    """Sandboxes, each in a thread of its own. Raises CodeBlockError where the machine lacks layers and may not."""

    def __init__(self, settings: Settings, jobs: int) -> None:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        self.workers = max(min(settings.processes or cpus, jobs), 1)
        self.sandboxes = [Sandbox(settings.python)]
        self.missing = self.sandboxes[0].missing
        try:
            if not settings.allow_missing_layers:
                require_layers(self.missing)
            self.sandboxes.extend(Sandbox(settings.python) for _ in range(self.workers - 1))
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
            sandbox.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def require_layers(missing: Sequence[str]) -> None:
    """Raise CodeBlockError where layers of the sandbox are missing."""
    if missing:
        raise CodeBlockError(
            f"grading: this machine lacks {len(missing)} layers of the sandbox ({'; '.join(missing)}); "
            "grade where user namespaces or bubblewrap are allowed, or accept it with evaluate.allow_missing_layers=true"
        )


def check_sandbox(python: str | None, allow_missing_layers: bool) -> list[str]:
    """The layers that are missing here. Raises CodeBlockError where that is not allowed: before a long run, not after it."""
    with Sandbox(python) as sandbox:
        if not allow_missing_layers:
            require_layers(sandbox.missing)
        return sandbox.missing


def grade(
    samples: Iterable[Sample | Mapping[str, Any]],
    benchmark: Benchmark,
    settings: Settings | None = None,
) -> GradeResult:
    """Grade samples of a benchmark.

    Raises CodeBlockError for a sample without task id or text, where every reference fails, where layers of the sandbox are
    missing, and where the harness fails.
    """
    settings, started = settings or Settings(), time.monotonic()
    given = _named(
        [
            sample if isinstance(sample, Sample) else Sample.of(sample, f"sample {number}")
            for number, sample in enumerate(samples, 1)
        ],
        benchmark,
    )
    not_run = missing_packages(benchmark, settings.python)
    tasks = {task.task_id: task for task in benchmark.tasks if task.task_id not in not_run}
    programs = [program_of(sample, benchmark, tasks[sample.task_id]) for sample in given if sample.task_id in tasks]
    distinct = set(programs)
    with Pool(settings, max(len(distinct), len(tasks))) as pool, Expectations(settings.store) as expectations:
        references = run_references(pool, benchmark, list(tasks.values()), settings, expectations)
        rows = run_programs(pool, tasks, programs, references)
    all_tasks = {task.task_id for task in benchmark.tasks}
    return GradeResult(
        benchmark=benchmark.name,
        rows=rows,
        tasks=list(tasks),
        unknown_tasks=list(dict.fromkeys(sample.task_id for sample in given if sample.task_id not in all_tasks)),
        reference_failures={
            task_id: described(reference.outcome)
            for task_id, reference in references.items()
            if reference.outcome.verdict is not Verdict.PASSED
        },
        missing_layers=pool.missing,
        seconds=time.monotonic() - started,
        not_run=not_run,
        programs=len(distinct),
        provenance=benchmark.provenance,
    )


def grade_samples_file(path: Path, benchmark: Benchmark, settings: Settings | None = None) -> GradeResult:
    """Grade samples made elsewhere, in a file or directory that `read_samples` reads.

    Raises CodeBlockError as `grade`, with the line, and where there is no sample of the benchmark.
    """
    samples = _named([Sample.of(row, place) for place, row in read_samples(path)], benchmark)
    if not {sample.task_id for sample in samples} & {task.task_id for task in benchmark.tasks}:
        first = f"first task_id {samples[0].task_id!r}" if samples else "it is empty"
        raise CodeBlockError(
            f"samples {path}: no sample of benchmark {benchmark.name} ({first}); choose the other file or benchmark"
        )
    return grade(samples, benchmark, settings)


def _named(samples: list[Sample], benchmark: Benchmark) -> list[Sample]:
    """The samples with the task ids that the benchmark gives its tasks."""
    named = task_names([task.task_id for task in benchmark.tasks])
    return [replace(sample, task_id=named(sample.task_id)) for sample in samples]


def run_references(
    pool: Pool, benchmark: Benchmark, tasks: Sequence[Task], settings: Settings, expectations: Expectations
) -> dict[str, Reference]:
    """Grade the benchmark's own solutions. Raises CodeBlockError where all fail: then the limits or the machine are wrong."""

    def work(sandbox: Sandbox, task: Task) -> Reference:
        limits = settings.limits(task)
        patience = max(limits.timeout_seconds, min(REFERENCE_PATIENCE * limits.timeout_seconds, MOST_PATIENCE_SECONDS))
        patient = replace(limits, timeout_seconds=patience)
        if isinstance(task.oracle, Cases):
            outcome, expected = expectations.of(sandbox, task.oracle, limits)
            return Reference(checked(outcome, task), expected, limits)
        code, rehearsal = benchmark.code(task, task.reference), None
        if isinstance(task.oracle, UnitTest):
            outcome, rehearsal = sandbox.rehearse(code, task.oracle, patient)
        else:
            outcome = sandbox.run(code, task.oracle, patient)
        outcome = checked(outcome, task)
        seconds = max(limits.timeout_seconds, limits.reference_factor * outcome.seconds)
        calibrated = outcome.verdict is Verdict.PASSED
        return Reference(outcome, rehearsal, replace(limits, timeout_seconds=seconds) if calibrated else limits)

    found = dict(zip((task.task_id for task in tasks), pool.map(f"references of {benchmark.name}", work, tasks), strict=True))
    failures = [described(each.outcome) for each in found.values() if each.outcome.verdict is not Verdict.PASSED]
    if failures and len(failures) == len(found):
        raise CodeBlockError(
            f"benchmark {benchmark.name}: all {len(failures)} reference solutions fail here ({failures[0]}); "
            "raise evaluate.timeout_seconds or evaluate.memory_mb, or check the benchmark's file"
        )
    return found


def program_of(sample: Sample, benchmark: Benchmark, task: Task) -> Program:
    """What a sample stands for, put together as its benchmark does it."""
    if sample.solution is None:
        return Program(task.task_id, benchmark.code(task, sample.completion or ""))
    return Program(task.task_id, benchmark.from_solution(task, sample.solution))


def run_programs(
    pool: Pool, tasks: Mapping[str, Task], programs: Sequence[Program], references: Mapping[str, Reference]
) -> list[VerdictRow]:
    """The verdict on each program, in their order. One that comes several times is run once.

    Programs of one task follow each other: its tests are read once.
    """

    def work(sandbox: Sandbox, program: Program) -> Outcome:
        task, reference = tasks[program.task_id], references[program.task_id]
        if isinstance(task.oracle, Cases) and reference.known is None:
            return Outcome(
                Verdict.WRONG_ANSWER, 0.0, f"no expected outputs: the reference fails ({described(reference.outcome)})"
            )
        return checked(sandbox.run(program.code, task.oracle, reference.limits, reference.known), task)

    distinct = sorted(dict.fromkeys(programs), key=lambda program: program.task_id)
    outcomes = dict(zip(distinct, pool.map("samples", work, distinct), strict=True))
    rows, seen = [], Counter[str]()
    for program in programs:
        found, number = outcomes[program], seen[program.task_id]
        seen[program.task_id] += 1
        rows.append(VerdictRow(program.task_id, number, found.verdict, found.seconds, found.error, found.base))
    return rows


def checked(outcome: Outcome, task: Task) -> Outcome:
    """The outcome, unless the harness failed: that is never counted as a failure of a solution."""
    if outcome.verdict is Verdict.HARNESS_ERROR:
        raise CodeBlockError(f"grading: {task.task_id}: {outcome.error}; the run stops")
    return outcome


def described(outcome: Outcome) -> str:
    return f"{outcome.verdict.value}: {outcome.error}"


def missing_packages(benchmark: Benchmark, python: str | None) -> dict[str, list[str]]:
    """Tasks that need modules which the interpreter of the solutions does not have, with these."""
    wanted = {name for task in benchmark.tasks for name in task.needs}
    absent = wanted - importable(python or sys.executable, wanted) if wanted else set()
    return {
        task.task_id: sorted(absent.intersection(task.needs)) for task in benchmark.tasks if absent.intersection(task.needs)
    }
