"""One optimiser step, and the optimiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from codeblock.core.errors import CodeBlockError
from codeblock.core.models.attention import attention_of_any_shape
from codeblock.train.batches import MicroBatch


@dataclass(frozen=True, slots=True)
class DistContext:
    """Where a worker stands."""

    device: torch.device
    rank: int = 0
    world: int = 1


def make_optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over the parameters that need a gradient; only matrices decay, no bias and no norm."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate, fused=True)


@dataclass(frozen=True, slots=True)
class Update:
    """How gradients become weights."""

    optimizer: torch.optim.Optimizer
    scheduler: Any
    """Of the learning rate; goes on by one with each step."""
    max_grad_norm: float
    """Larger gradients are scaled down to this norm."""


@attention_of_any_shape()
def take_step(
    model: nn.Module,
    batches: Sequence[MicroBatch],
    total_weight: float,
    update: Update,
    dist_context: DistContext,
    step: int,
) -> tuple[float, float]:
    """Forward and backward over this worker's micro-batches, then one update; returns (loss, gradient norm).

    The loss is `sum(w * nll) / sum(w)` over the global batch: `total_weight` is its denominator over all workers and
    micro-batches, so how pairs are cut into micro-batches does not matter. `model` is a `MaskedLM`, or DDP around one.

    Raises CodeBlockError, before the update, where the loss or the gradient is no finite number.
    """
    # DDP averages gradients over workers; the loss is a sum over them.
    scale = dist_context.world / total_weight
    summed = torch.zeros((), dtype=torch.float64, device=dist_context.device)
    for number, batch in enumerate(batches):
        with _synchronise(model, number == len(batches) - 1):
            loss = model(batch.to(dist_context.device))
            (loss * scale).backward()
        summed += loss.detach()
    if dist_context.world > 1:
        dist.all_reduce(summed)
    mean = float(summed) / total_weight
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    norm = float(_whole(nn.utils.clip_grad_norm_(parameters, update.max_grad_norm)))
    if not (math.isfinite(mean) and math.isfinite(norm)):
        raise CodeBlockError(
            f"train step {step}: loss {mean}, gradient norm {norm}; lower train.learning_rate, or use train.dtype=float32"
        )
    update.optimizer.step()
    update.scheduler.step()
    update.optimizer.zero_grad(set_to_none=True)
    return mean, norm


def _whole(norm: torch.Tensor) -> torch.Tensor:
    """A norm over sharded gradients is a tensor in parts."""
    gather = getattr(norm, "full_tensor", None)
    whole: torch.Tensor = norm if gather is None else gather()
    return whole


def _synchronise(model: nn.Module, last: bool) -> AbstractContextManager[Any]:
    no_sync = getattr(model, "no_sync", None)
    return nullcontext() if last or no_sync is None else no_sync()
