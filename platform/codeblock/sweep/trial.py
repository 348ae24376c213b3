"""One trial: a point with a seed, from the shared scores to its verdicts. Runs in a process of Ray's, beside others."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import ray
from ray import tune
from ray.tune.search.repeater import TRIAL_INDEX

from codeblock.core.cluster import quiet_data
from codeblock.core.config import Config
from codeblock.core.console import console
from codeblock.core.errors import CodeBlockError, causes
from codeblock.core.own_process import as_worker
from codeblock.core.quiet import quiet_environment
from codeblock.core.storage.tables import read_part, write_part
from codeblock.evaluate.stored_nll import read_reference_nll
from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.cache import Step, check_storage
from codeblock.experiment.differences import read_counts
from codeblock.experiment.plan import make_plan
from codeblock.experiment.results import ArmResult, Comparison
from codeblock.experiment.watch import Watch
from codeblock.pipeline import measure_reference_nll, run_arm, run_data
from codeblock.sweep import record as records
from codeblock.sweep.choose import merit, parts_of
from codeblock.sweep.disk import remove_unfinished
from codeblock.sweep.points import Point, config_of
from codeblock.sweep.record import Record, before_trial, core_nll, identity_of, place_of
from codeblock.sweep.space import snapped
from codeblock.sweep.stopping import NLL, POINT, STEP, StopAsked
from codeblock.train.loop import Stopped

NUMBER = "number"
"""Key of Tune's config: which of the job's trials this is, where they are known beforehand."""
TRIES = 2
"""Times that a trial is tried where it fails."""


@dataclass(frozen=True)
class TrialJob:
    """What every trial is given."""

    config: dict[str, Any]
    """The whole config of the sweep, as plain values."""
    trials: list[tuple[Point, int]]
    """Points and seeds, where they are known beforehand."""
    alone: bool = False
    """Whether a trial's process has the resources of its one worker, and is that worker itself."""

    def asked(self, tuned: Mapping[str, Any]) -> tuple[Point, int]:
        """Point and seed of a trial, by what Tune gives it."""
        if NUMBER in tuned:
            return self.trials[int(tuned[NUMBER])]
        config = Config.model_validate(self.config)
        seeds = config.seeds_of(config.sweep.arm)
        return snapped(config.sweep, _flat(tuned)), seeds[tuned.get(TRIAL_INDEX, 0)]


def run_trial(tuned: dict[str, Any], job: TrialJob, board: Any) -> None:
    """Take one trial to its verdicts, and put what it came to into its record. Never raises: what failed is told."""
    _quiet()
    if ray.get(board.ended.remote()):
        tune.report({"skipped": True})
        return
    config = Config.model_validate(job.config)
    point, seed = job.asked(tuned)
    started = time.monotonic()
    tune.report({"point": point.values, "seed": seed})
    watch = _Watch(point, StopAsked(board, point.key))
    with as_worker() if job.alone else nullcontext():
        done = _tried(config, point, seed, watch)
    if ray.get(board.ended.remote()) and done.status != "evaluated":  # cut by the end of the sweep, not by its own merit
        tune.report({"skipped": True})
        return
    done.seconds = round(time.monotonic() - started, 2)
    records.write(place_of(config, point, seed), done)
    last: dict[str, Any] = {"record": asdict(done), "rows": watch.rest}
    if done.status == "evaluated":
        last["merit"] = merit(done, parts_of(config), config.sweep.measure)
    tune.report(last)


class _Watch(Watch):
    """Tells Tune of each look at the held-out pairs, with the rows of the curves since the one before."""

    def __init__(self, point: Point, ends: StopAsked) -> None:
        self.ends = ends
        self._key = point.key
        self.rows: list[Mapping[str, Any]] = []
        self.looks: dict[int, float] = {}
        self.rest: list[Mapping[str, Any]] = []
        """Rows of the curves that were not told."""

    def row(self, arm: ArmPlan, row: Mapping[str, Any]) -> None:
        """A row of a curve; those of one look come together, with the row of a step before them."""
        if "token_class" not in row:
            self._tell()
        self.rows.append(row)

    def finish(self, arm: ArmResult) -> None:
        """The fit has ended: its tables have the last looks, which nobody has told of."""
        self._tell()
        self.rest = [*arm.table("history"), *arm.table("dev")]
        self.looks |= core_nll(self.rest)

    def _tell(self) -> None:
        found = core_nll(self.rows)
        if not found:
            return
        rows, self.rows = self.rows, []
        self.looks |= found
        step = max(found)
        tune.report({POINT: self._key, STEP: step, NLL: found[step], "rows": rows})


def _tried(config: Config, point: Point, seed: int, watch: _Watch) -> Record:
    for number in range(TRIES):
        try:
            return _run(config, point, seed, watch)
        except Exception as error:  # whatever it was, the other trials go on
            told = reason(error)
            if number == TRIES - 1 or os.environ.get("CODEBLOCK_TRACEBACK"):
                break
    return Record(point.values, seed, "", "failed", told, looks=sorted(watch.looks.items()))


def _run(config: Config, point: Point, seed: int, watch: _Watch) -> Record:
    plan = make_plan(config_of(config, point), check_storage(config.storage))
    arm = next(each for each in plan.arms if each.seed == seed)
    identity = identity_of(plan, seed)
    known = records.read(place_of(config, point, seed), identity)
    if known is not None:  # Optuna may ask for a point again
        return known
    assert watch.ends is not None
    if watch.ends():  # another seed of the point was stopped
        return Record(point.values, seed, identity, "stopped")
    run_data(plan, "evaluate")
    before = before_trial(place_of(config, point, seed), identity, _finished(_large(arm)))
    try:
        result = run_arm(plan, arm, "evaluate", watch)
    except Stopped as stopped:
        remove_unfinished(plan.pairs.cache, [step.directory.name for step in _large(arm)])
        done = Record(point.values, seed, identity, "stopped", steps=stopped.step, looks=sorted(watch.looks.items()))
        return _with_steps(done, arm, before)
    one = replace(plan, arms=[arm])
    comparison = Comparison(one, arms=[result])
    measure_reference_nll(one, comparison)
    watch.finish(result)
    done = Record(
        point.values,
        seed,
        identity,
        "evaluated",
        steps=result.trained["steps"] if result.trained else 0,
        looks=sorted(watch.looks.items()),
        selected=dict(result.selected or {}),
        trained=dict(result.trained or {}),
        evaluated={name: dict(facts) for name, facts in result.evaluated.items()},
        counts={name: read_counts(step.directory / "verdicts.parquet") for name, step in arm.graded.items()},
        nll={name: read_reference_nll(step.directory) for name, step in arm.reference_nll.items()},
    )
    for name, step in arm.graded.items():
        write_part(place_of(config, point, seed) / f"verdicts-{name}.parquet", read_part(step.directory / "verdicts.parquet"))
    return _with_steps(done, arm, before)


def _with_steps(record: Record, arm: ArmPlan, before: set[str]) -> Record:
    uses = _finished(_large(arm))
    record.uses, record.made = sorted(uses), sorted(uses - before)
    return record


def _large(arm: ArmPlan) -> list[Step]:
    """The steps of an arm whose results take room: selections and models."""
    return [step for each in arm.rounds for step in (each.selected, each.trained)]


def _finished(steps: Iterable[Step]) -> set[str]:
    return {step.directory.name for step in steps if step.facts is not None}


def reason(error: BaseException) -> str:
    """One line: the error that the user can mend where there is one, else the last one with its kind."""
    for last in causes(error):
        if isinstance(last, CodeBlockError):
            return str(last)
    lines = [line for line in str(last).splitlines() if line.strip()]
    return f"{type(last).__name__}: {lines[-1].strip()[:300] if lines else 'no message'}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Optuna's parameters by key, however deep Tune has nested them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _quiet() -> None:
    """The driver tells how far a sweep is; what each trial would print is not for its screen."""
    quiet_environment()
    quiet_data()
    console.quiet = True
