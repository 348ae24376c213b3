"""Attention to the prompt equals the model's own attention maps, pair by pair."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from codeblock.annotate.score.attention import prompt_attention


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
@torch.inference_mode()
def test_equals_the_models_own_maps(batch_tokens):
    torch.manual_seed(0)
    settings = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(**settings, attn_implementation="eager")).eval()
    rng = np.random.default_rng(0)
    pairs = [rng.integers(0, 97, size=size).astype(np.int32) for size in (5, 40, 17, 9)]
    starts = [2, 10, 0, 8]
    for got, ids, start in zip(prompt_attention(model, pairs, starts, batch_tokens), pairs, starts, strict=True):
        maps = model(torch.from_numpy(ids.astype(np.int64))[None], output_attentions=True).attentions[-1][0].mean(0)
        wanted = maps[start:, :start].sum(-1).numpy()
        assert np.isnan(got[:start]).all()
        np.testing.assert_allclose(got[start:], wanted, atol=1e-6)
