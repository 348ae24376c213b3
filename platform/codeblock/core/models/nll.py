"""The nll of response tokens under a frozen model. METHOD: stage 3.

Shapes: B pairs of a batch, T tokens, D hidden width, V vocabulary, N response positions of the batch.

Three things make it cheaper than a plain loop and leave the values equal: pairs are batched by length, the
prompt gets no logits, and logits are made for a bounded number of positions at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codeblock.core.models.attention import attention_of_any_shape
from codeblock.core.models.causal import LogitHead, check_ids, logit_head
from codeblock.core.models.padding import batches_by_length, pad

LOGIT_ELEMENTS = 2**26
"""Logits made at a time (elements of N x V): 256 MiB in float32."""


@torch.inference_mode()
@attention_of_any_shape()
def response_nll(
    model: Any, input_ids: Sequence[NDArray[np.int32]], response_start: Sequence[int], batch_tokens: int
) -> list[NDArray[np.float32]]:
    """Negative log-likelihood (natural log) of every response token.

    `input_ids`: one int32[T] a pair; `response_start`: index of its first response token; `batch_tokens`: padded tokens
    of one forward pass. Returns one float32[T] a pair, NaN before the response (and at position 0, which nothing predicts).

    Raises CodeBlockError, before the first pass, for a model whose logits cannot be made at chosen positions alone
    (`causal.logit_head`), and for tokens that it does not know.
    """
    check_ids(model, input_ids)
    head = logit_head(model)
    results: list[NDArray[np.float32]] = [np.full(ids.size, np.nan, dtype=np.float32) for ids in input_ids]
    device = next(model.parameters()).device
    for batch in batches_by_length([ids.size for ids in input_ids], batch_tokens):
        ids_BT, mask_BT = pad([input_ids[pair] for pair in batch], device)
        hidden_BTD = head.decoder(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).last_hidden_state
        rows, positions = _response_positions(batch, input_ids, response_start, device)
        nll_N = _nll(hidden_BTD[rows, positions - 1], ids_BT[rows, positions], head).cpu().numpy()
        start = 0
        for pair in batch:
            first = max(response_start[pair], 1)
            count = input_ids[pair].size - first
            results[pair][first:] = nll_N[start : start + count]
            start += count
    return results


def _response_positions(
    batch: list[int], input_ids: Sequence[NDArray[np.int32]], response_start: Sequence[int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    positions = [np.arange(max(response_start[pair], 1), input_ids[pair].size) for pair in batch]
    rows = np.repeat(np.arange(len(batch)), [span.size for span in positions])
    return torch.from_numpy(rows).to(device), torch.from_numpy(np.concatenate(positions)).to(device)


def _nll(hidden_ND: torch.Tensor, targets_N: torch.Tensor, head: LogitHead) -> torch.Tensor:
    chunk = max(1, LOGIT_ELEMENTS // head.vocabulary)
    pieces = [
        torch.nn.functional.cross_entropy(head(hidden).float(), targets, reduction="none")
        for hidden, targets in zip(torch.split(hidden_ND, chunk), torch.split(targets_N, chunk), strict=True)
    ]
    return torch.cat(pieces) if pieces else hidden_ND.new_zeros(0, dtype=torch.float32)
