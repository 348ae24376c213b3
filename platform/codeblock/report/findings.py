"""What the table of arms shows of one arm against its controls, and what it does not: a sentence for each measure."""

from __future__ import annotations

from collections.abc import Sequence

from codeblock.core.metrics import PairedComparison, PairedMeans
from codeblock.report.differences import Differences, NllDifferences

LEVEL = 0.05
"""Below it a p counts as a difference, where the 95% interval leaves 0 out as well."""
BETTER, WORSE, OPEN = "better than", "worse than", "no difference shown against"


def findings(every: Sequence[Differences | NllDifferences]) -> list[str]:
    """A sentence for each, and one that says how far they reach. `baseline` is the arm that is spoken of."""
    every = [each for each in every if each.arms]
    return [*map(summary_sentence, every), *([_reach(every)] if every else [])]


def summary_sentence(found: Differences | NllDifferences) -> str:
    """What was found of `found.baseline` against each of its other arms, grouped by the outcome.

    Numbers are the baseline's less the other's: the other way round than in the table of differences.
    """
    groups: dict[str, list[str]] = {BETTER: [], WORSE: [], OPEN: []}
    for name, other in found.arms.items():
        groups[_outcome(other)].append(f"{name} ({_difference(other, found.by_seed.get(name, ()))})")
    told = "; ".join(f"{outcome} {', '.join(names)}" for outcome, names in groups.items() if names)
    measure = "reference nll (less is better)" if isinstance(found, NllDifferences) else "pass@1"
    tasks = sorted({other.tasks for other in found.arms.values()})
    count = f"{tasks[0]:,}" if len(tasks) == 1 else f"{tasks[0]:,} to {tasks[-1]:,}"
    return f"{found.baseline}, {found.benchmark} {measure} over {count} tasks: {told}"


def _outcome(other: PairedComparison | PairedMeans) -> str:
    low, high = _interval(other)
    if low is None or high is None or other.p_value is None or other.p_value >= LEVEL or low <= 0 <= high:
        return OPEN
    return BETTER if (low > 0) == isinstance(other, PairedComparison) else WORSE


def _interval(other: PairedComparison | PairedMeans) -> tuple[float, float] | tuple[None, None]:
    """Ends of the 95% interval of the first less the second."""
    low, high = other.interval if isinstance(other, PairedComparison) else (other.low, other.high)
    return (None, None) if low is None or high is None else (-high, -low)


def _difference(other: PairedComparison | PairedMeans, by_seed: Sequence[float]) -> str:
    form = "+z.3f" if isinstance(other, PairedComparison) else "+z.4f"
    low, high = _interval(other)
    interval = "" if low is None else f" [{low:{form}}, {high:{form}}]"
    seeds = sorted(-each for each in by_seed)
    spread = f", seeds {seeds[0]:{form}} to {seeds[-1]:{form}}" if seeds else ""
    return f"{-other.difference:{form}}{interval}{spread}"


def _reach(every: Sequence[Differences | NllDifferences]) -> str:
    """What the sentences rest on: the test, how many there were, and seeds."""
    count = sum(len(each.arms) for each in every)
    many = f", {count} comparisons, not corrected for their number" if count > 1 else ""
    seeds = max(len(seeds) for each in every for seeds in (*each.by_seed.values(), ()))
    told = (
        f"the {seeds} seeds are averaged within a task, so the intervals are of tasks and do not hold the spread of seeds"
        if seeds
        else "one seed, which says nothing about what another would give"
    )
    return (
        f"(the arm's less the other's, with 95% intervals over tasks; paired tests at {LEVEL:.0%}{many}; "
        f"no difference shown is not none; {told})"
    )
