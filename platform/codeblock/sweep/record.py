"""What a trial came to, as a file of its own below the report: it outlives the steps, and the same command finds it again.

NAME/trials/POINT-SEED/record.json         facts, verdicts by task, reference nll by task, or why there are none
NAME/trials/POINT-SEED/verdicts-B.parquet  the verdicts on the answers to benchmark B
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from codeblock.core.config import Config
from codeblock.core.config.section import Section
from codeblock.core.digests import value_digest
from codeblock.core.metrics import Counts
from codeblock.core.storage import store
from codeblock.core.storage.tables import write_text
from codeblock.experiment.plan import VERSION, Plan
from codeblock.sweep.points import Point

TrialStatus = Literal["evaluated", "stopped", "failed"]


@dataclass
class Record:
    """One point with one seed."""

    values: dict[str, Any]
    seed: int
    identity: str
    """Hash of all that decides what the trial comes to: one of another config is not read."""
    status: TrialStatus
    error: str = ""
    seconds: float = 0.0
    """Wall clock of the trial."""
    steps: int = 0
    """Optimiser steps."""
    looks: list[tuple[int, float]] = field(default_factory=list)
    """Step and nll of the held-out pairs' core tokens."""
    selected: dict[str, Any] = field(default_factory=dict)
    trained: dict[str, Any] = field(default_factory=dict)
    evaluated: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Facts of the graded answers, by benchmark."""
    counts: dict[str, dict[str, Counts]] = field(default_factory=dict)
    """(samples, passed) by benchmark and task."""
    nll: dict[str, dict[str, float]] = field(default_factory=dict)
    """Reference nll by benchmark and task."""
    made: list[str] = field(default_factory=list)
    """Directories of selections and models that this trial has made, below the cache."""
    uses: list[str] = field(default_factory=list)
    """All that it has used, others' among them."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Record:
        """The record that `asdict` or JSON has made plain. Raises TypeError where it is none."""
        record = cls(**values)
        record.looks = [(int(step), float(nll)) for step, nll in record.looks]
        record.counts = {
            name: {task: (int(each[0]), int(each[1])) for task, each in tasks.items()} for name, tasks in record.counts.items()
        }
        return record

    @property
    def point(self) -> Point:
        """Its point."""
        return Point.of(self.values)

    @property
    def name(self) -> str:
        """Such as `budget 0.15 reach 0.25 seed 1`."""
        return f"{self.point.name} seed {self.seed}"


def place_of(config: Config, point: Point, seed: int) -> Path:
    """Directory of a trial's record."""
    return config.storage / config.name / "trials" / f"{point.key}-{seed}"


def write(directory: Path, record: Record) -> None:
    """Put a record where `read` finds it."""
    write_text(directory / "record.json", json.dumps(asdict(record)))


def read(directory: Path, identity: str) -> Record | None:
    """The record of a trial with this identity; None where there is none."""
    try:
        record = Record.of(json.loads(store.read_text(directory / "record.json")))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.identity == identity else None


def before_trial(directory: Path, identity: str, there: Iterable[str]) -> set[str]:
    """What lay in the cache before a trial began first: `there`, or what an earlier try or command has noted."""
    note = directory / "begun.json"
    try:
        noted = json.loads(store.read_text(note))
        if noted["identity"] == identity:
            return set(noted["there"])
    except (OSError, ValueError, KeyError):
        pass
    write_text(note, json.dumps({"identity": identity, "there": sorted(there)}))
    return set(there)


def identity_of(plan: Plan, seed: int) -> str:
    """Hash of the config's identities, the inputs and the stages' versions."""
    config = plan.config
    sections = {
        name: value.identity()
        for name in type(config).model_fields
        if isinstance(value := getattr(config, name), Section) and name not in ("sweep", "pairs")
    }
    arms = {name: arm.model_dump(mode="json") for name, arm in config.arms.items()}
    inputs = [plan.pairs.key, plan.model.fingerprint, plan.reference.fingerprint]
    benchmarks = [step.identity.get("tasks") for arm in plan.arms for step in arm.graded.values() if arm.seed == seed]
    told = [sections, arms, inputs, benchmarks, config.seed, seed, VERSION]
    return value_digest(told)


def core_nll(rows: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    """By step the nll of the held-out pairs' core tokens, supervised and not together (nats per token)."""
    sums: dict[int, tuple[float, int]] = {}
    for row in rows:
        if row.get("token_class") == "core":
            nll, tokens = sums.get(row["step"], (0.0, 0))
            sums[row["step"]] = nll + row["nll"] * row["tokens"], tokens + row["tokens"]
    return {step: nll / tokens for step, (nll, tokens) in sums.items() if tokens}
