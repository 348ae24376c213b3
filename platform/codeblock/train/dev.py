"""The nll of held-out pairs by token class, of supervised and of unsupervised tokens apart.

Tokens without a loss can drift while the training loss falls; this is where that shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from codeblock.core.schema import TokenClass
from codeblock.train.batches import micro_batches
from codeblock.train.model import MaskedLM
from codeblock.train.rows import TokenPair, trim
from codeblock.train.shard import even_out
from codeblock.train.step import DistContext

CLASSES = (TokenClass.TEXT, TokenClass.CODE, TokenClass.CORE, TokenClass.STOP)


def dev_nll(
    masked: MaskedLM,
    pairs: Sequence[TokenPair],
    max_inputs: int,
    pack: bool,
    call: int,
    dist_context: DistContext,
    sharded: bool = False,
) -> list[dict[str, Any]]:
    """One row per token class and supervision that occurs: `token_class`, `supervised`, `nll` (mean), `tokens`.

    Supervised is what would have a loss in training: weight above 0. Each worker computes every world-th pair.
    """
    nll_2C = torch.zeros(2 * len(TokenClass), dtype=torch.float64, device=dist_context.device)
    tokens_2C = torch.zeros_like(nll_2C)
    mine = [pair for pair in map(_all_response_tokens, pairs[dist_context.rank :: dist_context.world]) if pair.supervised]
    batches = micro_batches([trim(pair) for pair in mine], max_inputs, pack, call) if mine else []
    if sharded and pairs:
        batches = even_out(batches, pairs[0], dist_context)
    training = masked.training
    masked.eval()
    for batch in batches:
        moved = batch.to(dist_context.device)
        nll_N, real_N = masked.nll(moved).double(), moved.weights_N > 0
        group_N = moved.weights_N[real_N].long() - 1
        nll_2C.index_add_(0, group_N, nll_N[real_N])
        tokens_2C.index_add_(0, group_N, torch.ones_like(group_N, dtype=torch.float64))
    masked.train(training)
    if dist_context.world > 1:
        dist.all_reduce(nll_2C)
        dist.all_reduce(tokens_2C)
    return [
        {
            "token_class": token_class.name.lower(),
            "supervised": supervised,
            "nll": float(nll_2C[group] / tokens_2C[group]),
            "tokens": int(tokens_2C[group]),
        }
        for token_class in CLASSES
        for supervised in (True, False)
        if tokens_2C[group := 2 * token_class + supervised] > 0
    ]


def _all_response_tokens(pair: TokenPair) -> TokenPair:
    """Every response token becomes a target. Its group (1 + 2 * class + supervised) travels in place of the weight."""
    group_T = 1 + 2 * pair.token_class_T.astype(np.float32) + (pair.weight_T > 0)
    return replace(pair, weight_T=np.where(pair.token_class_T == TokenClass.PROMPT, 0, group_T).astype(np.float32))
