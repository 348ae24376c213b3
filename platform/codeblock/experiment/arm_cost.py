"""What each arm of a run has cost: FLOPs, seconds and memory of scoring, selection, training and evaluation apart.

They are remembered in the cache: to find them, `spending` makes every batch again, which takes torch, transformers and seconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codeblock.core.digests import file_digest, value_digest
from codeblock.core.storage.tables import write_here
from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.plan import Plan

SCORING, SELECTION, TRAINING, EVALUATION = STAGES = ("scoring", "selection", "training", "evaluation")
MEMO = ".costs"
"""Directory in the cache."""
FOUND_BY = (
    *("experiment/spending.py", "experiment/cost.py", "core/models/padding.py"),
    *("train/batches.py", "train/loop.py", "train/stored.py"),
)
"""The code that says what a step has cost: where it changes, nothing that was remembered counts."""


@dataclass
class Spent:
    """What one stage took. FLOPs are None where the model's layers are not known."""

    flops: float | None = 0.0
    seconds: float = 0.0
    peak_mb: float = 0.0

    def add(self, flops: float | None, facts: dict[str, Any], seconds: Sequence[str]) -> None:
        """Add a step with the facts it left; `seconds` names those that tell its time."""
        self.flops = None if self.flops is None or flops is None else self.flops + flops
        self.seconds += sum(facts.get(key) or 0.0 for key in seconds)
        peaks = (facts.get(key) or 0.0 for key in ("worker_peak_mb", "peak_memory_mb", "driver_peak_mb"))
        self.peak_mb = max(self.peak_mb, *peaks)


@dataclass
class ArmCost:
    """What one arm has cost by stage. Scores that arms share count for each arm that reads them, as far as it looks."""

    stages: dict[str, Spent] = field(default_factory=lambda: {stage: Spent() for stage in STAGES})

    @property
    def total_flops(self) -> float | None:
        """Of making the model: scoring, selection and training. Evaluation measures it, and is left out."""
        made = [self.stages[stage].flops for stage in (SCORING, SELECTION, TRAINING)]
        known = [flops for flops in made if flops is not None]
        return sum(known) if len(known) == len(made) else None

    @property
    def known(self) -> bool:
        """Whether the FLOPs of every stage are."""
        return all(spent.flops is not None for spent in self.stages.values())

    @property
    def total_seconds(self) -> float:
        """Of making the model."""
        return sum(self.stages[stage].seconds for stage in (SCORING, SELECTION, TRAINING))

    @property
    def peak_mb(self) -> float:
        """Largest memory of a process (of a GPU, where there is one) in any stage."""
        return max(spent.peak_mb for spent in self.stages.values())

    def facts(self) -> dict[str, float]:
        """Flat numbers, for MLflow and JSON; what is not known is left out."""
        found = {f"{stage}_seconds": spent.seconds for stage, spent in self.stages.items()}
        found |= {f"{stage}_peak_mb": spent.peak_mb for stage, spent in self.stages.items()}
        found |= {f"{stage}_tflops": spent.flops / 1e12 for stage, spent in self.stages.items() if spent.flops is not None}
        found |= {"total_seconds": self.total_seconds, "peak_mb": self.peak_mb}
        return found if self.total_flops is None else {**found, "total_tflops": self.total_flops / 1e12}


def costs_of(plan: Plan, arms: Sequence[ArmPlan]) -> dict[str, ArmCost]:
    """What each arm and seed has cost as far as its steps have finished, by its name."""
    memo = plan.inputs.cache / MEMO / f"{_decided_by(plan, arms)}.json"
    if (known := _remembered(memo)) is not None:
        return known
    from codeblock.experiment.spending import Ledger

    ledger = Ledger(plan)
    found = {arm.name: ledger.of(arm) for arm in arms}
    if all(cost.known for cost in found.values()):  # a model whose layers cannot be told today may be there tomorrow
        with suppress(OSError):  # of a storage that is read alone
            write_here(memo, json.dumps({name: asdict(cost)["stages"] for name, cost in found.items()}))
    return found


def _decided_by(plan: Plan, arms: Sequence[ArmPlan]) -> str:
    """Digest of all that costs are found from: the steps with what they reported, the config, and the code."""
    package = Path(__file__).parents[1]
    code = [file_digest(package / file) for file in FOUND_BY]
    steps = [(step.key, step.facts) for step in plan.steps()]
    return value_digest([code, plan.config.model_dump(mode="json"), steps, [arm.name for arm in arms]])


def _remembered(memo: Path) -> dict[str, ArmCost] | None:
    try:
        stored = json.loads(memo.read_text(encoding="utf-8"))
        return {name: ArmCost({stage: Spent(**spent) for stage, spent in stages.items()}) for name, stages in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # one that is lost or damaged costs time alone
        return None
