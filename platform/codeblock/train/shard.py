"""Full weights over several workers (FSDP2): each holds its part of weights, gradients and moments, and gathers a layer when it
is due. The losses are those of one worker.

Every pass is a collective act here, so all workers make the same number of them; a worker with fewer adds passes of weight 0.
What torch has for it takes most of a second to import, so only those who shard import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from codeblock.core.errors import CodeBlockError
from codeblock.train.batches import MicroBatch, collate
from codeblock.train.model import MaskedLM
from codeblock.train.rows import TokenPair
from codeblock.train.step import DistContext


def shard(masked: MaskedLM, dist_context: DistContext) -> MaskedLM:
    """The same object, its weights shared out over all workers of the process group; each decoder layer is gathered alone.

    Raises CodeBlockError for a decoder whose layers are not found.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    layers = getattr(masked.decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise CodeBlockError(f"train.shard: {type(masked.decoder).__name__} has no list of layers; set train.shard=false")
    mesh = init_device_mesh(dist_context.device.type, (dist_context.world,))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    # What the root holds (embeddings, last norm, head) stays gathered from its forward to its backward pass: the loss needs it.
    fully_shard(masked, mesh=mesh)
    for name in ("nll", "packs"):
        register_fsdp_forward_method(masked, name)
    return masked


def even_out(batches: Sequence[MicroBatch], spare: TokenPair, dist_context: DistContext) -> list[MicroBatch]:
    """This worker's passes, and as many of weight 0 over `spare` behind them as another worker has more."""
    count = torch.tensor(len(batches), device=dist_context.device)
    if dist_context.world > 1:
        dist.all_reduce(count, op=dist.ReduceOp.MAX)
    return [*batches, *(weightless(spare) for _ in range(int(count) - len(batches)))]


def weightless(pair: TokenPair) -> MicroBatch:
    """A pass over the beginning of a pair with one target of weight 0."""
    short = TokenPair(pair.id, pair.input_ids_T[:2], pair.token_class_T[:2], np.zeros(2, dtype=np.float32))
    return collate([[short]])


def whole_weights(masked: MaskedLM) -> dict[str, Tensor]:
    """The weights of the model inside, whole and on the CPU: on rank 0; elsewhere nothing. All workers have to call it."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state: dict[str, Any] = get_model_state_dict(masked, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return {name.removeprefix("model."): weight for name, weight in state.items() if name.startswith("model.")}


def save_parts(masked: MaskedLM, optimizer: torch.optim.Optimizer, directory: Path) -> None:
    """Each worker writes its part of weights and moments; all files together serve any number of workers."""
    from torch.distributed.checkpoint.state_dict_saver import save

    save(_state(masked, optimizer), checkpoint_id=str(directory))


def load_parts(masked: MaskedLM, optimizer: torch.optim.Optimizer, directory: Path) -> None:
    """Go on from the files of all workers, of however many there were."""
    from torch.distributed.checkpoint.state_dict import set_state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    state = _state(masked, optimizer)
    load(state, checkpoint_id=str(directory))
    set_state_dict(masked, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])


def _state(masked: MaskedLM, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_state_dict

    model, moments = get_state_dict(masked, optimizer)
    return {"model": model, "optimizer": moments}
