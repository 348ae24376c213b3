"""The sweep in Ray Tune: how many trials at once, what is decided while they run, and who hears of it."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

TUNE = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # looks lack the metric of the end, and the end that of the looks
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the sweep as it ends every command; Tune would go on for minutes
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output says what it runs even where it is told to be quiet
}
"""Tune reads these when it is imported."""
for _key, _value in TUNE.items():
    os.environ.setdefault(_key, _value)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.stopper import Stopper  # noqa: E402

from codeblock.core.config import ClusterConfig, Config  # noqa: E402
from codeblock.core.errors import CodeBlockError  # noqa: E402
from codeblock.core.signals import ENDING, heeded, remember  # noqa: E402
from codeblock.core.storage import places  # noqa: E402
from codeblock.sweep.choose import merit, parts_of  # noqa: E402
from codeblock.sweep.points import Point  # noqa: E402
from codeblock.sweep.record import Record  # noqa: E402
from codeblock.sweep.space import distributions  # noqa: E402
from codeblock.sweep.stopping import NLL, STEP, Board, PoliteASHA  # noqa: E402
from codeblock.sweep.trial import NUMBER, TrialJob, run_trial  # noqa: E402

DRIVER_CPUS = 0.01
"""CPUs of a trial itself; its workers ask for their own."""
SAME_ERRORS = 3
"""Trials that fail alike before the sweep stops."""
PARTICULARS = re.compile(r"\S*/\S*|\d\S*")
"""What may differ between errors that are the same: paths and numbers."""


class Follower(Protocol):
    """Hears of trials while they run. Must not raise."""

    def begins(self, trial: str, point: Point, seed: int) -> None:
        """A trial has begun."""

    def looks(self, trial: str, step: int, nll: float, rows: Sequence[Mapping[str, Any]]) -> None:
        """It has looked at the held-out pairs: nll of their core tokens, and the rows of its curves since the last look."""

    def ends(self, record: Record, rows: Sequence[Mapping[str, Any]]) -> None:
        """A trial has ended; all rows of its curves where it was evaluated."""


@dataclass
class TuneOutcome:
    """What Tune came to."""

    records: list[Record]
    error: str | None
    """Why the sweep was stopped, if it was."""


def alone(config: Config) -> bool:
    """Whether a trial's process does all of the trial itself: where one worker is asked for, and Ray for nothing else.

    Then torch is loaded once for all trials that the process gets, and no fit waits for Ray Train to start.
    """
    cluster, keys = config.cluster, set(config.sweep.space)
    one = cluster.train_workers == 1 and cluster.actors == 1 and not config.train.shard and config.evaluate.engine == "hf"
    # Where Optuna draws what decides data, trials have data stages to run, which need room in the cluster.
    data = {key for key in keys if key.partition(".")[0] not in ("select", "train", "evaluate", "strategy")}
    optuna = config.sweep.search == "optuna"
    return one and not keys & {"train.shard", "evaluate.engine"} and not (optuna and data)


def at_once(config: Config) -> int:
    """Trials at the same time: as many as the cluster has room for, or as the config says. Needs a Ray session."""
    cluster, have = config.cluster, ray.cluster_resources()
    workers = max(cluster.train_workers, cluster.actors)
    driver = 0.0 if alone(config) else DRIVER_CPUS
    fits = have.get("CPU", 0.0) / (workers * cluster.cpus_per_worker + driver)
    if cluster.gpus_per_worker:
        fits = min(fits, have.get("GPU", 0.0) / (workers * cluster.gpus_per_worker))
    return max(1, min(int(fits), config.sweep.at_once or int(fits)))


def shared_out(cluster: ClusterConfig, trials: int) -> ClusterConfig:
    """The cluster as one of so many trials has it: its share of the grading processes."""
    processes = cluster.grade_processes or os.cpu_count() or 1
    return cluster.model_copy(update={"grade_processes": max(1, processes // trials)})


def _plain(config: Config, together: int) -> dict[str, Any]:
    """The config as a trial gets it."""
    return config.model_copy(update={"cluster": shared_out(config.cluster, together)}).model_dump(mode="json")


def _resources(config: Config) -> dict[str, float]:
    """What Tune keeps for the process of a trial."""
    if not alone(config):
        return {"cpu": DRIVER_CPUS}
    return {"cpu": config.cluster.cpus_per_worker, "gpu": config.cluster.gpus_per_worker}


def _home(config: Config) -> Path:
    """Where Tune writes down how far it is, which nobody reads: beside the report, or on this disk where that is in a store."""
    if places.is_remote(config.storage):
        return Path(tempfile.mkdtemp(prefix="codeblock-tune-"))
    return config.storage.resolve() / config.name / "tune"


def run_trials(config: Config, trials: list[tuple[Point, int]], before: Sequence[Record], follower: Follower) -> TuneOutcome:
    """Run the trials that are left, or the points that Optuna suggests. Needs a Ray session.

    before: records of trials that an earlier command has ended.
    """
    optuna = config.sweep.search == "optuna"
    seeds = len(config.seeds_of(config.sweep.arm))
    points = len({record.point for record in before if record.status == "evaluated"})
    wanted = max(0, config.sweep.samples - points) * seeds if optuna else len(trials)
    if not wanted:
        return TuneOutcome([], None)
    together = at_once(config)
    board: Any = Board.remote()  # type: ignore[attr-defined]
    job = TrialJob(_plain(config, together), trials, alone(config))
    trainable = tune.with_resources(tune.with_parameters(run_trial, job=job, board=board), _resources(config))
    enough, scheduler = _Enough(), None
    if config.sweep.stopping is not None:
        scheduler = PoliteASHA(board, config.sweep.stopping, config.train.steps or 10**6)
        scheduler.remember(before)
    following = _TuneCallback(follower, board, enough)
    home = _home(config)
    shutil.rmtree(home, ignore_errors=True)
    search = _optuna(config, before) if optuna else None
    try:
        with _quiet_tune(), _signals(following):
            tune.Tuner(
                trainable,
                param_space=None if optuna else {NUMBER: tune.grid_search(list(range(len(trials))))},
                tune_config=tune.TuneConfig(
                    num_samples=wanted if optuna else 1,
                    max_concurrent_trials=together,
                    search_alg=search,
                    scheduler=scheduler,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=str(home),
                    verbose=0,
                    stop=enough,
                    failure_config=tune.FailureConfig(max_failures=1),
                    callbacks=[following],
                ),
            ).fit()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    ray.kill(board)  # not after an error: where the head is lost it waits until Ray ends the process
    return TuneOutcome(following.records, following.error)


@contextmanager
def _signals(following: _TuneCallback) -> Iterator[None]:
    """Ctrl-C and its like end the sweep between two steps of Tune: raised inside of Ray's C++ code they abort the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught = heeded((signal.SIGINT, *ENDING))
    before = {number: signal.getsignal(number) for number in caught}

    def note(number: int, _: FrameType | None) -> None:
        remember(number)
        following.interrupted = True

    for number in caught:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Enough(Stopper):  # type: ignore[misc]
    """Ends the sweep where it was decided that it ends."""

    def __init__(self) -> None:
        self.enough = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial is ended from here."""
        return False

    def stop_all(self) -> bool:
        """Whether to start no more trials."""
        return self.enough


class _TuneCallback(tune.Callback):  # type: ignore[misc]
    """Takes what trials report to the follower, and ends the sweep after too many equal errors."""

    def __init__(self, follower: Follower, board: Any, enough: _Enough) -> None:
        self.records: list[Record] = []
        self.error: str | None = None
        self._follower, self._board, self._enough = follower, board, enough
        self._errors: Counter[str] = Counter()
        self._begun: dict[str, tuple[Point, int]] = {}
        self.interrupted = False
        """Whether a signal has come."""
        self._last: set[str] = set()
        """Trials that were running when the sweep was ended: they are waited for."""

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """A step of Tune: it ends here where a signal has come."""
        if self.interrupted:
            raise KeyboardInterrupt

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        """A report of a trial: its beginning, a look, or its end."""
        if "point" in result and trial.trial_id not in self._begun:
            self._begun[trial.trial_id] = Point.of(result["point"]), result["seed"]
            self._follower.begins(trial.trial_id, *self._begun[trial.trial_id])
        elif STEP in result:
            self._follower.looks(trial.trial_id, result[STEP], result[NLL], result["rows"])
        elif "record" in result:
            self._ended(trials, Record.of(result["record"]), result["rows"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial is over."""
        self._over(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Its process has died, twice."""
        if trial.trial_id in self._begun:
            point, seed = self._begun[trial.trial_id]
            record = Record(point.values, seed, "", "failed", "its process died twice (out of memory?)")
            self._ended(trials, record, [])
        self._over(trial)

    def _ended(self, trials: list[Any], record: Record, rows: Sequence[Mapping[str, Any]]) -> None:
        self.records.append(record)
        self._follower.ends(record, rows)
        if record.status == "failed":
            kind = PARTICULARS.sub("...", record.error)
            self._errors[kind] += 1
            if self._errors[kind] == SAME_ERRORS and self.error is None:
                self.error = f"{SAME_ERRORS} trials failed with the same error: {record.error}"
                self._board.end.remote()
                self._last = {each.trial_id for each in trials if each.status == "RUNNING"}

    def _over(self, trial: Any) -> None:
        self._last.discard(trial.trial_id)
        if self.error is not None and not self._last:
            self._enough.enough = True


def _optuna(config: Config, before: Sequence[Record]) -> Any:
    """Optuna's search with what earlier commands found; a point is one suggestion, whatever its seeds."""
    space = distributions(config.sweep)
    import optuna
    from ray.tune.search.optuna import OptunaSearch
    from ray.tune.search.repeater import Repeater

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parts = parts_of(config)
    known: dict[Point, list[float]] = {}
    seeds = config.seeds_of(config.sweep.arm)
    for record in before:
        if record.status == "evaluated":
            known.setdefault(record.point, []).append(merit(record, parts, config.sweep.measure))
    whole = {point: values for point, values in known.items() if len(values) == len(seeds)}
    try:
        search = OptunaSearch(
            space=space,
            metric="merit",
            mode="max",
            seed=config.seed + len(whole),  # the draws that were made before would come again
            points_to_evaluate=[point.values for point in whole] or None,
            evaluated_rewards=[sum(values) / len(values) for values in whole.values()] or None,
        )
        for point in known.keys() - whole.keys():  # begun by an earlier command: their first seeds are there
            search._ot_study.enqueue_trial(point.values)
    except ValueError as error:
        raise CodeBlockError(f"sweep.space: Optuna refuses it ({error})") from error
    return Repeater(search, repeat=len(seeds))


@contextmanager
def _quiet_tune() -> Iterator[None]:
    """Keep off the screen what Tune and Optuna tell of themselves."""
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.train", "ray._private", "ray.air")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
