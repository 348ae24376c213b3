"""Masked fine-tuning as one Ray Train run: the stage's driver, and its only file that knows Ray."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.train
import torch
import transformers
from ray.train.torch import TorchTrainer, get_device, prepare_model
from ray.util.queue import Queue

from codeblock.core.cluster import require
from codeblock.core.config import ClusterConfig, TrainConfig
from codeblock.core.console import counter
from codeblock.core.errors import CodeBlockError
from codeblock.core.models import load as models
from codeblock.core.models.causal import check_ids
from codeblock.core.storage import store, tables
from codeblock.core.threads import use_threads
from codeblock.train.loop import DEV_SCHEMA, HISTORY_SCHEMA, Session, Stopped, plan_run
from codeblock.train.model import MaskedLM, add_lora, checkpoint_activations, freeze_other_parts
from codeblock.train.rows import TokenPair, read_pairs, trim_all
from codeblock.train.shard import shard, whole_weights
from codeblock.train.step import DistContext

MODEL = "model"
HISTORY = "history.parquet"
DEV = "dev.parquet"
CHECKPOINTS = "ray"
LOOK_SECONDS = 0.5
"""Time between two looks at what the workers have told."""

Row = dict[str, Any]
OnRow = Callable[[Row], None]
"""Called in the driver for each row of the history, and of the held-out nll (those have a `token_class`), as they come."""
Ends = Callable[[], bool]
"""Called in a worker, where it was carried to: whether the fit is to end before its last step."""


def fit(
    selected: Path,
    model_path: str,
    revision: str | None,
    output: Path,
    config: TrainConfig,
    cluster: ClusterConfig,
    seed: int,
    max_length: int | None = None,
    on_row: OnRow | None = None,
    ends: Ends | None = None,
) -> dict[str, Any]:
    """Fine-tune a model on a selected table (`schema.SELECTED`); needs a Ray cluster (`cluster.ray_session`).

    Writes `model/` (weights or adapter, with the tokenizer), `history.parquet` and `dev.parquet` into `output`, which
    all nodes must share. A run that was interrupted after a checkpoint goes on from it when called again. `on_row` gets
    the rows of both tables as they come, those since a checkpoint again where workers were started anew; it must not raise.
    `ends` is asked by the first worker at each look at the held-out pairs whether the fit is to end there.

    Returns counts and times: `processed_tokens` are inputs of the model without padding (a whole pair of T tokens has
    T-1), `trimmed_tokens` and `dropped_tokens` those that exact trimming and dropping saved in one pass over the
    pairs, `train_seconds` the time of the steps without start-up, dev and checkpoints, `resumed_from_step` the step
    of the checkpoint that the last start went on from (0: nothing was interrupted), `best_step` the step with the lowest
    held-out nll of supervised tokens (None without any), whose weights are written where `train.keep` is `best`.

    Raises CodeBlockError where the workers do not fit the cluster, no training pair has a supervised token, a pair is
    longer than `max_length` (empty: the model's context), or a loss is not finite; `loop.Stopped` where `ends` said so.
    """
    require("training", cluster.train_workers, cluster.cpus_per_worker, cluster.gpus_per_worker)
    pairs, saved = trim_all(read_pairs(selected, "train"))
    if not pairs:
        raise CodeBlockError(
            f"{selected}: none of {saved.dropped_pairs} training pairs has a supervised token; raise "
            "select.token_budget or select.subset_ratio"
        )
    _check_lengths(pairs, max_length or models.context_length(model_path, revision) or models.NO_LIMIT)
    output.mkdir(parents=True, exist_ok=True)
    local = Path(model_path)
    job = {
        "selected": str(selected.absolute()),
        # An adapter names its base model by this path, and workers have a working directory of their own.
        "model_path": str(local.absolute()) if local.exists() else model_path,
        "revision": revision,
        "output": str(output.absolute()),
        "config": config.model_dump(mode="json"),
        "cpus": cluster.cpus_per_worker,
        "seed": seed,
    }
    steps = len(plan_run(pairs, config, seed))
    with counter("train", steps) as advance, _told(advance, on_row) as told:
        facts = _run({**job, "told": told, "ends": ends}, config, cluster, output)
    if facts["stopped"]:
        raise Stopped(facts["steps"])
    return {
        "pairs": saved.pairs,
        "dropped_pairs": saved.dropped_pairs,
        "trimmed_tokens": saved.tail_inputs,
        "dropped_tokens": saved.dropped_inputs,
        "world_size": cluster.train_workers,
        **{key: value for key, value in facts.items() if key != "stopped"},
    }


def _check_lengths(pairs: Sequence[TokenPair], most: int) -> None:
    longest = max(pairs, key=lambda pair: pair.inputs)
    if longest.inputs > most:
        raise CodeBlockError(
            f"selected pair {longest.id}: {longest.inputs} tokens up to its last supervised one, the model takes "
            f"{most}; lower model.max_length and prepare again"
        )


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
        facts: dict[str, Any] = trainer.fit().return_value
    except ray.train.TrainingFailedError as error:
        raise _readable(error) from error
    store.remove_tree(output / CHECKPOINTS)
    return facts


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
    said = [line for failure in failures.values() for line in str(failure).splitlines() if line.strip()]
    last = (said or str(error).splitlines())[-1].strip()
    return CodeBlockError(f"training: a worker failed ({last[:300]}); its log is in Ray's session directory")


def _work(job: dict[str, Any]) -> dict[str, Any]:
    """What each worker runs."""
    _quiet_worker_logs()
    use_threads(job["cpus"])
    torch.manual_seed(job["seed"])  # of the adapters' first values
    context = ray.train.get_context()
    dist_context = DistContext(get_device(), context.get_world_rank(), context.get_world_size())
    config = TrainConfig.model_validate(job["config"])
    selected, output = Path(job["selected"]), Path(job["output"])

    pairs, _ = trim_all(read_pairs(selected, "train"))
    masked = load_for_training(job["model_path"], job["revision"], config)
    check_ids(masked.model, [pair.input_ids_T for pair in pairs])
    if config.shard:
        model: Any = shard(masked.to(dist_context.device), dist_context)
    else:
        model = prepare_model(masked, parallel_strategy_kwargs={"forward_sync_buffers": False})
    session = Session(model, pairs, read_pairs(selected, "dev"), config, job["seed"], dist_context)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            session.load(Path(directory))

    resumed_from = session.step
    on_step = _teller(session, job["told"]) if dist_context.rank == 0 else None
    session.run(on_step=on_step, on_checkpoint=_report, ends=job["ends"])
    facts = {
        "stopped": session.stopped,
        "steps": session.step,
        "resumed_from_step": resumed_from,
        "best_step": session.best.step,
        "supervised_tokens": sum(row["supervised_tokens"] for row in session.history),
        "processed_tokens": sum(row["processed_tokens"] for row in session.history),
        "train_seconds": sum(row["seconds"] for row in session.history),
        "peak_memory_mb": session.peak_memory_mb(),
    }
    facts["tokens_per_second"] = facts["processed_tokens"] / facts["train_seconds"]
    weights = whole_weights(masked) if config.shard and not session.stopped else None
    if dist_context.rank == 0 and not session.stopped:
        _write(session, masked, job, output, weights)
    return facts


def _quiet_worker_logs() -> None:
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train logs each checkpoint here, past its own log level
    for handler in logging.getLogger("ray.train").handlers:
        if isinstance(handler, logging.StreamHandler):  # the console; its log file keeps the traceback
            handler.addFilter(lambda record: CodeBlockError.__name__ not in record.getMessage())


def load_for_training(path: str, revision: str | None, config: TrainConfig) -> MaskedLM:
    """The model of a fit, before its first step.

    Adapters are float32; under them the frozen weights are in `train.dtype`, in which each of them would be cast for every
    product: 2 bytes a parameter in place of 6 (docs/memory.md). Weights that are trained are float32.

    Raises CodeBlockError for a model that cannot be loaded or trained: an adapter, quantised weights where all of them are
    trained, logits that cannot be made at chosen positions alone.
    """
    model = models.load_model(path, revision, config.dtype if config.mode == "lora" else "float32")
    if hasattr(model, "get_base_model"):
        raise CodeBlockError(f"model {path}: is an adapter; merge it into its base model first, or train the base")
    if config.mode == "full" and getattr(model, "is_quantized", False):
        raise CodeBlockError(f"model {path}: its weights are quantised and cannot be trained; set train.mode=lora")
    freeze_other_parts(model)
    if config.gradient_checkpointing:
        checkpoint_activations(model)
    if config.mode == "lora":
        model = add_lora(model, config.lora, revision)
    return MaskedLM(model, config.dtype)


@contextmanager
def _told(advance: Callable[..., None], on_row: OnRow | None) -> Iterator[Queue]:
    """A queue for what the workers tell, while a thread shows it and hands it on."""
    told, ended, step = Queue(actor_options={"num_cpus": 0}), threading.Event(), 0

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            hand_on()
        hand_on()

    def hand_on() -> None:
        nonlocal step
        for row in told.get_nowait_batch(told.qsize()):
            if "loss" in row:
                advance(row["step"] - step, f"loss {row['loss']:.3f}")  # a fit may go on from a checkpoint
                step = row["step"]
            if on_row is not None:
                on_row(row)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        ended.set()
        thread.join(timeout=10 * LOOK_SECONDS)  # a cluster that is gone must not hold up the error that says so
        told.shutdown(force=True)


def _teller(session: Session, told: Queue) -> Callable[[Row], None]:
    """Tells of each step, and of the looks at held-out pairs since the one before."""
    seen = len(session.dev)

    def tell(row: Row) -> None:
        nonlocal seen
        told.put_nowait_batch([row, *session.dev[seen:]])
        seen = len(session.dev)

    return tell


def _report(session: Session) -> None:
    if session.dist_context.rank != 0 and not session.config.shard:
        ray.train.report({"step": session.step})
        return
    with tempfile.TemporaryDirectory() as directory:
        session.save(Path(directory))
        checkpoint = ray.train.Checkpoint.from_directory(directory)
        ray.train.report({"step": session.step}, checkpoint=checkpoint)


def _write(
    session: Session, masked: MaskedLM, job: dict[str, Any], output: Path, weights: dict[str, torch.Tensor] | None
) -> None:
    store.remove_tree(output / MODEL)
    adapter = {"save_embedding_layers": False} if session.config.mode == "lora" else {}
    whole = {} if weights is None else {"state_dict": weights}
    masked.model.save_pretrained(output / MODEL, **adapter, **whole)
    models.load_tokenizer(job["model_path"], job["revision"]).save_pretrained(output / MODEL)
    store.put_tree(output / MODEL)
    tables.write_part(output / HISTORY, pa.Table.from_pylist(session.history, schema=HISTORY_SCHEMA))
    tables.write_part(output / DEV, pa.Table.from_pylist(session.dev, schema=DEV_SCHEMA))
