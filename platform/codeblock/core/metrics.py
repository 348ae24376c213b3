"""Numbers from verdicts: pass@k, its interval over tasks, and the comparison of two arms on the same tasks.

A task's counts are (samples, passed). All intervals are of 95% and over tasks: samples of one task are not independent.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 10_000

Counts = tuple[int, int]
"""(samples, passed) of a task."""
Interval = tuple[float, float]


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Chance that one of k samples passes, drawn without replacement from `samples` of which `passed` pass.

    The unbiased estimate 1 - C(n-c, k) / C(n, k) of Chen et al. 2021 (arXiv 2107.03374, section 2.1).
    Raises ValueError where k is more than there are samples.
    """
    if not 0 < k <= samples or not 0 <= passed <= samples:
        raise ValueError(f"pass@{k} of {samples} samples, {passed} passed")
    return 1.0 - math.comb(samples - passed, k) / math.comb(samples, k)


def mean_pass_at_k(counts: Sequence[Counts], k: int) -> float:
    """Mean pass@k over tasks. A task without samples counts as 0; no tasks at all give 0."""
    return sum(_rates(counts, k)) / len(counts) if counts else 0.0


def pass_at_k_interval(counts: Sequence[Counts], k: int = 1) -> Interval:
    """95% interval of pass@k over tasks; (0, 1) where there are no tasks.

    Wilson's score interval where each task is passed always or never, as with one sample; else the percentile bootstrap over
    tasks (seeded), which would be a point where all are alike.
    """
    if not counts:
        return 0.0, 1.0
    rates = _rates(counts, k)
    if all(rate in (0.0, 1.0) for rate in rates):
        return _wilson(round(sum(rates)), len(rates))
    return _bootstrap(np.array(rates))


def pooled_counts(tables: Sequence[Mapping[str, Counts]]) -> dict[str, Counts]:
    """(samples, passed) of each task that all seeds have, summed over them."""
    common = [task for task in tables[0] if all(task in table for table in tables)]
    return {task: (sum(table[task][0] for table in tables), sum(table[task][1] for table in tables)) for task in common}


def mean_of(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over seeds of each task that all of them have."""
    common = [task for task in tables[0] if all(task in table for table in tables)]
    return {task: statistics.fmean(table[task] for table in tables) for task in common}


def mean_interval(values: Sequence[float]) -> Interval | tuple[None, None]:
    """95% interval of a mean of one value per task, by Student's t; (None, None) below two values."""
    if len(values) < 2:
        return None, None
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(CONFIDENCE) if np.ptp(values) else (values[0], values[0])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedComparison:
    """Two arms on the same tasks."""

    tasks: int
    """Tasks that both arms have."""
    left_out: int
    """Tasks that only one of them has: left out of everything here."""
    first: float
    """pass@1 of the first arm on these tasks."""
    first_interval: Interval
    second: float
    second_interval: Interval
    difference: float
    """pass@1 of the second arm less that of the first."""
    interval: Interval
    """95% interval of the difference."""
    only_first: int
    """Tasks of which the first arm passes a larger share of samples; with one sample a task, that only it passes."""
    only_second: int
    p_value: float
    """Two-sided: the chance of a difference at least as large where the arms are equally good."""
    method: str
    """How `interval` and `p_value` were found."""


def compare(first: Mapping[str, Counts], second: Mapping[str, Counts]) -> PairedComparison:
    """Compare two arms, each {task_id: counts}, on the tasks that both have.

    One sample a task: exact McNemar test, and Newcombe's interval of a paired difference. Several: p from a paired permutation
    test (the arms of a task exchanged at random, of which exact McNemar is the case of one sample), and the interval from the
    percentile bootstrap over tasks. Both seeded. Raises ValueError where the arms have no task in common.
    """
    tasks = [task for task in first if task in second]
    if not tasks:
        raise ValueError(f"arms have no task in common, {len(first)} and {len(second)} graded")
    counts = [first[task] for task in tasks], [second[task] for task in tasks]
    rates = tuple(np.array(_rates(arm, 1)) for arm in counts)
    differences = rates[1] - rates[0]
    better = int((differences < 0).sum()), int((differences > 0).sum())
    if all(samples <= 1 for arm in counts for samples, _ in arm):
        both = int((rates[0] * rates[1]).sum())
        interval, method = newcombe(both, *better, len(tasks)), "exact McNemar, Newcombe interval"
        p_value = float(stats.binomtest(better[1], sum(better)).pvalue) if sum(better) else 1.0
    else:
        interval, method = _bootstrap(differences), "paired permutation test, bootstrap interval"
        p_value = _permutation(differences)
    return PairedComparison(
        tasks=len(tasks),
        left_out=len(first.keys() ^ second.keys()),
        first=float(rates[0].mean()),
        first_interval=pass_at_k_interval(counts[0]),
        second=float(rates[1].mean()),
        second_interval=pass_at_k_interval(counts[1]),
        difference=float(differences.mean()),
        interval=interval,
        only_first=better[0],
        only_second=better[1],
        p_value=p_value,
        method=method,
    )


@dataclass(frozen=True)
class PairedMeans:
    """A number per task of two models on the same tasks: here the reference nll, where less is better."""

    tasks: int
    """Tasks that both have."""
    left_out: int
    """Tasks that only one of them has: left out of everything here."""
    first: float
    second: float
    difference: float
    """Mean of the second less that of the first."""
    low: float | None
    """Ends of the 95% interval of the difference; None below two tasks."""
    high: float | None
    p_value: float | None
    """Two-sided, of the paired t test; None below two tasks, and where all differences are equal."""


def compare_means(first: Mapping[str, float], second: Mapping[str, float]) -> PairedMeans:
    """Compare two models, each {task_id: value}, on the tasks that both have: the paired t test and its interval.

    Raises ValueError where they have no task in common.
    """
    tasks = [task for task in first if task in second]
    if not tasks:
        raise ValueError(f"no task in common, {len(first)} and {len(second)} measured")
    values = np.array([[first[task], second[task]] for task in tasks])
    differences = values[:, 1] - values[:, 0]
    varies = len(tasks) > 1 and np.ptp(differences) > 0
    low, high = mean_interval(differences.tolist())
    return PairedMeans(
        tasks=len(tasks),
        left_out=len(first.keys() ^ second.keys()),
        first=float(values[:, 0].mean()),
        second=float(values[:, 1].mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        p_value=float(stats.ttest_1samp(differences, 0.0).pvalue) if varies else None,
    )


def newcombe(both: int, only_first: int, only_second: int, tasks: int) -> Interval:
    """95% interval of the paired difference (second less first) of two shares of `tasks`.

    Wilson's intervals of the two shares, squared and added, with a correction for the correlation of the arms: method 10 of
    Newcombe 1998, Statistics in Medicine 17, 2635-2650.
    """
    neither = tasks - both - only_first - only_second
    totals = both + only_second, both + only_first  # second, first
    (low2, high2), (low1, high1) = (_wilson(total, tasks) for total in totals)
    p2, p1 = (total / tasks for total in totals)
    product = math.prod(total * (tasks - total) for total in totals)
    excess = float(both * neither - only_first * only_second)
    if excess > 0:
        excess = max(excess - tasks / 2, 0.0)
    phi = excess / math.sqrt(product) if product else 0.0

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))

    difference = p2 - p1
    return max(difference - reach(p2 - low2, high1 - p1), -1.0), min(difference + reach(high2 - p2, p1 - low1), 1.0)


def _rates(counts: Sequence[Counts], k: int) -> list[float]:
    return [pass_at_k(samples, passed, k) if samples else 0.0 for samples, passed in counts]


def _wilson(passed: int, tasks: int) -> Interval:
    interval = stats.binomtest(passed, tasks).proportion_ci(CONFIDENCE, "wilson")
    return float(interval.low), float(interval.high)


def _bootstrap(values: np.ndarray) -> Interval:
    """Percentile bootstrap of the mean of one value per task."""
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _permutation(differences: np.ndarray) -> float:
    """p of a mean difference as far from 0 as this one where the sign of each task's difference is a matter of chance."""
    test = stats.permutation_test(
        (differences,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        n_resamples=RESAMPLES - 1,
        batch=1000,
        vectorized=True,
        random_state=np.random.default_rng(0),
    )
    return float(test.pvalue)
