"""The attention that response tokens pay to the prompt, for the strategy `sstoken` (arXiv 2510.18250).

Shapes: B pairs of a batch, H heads, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codeblock.padding import batches_by_length, pad


@torch.inference_mode()
def prompt_attention(
    model: Any, input_ids: Sequence[NDArray[np.int32]], response_start: Sequence[int], batch_tokens: int
) -> list[NDArray[np.float32]]:
    """Share of a response token's attention that goes to the prompt: mean over the heads of the last layer.

    Arguments as for `token_nll`. One float32[T] a pair, 0..1, NaN before the response. The model must have been loaded with
    the attention implementation `eager`; others do not keep their weights.
    """
    results: list[NDArray[np.float32]] = [np.full(ids.size, np.nan, dtype=np.float32) for ids in input_ids]
    device = next(model.parameters()).device
    seen: list[torch.Tensor] = []
    layer = model.get_decoder().layers[-1].self_attn
    hook = layer.register_forward_hook(lambda *call: seen.append(call[-1][1]))
    try:
        for batch in batches_by_length([ids.size for ids in input_ids], batch_tokens):
            ids_BT, mask_BT = pad([input_ids[pair] for pair in batch], device)
            model.get_decoder()(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
            weight_BTT = seen.pop().float().mean(1)
            for row, pair in enumerate(batch):
                start, end = response_start[pair], input_ids[pair].size
                results[pair][start:] = weight_BTT[row, start:end, :start].sum(-1).cpu().numpy()
    finally:
        hook.remove()
    return results
