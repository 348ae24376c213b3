"""Which point is the best: chosen on one part of the tasks, reported on the other.

The best of many points on some tasks is better there than it is: choosing and reporting on the same tasks would inflate it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from scipy import stats

from codeblock.core.config import Config
from codeblock.core.errors import CodeBlockError
from codeblock.core.metrics import compare_means, mean_of, mean_pass_at_k, pass_at_k_interval, pooled_counts
from codeblock.report.table import NllScore, Score
from codeblock.sweep.points import Point
from codeblock.sweep.record import Record

NllByBenchmark = Mapping[str, Mapping[str, float]]
"""Reference nll by benchmark and task."""


@dataclass(frozen=True)
class TaskSplit:
    """Which tasks choose and which report."""

    choose_on: str | None

    def chooses(self, benchmark: str, task: str) -> bool:
        """Whether a task is one of those by which the best point is chosen."""
        if self.choose_on is not None:
            return benchmark == self.choose_on
        return hashlib.sha256(f"{benchmark} {task}".encode()).digest()[0] % 2 == 0

    def told(self, benchmarks: Sequence[str]) -> str:
        """How tasks are divided, for the report."""
        if self.choose_on is not None:
            others = ", ".join(name for name in benchmarks if name != self.choose_on)
            return f"chosen on {self.choose_on}, reported on {others}"
        names = ", ".join(benchmarks)
        return f"chosen on one half of the tasks of {names} (by a hash of their ids), reported on the other half"


def parts_of(config: Config) -> TaskSplit:
    """The division that a config asks for. Raises CodeBlockError where nothing chooses, or nothing is left to report."""
    sweep, names = config.sweep, list(config.evaluate.benchmarks)
    if not names:
        raise CodeBlockError("evaluate.benchmarks: empty, so nothing chooses a point; name at least one benchmark for a sweep")
    if sweep.choose_on is not None and (sweep.choose_on not in names or len(names) < 2):
        raise CodeBlockError(
            f"sweep.choose_on={sweep.choose_on}: has to be one of several benchmarks; there are {', '.join(names)}"
        )
    if sweep.measure == "reference_nll" and not config.evaluate.reference_nll:
        raise CodeBlockError("sweep.measure=reference_nll: needs evaluate.reference_nll=true")
    if sweep.measure == "pass_at_1" and sweep.arm in config.arms and not config.arms[sweep.arm].generate:
        raise CodeBlockError(f"sweep.measure=pass_at_1: arms.{sweep.arm} has generate=false; set sweep.measure=reference_nll")
    return TaskSplit(sweep.choose_on)


def check_halves(parts: TaskSplit, tasks: Mapping[str, Iterable[str]]) -> None:
    """Raise CodeBlockError where no task of any benchmark chooses, or none is left to report: so few there may be."""
    sides = {parts.chooses(name, task) for name, ids in tasks.items() for task in ids}
    if len(sides) == 1:
        missing = "report the point that they choose" if True in sides else "choose a point"
        raise CodeBlockError(
            f"evaluate.benchmarks: none of the tasks of {', '.join(tasks)} is left to {missing}; raise evaluate.limit"
        )


def merit(record: Record, parts: TaskSplit, measure: str) -> float:
    """What a trial is chosen by, more being better: mean over benchmarks on the choosing tasks."""
    if measure == "pass_at_1":
        found = [mean_pass_at_k(list(counts.values()), 1) for counts in _part(record.counts, parts, True).values() if counts]
    else:
        found = [-fmean(nll.values()) for nll in _part(record.nll, parts, True).values() if nll]
    return fmean(found) if found else float("-inf")


@dataclass(frozen=True)
class PointResult:
    """One point of the table: means over its seeds."""

    point: Point
    records: list[Record]
    merit: float | None
    """What it is chosen by; None where a seed was stopped or failed."""
    chosen: dict[str, Score]
    """pass@1 on the choosing tasks, by benchmark."""
    scores: dict[str, Score]
    """pass@1 on the reported tasks."""
    nll: dict[str, NllScore]
    """Reference nll on the reported tasks."""

    @property
    def whole(self) -> bool:
        """Whether all its seeds were evaluated."""
        return self.merit is not None

    def state(self) -> str:
        """What became of its seeds, where not all were evaluated."""
        told = []
        for status in ("stopped", "failed"):
            these = [record for record in self.records if record.status == status]
            if these:
                steps = [str(record.steps) for record in these if record.steps]
                when = f" at step {', '.join(steps)}" if steps else ""
                told.append(f"{status} {len(these)} of {len(self.records)}{when}")
        return "; ".join(told)

    def mean(self, section: str, key: str) -> float | None:
        """Mean over seeds of a fact of the selection or the fit."""
        values = [getattr(record, section).get(key) for record in self.records if record.status == "evaluated"]
        known = [float(value) for value in values if value is not None]
        return fmean(known) if known else None


def results_of(records: Sequence[Record], seeds: Sequence[int], config: Config, untrained: NllByBenchmark) -> list[PointResult]:
    """The points of the records, the best first; those that were not evaluated with every seed at the end.

    Equals come in the order of their names: in that of their ends, the same command could take another one for the best.
    """
    parts, measure = parts_of(config), config.sweep.measure
    by_point: dict[Point, list[Record]] = {}
    for record in records:
        by_point.setdefault(record.point, []).append(record)
    found = [_result(point, each, seeds, parts, measure, untrained) for point, each in by_point.items()]
    return sorted(found, key=lambda each: (not each.whole, -(each.merit or 0.0), each.point.name))


def _result(
    point: Point, records: list[Record], seeds: Sequence[int], parts: TaskSplit, measure: str, untrained: NllByBenchmark
) -> PointResult:
    done = [record for record in records if record.status == "evaluated"]
    whole = len(done) == len(seeds)
    return PointResult(
        point,
        records,
        fmean(merit(record, parts, measure) for record in done) if whole else None,
        _scores(done, parts, chosen=True),
        _scores(done, parts, chosen=False),
        _nll(done, parts, untrained),
    )


def _scores(records: Sequence[Record], parts: TaskSplit, chosen: bool) -> dict[str, Score]:
    tables = [_part(record.counts, parts, chosen) for record in records]
    found = {}
    for name in tables[0] if tables else ():
        counts = list(pooled_counts([table[name] for table in tables]).values())
        if counts:
            by_seed = tuple(mean_pass_at_k(list(table[name].values()), 1) for table in tables) if len(tables) > 1 else ()
            found[name] = Score(len(counts), mean_pass_at_k(counts, 1), *pass_at_k_interval(counts), by_seed)
    return found


def _nll(records: Sequence[Record], parts: TaskSplit, untrained: NllByBenchmark) -> dict[str, NllScore]:
    tables, before = [_part(record.nll, parts, False) for record in records], _part(untrained, parts, False)
    found = {}
    for name in tables[0] if tables else ():
        mean = mean_of([table[name] for table in tables])
        if mean and before.get(name, {}).keys() & mean.keys():
            each = compare_means(before[name], mean)
            found[name] = NllScore(each.tasks, each.second, each.difference, each.low, each.high)
        elif mean:
            found[name] = NllScore(len(mean), fmean(mean.values()))
    return found


def _part(tables: Mapping[str, Mapping[str, Any]], parts: TaskSplit, chosen: bool) -> dict[str, dict[str, Any]]:
    return {
        name: {task: value for task, value in tasks.items() if parts.chooses(name, task) == chosen}
        for name, tasks in tables.items()
    }


@dataclass(frozen=True)
class Prediction:
    """How well the reference nll of a point foretells its pass@1, over the points of a sweep."""

    benchmark: str
    points: int
    correlation: float
    """Spearman's rank correlation of pass@1 and the negative nll: 1 where the likelier references always solve more."""
    p_value: float


def prediction(results: Sequence[PointResult], benchmark: str) -> Prediction | None:
    """The rank correlation over the whole points; None below three points, and where one of both does not vary."""
    pairs = [
        (each.scores[benchmark].pass_at_1, -each.nll[benchmark].nll)
        for each in results
        if each.whole and benchmark in each.scores and benchmark in each.nll
    ]
    if len(pairs) < 3 or any(len({pair[side] for pair in pairs}) < 2 for side in (0, 1)):
        return None
    found = stats.spearmanr([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return Prediction(benchmark, len(pairs), float(found.statistic), float(found.pvalue))
