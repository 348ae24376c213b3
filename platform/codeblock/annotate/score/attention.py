"""The attention that response tokens pay to the prompt, for the strategy `sstoken` (arXiv 2510.18250).

Shapes: B pairs of a batch, H heads, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codeblock.core.errors import CodeBlockError
from codeblock.core.models.causal import check_ids, decoder_of, name_of
from codeblock.core.models.padding import batches_by_length, pad


@torch.inference_mode()
def prompt_attention(
    model: Any, input_ids: Sequence[NDArray[np.int32]], response_start: Sequence[int], batch_tokens: int
) -> list[NDArray[np.float32]]:
    """Share of a response token's attention that goes to the prompt: mean over the heads of the last layer.

    Arguments as for `response_nll`. One float32[T] a pair, 0..1, NaN before the response. The model must have been loaded with
    the attention implementation `eager`; others do not keep their weights. Raises CodeBlockError for one that has none.
    """
    results: list[NDArray[np.float32]] = [np.full(ids.size, np.nan, dtype=np.float32) for ids in input_ids]
    device = next(model.parameters()).device
    seen: list[torch.Tensor] = []
    check_ids(model, input_ids)
    decoder = decoder_of(model)
    layer = getattr((getattr(decoder, "layers", None) or [None])[-1], "self_attn", None)
    if layer is None:
        raise CodeBlockError(
            f"{name_of(model)}: shows no attention in its last layer, which strategy sstoken needs; name another"
        )
    hook = layer.register_forward_hook(lambda *call: seen.append(call[-1][1]))
    try:
        for batch in batches_by_length([ids.size for ids in input_ids], batch_tokens):
            ids_BT, mask_BT = pad([input_ids[pair] for pair in batch], device)
            decoder(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
            weight_BTT = seen.pop().float().mean(1)
            for row, pair in enumerate(batch):
                start, end = response_start[pair], input_ids[pair].size
                results[pair][start:] = weight_BTT[row, start:end, :start].sum(-1).cpu().numpy()
    finally:
        hook.remove()
    return results
