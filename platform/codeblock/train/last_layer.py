"""The last decoder layer at supervised positions only (METHOD: exact savings, 5).

No later layer reads the last layer's output, so only positions with a loss need its queries, output projection and
MLP; keys and values are needed everywhere. Llama and Qwen2 decoder layers.

Shape legend: B rows, T inputs, D hidden size, H query heads, K key-value heads, h size of a head, N supervised
positions, S most supervised positions of a row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SparseLastLayer:
    """Stands in for the `forward` of a model's last layer; between `begin` and `end` that returns [1, N, D]."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer: Any = layer
        self._dense = layer.forward
        self._at: tuple[Tensor, int] | None = None
        layer.forward = self._forward
        # Recomputed in the backward pass it would no longer know its positions, and it holds little anyway.
        layer.gradient_checkpointing = False  # type: ignore[assignment]

    def begin(self, index_N: Tensor, most: int) -> None:
        """The next pass computes these flat positions in B*T (ascending) only, at most `most` in a row."""
        self._at = index_N, most

    def end(self) -> None:
        self._at = None

    def _forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self._at is None:
            return self._dense(hidden_states, *args, **kwargs)
        return self._sparse(hidden_states, *self._at, kwargs["position_ids"], *kwargs["position_embeddings"])

    def _sparse(
        self, hidden_BTD: Tensor, index_N: Tensor, S: int, position_ids_BT: Tensor, cos_BTh: Tensor, sin_BTh: Tensor
    ) -> Tensor:
        layer, attention = self._layer, self._layer.self_attn
        B, T, _ = hidden_BTD.shape
        normed_BTD = layer.input_layernorm(hidden_BTD)
        key_BKTh = _rotate(_heads(attention.k_proj(normed_BTD), attention.head_dim), cos_BTh[:, None], sin_BTh[:, None])
        value_BKTh = _heads(attention.v_proj(normed_BTD), attention.head_dim)

        cos_Nh = cos_BTh.expand(B, T, -1).flatten(0, 1)[index_N]
        sin_Nh = sin_BTh.expand(B, T, -1).flatten(0, 1)[index_N]
        query_NHh = attention.q_proj(normed_BTD.flatten(0, 1)[index_N]).unflatten(-1, (-1, attention.head_dim))
        query_NHh = _rotate(query_NHh, cos_Nh[:, None], sin_Nh[:, None])

        row_N = index_N // T
        slot_N = torch.arange(len(row_N), device=row_N.device) - torch.searchsorted(row_N, row_N)
        query_BSHh = query_NHh.new_zeros(B, S, *query_NHh.shape[1:])
        query_BSHh = query_BSHh.index_put((row_N, slot_N), query_NHh)
        groups = query_NHh.shape[1] // key_BKTh.shape[1]
        attended_BHSh = nn.functional.scaled_dot_product_attention(
            query_BSHh.transpose(1, 2),
            key_BKTh.repeat_interleave(groups, dim=1),
            value_BKTh.repeat_interleave(groups, dim=1),
            attn_mask=_mask(index_N, row_N, slot_N, S, position_ids_BT.expand(B, T)),
            scale=attention.scaling,
        )
        attended_NHh = attended_BHSh.transpose(1, 2)[row_N, slot_N]
        hidden_ND = hidden_BTD.flatten(0, 1)[index_N] + attention.o_proj(attended_NHh.flatten(1))
        hidden_ND = hidden_ND + layer.mlp(layer.post_attention_layernorm(hidden_ND))
        out_1ND: Tensor = hidden_ND[None]
        return out_1ND


def sparse_last_layer(decoder: nn.Module) -> SparseLastLayer | None:
    """Install the saving in a decoder; None for another architecture, sliding windows or attention dropout."""
    # Here, for they import a second's worth of other things, and who reads a plan trains nothing.
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer
    from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

    layers = getattr(decoder, "layers", None)
    # Of these very classes: one that is made from them may do something else between.
    if not layers or type(layers[-1]) not in (LlamaDecoderLayer, Qwen2DecoderLayer):
        return None
    attention: Any = layers[-1].self_attn
    if getattr(attention, "sliding_window", None) is not None or attention.attention_dropout > 0:
        return None
    return SparseLastLayer(layers[-1])


def _heads(projected_BTE: Tensor, head_dim: int) -> Tensor:
    return projected_BTE.view(*projected_BTE.shape[:-1], -1, head_dim).transpose(1, 2)


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    from transformers.models.llama.modeling_llama import rotate_half

    rotated: Tensor = states * cos + rotate_half(states) * sin
    return rotated


def _mask(index_N: Tensor, row_N: Tensor, slot_N: Tensor, S: int, position_ids_BT: Tensor) -> Tensor:
    """[B, 1, S, T]: a query sees its own sequence up to itself; an unused slot sees key 0, so that it is no NaN."""
    B, T = position_ids_BT.shape
    column_N = index_N % T
    last_BS = column_N.new_zeros(B, S).index_put((row_N, slot_N), column_N)
    first_BS = column_N.new_zeros(B, S).index_put((row_N, slot_N), column_N - position_ids_BT[row_N, column_N])
    key_T = torch.arange(T, device=index_N.device)
    return ((key_T <= last_BS[..., None]) & (key_T >= first_BS[..., None]))[:, None]
