"""Hold the arms of a finished run against one of them: read the verdicts, compare task by task, write what was found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from codeblock.arms import ArmPlan
from codeblock.errors import CodeBlockError
from codeblock.evaluate.metrics import Counts, compare
from codeblock.plan import Plan
from codeblock.report.differences import Differences, differences_markdown
from codeblock.tables import read_part, write_text


def differences(plan: Plan, baseline: str | None = None) -> list[Differences]:
    """Each arm against `baseline` (default: the first arm), on every benchmark, on the tasks that all arms have.

    Empty where there is one arm alone. Raises CodeBlockError where the baseline is no arm, or an arm was not evaluated yet.
    """
    arms = {arm.name: arm for arm in plan.arms}
    first = baseline or next(iter(arms))
    if first not in arms:
        raise CodeBlockError(f"--baseline {first}: no such arm; there are {', '.join(arms)}")
    if len(arms) == 1:
        return []
    return [_on_benchmark(arms, first, benchmark) for benchmark in plan.config.evaluate.benchmarks]


def write_differences(found: list[Differences], directory: Path) -> list[Path]:
    """Write compare.md and compare.json; returns their paths."""
    files = [directory / "compare.md", directory / "compare.json"]
    write_text(files[0], differences_markdown(found))
    write_text(files[1], json.dumps([each.facts() for each in found], indent=2))
    return files


def read_counts(verdicts: Path) -> dict[str, Counts]:
    """(samples, passed) of each task of a table of verdicts."""
    rows = read_part(verdicts, ["task_id", "verdict"]).to_pylist()
    samples = Counter(row["task_id"] for row in rows)
    passed = Counter(row["task_id"] for row in rows if row["verdict"] == "passed")
    return {task: (count, passed[task]) for task, count in samples.items()}


def _on_benchmark(arms: dict[str, ArmPlan], first: str, benchmark: str) -> Differences:
    counts = {name: _counts(arm, benchmark) for name, arm in arms.items()}
    every = set().union(*counts.values())
    common = {task for task in every if all(task in arm for arm in counts.values())}
    if not common:
        raise CodeBlockError(f"{benchmark}: no task that every arm has; run `codeblock run` with the same config")
    kept = {name: {task: each for task, each in arm.items() if task in common} for name, arm in counts.items()}
    found = {name: compare(kept[first], arm) for name, arm in kept.items() if name != first}
    left_out = (every | _not_run(arms.values(), benchmark)) - common
    return Differences(benchmark, first, found, len(left_out))


def _not_run(arms: Iterable[ArmPlan], benchmark: str) -> set[str]:
    return {task for arm in arms for task in (arm.evaluated[benchmark].facts or {}).get("not_run", ())}


def _counts(arm: ArmPlan, benchmark: str) -> dict[str, Counts]:
    step = arm.evaluated[benchmark]
    if step.facts is None:
        raise CodeBlockError(f"arm {arm.name}: not evaluated on {benchmark} yet; run `codeblock run` with the same config")
    return read_counts(step.directory / "verdicts.parquet")
