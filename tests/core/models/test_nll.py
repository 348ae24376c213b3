"""The scorer's values equal the plain computation: full logits, one pair at a time."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from codeblock.core.models.nll import response_nll
from codeblock.core.models.padding import batches_by_length

SETTINGS = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def naive_nll(model, ids, start):
    logits = model(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].float()
    nll = -logits.log_softmax(-1)[:-1].gather(1, torch.from_numpy(ids[1:].astype(np.int64))[:, None])[:, 0]
    expected = np.full(ids.size, np.nan, dtype=np.float32)
    expected[max(start, 1) :] = nll[max(start, 1) - 1 :].numpy()
    return expected


@pytest.fixture(params=["llama", "qwen2"])
def model(request):
    torch.manual_seed(1)
    if request.param == "llama":
        return LlamaForCausalLM(LlamaConfig(**SETTINGS)).eval()
    return Qwen2ForCausalLM(Qwen2Config(**SETTINGS, tie_word_embeddings=True)).eval()


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
@torch.inference_mode()
def test_equals_full_logits_pair_by_pair(model, batch_tokens):
    rng = np.random.default_rng(0)
    pairs = [rng.integers(0, 97, size=size).astype(np.int32) for size in (5, 40, 17, 40, 2, 9)]
    starts = [2, 30, 0, 1, 1, 8]
    for ids, start, got in zip(pairs, starts, response_nll(model, pairs, starts, batch_tokens), strict=True):
        np.testing.assert_allclose(got, naive_nll(model, ids, start), atol=1e-5)


@torch.inference_mode()
def test_bounded_logits_change_nothing(model, monkeypatch):
    ids = [np.arange(60, dtype=np.int32)]
    whole = response_nll(model, ids, [3], 4096)[0]
    monkeypatch.setattr("codeblock.core.models.nll.LOGIT_ELEMENTS", 97 * 4)
    np.testing.assert_allclose(response_nll(model, ids, [3], 4096)[0], whole, atol=1e-6)


def test_batches_hold_every_pair_once_and_stay_within_the_limit():
    lengths = [3, 50, 7, 7, 120, 1]
    batches = list(batches_by_length(lengths, 100))
    assert sorted(index for batch in batches for index in batch) == list(range(6))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 100 for batch in batches)
