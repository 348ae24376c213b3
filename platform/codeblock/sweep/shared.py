"""What trials share: the configs whose data stages the driver runs before any trial begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from codeblock.core.config import Config
from codeblock.core.config.file import with_values
from codeblock.experiment.cache import Step
from codeblock.experiment.plan import Plan, make_plan
from codeblock.experiment.results import Comparison
from codeblock.pipeline import measure_reference_nll, run_data
from codeblock.sweep.points import Point


def shared_plans(config: Config, plans: Mapping[Point, Plan], cache: Path) -> list[Plan]:
    """One plan for all points that share data and scores, each of these points an arm of it.

    So the pool is scored once, as far down as the point that reaches farthest, and not a little more with each trial.
    """
    groups: dict[tuple[str, ...], list[Point]] = {}
    for point, plan in plans.items():
        keys = (plan.ranked.key, plan.scored.key, *(step.key for step in plan.untrained_nll.values()))
        groups.setdefault(keys, []).append(point)
    found = []
    for group in groups.values():
        first = plans[group[0]].config
        arms = {f"p{number}": plans[point].config.arms[config.sweep.arm] for number, point in enumerate(group)}
        told = {name: arm.model_dump(mode="json") for name, arm in arms.items()}
        found.append(make_plan(with_values(first, {"arms": told, "seeds": []}), cache))
    return found


def run_shared(plans: Sequence[Plan]) -> list[Comparison]:
    """Run the stages that trials share, and measure the untrained model. A step that several plans have runs once."""
    found = []
    for plan in plans:
        alone = replace(plan, arms=[])
        comparison = run_data(alone, "evaluate")
        measure_reference_nll(alone, comparison)
        found.append(comparison)
    return found


def shared_steps(plans: Sequence[Plan]) -> list[Step]:
    """The steps that trials share, each once."""
    found: dict[str, Step] = {}
    for plan in plans:
        of_arms = {step.key for arm in plan.arms for step in arm.steps()}
        found.update((step.key, step) for step in plan.steps() if step.key not in of_arms)
    return list(found.values())
