"""Hold the arms of a finished run against one of them: task by task, the seeds of an arm averaged, and say what was found.

pass@1 is read from the verdicts, the reference nll from its own tables.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from codeblock.core.errors import CodeBlockError
from codeblock.core.metrics import Counts, compare, compare_means, mean_of, mean_pass_at_k, pooled_counts
from codeblock.core.storage.tables import read_part, write_text
from codeblock.evaluate.stored_nll import read_reference_nll
from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.cache import Step
from codeblock.experiment.plan import Plan
from codeblock.report.differences import Differences, NllDifferences, differences_markdown

METHOD = "codeblock"
"""Name of the strategy that the others are controls of."""
UNTRAINED = "untrained"
"""Name of the model as it is, where no arm is that."""

Seeds = list[ArmPlan]
Table = TypeVar("Table")
Found = TypeVar("Found")


def differences(plan: Plan, baseline: str | None = None) -> list[Differences]:
    """Each arm's pass@1 against that of `baseline` (default: the first arm), on every benchmark, on the tasks that all have.

    Arms that answer no benchmark are not among them. Empty where fewer than two do, or the baseline does not. Raises
    CodeBlockError where the baseline is no arm, or an arm was not evaluated yet.
    """
    arms = {name: seeds for name, seeds in _by_arm(plan, baseline).items() if seeds[0].graded}
    if len(arms) < 2 or (baseline is not None and baseline not in arms):
        return []
    first = baseline or next(iter(arms))
    return [_on_benchmark(arms, first, benchmark) for benchmark in plan.config.evaluate.benchmarks]


def nll_differences(plan: Plan, baseline: str | None = None) -> list[NllDifferences]:
    """Each arm's reference nll against that of `baseline` (default: the untrained model), on the tasks that both have.

    A benchmark of which no reference counts is left out, as its row of dashes in the table of arms tells.
    """
    arms = {name: seeds for name, seeds in _by_arm(plan, baseline).items() if seeds[0].reference_nll}
    if not arms or (baseline is not None and baseline not in arms):
        return []
    first = baseline or next((name for name, seeds in arms.items() if not seeds[0].rounds), UNTRAINED)
    steps = {name: [seed.reference_nll for seed in seeds] for name, seeds in arms.items()}
    steps.setdefault(first, [plan.untrained_nll])
    if len(steps) == 1:
        return []
    found = (_nll_on_benchmark(steps, first, benchmark) for benchmark in plan.config.evaluate.benchmarks)
    return [each for each in found if each is not None]


def against_controls(plan: Plan) -> list[Differences | NllDifferences]:
    """Each arm of the strategy `codeblock` as the baseline, and against it every arm of another kind, by each measure.

    Empty where the run has no such arm, or nothing to hold it against. Raises CodeBlockError as `differences` does.
    """
    method = dict.fromkeys(arm.arm for arm in plan.arms if arm.strategy == METHOD)
    every: list[Differences | NllDifferences] = []
    for name in method:
        every += [replace(each, arms=_without(each.arms, method)) for each in differences(plan, name)]
        every += [replace(each, arms=_without(each.arms, method)) for each in nll_differences(plan, name)]
    return [each for each in every if each.arms]


def _without(arms: dict[str, Found], names: Container[str]) -> dict[str, Found]:
    return {name: found for name, found in arms.items() if name not in names}


def write_differences(found: Sequence[Differences], directory: Path, nll: Sequence[NllDifferences] = ()) -> list[Path]:
    """Write compare.md and compare.json; returns their paths."""
    files = [directory / "compare.md", directory / "compare.json"]
    every: list[Differences | NllDifferences] = [*found, *nll]
    write_text(files[0], differences_markdown(found, nll))
    write_text(files[1], json.dumps([each.facts() for each in every], indent=2))
    return files


def read_counts(verdicts: Path) -> dict[str, Counts]:
    """(samples, passed) of each task of a table of verdicts."""
    rows = read_part(verdicts, ["task_id", "verdict"]).to_pylist()
    samples = Counter(row["task_id"] for row in rows)
    passed = Counter(row["task_id"] for row in rows if row["verdict"] == "passed")
    return {task: (count, passed[task]) for task, count in samples.items()}


def _by_arm(plan: Plan, baseline: str | None) -> dict[str, Seeds]:
    arms: dict[str, Seeds] = {}
    for each in plan.arms:
        arms.setdefault(each.arm, []).append(each)
    if baseline is not None and baseline not in arms:
        raise CodeBlockError(f"--baseline {baseline}: no such arm; there are {', '.join(arms)}")
    return arms


def _on_benchmark(arms: dict[str, Seeds], first: str, benchmark: str) -> Differences:
    tables = {name: [_counts(seed, benchmark) for seed in seeds] for name, seeds in arms.items()}
    counts = {name: pooled_counts(each) for name, each in tables.items()}
    every = set().union(*(table for each in tables.values() for table in each))
    common = {task for task in every if all(task in arm for arm in counts.values())}
    if not common:
        raise CodeBlockError(f"{benchmark}: no task that every arm has; run `codeblock run` with the same config")
    kept = {name: {task: each for task, each in arm.items() if task in common} for name, arm in counts.items()}
    found = {name: compare(kept[first], arm) for name, arm in kept.items() if name != first}
    not_run = _not_run((seed for seeds in arms.values() for seed in seeds), benchmark)
    by_seed = {name: _by_seed(tables[first], tables[name], _difference) for name in found}
    return Differences(benchmark, first, found, len((every | not_run) - common), by_seed)


def _nll_on_benchmark(steps: dict[str, list[dict[str, Step]]], first: str, benchmark: str) -> NllDifferences | None:
    tables = {name: [_nll(each[benchmark], name) for each in seeds] for name, seeds in steps.items()}
    means = {name: mean_of(seeds) for name, seeds in tables.items()}
    if not all(means[first].keys() & mean.keys() for mean in means.values()):
        return None
    found = {name: compare_means(means[first], mean) for name, mean in means.items() if name != first}
    by_seed = {name: _by_seed(tables[first], tables[name], lambda a, b: compare_means(a, b).difference) for name in found}
    return NllDifferences(benchmark, first, found, by_seed)


def _by_seed(first: Sequence[Table], second: Sequence[Table], difference: Callable[[Table, Table], float]) -> tuple[float, ...]:
    """The difference of each seed; empty where there is one. A side with fewer seeds than the other lends its first to all."""
    most = max(len(first), len(second))
    if most == 1:
        return ()
    firsts, seconds = (side if len(side) == most else [side[0]] * most for side in (first, second))
    return tuple(difference(a, b) for a, b in zip(firsts, seconds, strict=True))


def _difference(first: dict[str, Counts], second: dict[str, Counts]) -> float:
    return mean_pass_at_k(list(second.values()), 1) - mean_pass_at_k(list(first.values()), 1)


def _nll(step: Step, arm: str) -> dict[str, float]:
    if step.facts is None:
        raise CodeBlockError(f"arm {arm}: {step.label} not measured yet; run `codeblock run` with the same config")
    return read_reference_nll(step.directory)


def _not_run(arms: Iterable[ArmPlan], benchmark: str) -> set[str]:
    return {task for arm in arms for task in (arm.graded[benchmark].facts or {}).get("not_run", ())}


def _counts(arm: ArmPlan, benchmark: str) -> dict[str, Counts]:
    step = arm.graded[benchmark]
    if step.facts is None:
        raise CodeBlockError(f"arm {arm.name}: not evaluated on {benchmark} yet; run `codeblock run` with the same config")
    return read_counts(step.directory / "verdicts.parquet")
