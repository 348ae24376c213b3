"""A comparison in MLflow: there from the first second, each arm's curve while it trains, what it came to at the end.

A run that raises is FAILED with its error as the text of its page, one that is interrupted or terminated KILLED. While arms
train an unreachable server ends nothing: what it missed is logged at the end, or by the same command run again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from codeblock.core.console import say
from codeblock.core.digests import value_digest
from codeblock.core.errors import CodeBlockError
from codeblock.core.metrics import compare_means
from codeblock.core.storage.tables import read_part
from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.plan import Plan
from codeblock.experiment.results import ArmResult, Comparison, arms_tables, pass_rates
from codeblock.experiment.summary import reference_nll_of
from codeblock.experiment.watch import Watch
from codeblock.report.mlflow.runs import ARM_TAG, KIND_TAG, Tracker, in_groups, metric_name, pass_metrics
from codeblock.report.mlflow.view import View, bar, curve, of_parent, save_view, view_key

TRAIN_METRICS = ("processed_tokens", "supervised_tokens", "train_seconds", "tokens_per_second", "peak_memory_mb", "pairs")
SEND_SECONDS = 5.0
"""Time between two calls for the points of a curve."""
CurveRow = Mapping[str, Any]


@dataclass
class Curves:
    """The curves of a run: what waits to be sent, and up to which step they were."""

    run_id: str
    waiting: list[CurveRow] = field(default_factory=list)
    sent: set[tuple[Any, ...]] = field(default_factory=set)

    scored: bool = False
    """Whether pass@1 was sent."""

    def send(self, tracker: Tracker, rows: Sequence[CurveRow]) -> None:
        """Send the rows that were not sent before: a fit that is started anew tells those since its checkpoint again."""
        fresh = {point: row for row in rows if (point := _point(row)) not in self.sent}
        history = [row for row in fresh.values() if "token_class" not in row]
        tracker.log_rows(self.run_id, history, [row for row in fresh.values() if "token_class" in row])
        self.sent.update(fresh)


def _point(row: CurveRow) -> tuple[Any, ...]:
    return row["step"], row.get("token_class"), row.get("supervised")


class Tracked(Watch):
    """The runs of a comparison. Use it in a `with` block, which closes what is open where it ends early.

    `begin` and `complete` raise CodeBlockError where the store cannot be reached or written.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.logged_before = False
        """Whether a finished run has the same results already: then nothing is opened."""
        self._parent, self._identity = "", ""
        self.view = ""
        """Address of the view of the run's arms, below the server's."""
        self._curves: dict[str, Curves] = {}
        self._sent_at, self._missing = 0.0, False

    def begin(self, plan: Plan) -> None:
        """Open the parent run, unless equal results were logged before."""
        self._identity = identity_of(plan)
        self.tracker.close_dead()
        before = self.tracker.already_logged(self._identity)
        self.logged_before = before is not None
        if before is not None:
            self._save_view(plan, before)
        else:
            fingerprints = {"pairs": plan.pairs.key, "model": plan.model.fingerprint, "reference": plan.reference.fingerprint}
            tags = {KIND_TAG: "run"}
            self._parent = self.tracker.start_parent(plan.config.name, plan.config, fingerprints, self._identity, tags)
            self._save_view(plan, self._parent)

    def row(self, arm: ArmPlan, row: CurveRow) -> None:
        """A point of an arm's curves. Never raises."""
        if self._parent and not self._missing:
            with self._later():
                self._of(arm).waiting.append(row)
                if time.monotonic() - self._sent_at > SEND_SECONDS:
                    self._send()

    def arm_done(self, result: ArmResult) -> None:
        """An arm has its verdicts: log them with the rest of its curves. Never raises."""
        if self._parent and not self._missing:
            with self._later():
                curves = self._of(result.plan)
                self._send()
                self.tracker.log_metrics(curves.run_id, _pass_metrics(result))
                curves.scored = True

    def complete(self, comparison: Comparison, report: Sequence[Path], samples: Mapping[str, Path]) -> None:
        """Log all that the comparison came to, and close its runs; `samples` are directories of sample pages by arm."""
        for arm in comparison.arms:
            pages = [samples[arm.plan.name]] if arm.plan.name in samples else []
            curves = self._of(arm.plan)
            curves.send(self.tracker, [*arm.table("history"), *arm.table("dev")])
            metrics = {f"spent/{key}": value for key, value in comparison.costs[arm.plan.name].facts().items()}
            metrics |= nll_metrics(arm, comparison.untrained)
            if not curves.scored:
                metrics |= _pass_metrics(arm)
            self._log_arm(arm, curves.run_id, metrics, pages)
            self.tracker.finish(curves.run_id)
        self.tracker.log_summary(self._parent, arms_tables(comparison), report, in_groups(_stage_metrics(comparison)))
        self.tracker.finish(self._parent)
        self._parent = ""

    def ended_by(self, error: BaseException) -> None:
        """Close what is open: FAILED with the error, KILLED where the user or the system ended it. Never raises."""
        if not self._parent:
            return
        failed = isinstance(error, Exception)
        text = f"**{'failed' if failed else 'interrupted'}**: {str(error) or type(error).__name__}"
        with suppress(CodeBlockError):  # where the store is gone too, the first error is the one to show
            for curves in self._curves.values():
                self.tracker.finish(curves.run_id, "FAILED" if failed else "KILLED")
            self.tracker.finish(self._parent, "FAILED" if failed else "KILLED", text)
        self._parent = ""

    def __enter__(self) -> Tracked:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.ended_by(error)

    def _save_view(self, plan: Plan, parent: str) -> None:
        tracker = self.tracker
        self.view = save_view(tracker.client, tracker.uri, tracker.experiment_id, view_key(parent), run_view(plan, parent))

    def _of(self, arm: ArmPlan) -> Curves:
        if arm.name not in self._curves:
            identity = f"{self._identity}:{arm.name}"
            run_id = self.tracker.start_arm(self._parent, arm.name, identity, arm.arm, arm.seed)
            self._curves[arm.name] = Curves(run_id)
        return self._curves[arm.name]

    def _send(self) -> None:
        self._sent_at = time.monotonic()
        for curves in self._curves.values():
            rows, curves.waiting = curves.waiting, []
            curves.send(self.tracker, rows)

    @contextmanager
    def _later(self) -> Iterator[None]:
        """From the first failure on nothing is sent before the end: each try would hold up the training's rows."""
        try:
            yield
        except CodeBlockError as error:
            self._missing = True
            say(f"note: {error} (what is missing there is logged at the end)")

    def _log_arm(self, arm: ArmResult, run_id: str, metrics: dict[str, float], artifacts: list[Path]) -> None:
        for key, value in (arm.selected or {}).items():
            if isinstance(value, int | float):
                metrics[f"select/{key}"] = value
        trained: Mapping[str, Any] = arm.trained or {}
        metrics |= {f"train_total/{key}": trained[key] for key in TRAIN_METRICS if key in trained}
        steps = {step.label.split("[")[0]: step.identity for step in arm.plan.steps()}
        verdicts = {
            name: read_part(step.directory / "verdicts.parquet")
            for name, step in arm.plan.graded.items()
            if name in arm.evaluated
        }
        self.tracker.log_arm(
            run_id,
            params={"arm": arm.plan.arm, "seed": arm.plan.seed, **steps},
            metrics=in_groups(metrics),
            verdicts=verdicts,
            artifacts=artifacts,
        )


def run_view(plan: Plan, parent: str) -> View:
    """The arms of a run, seeds averaged: pass@1 as bars and with its interval, reference nll, what it took, and the curves."""
    benchmarks = [metric_name(name) for name in plan.config.evaluate.benchmarks]
    passed, nll = [f"pass_at_1/{name}" for name in benchmarks], [f"reference_nll/{name}" for name in benchmarks]
    charts = [bar(metric, metric.replace("pass_at_1/", "pass@1 on ")) for metric in passed]
    charts += [bar(metric, metric.replace("reference_nll/", "reference nll on ")) for metric in nll]
    charts += [curve("train/loss", "training loss"), curve("dev_nll/core/unsupervised", "held-out nll, core, no loss")]
    charts.append(bar("select/supervised_tokens", "supervised tokens"))
    intervals = [f"metrics.`{name}{end}`" for name in passed for end in ("", "_low", "_high")]
    columns = [*intervals, *(f"metrics.`{name}`" for name in nll), "metrics.`select/supervised_tokens`"]
    several = any(len(plan.config.seeds_of(name)) > 1 for name in plan.config.arms)
    group = ARM_TAG if several else None
    first = passed[0] if passed else "select/supervised_tokens"
    return View(f"Arms of {plan.config.name}", of_parent(parent), first, charts, columns, group)


def identity_of(plan: Plan) -> str:
    """Hash of all that a plan asks for, known before it runs: an equal run has been logged before."""
    keys = [step.asked for arm in plan.arms for step in arm.steps()]
    return value_digest([plan.config.name, *keys])


def _pass_metrics(arm: ArmResult) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, facts in arm.evaluated.items():
        metrics |= pass_metrics(name, pass_rates(facts), facts["tasks"])
        if "base_pass_at_1" in facts:
            metrics[f"base_pass_at_1/{name}"] = facts["base_pass_at_1"]
    return metrics


def nll_metrics(arm: ArmResult, untrained: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """`reference_nll/<benchmark>` with the ends of its interval, and the untrained model's less it as `_gain`."""
    metrics: dict[str, float | None] = {}
    for name, facts in arm.reference_nll.items():
        key = f"reference_nll/{name}"
        metrics |= {key: facts["nll"], f"{key}_low": facts["low"], f"{key}_high": facts["high"]}
        own = reference_nll_of(arm.plan, name)
        if name in untrained and own.keys() & untrained[name].keys():
            gain, key = compare_means(own, untrained[name]), f"reference_nll_gain/{name}"
            metrics |= {key: gain.difference, f"{key}_low": gain.low, f"{key}_high": gain.high}
    return {key: value for key, value in metrics.items() if value is not None}


def _stage_metrics(comparison: Comparison) -> dict[str, float]:
    stages = {
        "pairs": comparison.pairs,
        "filter": comparison.filtered,
        "tokenize": comparison.tokenized,
        "segment": comparison.segmented,
        "rank": comparison.ranked,
        "score": comparison.scored,
    }
    return {
        f"stage/{stage}/{key}": value
        for stage, facts in stages.items()
        for key, value in facts.items()
        if isinstance(value, int | float)
    }
