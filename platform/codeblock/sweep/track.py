"""A sweep in MLflow: one parent, a flat child for each trial with its values as numbers, and a view of pass@1 by point."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from codeblock.core.config import Config
from codeblock.core.console import say
from codeblock.core.digests import text_digest
from codeblock.core.errors import CodeBlockError
from codeblock.core.metrics import mean_pass_at_k
from codeblock.core.storage import store
from codeblock.core.storage.tables import read_part
from codeblock.data.read.files import sources_of
from codeblock.evaluate.result import PASS_AT
from codeblock.experiment.plan import Plan
from codeblock.experiment.tracking import Curves
from codeblock.report.mlflow.runs import IDENTITY_TAG, KIND_TAG, SEED_TAG, Tracker, in_groups, metric_name, pass_metrics
from codeblock.report.mlflow.store import clear_errors
from codeblock.report.mlflow.view import View, bar, contour, curve, of_parent, parallel, save_view, scatter, view_key
from codeblock.sweep.choose import TaskSplit, parts_of
from codeblock.sweep.points import Point
from codeblock.sweep.record import Record, place_of

SWEEP_TAG = "codeblock.sweep"
POINT_TAG = "codeblock.point"
CORE = "dev_nll/core"
"""Held-out nll of core tokens, by which trials are stopped."""


@dataclass
class _Trial:
    curves: Curves
    record: Record | None = None
    waiting: list[Mapping[str, Any]] = field(default_factory=list)
    logged: bool = False


class SweepRuns:
    """The runs of a sweep. Use it in a `with` block, which closes what is open where it ends early.

    `begin` and `complete` raise CodeBlockError where the store cannot be reached; in between it is only noted.
    """

    def __init__(self, tracker: Tracker, config: Config) -> None:
        self.tracker, self.config = tracker, config
        self.logged_before = False
        """Whether a finished run has the same results already: then nothing is opened."""
        self._parent, self._view = "", ""
        self._inputs: list[tuple[str, str, str]] = []
        self._trials: dict[tuple[Point, int], _Trial] = {}
        self._missing = False

    def begin(self, plan: Plan, ended: Sequence[Record] | None) -> None:
        """Open the parent run, unless equal results were logged before.

        ended: all records of the sweep, where nothing of it is left to run.
        """
        before = None if ended is None else self.tracker.already_logged(results_identity(self.config, ended))
        if before is not None:
            self.logged_before = True
            self._view = self._save_view(before)
            return
        told = {"pairs": plan.pairs.key, "model": plan.model.fingerprint, "reference": plan.reference.fingerprint}
        tags = {KIND_TAG: "sweep", SWEEP_TAG: self.config.name}
        self._parent = self.tracker.start_parent(self.config.name, self.config, told, tags=tags)
        self._inputs = [
            (str(each["name"] or "pairs"), str(each["content"]), source.path)
            for each, source in zip(plan.pairs.identity["input"], sources_of(self.config.pairs), strict=True)
        ]
        self._view = self._save_view(self._parent)

    def begins(self, point: Point, seed: int) -> None:
        """Open the run of a trial. Never raises."""
        self._try(lambda: self._of(point, seed))

    def looks(self, point: Point, seed: int, step: int, nll: float, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send points of a trial's curves. Never raises."""

        def send() -> None:
            curves = self._of(point, seed).curves
            curves.send(self.tracker, rows)
            self.tracker.log_metrics(curves.run_id, {CORE: nll}, step)

        self._try(send)

    def ends(self, record: Record, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log what a trial came to and close its run. Never raises."""

        def send() -> None:
            trial = self._of(record.point, record.seed)
            trial.record, trial.waiting = record, list(rows)
            self._log(trial)

        self._try(send)

    def complete(self, markdown: str, files: Sequence[Path], metrics: Mapping[str, float], records: Sequence[Record]) -> str:
        """Log what was missed and the report, and close the parent; returns the address of the view."""
        if self.logged_before:
            return self._view
        for record in records:
            trial = self._of(record.point, record.seed)
            if not trial.logged:
                trial.record = record
                self._log(trial)
        self._close("KILLED")
        ended = [record for record in records if record.status != "failed"]
        with clear_errors(self.tracker.uri):
            self.tracker.client.set_tag(self._parent, IDENTITY_TAG, results_identity(self.config, ended))
        self.tracker.log_summary(self._parent, markdown, files, metrics)
        self.tracker.finish(self._parent)
        self._parent = ""
        return self._view

    def register(self, record: Record, model: Path) -> None:
        """Put a trial's model into the registry, with its selection as tags."""
        assert self.config.sweep.register_as is not None
        tags = {key: str(value) for key, value in record.values.items()} | {
            SWEEP_TAG: self.config.name,
            SEED_TAG: str(record.seed),
        }
        run_id = self._of(record.point, record.seed).curves.run_id
        self.tracker.register(self.config.sweep.register_as, run_id, model, tags)

    def ended_by(self, error: BaseException) -> None:
        """Close what is open: FAILED with the error, KILLED where the user or the system ended it. Never raises."""
        if not self._parent:
            return
        failed = isinstance(error, Exception)
        text = f"**{'failed' if failed else 'interrupted'}**: {str(error) or type(error).__name__}"
        with suppress(CodeBlockError):
            self._close("FAILED" if failed else "KILLED")
            self.tracker.finish(self._parent, "FAILED" if failed else "KILLED", text)
        self._parent = ""

    def __enter__(self) -> SweepRuns:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.ended_by(error)

    def _save_view(self, parent: str) -> str:
        tracker, view = self.tracker, sweep_view(self.config, parent)
        return save_view(tracker.client, tracker.uri, tracker.experiment_id, view_key(parent), view)

    def _close(self, status: Any) -> None:
        for trial in self._trials.values():
            if not trial.logged:
                self.tracker.finish(trial.curves.run_id, status)

    def _of(self, point: Point, seed: int) -> _Trial:
        key = point, seed
        if key not in self._trials:
            identity = text_digest(f"{self._parent} {point.key} {seed}")
            tags = {
                KIND_TAG: "trial",
                SWEEP_TAG: self.config.name,
                POINT_TAG: point.name,
                SEED_TAG: str(seed),
                IDENTITY_TAG: identity,
            }
            params = {**point.values, "arm": self.config.sweep.arm, "seed": seed}
            run_id = self.tracker.start_trial(self._parent, f"{point.name} seed {seed}", tags, params)
            self.tracker.log_inputs(run_id, self._inputs)
            self._trials[key] = _Trial(Curves(run_id))
        return self._trials[key]

    def _log(self, trial: _Trial) -> None:
        record, run_id = trial.record, trial.curves.run_id
        assert record is not None
        trial.curves.send(self.tracker, trial.waiting)
        self.tracker.client.set_tag(run_id, "codeblock.state", record.status)
        if record.status == "evaluated":
            place = place_of(self.config, record.point, record.seed)
            names = {name: place / f"verdicts-{name}.parquet" for name in record.counts}
            self.tracker.log_arm(
                run_id,
                params={},
                metrics=metrics_of(record, parts_of(self.config)),
                verdicts={name: read_part(path) for name, path in names.items() if store.exists(path)},
            )
        elif record.status == "stopped":
            self.tracker.log_metrics(run_id, {"train_total/stopped_at_step": float(record.steps)})
        self.tracker.finish(run_id, "FAILED" if record.status == "failed" else "FINISHED", record.error)
        trial.logged = True

    def _try(self, send: Callable[[], object]) -> None:
        """From the first failure on nothing is sent before the end: each try would hold up the trials."""
        if self._missing or not self._parent:
            return
        try:
            send()
        except CodeBlockError as error:
            self._missing = True
            say(f"note: {error} (what is missing there is logged at the end)")


def results_identity(config: Config, records: Sequence[Record]) -> str:
    """Hash of all results of a sweep: an equal one has been logged before."""
    told = sorted([each.identity, each.name, each.status, each.seconds] for each in records)
    choice = [config.name, config.sweep.measure, config.sweep.choose_on]
    return text_digest(json.dumps([choice, told], default=str))


def metrics_of(record: Record, parts: TaskSplit) -> dict[str, float]:
    """A trial's numbers: pass@k and reference nll of all tasks, pass@1 of the tasks that choose and of those that report."""
    metrics: dict[str, float] = {}
    for name, facts in record.evaluated.items():
        rates = {k: (facts[f"pass_at_{k}"], *facts[f"pass_at_{k}_interval"]) for k in PASS_AT[1:] if f"pass_at_{k}" in facts}
        metrics |= pass_metrics(name, {1: (facts["pass_at_1"], facts["low"], facts["high"]), **rates}, facts["tasks"])
    for name, tasks in record.counts.items():
        for kind, chosen in (("choosing", True), ("reported", False)):
            counts = [each for task, each in tasks.items() if parts.chooses(name, task) == chosen]
            if counts:
                metrics[f"pass_at_1_{kind}/{metric_name(name)}"] = mean_pass_at_k(counts, 1)
    for name, nll in record.nll.items():
        if nll:
            metrics[f"reference_nll/{name}"] = sum(nll.values()) / len(nll)
    facts = {f"select/{key}": value for key, value in record.selected.items()}
    facts |= {f"train_total/{key}": value for key, value in record.trained.items()}
    numbers = {key: float(value) for key, value in facts.items() if isinstance(value, int | float)}
    return metrics | in_groups({**numbers, "train_total/trial_seconds": record.seconds})


def sweep_view(config: Config, parent: str) -> View:
    """The points of a sweep, several seeds averaged: what the table tells first, over the swept keys and as bars.

    That is pass@1 on the tasks that report; on those that choose, the best of many points is better than it is.
    """
    parts, benchmarks = parts_of(config), list(config.evaluate.benchmarks)
    reporting = [name for name in benchmarks if name != parts.choose_on]
    choosing = benchmarks if parts.choose_on is None else [parts.choose_on]
    half = "" if parts.choose_on else ", tasks that report"
    reported = {f"pass_at_1_reported/{metric_name(name)}": f"pass@1 on {name}{half}" for name in reporting}
    chosen = {f"pass_at_1_choosing/{metric_name(name)}": f"pass@1 on {name}, tasks that choose" for name in choosing}
    nll = {f"reference_nll/{metric_name(name)}": f"reference nll on {name}" for name in benchmarks}
    arm = config.arms.get(config.sweep.arm)
    passed = reported if arm is None or arm.generate else {}
    keys, (first, title) = list(config.sweep.space), next(iter((passed or nll).items()))
    charts = [bar(metric, told) for metric, told in passed.items()]
    charts.append(parallel(keys, first, f"{title}, over the sweep"))
    charts += [scatter(key, first, f"{key} against {title}") for key in keys[:3]]
    pair = [key for key in ("select.reach_weight", "select.bridge_weight") if key in keys] or keys
    if len(pair) > 1:
        charts.append(contour(pair[0], pair[1], first, f"{title}, over two keys"))
    charts += [bar(metric, told) for metric, told in {**nll, **(chosen if passed else {})}.items()]
    charts.append(curve(CORE, "held-out nll of core tokens"))
    metrics = (*passed, *nll, *(chosen if passed else ()))
    columns = [*(f"metrics.`{name}`" for name in metrics), *(f"params.`{key}`" for key in (*keys, "seed"))]
    group_by = POINT_TAG if len(config.seeds) > 1 else None  # a group of one hides the run's name behind a line of its own
    return View(f"Sweep {config.name}", of_parent(parent), first, charts, columns, group_by=group_by)
