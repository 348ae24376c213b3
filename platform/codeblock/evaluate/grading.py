"""Grade samples: hold each in a sandbox against its task's oracle, several at a time, and count.

The benchmark's own solutions come first. They give the expected outputs of tasks that have inputs alone, and the time that a
task takes on this machine, which its limit is never below a multiple of. A task whose reference fails here is named in the
result: its verdicts say something about the machine, not about the model. It still counts, as it does for public graders.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks import Benchmark, Task
from codeblock.evaluate.expectations import Expectations
from codeblock.evaluate.formats import read_samples
from codeblock.evaluate.result import GradeResult, Sample, VerdictRow, task_names
from codeblock.sandbox.interpreters import importable
from codeblock.sandbox.oracles import Cases, Limits
from codeblock.sandbox.pool import Pool, Settings
from codeblock.sandbox.sandbox import REFERENCE_PATIENCE, Expected, Outcome, Rehearsal, Sandbox, Verdict

MOST_PATIENCE_SECONDS = 60.0
"""A reference has at most so long where the official limit is shorter."""


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


@dataclass
class Graded:
    """How references and programs ended."""

    references: dict[str, Outcome] = field(default_factory=dict)
    """By task."""
    outcomes: dict[Program, Outcome] = field(default_factory=dict)
    missing_layers: list[str] = field(default_factory=list)
    """Layers of the sandbox that some machine lacked."""
    nodes: dict[str, int] = field(default_factory=dict)
    """Programs by the node of a cluster that ran them. Empty: all ran on this machine."""


Run = Callable[[Benchmark, Sequence[Program], Settings], Graded]
"""Runs the references of a benchmark's tasks, and different programs."""


def run_here(benchmark: Benchmark, programs: Sequence[Program], settings: Settings, *, whole: bool = True) -> Graded:
    """Run references and programs on this machine. Raises CodeBlockError as `grade`.

    `whole`: these are all tasks, so there is no use in going on where every reference fails.
    """
    with Pool(settings, max(len(programs), len(benchmark.tasks))) as pool, Expectations(settings.store) as expectations:
        references = run_references(pool, benchmark, settings, expectations)
        found = {task_id: reference.outcome for task_id, reference in references.items()}
        if whole:
            require_references(benchmark, found)
        return Graded(found, run_programs(pool, benchmark, programs, references), pool.missing)


def grade(samples: Iterable[Sample | Mapping[str, Any]], benchmark: Benchmark, settings: Settings | None = None) -> GradeResult:
    """Grade samples of a benchmark on this machine.

    The references of the tasks that have samples are run too. Raises CodeBlockError for a sample without task id or text, where
    every reference fails, where layers of the sandbox are missing, and where the harness fails.
    """
    return grade_by(run_here, samples, benchmark, settings or Settings())


def grade_by(run: Run, samples: Iterable[Sample | Mapping[str, Any]], benchmark: Benchmark, settings: Settings) -> GradeResult:
    """`grade`, the programs being run by `run`."""
    started = time.monotonic()
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
    distinct = list(dict.fromkeys(programs))
    asked = {program.task_id for program in distinct}  # no reference is run for a task without a sample
    graded = run(replace(benchmark, tasks=[task for name, task in tasks.items() if name in asked]), distinct, settings)
    all_tasks = {task.task_id for task in benchmark.tasks}
    return GradeResult(
        benchmark=benchmark.name,
        rows=rows_of(programs, graded.outcomes),
        tasks=list(tasks),
        unknown_tasks=list(dict.fromkeys(sample.task_id for sample in given if sample.task_id not in all_tasks)),
        reference_failures={
            task_id: described(outcome)
            for task_id, outcome in graded.references.items()
            if outcome.verdict is not Verdict.PASSED
        },
        missing_layers=graded.missing_layers,
        seconds=time.monotonic() - started,
        not_run=not_run,
        programs=len(distinct),
        provenance=benchmark.provenance,
        nodes=graded.nodes,
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


def run_references(pool: Pool, benchmark: Benchmark, settings: Settings, expectations: Expectations) -> dict[str, Reference]:
    """Run the own solutions of these tasks; by task."""

    def work(sandbox: Sandbox, task: Task) -> Reference:
        limits = settings.limits(task.limits)
        patience = max(limits.timeout_seconds, min(REFERENCE_PATIENCE * limits.timeout_seconds, MOST_PATIENCE_SECONDS))
        patient = replace(limits, timeout_seconds=patience)
        if isinstance(task.oracle, Cases):
            outcome, expected = expectations.of(sandbox, task.oracle, limits)
            return Reference(checked(outcome, task), expected, limits)
        outcome, rehearsal = expectations.of_tests(sandbox, benchmark.code(task, task.reference), task.oracle, patient)
        outcome = checked(outcome, task)
        seconds = max(limits.timeout_seconds, limits.reference_factor * outcome.seconds)
        calibrated = outcome.verdict is Verdict.PASSED
        return Reference(outcome, rehearsal, replace(limits, timeout_seconds=seconds) if calibrated else limits)

    tasks = benchmark.tasks
    found = pool.map(f"references of {benchmark.name}", work, tasks)
    return dict(zip((task.task_id for task in tasks), found, strict=True))


def require_references(benchmark: Benchmark, outcomes: Mapping[str, Outcome]) -> None:
    """Raise CodeBlockError where all references fail: then the limits or the machine are wrong."""
    failures = [described(outcome) for outcome in outcomes.values() if outcome.verdict is not Verdict.PASSED]
    if failures and len(failures) == len(outcomes):
        raise CodeBlockError(
            f"benchmark {benchmark.name}: all {len(failures)} reference solutions fail here ({failures[0]}); "
            "raise evaluate.timeout_seconds or evaluate.memory_mb, or check the benchmark's file"
        )


def program_of(sample: Sample, benchmark: Benchmark, task: Task) -> Program:
    """What a sample stands for, put together as its benchmark does it."""
    if sample.solution is None:
        return Program(task.task_id, benchmark.code(task, sample.completion or ""))
    return Program(task.task_id, benchmark.from_solution(task, sample.solution))


def run_programs(
    pool: Pool, benchmark: Benchmark, programs: Sequence[Program], references: Mapping[str, Reference]
) -> dict[Program, Outcome]:
    """How different programs ended. Those of one task follow each other: its tests are read once."""
    tasks = {task.task_id: task for task in benchmark.tasks}

    def work(sandbox: Sandbox, program: Program) -> Outcome:
        task, reference = tasks[program.task_id], references[program.task_id]
        if isinstance(task.oracle, Cases) and reference.known is None:
            return Outcome(
                Verdict.WRONG_ANSWER, 0.0, f"no expected outputs: the reference fails ({described(reference.outcome)})"
            )
        return checked(sandbox.run(program.code, task.oracle, reference.limits, reference.known), task)

    ordered = sorted(programs, key=lambda program: program.task_id)
    return dict(zip(ordered, pool.map("samples", work, ordered), strict=True))


def rows_of(programs: Iterable[Program], outcomes: Mapping[Program, Outcome]) -> list[VerdictRow]:
    """The verdicts on the programs of samples, in their order. Samples that are one program share its verdict."""
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
