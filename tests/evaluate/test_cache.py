"""A cache that is written in place holds what transformers' own holds, and is used only where that is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM, MistralConfig
from transformers import MistralForCausalLM as Mistral

from codeblock.evaluate import generate
from codeblock.evaluate.answers import Decoding, Request
from codeblock.evaluate.cache import GrowingLayer, growing_cache
from codeblock.evaluate.generate import generate_answers

SIZE: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 200,
}


def test_tokens_rows_and_crops_are_those_of_the_layer_that_concatenates() -> None:
    from transformers.cache_utils import DynamicLayer

    torch.manual_seed(0)
    ours, theirs = GrowingLayer(), DynamicLayer()
    for round_, tokens in enumerate([70, 1, 1, 40, 1, 30, 1]):
        rows = 5 if round_ < 2 else 2
        new = torch.randn(2, rows, 3, tokens, 4)
        assert all(torch.equal(a, b) for a, b in zip(ours.update(*new), theirs.update(*new), strict=True))
        for layer in (ours, theirs):
            if round_ == 1:
                layer.batch_select_indices(torch.tensor([3, 0]))
            if round_ == 4:
                layer.crop(-50)
        assert ours.get_seq_length() == theirs.get_seq_length()
        assert ours.get_mask_sizes(1) == theirs.get_mask_sizes(1)


def test_a_token_is_written_without_copying_those_before() -> None:
    layer = GrowingLayer()
    layer.update(*torch.zeros(2, 1, 1, 10, 4))
    before = layer.keys.data_ptr()
    for _ in range(GrowingLayer.ROOM):
        layer.update(*torch.zeros(2, 1, 1, 1, 4))
    assert layer.keys.data_ptr() == before
    layer.update(*torch.zeros(2, 1, 1, 1, 4))
    assert layer.keys.data_ptr() != before


def test_a_model_that_keeps_a_state_makes_its_own_cache() -> None:
    model = MambaForCausalLM(MambaConfig(vocab_size=60, hidden_size=16, state_size=4, num_hidden_layers=2))
    assert growing_cache(model) is None


MODELS = {
    "plain": lambda size: LlamaForCausalLM(LlamaConfig(**size)),
    "sliding window": lambda size: Mistral(MistralConfig(**size, sliding_window=7)),
}


@pytest.mark.parametrize("every", [1, 4, 32])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("kind", MODELS)
def test_answers_are_the_same_where_others_leave_their_batch(
    kind: str, temperature: float, every: int, loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against one request at a time with transformers' own cache; the rows end at different steps."""
    torch.manual_seed(3)
    tokenizer = loaded[1]
    model = MODELS[kind]({**SIZE, "vocab_size": len(tokenizer)}).eval()
    model.generation_config.eos_token_id = list(range(40, 60))
    requests = [Request(str(n), 0, list(range(70, 72 + 3 * n)), stops=("e", "in"), seed=n) for n in range(6)]
    how: dict[str, Any] = {"max_new_tokens": 40, "temperature": temperature}
    with monkeypatch.context() as patch:
        patch.setattr("codeblock.evaluate.generate.growing_cache", lambda _: None)
        alone = [generate_answers(model, tokenizer, [request], Decoding(batch_size=1, **how))[0] for request in requests]
    monkeypatch.setattr(generate, "SHRINK_EVERY", every)
    rows: list[int] = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **kw: rows.append(len(kw["input_ids"])) or forward(*a, **kw))
    assert generate_answers(model, tokenizer, requests, Decoding(batch_size=6, **how)) == alone
    assert len({answer.tokens for answer in alone}) > 2
    if every < 32:
        assert sum(rows) < 6 * max(answer.tokens for answer in alone), "rows that have ended are not computed on"


def test_the_cache_of_a_text_model_is_of_growing_layers() -> None:
    cache = growing_cache(LlamaForCausalLM(LlamaConfig(**SIZE)))
    assert isinstance(cache, DynamicCache)
    assert [type(layer) for layer in cache.layers] == [GrowingLayer] * 2
