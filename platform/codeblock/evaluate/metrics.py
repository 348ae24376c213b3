"""Numbers from verdicts: pass@k, its interval over tasks, and the comparison of two arms on the same tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Chance that one of k samples passes, drawn without replacement from `samples` of which `passed` pass.

    The unbiased estimate 1 - C(n-c, k) / C(n, k) of Chen et al. 2021 (arXiv 2107.03374, section 2.1).
    Raises ValueError where k is more than there are samples.
    """
    if not 0 < k <= samples or not 0 <= passed <= samples:
        raise ValueError(f"pass@{k} of {samples} samples, {passed} passed")
    return 1.0 - math.comb(samples - passed, k) / math.comb(samples, k)


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> float:
    """Mean pass@k over tasks; `counts` holds (samples, passed) of each task. A task without samples counts as 0."""
    return sum(pass_at_k(n, c, k) if n else 0.0 for n, c in counts) / len(counts)


def pass_at_1_interval(counts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """95% interval of pass@1 over tasks.

    Wilson's score interval where each task has at most one sample; else the percentile bootstrap over tasks (seeded), because
    samples of one task are not independent.
    """
    if all(n <= 1 for n, _ in counts):
        interval = stats.binomtest(sum(c for _, c in counts), len(counts)).proportion_ci(CONFIDENCE, "wilson")
        return float(interval.low), float(interval.high)
    rates = np.array([c / n if n else 0.0 for n, c in counts])
    resampled = rates[np.random.default_rng(0).integers(len(rates), size=(10_000, len(rates)))].mean(axis=1)
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedComparison:
    """Two arms on the same tasks."""

    tasks: int
    difference: float
    """pass@1 of the second arm less that of the first."""
    only_first: int
    """Tasks that only the first arm passes."""
    only_second: int
    p_value: float
    """Exact McNemar test, two-sided: the chance of so uneven a split where the arms are equally good."""


def compare(first: Mapping[str, bool], second: Mapping[str, bool]) -> PairedComparison:
    """Compare two arms, each {task_id: passed}. Raises ValueError where they are not about the same tasks, or about none."""
    if first.keys() != second.keys() or not first:
        raise ValueError(f"arms differ in {len(first.keys() ^ second.keys())} tasks, {len(first)} and {len(second)} graded")
    only_first = sum(first[task] and not second[task] for task in first)
    only_second = sum(second[task] and not first[task] for task in first)
    split = only_first + only_second
    p_value = float(stats.binomtest(only_second, split).pvalue) if split else 1.0
    return PairedComparison(len(first), (only_second - only_first) / len(first), only_first, only_second, p_value)
