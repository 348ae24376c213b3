"""Masked fine-tuning as one Ray Train run: the stage's driver, and its only file that knows Ray."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import transformers
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer, get_device, prepare_model
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from codeblock.core.cluster import require, without_restart_warning
from codeblock.core.config import ClusterConfig, TrainConfig
from codeblock.core.console import counter
from codeblock.core.errors import CodeBlockError, system_cause, system_error
from codeblock.core.models import load as models
from codeblock.core.models.ref import ModelRef
from codeblock.core.own_process import is_worker
from codeblock.core.storage import store
from codeblock.train.loop import Session, Stopped, plan_run
from codeblock.train.model import MaskedLM
from codeblock.train.shard import shard
from codeblock.train.step import DistContext
from codeblock.train.stored import Survey, survey
from codeblock.train.worker import DEV, HISTORY, MODEL, CurveRow, OnRow, Told, fit_here, load_for_training, train

__all__ = ["CHECKPOINTS", "DEV", "HISTORY", "MODEL", "OnRow", "fit", "load_for_training"]

CHECKPOINTS = "ray"
LOOK_SECONDS = 0.5
"""Time between two looks at what the workers have told."""

Ends = Callable[[], bool]
"""Called in a worker, where it was carried to: whether the fit is to end before its last step."""


@dataclass(frozen=True)
class Callbacks:
    """Who is told of a fit, and asked."""

    on_row: OnRow | None = None
    """Gets the rows of both tables as they come, those since a checkpoint again where workers were started anew; it must not
    raise."""
    ends: Ends | None = None
    """Asked by the first worker at each look at the held-out pairs whether the fit is to end there."""


NO_CALLBACKS = Callbacks()


def fit(
    selected: Path,
    model: ModelRef,
    output: Path,
    config: TrainConfig,
    cluster: ClusterConfig,
    seed: int,
    callbacks: Callbacks = NO_CALLBACKS,
) -> dict[str, Any]:
    """Fine-tune a model on a selected table (`schema.SELECTED`); needs a Ray cluster (`cluster.ray_session`), unless one worker
    is asked for and this process is one (`own_process`).

    Writes `model/` (weights or adapter, with the tokenizer), `history.parquet` and `dev.parquet` into `output`, which
    all nodes must share. A run that was interrupted after a checkpoint goes on from it when called again.

    Returns counts and times: `processed_tokens` are inputs of the model without padding (a whole pair of T tokens has
    T-1), `trimmed_tokens` and `dropped_tokens` those that exact trimming and dropping saved in one pass over the
    pairs, `train_seconds` the time of the steps without start-up, dev and checkpoints, `resumed_from_step` the step
    of the checkpoint that the last start went on from (0: nothing was interrupted), `best_step` the step with the lowest
    held-out nll of supervised tokens (None without any), whose weights are written where `train.keep` is `best`.

    Raises CodeBlockError where the workers do not fit the cluster, no training pair has a supervised token, a pair is
    longer than the model's context, or a loss is not finite; `loop.Stopped` where `callbacks.ends` said so.
    """
    here = is_worker() and cluster.train_workers == 1 and not config.shard
    if not here:
        require("training", cluster.train_workers, cluster.cpus_per_worker, cluster.gpus_per_worker)
    found = survey(selected)
    _check_pairs(selected, found, model)
    output.mkdir(parents=True, exist_ok=True)
    job = {
        "selected": str(selected.absolute()),
        **_place_of(model),
        "output": str(output.absolute()),
        "config": config.model_dump(mode="json"),
        "cpus": cluster.cpus_per_worker,
        "seed": seed,
    }
    steps = len(plan_run(found.supervised_P, config, seed))
    with counter("train", steps) as advance:
        hand_on = _HandOn(advance, callbacks.on_row)
        if here:
            facts = fit_here({**job, "ends": callbacks.ends}, hand_on)
        else:
            with _told(hand_on) as told:
                facts = _run({**job, "told": told, "ends": callbacks.ends}, config, cluster, output)
    if facts["stopped"]:
        raise Stopped(facts["steps"])
    return {
        "pairs": found.saved.pairs,
        "dropped_pairs": found.saved.dropped_pairs,
        "trimmed_tokens": found.saved.tail_inputs,
        "dropped_tokens": found.saved.dropped_inputs,
        "world_size": cluster.train_workers,
        **{key: value for key, value in facts.items() if key != "stopped"},
    }


def _check_pairs(selected: Path, found: Survey, model: ModelRef) -> None:
    """Raise CodeBlockError where no training pair has a supervised token, or one is longer than the model's context."""
    if not found.saved.pairs:
        raise CodeBlockError(
            f"{selected}: none of {found.saved.dropped_pairs} training pairs has a supervised token; raise "
            "select.token_budget or select.subset_ratio"
        )
    most = models.context_length(model.path, model.revision) or models.NO_LIMIT
    if found.longest > most:
        raise CodeBlockError(
            f"selected pair {found.longest_id}: {found.longest} tokens up to its last supervised one, the model takes "
            f"{most}; lower model.max_length and prepare again"
        )


def _place_of(model: ModelRef) -> dict[str, str | None]:
    """Where workers find a model: they have a working directory of their own, and an adapter names its base by this path."""
    local = Path(model.path)
    return {"model_path": str(local.absolute()) if local.exists() else model.path, "revision": model.revision}


def _run(job: dict[str, Any], config: TrainConfig, cluster: ClusterConfig, output: Path) -> dict[str, Any]:
    _quiet_ray_train()
    resources = {"CPU": cluster.cpus_per_worker}
    if cluster.gpus_per_worker:
        resources["GPU"] = cluster.gpus_per_worker
    filesystem, dist_context = store.arrow(Path(job["output"]))
    trainer = TorchTrainer(
        _work,
        train_loop_config=job,
        scaling_config=ray.train.ScalingConfig(
            num_workers=cluster.train_workers,
            use_gpu=cluster.gpus_per_worker > 0,
            resources_per_worker=resources,
        ),
        run_config=ray.train.RunConfig(
            name=CHECKPOINTS,  # the name by which Ray Train finds the checkpoints of an interrupted run
            storage_filesystem=filesystem,
            storage_path=dist_context,
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            # Its default is to try for ever where the workers find no room.
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures, controller_failure_limit=3),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        with _interruptible(trainer), without_restart_warning():
            facts: dict[str, Any] = trainer.fit().return_value
    except ray.train.TrainingFailedError as error:
        raise _readable(error) from error
    store.remove_tree(output / CHECKPOINTS)
    return facts


@contextmanager
def _interruptible(trainer: TorchTrainer) -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt out of a fit, and end what it leaves on the cluster.

    Ray Train's own handler would end the process in its place, without a word and with an exit status of its own, and would
    stay after the fit.
    """
    controllers: list[Any] = []
    trainer._register_sigint_handler = controllers.append
    try:
        yield
    except KeyboardInterrupt:
        for controller in controllers:
            controller.abort.remote()  # not waited for: where the cluster is lost, nobody answers
        raise


def _quiet_ray_train() -> None:
    """Ray Train's switches, unless the user has set them; its controller takes them from this process."""
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # patched, it prints each state of a bar twice
    # The controller takes up one checkpoint a look, and the workers wait for it; a fit ends at a look, too.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    if len(ray.nodes()) == 1:  # nothing to preempt, and the watcher's actor writes an error line into every run
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


def _readable(error: Exception) -> CodeBlockError:
    """The workers' own CodeBlockError where there is one, else the last line of what Ray Train says."""
    failures = getattr(error, "worker_failures", {})
    for failure in failures.values():
        if isinstance(failure, CodeBlockError):
            return failure
        if (refused := system_cause(failure)) is not None:
            return CodeBlockError(f"training: {system_error(refused)}")
    said = [line for failure in failures.values() for line in str(failure).splitlines() if line.strip()]
    last = (said or str(error).splitlines())[-1].strip()
    return CodeBlockError(f"training: a worker failed ({last[:300]}); its log is in Ray's session directory")


def _work(job: dict[str, Any]) -> dict[str, Any]:
    """What each worker runs."""
    _quiet_worker_logs()
    context = ray.train.get_context()
    dist_context = DistContext(get_device(), context.get_world_rank(), context.get_world_size())
    sharded = job["config"]["shard"]

    def wrap(masked: MaskedLM) -> Any:
        if sharded:
            return shard(masked.to(dist_context.device), dist_context)
        return prepare_model(masked, parallel_strategy_kwargs={"forward_sync_buffers": False})

    checkpoint = ray.train.get_checkpoint()
    with nullcontext() if checkpoint is None else checkpoint.as_directory() as directory:
        return train(job, dist_context, wrap, None if directory is None else Path(directory), _report)


def _quiet_worker_logs() -> None:
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train logs each checkpoint here, past its own log level
    for handler in logging.getLogger("ray.train").handlers:
        if isinstance(handler, logging.StreamHandler):  # the console; its log file keeps the traceback
            handler.addFilter(lambda record: CodeBlockError.__name__ not in record.getMessage())


class _HandOn:
    """Shows the rows that a worker tells, and hands them on."""

    def __init__(self, advance: Callable[..., None], on_row: OnRow | None) -> None:
        self._advance, self._on_row, self._step = advance, on_row, 0

    def put_nowait_batch(self, rows: Sequence[CurveRow]) -> None:
        """Take some rows."""
        for row in rows:
            if "loss" in row:
                self._advance(row["step"] - self._step, f"loss {row['loss']:.3f}")  # a fit may go on from a checkpoint
                self._step = row["step"]
            if self._on_row is not None:
                self._on_row(row)


@contextmanager
def _told(hand_on: Told) -> Iterator[Queue]:
    """A queue for what the workers tell, while a thread hands it on."""
    # Ray puts actors that ask for nothing on any node; on one that is lost it would take the fit with it.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    told, ended = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here}), threading.Event()

    def take() -> None:
        hand_on.put_nowait_batch(told.get_nowait_batch(told.qsize()))

    def look() -> None:
        with suppress(RayError):  # the queue went with what ends the fit, which is told there
            while not ended.wait(LOOK_SECONDS):
                take()
            take()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        ended.set()
        thread.join(timeout=10 * LOOK_SECONDS)  # a cluster that is gone must not hold up the error that says so
        told.shutdown(force=True)


def _report(session: Session) -> None:
    if session.dist_context.rank != 0 and not session.config.shard:
        ray.train.report({"step": session.step})
        return
    with tempfile.TemporaryDirectory() as directory:
        session.save(Path(directory))
        checkpoint = ray.train.Checkpoint.from_directory(directory)
        ray.train.report({"step": session.step}, checkpoint=checkpoint)
