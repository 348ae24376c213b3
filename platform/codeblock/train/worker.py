"""The work of one training process, from the selected table to the model: knows torch, and nothing of Ray.

Ray Train's workers do it (driver.py), or the process that asks, where that is a worker itself (`fit_here`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import torch
from torch import nn

from codeblock.core.config import TrainConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.models import load as models
from codeblock.core.models.causal import check_ids
from codeblock.core.models.ref import ModelRef
from codeblock.core.own_process import begin, give_back
from codeblock.core.storage import store, tables
from codeblock.core.threads import use_threads
from codeblock.train.loop import DEV_SCHEMA, HISTORY_SCHEMA, STATE, Session
from codeblock.train.model import MaskedLM, add_lora, checkpoint_activations, freeze_other_parts
from codeblock.train.shard import whole_weights
from codeblock.train.step import DistContext
from codeblock.train.stored import store_pairs

MODEL = "model"
HISTORY = "history.parquet"
DEV = "dev.parquet"
HERE = "checkpoint"
"""Directory of the checkpoint of a fit in this process."""

CurveRow = Mapping[str, Any]
OnRow = Callable[[CurveRow], None]
"""Called for each row of the history, and of the held-out nll (those have a `token_class`), as they come."""


class Told(Protocol):
    """Takes the rows that the first worker tells."""

    def put_nowait_batch(self, rows: Sequence[CurveRow]) -> None:
        """Take some rows, at once."""


def train(
    job: dict[str, Any],
    dist_context: DistContext,
    wrap: Callable[[MaskedLM], nn.Module],
    restored: Path | None,
    on_checkpoint: Callable[[Session], None],
) -> dict[str, Any]:
    """Train as `driver.fit` asked, in the process at this place among all; the facts.

    wrap: puts the model on its device, and into what several workers need.
    restored: directory of the checkpoint to go on from.
    """
    use_threads(job["cpus"])
    torch.manual_seed(job["seed"])  # of the adapters' first values
    config = TrainConfig.model_validate(job["config"])
    selected, output = Path(job["selected"]), Path(job["output"])

    pairs, dev = store_pairs(selected)
    masked = load_for_training(ModelRef(job["model_path"], job["revision"]), config)
    check_ids(masked.model, [[pairs.largest_id]])
    session = Session(wrap(masked), pairs, dev, config, job["seed"], dist_context)
    if restored is not None:
        session.load(restored)

    resumed_from = session.step
    on_step = _teller(session, job["told"]) if dist_context.rank == 0 else None
    session.run(on_step=on_step, on_checkpoint=on_checkpoint, ends=job["ends"])
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


def load_for_training(ref: ModelRef, config: TrainConfig) -> MaskedLM:
    """The model of a fit, before its first step.

    Adapters are float32; under them the frozen weights are in `train.dtype`, in which each of them would be cast for every
    product: 2 bytes a parameter in place of 6 (docs/memory.md). Weights that are trained are float32.

    Raises CodeBlockError for a model that cannot be loaded or trained: an adapter, quantised weights where all of them are
    trained, logits that cannot be made at chosen positions alone.
    """
    model = models.load_model(ref.path, ref.revision, config.dtype if config.mode == "lora" else "float32")
    if hasattr(model, "get_base_model"):
        raise CodeBlockError(f"model {ref.path}: is an adapter; merge it into its base model first, or train the base")
    if config.mode == "full" and getattr(model, "is_quantized", False):
        raise CodeBlockError(f"model {ref.path}: its weights are quantised and cannot be trained; set train.mode=lora")
    freeze_other_parts(model)
    if config.gradient_checkpointing:
        checkpoint_activations(model)
    if config.mode == "lora":
        model = add_lora(model, config.lora, ref.revision)
    return MaskedLM(model, config.dtype)


def _teller(session: Session, told: Told) -> Callable[[CurveRow], None]:
    """Tells of each step, and of the looks at held-out pairs since the one before."""
    seen = len(session.dev)

    def tell(row: CurveRow) -> None:
        nonlocal seen
        told.put_nowait_batch([row, *session.dev[seen:]])
        seen = len(session.dev)

    return tell


def fit_here(job: dict[str, Any], told: Told) -> dict[str, Any]:
    """`train` in this process, which keeps a checkpoint of its own in the directory of the output."""
    begin()
    output = Path(job["output"])
    checkpoint = output / HERE
    there = store.exists(checkpoint / STATE)
    if there:
        store.fetch(checkpoint / STATE)
    facts = train(
        {**job, "told": told},
        DistContext(models.device()),
        lambda masked: masked.to(models.device()),
        checkpoint if there else None,
        partial(_keep, checkpoint / STATE),
    )
    store.remove_tree(checkpoint)
    give_back()
    return facts


def _keep(path: Path, session: Session) -> None:
    """Put the state of a session, whole, in place of the one before."""
    store.make_parent(path)
    temporary = tables.temporary_beside(path)
    with tempfile.TemporaryDirectory() as directory:
        session.save(Path(directory))
        shutil.copyfile(Path(directory) / STATE, temporary)
    temporary.replace(path)
    store.put(path)


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
