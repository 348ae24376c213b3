"""A sweep from its config to its report: shared stages, trials, choice. The file to read first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeblock.core.cluster import preflight, ray_session
from codeblock.core.cluster_watch import watched_cluster
from codeblock.core.config import Config
from codeblock.core.console import say
from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import store
from codeblock.core.storage.claims import remove_dead
from codeblock.evaluate.stored_nll import read_reference_nll
from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.cache import cache_of, check_storage, probe_storage
from codeblock.experiment.check_models import probe_models
from codeblock.experiment.plan import Plan, make_plan
from codeblock.experiment.versions import own_sources
from codeblock.experiment.watch import telling
from codeblock.pipeline import check_graders, check_plan
from codeblock.sweep import disk, record
from codeblock.sweep.choose import PointResult, check_halves, parts_of, results_of
from codeblock.sweep.console import Screen
from codeblock.sweep.points import Point, config_of
from codeblock.sweep.record import Record, identity_of, place_of
from codeblock.sweep.shared import run_shared, shared_plans, shared_steps
from codeblock.sweep.space import corners, distributions, points_of
from codeblock.sweep.track import SweepRuns


@dataclass
class Sweep:
    """A sweep as far as it can be told before anything runs."""

    config: Config
    cache: Path
    points: list[Point]
    """Known beforehand; of Optuna the corners of the space."""
    plans: list[Plan]
    """Of the stages that trials share."""
    done: list[Record]
    """Of trials that earlier commands have ended."""
    left: list[tuple[Point, int]]
    """Trials that are to run, as far as they are known: all seeds of a point together."""
    trials: int
    """In all."""

    @property
    def seeds(self) -> list[int]:
        """The seeds of each point."""
        return self.config.seeds_of(self.config.sweep.arm)


@dataclass
class SweepOutcome:
    """What a sweep came to."""

    sweep: Sweep
    results: list[PointResult]
    """The best point first."""
    error: str | None
    """Why it was stopped, if it was."""
    untrained: dict[str, dict[str, float]] = field(default_factory=dict)
    """Reference nll of the untrained model by benchmark and task."""

    @property
    def records(self) -> list[Record]:
        """All trials, of the best points first."""
        return [each for result in self.results for each in result.records]


def plan_sweep(config: Config) -> Sweep:
    """What a sweep would do. Reads inputs for their fingerprints, computes nothing.

    Raises CodeBlockError for keys that there are not, values that cannot be, and settings that do not go together.
    """
    optuna = config.sweep.search == "optuna"
    if optuna:
        distributions(config.sweep)
    points = corners(config) if optuna else points_of(config)
    parts_of(config)
    _check_stopping(config)
    probe_storage(config.storage)
    cache = cache_of(config.storage)
    known = _recorded(config) if optuna else points
    planned = {point: make_plan(config_of(config, point), cache) for point in dict.fromkeys([*points, *known])}
    done, left = [], []
    for point in known:
        for arm in planned[point].arms:
            found = record.read(place_of(config, point, arm.seed), identity_of(planned[point], arm.seed))
            if found is None:
                left.append((point, arm.seed))
            else:
                done.append(found)
    count = config.sweep.samples if optuna else len(points)
    trials = count * len(config.seeds_of(config.sweep.arm))
    shared = shared_plans(config, {point: planned[point] for point in points}, cache)
    return Sweep(config, cache, points, shared, done, [] if optuna else left, trials)


def run_sweep(sweep: Sweep, runs: SweepRuns) -> SweepOutcome:
    """Run what is left of a sweep. Models of all but the best points are removed as soon as they are evaluated.

    Raises CodeBlockError for everything the user can mend; a trial that fails is told and costs only itself.
    """
    remove_dead(check_storage(sweep.config.storage))
    for plan in sweep.plans:
        check_plan(plan)
    runs.begin(sweep.plans[0], sweep.done if len(sweep.done) == sweep.trials else None)
    error = None
    with _session(sweep, runs) as ray_runs:
        if ray_runs:
            probe_models(sweep.plans[0], "evaluate")
            check_graders(sweep.plans[0])
        shared = run_shared(sweep.plans)
        untrained = {name: read_reference_nll(step.directory) for name, step in sweep.plans[0].untrained_nll.items()}
        check_halves(parts_of(sweep.config), untrained)
        for line in (*shared[0].rows_told(), shared[0].pool()):
            say(line)
        following = _NewsOfTrials(sweep, runs, untrained)
        if ray_runs:
            from codeblock.sweep.tuner import run_trials

            with following.screen:
                error = run_trials(sweep.config, sweep.left, sweep.done, following).error
    following.clear()
    return SweepOutcome(sweep, following.results(), error, untrained)


class _NewsOfTrials:
    """Takes each trial's news to the screen, to MLflow and to the disk."""

    def __init__(self, sweep: Sweep, runs: SweepRuns, untrained: Mapping[str, Mapping[str, float]]) -> None:
        self._sweep, self._runs, self._untrained = sweep, runs, untrained
        self._records: dict[tuple[Point, int], Record] = {(each.point, each.seed): each for each in sweep.done}
        self._trials: dict[str, tuple[Point, int]] = {}
        self.screen = Screen(sweep.trials, len(sweep.done))

    def begins(self, trial: str, point: Point, seed: int) -> None:
        """A trial has begun."""
        self._trials[trial] = point, seed
        self.screen.begins(point, seed)
        self._runs.begins(point, seed)

    def looks(self, trial: str, step: int, nll: float, rows: Sequence[Mapping[str, Any]]) -> None:
        """It has looked at the held-out pairs."""
        self.screen.looks(*self._trials[trial], step, nll)
        self._runs.looks(*self._trials[trial], step, nll, rows)

    def ends(self, record: Record, rows: Sequence[Mapping[str, Any]]) -> None:
        """A trial has ended."""
        self._records[record.point, record.seed] = record
        self.screen.ends(record)
        self._runs.ends(record, rows)
        self._remove_models()

    def results(self) -> list[PointResult]:
        """The points so far, the best first."""
        return results_of(list(self._records.values()), self._sweep.seeds, self._sweep.config, self._untrained)

    def clear(self) -> None:
        """At the end: of all but the best points nothing is left in the cache but what others have made."""
        self._remove_models()
        kept = {name for result in self._kept() for each in result.records for name in each.uses}
        disk.remove(self._sweep.cache, disk.selections_of(self._records.values()) - kept)

    def _remove_models(self) -> None:
        """Models of a point that has all its seeds and is not among the best: it cannot come back, for the others only grow."""
        kept, results = {result.point for result in self._kept()}, self.results()
        over = [each for each in results if len(each.records) == len(self._sweep.seeds) and each.point not in kept]
        held = {name for each in results if each not in over for record in each.records for name in record.uses}
        disk.remove(self._sweep.cache, disk.models_of(record for each in over for record in each.records) - held)

    def _kept(self) -> list[PointResult]:
        return [each for each in self.results() if each.whole][: self._sweep.config.sweep.keep_models]


@contextmanager
def _session(sweep: Sweep, runs: SweepRuns) -> Iterator[bool]:
    """A Ray cluster that the config fits, and whether one was needed: none is where all is done already."""
    steps = shared_steps(sweep.plans)
    optuna_left = sweep.config.sweep.search == "optuna" and len(sweep.done) < sweep.trials
    if not sweep.left and not optuna_left and all(step.facts is not None for step in steps):
        yield False
        return
    cluster = sweep.config.cluster
    with ray_session(cluster, own_sources(sweep.config)), telling(runs.ended_by), watched_cluster(cluster, runs.ended_by):
        preflight(cluster)
        yield True


def _check_stopping(config: Config) -> None:
    """Refuse early stopping that would never see anything."""
    stopping, train = config.sweep.stopping, config.train
    if stopping is None:
        return
    if train.dev_pairs == 0:
        raise CodeBlockError("sweep.stopping: decides by held-out pairs; set train.dev_pairs above 0")
    if train.steps is not None and max(stopping.after, train.dev_every) >= train.steps:
        raise CodeBlockError(
            f"sweep.stopping.after={stopping.after}, train.dev_every={train.dev_every}: no look before the last of "
            f"train.steps={train.steps}; lower both"
        )


def _recorded(config: Config) -> list[Point]:
    """The points of all records, whatever command has made them."""
    found: dict[Point, None] = {}
    for path in store.by_age(config.storage / config.name / "trials", "*/record.json"):
        with suppress(CodeBlockError, OSError, ValueError, KeyError):  # of another space
            point = Point.of(json.loads(store.read_text(path))["values"])
            config_of(config, point)
            found[point] = None
    return [point for point in found if set(point.values) == set(config.sweep.space)]


def arm_of(plan: Plan, seed: int) -> ArmPlan:
    """The arm of a point's plan with a seed."""
    return next(each for each in plan.arms if each.seed == seed)
