"""What a run found out: counts of rows, the facts of each arm, the table, the plots, and their way into MLflow."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from codeblock.arms import ArmPlan
from codeblock.differences import differences, write_differences
from codeblock.errors import CodeBlockError
from codeblock.evaluate.result import PASS_AT
from codeblock.plan import Plan
from codeblock.report.plots import plot_dev_nll, plot_loss, plot_share_against_pass
from codeblock.report.table import ArmRow, Score, arms_markdown
from codeblock.schema import FILTERED
from codeblock.tables import write_text
from codeblock.track.runs import Tracker, pass_metrics

Facts = dict[str, Any]
TRAIN_METRICS = ("processed_tokens", "supervised_tokens", "train_seconds", "tokens_per_second", "peak_memory_mb", "pairs")

SELECTED_SUMS = (
    "kept_pairs",
    "supervised_pairs",
    "unsupervised_pairs",
    "supervised_tokens",
    "asked_tokens",
    "supervised_share",
    "asked_share",
    "warnings",
)
TRAINED_SUMS = ("processed_tokens", "supervised_tokens", "train_seconds", "pairs", "dropped_pairs")
"""What adds up over the rounds of an arm."""


@dataclass
class ArmResult:
    """The facts of one arm's steps, as far as they ran."""

    plan: ArmPlan
    selected: Facts | None = None
    trained: Facts | None = None
    evaluated: dict[str, Facts] = field(default_factory=dict)
    reference_nll: dict[str, Facts] = field(default_factory=dict)

    def add_selected(self, facts: Facts) -> None:
        """Facts of one round's selection, added to those of the rounds before."""
        self.selected = _added(self.selected, facts, SELECTED_SUMS)

    def add_trained(self, facts: Facts) -> None:
        """Facts of one round's fit, added to those of the rounds before."""
        self.trained = _added(self.trained, facts, TRAINED_SUMS)

    @property
    def row(self) -> ArmRow:
        """The arm's row of the table."""
        scores = {
            name: Score(facts["tasks"], facts["pass_at_1"], facts["low"], facts["high"])
            for name, facts in self.evaluated.items()
        }
        selected, trained = self.selected or {}, self.trained or {}
        return ArmRow(
            arm=self.plan.name,
            scores=scores,
            supervised_tokens=selected.get("supervised_tokens"),
            supervised_share=selected.get("supervised_share"),
            asked_share=selected.get("asked_share"),
            pairs=selected.get("supervised_pairs"),
            processed_tokens=trained.get("processed_tokens"),
            train_seconds=trained.get("train_seconds"),
        )

    def table(self, name: str) -> list[dict[str, Any]]:
        """A table that training wrote (`history` or `dev`), empty for an arm without training."""
        if self.plan.trained is None or self.trained is None:
            return []
        return list(pq.read_table(self.plan.trained.directory / f"{name}.parquet").to_pylist())


def _added(before: Facts | None, facts: Facts, sums: tuple[str, ...]) -> Facts:
    if before is None:
        return facts
    return {**facts, **{key: before[key] + facts[key] for key in sums if facts.get(key) is not None}}


@dataclass
class Comparison:
    """Everything that one run found out."""

    plan: Plan
    pairs: Facts = field(default_factory=dict)
    filtered: Facts = field(default_factory=dict)
    prepared: Facts = field(default_factory=dict)
    scored: Facts = field(default_factory=dict)
    arms: list[ArmResult] = field(default_factory=list)
    untrained_nll: dict[str, Facts] = field(default_factory=dict)

    @property
    def rows(self) -> list[ArmRow]:
        """The rows of the table of arms."""
        return [arm.row for arm in self.arms]

    @property
    def reasons(self) -> Counter[str]:
        """Why rows left before selection, by reason."""
        stages = (self.pairs, self.filtered, self.prepared)
        return sum((Counter(facts.get("reasons", {})) for facts in stages), Counter())

    def accounting(self) -> str:
        """One line in which read = kept + rejected + filtered."""
        reasons = self.reasons
        filtered = sum(count for reason, count in reasons.items() if reason in FILTERED)
        rejected = sum(reasons.values()) - filtered
        read, kept = self.pairs["read"], self.prepared["kept"]
        if read != kept + rejected + filtered:
            raise CodeBlockError(f"rows were lost: {read} read, {kept} kept, {rejected} rejected, {filtered} filtered")
        detail = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
        line = f"rows: {read:,} read = {kept:,} kept + {rejected:,} rejected + {filtered:,} filtered"
        line = f"{line} ({detail})" if detail else line
        if failed := self.filtered.get("rating_failed"):
            line += f"; {failed:,} of {self.filtered['rating_asked']:,} ratings failed, these pairs rank without one"
        return line

    def languages(self) -> str:
        """One line with the language of the kept pairs' code, and how it was found."""
        found = ", ".join(f"{name} {count:,}" for name, count in self.prepared["languages"].items())
        how = ", ".join(f"{name} {count:,}" for name, count in self.prepared["language_from"].items())
        return f"code: {found} (language by {how})"

    def identity(self) -> str:
        """Hash of all results: an equal run has been logged before."""
        keys = [step.key for arm in self.arms for step in arm.plan.steps()]
        return hashlib.sha256(json.dumps([self.plan.config.name, *keys]).encode()).hexdigest()[:16]


def require_pairs(comparison: Comparison) -> None:
    """Raise CodeBlockError, with the filters that took them, where no pair is left."""
    if comparison.prepared["kept"]:
        return
    path = comparison.plan.config.pairs.path
    reasons = comparison.reasons
    if not reasons:
        raise CodeBlockError(f"pairs.path={path}: no rows there")
    told = ", ".join(f"{reason} took {count}" for reason, count in reasons.most_common())
    raise CodeBlockError(f"pairs.path={path}: no pair is left of {comparison.pairs['read']} rows ({told})")


def write_report(comparison: Comparison, directory: Path) -> list[Path]:
    """Table, facts and plots as files of a directory; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = comparison.rows
    write_text(directory / "arms.md", f"{arms_markdown(rows)}\n{comparison.accounting()}\n")
    write_text(directory / "arms.json", json.dumps([_facts(arm) for arm in comparison.arms], indent=2))
    files = [directory / "arms.md", directory / "arms.json"]
    trained = [arm for arm in comparison.arms if arm.trained]
    if trained:
        files.append(plot_loss({arm.plan.name: arm.table("history") for arm in trained}, directory / "loss.png"))
    dev = {arm.plan.name: table for arm in trained if (table := arm.table("dev"))}
    if dev:
        files.append(plot_dev_nll(dev, directory / "dev_nll.png"))
    if trained:
        for benchmark in comparison.plan.config.evaluate.benchmarks:
            files.append(plot_share_against_pass(rows, benchmark, directory / f"share_against_pass_{benchmark}.png"))
    if found := differences(comparison.plan):
        files += write_differences(found, directory)
    return files


def log_comparison(comparison: Comparison, tracker: Tracker, report: Sequence[Path], samples: Mapping[str, Path]) -> None:
    """Log a parent run and a child per arm; `samples` are directories of sample pages by arm."""
    identity, plan = comparison.identity(), comparison.plan
    fingerprints = {"pairs": plan.pairs.key, "model": plan.model.fingerprint, "reference": plan.reference.fingerprint}
    with tracker.parent(plan.config.name, plan.config, fingerprints, identity) as parent:
        for arm in comparison.arms:
            pages = [samples[arm.plan.name]] if arm.plan.name in samples else []
            _log_arm(arm, tracker, parent, identity, pages)
        tracker.log_summary(parent, arms_markdown(comparison.rows), report, _stage_metrics(comparison))


def _stage_metrics(comparison: Comparison) -> dict[str, float]:
    stages = {
        "pairs": comparison.pairs,
        "filter": comparison.filtered,
        "prepare": comparison.prepared,
        "score": comparison.scored,
    }
    return {
        f"{stage}/{key}": value
        for stage, facts in stages.items()
        for key, value in facts.items()
        if isinstance(value, int | float)
    }


def _log_arm(arm: ArmResult, tracker: Tracker, parent: str, identity: str, artifacts: list[Path]) -> None:
    metrics: dict[str, float] = {}
    for name, facts in arm.evaluated.items():
        metrics.update(pass_metrics(name, pass_rates(facts), facts["tasks"]))
        if "base_pass_at_1" in facts:
            metrics[f"base_pass_at_1/{name}"] = facts["base_pass_at_1"]
    for key, value in (arm.selected or {}).items():
        if isinstance(value, int | float):
            metrics[f"select/{key}"] = value
    for key in TRAIN_METRICS:
        if arm.trained and key in arm.trained:
            metrics[f"train_total/{key}"] = arm.trained[key]
    steps = {step.label.split("[")[0]: step.identity for step in arm.plan.steps()}
    verdicts = {
        name: pq.read_table(step.directory / "verdicts.parquet")
        for name, step in arm.plan.evaluated.items()
        if name in arm.evaluated
    }
    tracker.log_arm(
        parent,
        arm.plan.name,
        identity=f"{identity}:{arm.plan.name}",
        params={"arm": arm.plan.name, **steps},
        metrics=metrics,
        history=arm.table("history"),
        dev=arm.table("dev"),
        verdicts=verdicts,
        artifacts=artifacts,
    )


def pass_rates(facts: Facts) -> dict[int, tuple[float, float, float]]:
    """pass@k of a graded benchmark, with the ends of its 95% interval, for each k that its samples allow."""
    more = {k: (facts[f"pass_at_{k}"], *facts[f"pass_at_{k}_interval"]) for k in PASS_AT[1:] if f"pass_at_{k}" in facts}
    return {1: (facts["pass_at_1"], facts["low"], facts["high"]), **more}


def _facts(arm: ArmResult) -> Facts:
    return {
        "arm": arm.plan.name,
        "strategy": arm.plan.strategy,
        "selected": arm.selected,
        "trained": arm.trained,
        "evaluated": arm.evaluated,
        "steps": {step.label: step.directory.name for step in arm.plan.steps()},
    }
