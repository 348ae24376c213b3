"""From the facts of arms and seeds to the rows of the table: means over seeds, intervals over tasks.

Seeds of one arm are averaged task by task before anything else, so intervals and comparisons are over tasks. Verdicts of
several seeds are pooled as samples of a task, which is that average, for each seed has as many samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from codeblock.core.metrics import compare_means, mean_of, mean_pass_at_k, pass_at_k_interval, pooled_counts
from codeblock.evaluate.stored_nll import read_reference_nll
from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.differences import read_counts
from codeblock.report.table import ArmRow, NllScore, Score

if TYPE_CHECKING:
    from codeblock.experiment.results import ArmResult

NllByTask = Mapping[str, float]
"""Reference nll by task."""


def by_arm(results: Sequence[ArmResult]) -> dict[str, list[ArmResult]]:
    """The results of each arm's seeds, in order."""
    groups: dict[str, list[ArmResult]] = {}
    for result in results:
        groups.setdefault(result.plan.arm, []).append(result)
    return groups


def arm_row(
    name: str, seeds: Sequence[ArmResult], untrained: Mapping[str, NllByTask], tflops: Sequence[float | None]
) -> ArmRow:
    """The row of one arm, or of one seed of it where `seeds` has one."""
    selected: list[Mapping[str, Any]] = [seed.selected or {} for seed in seeds]
    trained: list[Mapping[str, Any]] = [seed.trained or {} for seed in seeds]
    known = [each for each in tflops if each is not None]
    return ArmRow(
        arm=name,
        scores={benchmark: score_of(seeds, benchmark) for benchmark in seeds[0].evaluated},
        supervised_tokens=_whole(_mean(selected, "supervised_tokens")),
        supervised_share=_mean(selected, "supervised_share"),
        asked_share=_mean(selected, "asked_share"),
        pairs=_whole(_mean(selected, "supervised_pairs")),
        processed_tokens=_whole(_mean(trained, "processed_tokens")),
        train_seconds=_mean(trained, "train_seconds"),
        inside_share=_mean(selected, "inside_share"),
        asked_inside_share=_mean(selected, "asked_inside_share"),
        subset_ratio=_mean(selected, "subset_ratio"),
        asked_subset_ratio=_mean(selected, "asked_subset_ratio"),
        total_tflops=fmean(known) if known and seeds[0].trained is not None else None,
        nll={benchmark: nll_of(seeds, benchmark, untrained.get(benchmark)) for benchmark in seeds[0].reference_nll},
        seeds=len(seeds),
    )


def score_of(seeds: Sequence[ArmResult], benchmark: str) -> Score:
    """pass@1 of one arm on one benchmark."""
    facts = [seed.evaluated[benchmark] for seed in seeds]
    if len(seeds) == 1:
        return Score(facts[0]["tasks"], facts[0]["pass_at_1"], facts[0]["low"], facts[0]["high"])
    verdicts = [read_counts(seed.plan.graded[benchmark].directory / "verdicts.parquet") for seed in seeds]
    counts = list(pooled_counts(verdicts).values())
    low, high = pass_at_k_interval(counts)
    return Score(len(counts), mean_pass_at_k(counts, 1), low, high, tuple(each["pass_at_1"] for each in facts))


def nll_of(seeds: Sequence[ArmResult], benchmark: str, untrained: NllByTask | None) -> NllScore:
    """Reference nll of one arm on one benchmark, and its change against the untrained model on the same tasks."""
    tables = [reference_nll_of(seed.plan, benchmark) for seed in seeds]
    mean = mean_of(tables)
    if not seeds[0].plan.rounds or untrained is None or not mean:
        return NllScore(len(mean), fmean(mean.values()) if mean else float("nan"))
    found = compare_means(untrained, mean)
    by_seed = tuple(compare_means(untrained, each).difference for each in tables) if len(seeds) > 1 else ()
    return NllScore(found.tasks, found.second, found.difference, found.low, found.high, by_seed)


def reference_nll_of(arm: ArmPlan, benchmark: str) -> dict[str, float]:
    """The reference nll of one arm and seed by task."""
    return read_reference_nll(arm.reference_nll[benchmark].directory)


def mean_rows(tables: Sequence[Sequence[Mapping[str, Any]]], keys: Sequence[str], value: str) -> list[dict[str, Any]]:
    """Tables of several seeds as one: the mean of `value` over the rows with equal `keys`, in the order in which they come."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for table in tables:
        for row in table:
            groups.setdefault(tuple(row[key] for key in keys), []).append(row[value])
    return [{**dict(zip(keys, key, strict=True)), value: fmean(values)} for key, values in groups.items()]


def _mean(facts: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """Mean over seeds; None where a seed lacks the number."""
    values = [each.get(key) for each in facts]
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
