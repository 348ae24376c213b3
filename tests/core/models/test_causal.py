"""Logits at chosen positions are the model's own, whatever it does after its head; what cannot be had so is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from tests.core.models.families import FAMILIES, NOT_PACKED, SIZES, VOCABULARY, tiny_model
from torch import nn

from codeblock.core.config import LoraConfig, TrainConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.causal import check_ids, decoder_of, logit_head
from codeblock.core.models.nll import response_nll
from codeblock.train.batches import micro_batches
from codeblock.train.loop import Session
from codeblock.train.model import MaskedLM, add_lora
from codeblock.train.rows import TokenPair, trim
from codeblock.train.step import DistContext

RNG = np.random.default_rng(5)
ROWS = [RNG.integers(3, 100, size).astype(np.int32) for size in (19, 7, 12)]
STARTS = [6, 1, 10]


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def full_nll(model: Any, ids_T: np.ndarray) -> torch.Tensor:
    """The nll of every token but the first, from logits everywhere."""
    ids = torch.from_numpy(ids_T.astype(np.int64))
    logits_TV = model(input_ids=ids[None], use_cache=False).logits[0, :-1]
    return nn.functional.cross_entropy(logits_TV, ids[1:], reduction="none")


def some_pairs() -> list[TokenPair]:
    pairs = []
    for number, ids_T in enumerate(ROWS):
        weight_T = np.where(np.arange(len(ids_T)) % 3 == 2, 0.5, 0).astype(np.float32)
        weight_T[-1] = 1.0
        pairs.append(TokenPair(str(number), ids_T, np.full(len(ids_T), 2, np.uint8), weight_T))
    return pairs


def assert_trains_as_with_full_logits(model: Any, masked: MaskedLM, pack: bool = False) -> None:
    expected = sum((full_nll(model, pair.input_ids_T) * torch.from_numpy(pair.weight_T[1:])).sum() for pair in some_pairs())
    loss = torch.stack([masked(batch) for batch in micro_batches([trim(pair) for pair in some_pairs()], 64, pack)]).sum()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    asked = {"allow_unused": True, "materialize_grads": True}
    wanted, got = (torch.autograd.grad(each, weights, **asked) for each in (expected, loss))
    largest = max(float(gradient.abs().max()) for gradient in wanted)
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5 * largest)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_the_full_logits(family: str) -> None:
    model = tiny_model(family)
    with torch.no_grad():
        for ids_T, start, nll_T in zip(ROWS, STARTS, response_nll(model, ROWS, STARTS, 64), strict=True):
            np.testing.assert_allclose(nll_T[start:], full_nll(model, ids_T)[start - 1 :].numpy(), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_the_full_logits(family: str) -> None:
    model = tiny_model(family)
    model.train()
    assert_trains_as_with_full_logits(model, MaskedLM(model))


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_are_packed_only_where_the_model_keeps_them_apart(family: str) -> None:
    model = tiny_model(family)
    masked = MaskedLM(model)
    assert masked.packs() == (family not in NOT_PACKED)
    if masked.packs():
        assert_trains_as_with_full_logits(model, masked, pack=True)


def test_packing_that_would_mix_pairs_is_refused_where_it_is_asked_for() -> None:
    place = DistContext(torch.device("cpu"))
    with pytest.raises(CodeBlockError, match=r"train\.pack=always: model Mamba.* does not keep packed pairs"):
        Session(MaskedLM(tiny_model("mamba")), some_pairs(), [], TrainConfig(steps=1, pack="always"), 0, place)


@pytest.mark.parametrize("family", ["granite, divided", "gemma2, capped"])
def test_adapters_keep_what_the_model_does_to_its_logits(family: str) -> None:
    model = add_lora(tiny_model(family), LoraConfig(rank=4))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    assert_trains_as_with_full_logits(model, MaskedLM(model))


def test_chunks_of_positions_change_nothing_and_leave_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("gemma2, capped")
    whole = response_nll(model, ROWS, STARTS, 64)
    monkeypatch.setattr("codeblock.core.models.nll.LOGIT_ELEMENTS", VOCABULARY * 2)
    for one, other in zip(response_nll(model, ROWS, STARTS, 64), whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert "forward" not in decoder_of(model).__dict__


def test_sixteen_bits_are_found_right_too() -> None:
    model = tiny_model("qwen3 experts", torch.bfloat16)
    with torch.no_grad():
        for ids_T, start, nll_T in zip(ROWS, STARTS, response_nll(model, ROWS, STARTS, 64), strict=True):
            np.testing.assert_allclose(nll_T[start:], full_nll(model, ids_T)[start - 1 :].float().numpy(), atol=0.2)


class WarmLlama(transformers.LlamaForCausalLM):  # type: ignore[misc]
    """A model with code of its own: a temperature for each token of the vocabulary, and a floor."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.temperature = nn.Parameter(torch.linspace(0.5, 2.0, config.vocab_size))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = (output.logits * self.temperature).clamp(min=-0.5)
        return output


class LeaningLlama(transformers.LlamaForCausalLM):  # type: ignore[misc]
    """A model whose logits look past its last hidden states: the token before is less likely."""

    def forward(self, input_ids: Any, **kwargs: Any) -> Any:
        output = super().forward(input_ids=input_ids, **kwargs)
        output.logits = output.logits - nn.functional.one_hot(input_ids, self.config.vocab_size)
        return output


def test_a_model_with_code_of_its_own_is_scored_and_trained_by_that_code() -> None:
    model = WarmLlama(transformers.LlamaConfig(**SIZES)).eval()
    with torch.no_grad():
        expected = [full_nll(model, ids_T).numpy() for ids_T in ROWS]
    for start, nll_T, full_T in zip(STARTS, response_nll(model, ROWS, STARTS, 64), expected, strict=True):
        np.testing.assert_allclose(nll_T[start:], full_T[start - 1 :], atol=1e-5)
    assert_trains_as_with_full_logits(model, MaskedLM(model))


def soft_prompt() -> Any:
    settings = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    return peft.get_peft_model(tiny_model("llama"), settings)


def prefix() -> Any:
    return peft.get_peft_model(tiny_model("llama"), peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))


def encoder() -> Any:
    return transformers.BertLMHeadModel(transformers.BertConfig(**{**SIZES, "num_key_value_heads": None}))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LeaningLlama(transformers.LlamaConfig(**SIZES)), "LeaningLlama: its logits do not follow"),
        (soft_prompt, "LlamaForCausalLM: its logits do not follow .* merge an adapter"),
        (prefix, "LlamaForCausalLM: .*merge an adapter"),
        (encoder, "BertLMHeadModel: its positions see later tokens"),
        (lambda: transformers.AutoModel.from_config(transformers.LlamaConfig(**SIZES)), "LlamaModel: no output head"),
    ],
    ids=["logits_of_the_input", "soft_prompt", "prefix", "encoder", "no_head"],
)  # fmt: skip
def test_other_models_are_refused_in_one_line_before_a_pass(make: Any, said: str) -> None:
    model = make()
    for use in (lambda: response_nll(model, ROWS, STARTS, 64), lambda: MaskedLM(model)):
        with pytest.raises(CodeBlockError, match=said) as refused:
            use()
        assert "\n" not in str(refused.value)


def test_a_token_that_the_model_does_not_know_is_named() -> None:
    model = tiny_model("llama")
    with pytest.raises(CodeBlockError, match="embeddings of 120 tokens, the text has token 120; take the tokenizer"):
        response_nll(model, [np.array([5, 120], np.int32)], [1], 64)
    check_ids(model, [[119], []])


def test_a_probe_is_made_once_a_model_and_leaves_its_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama").train()
    logit_head(model)
    assert all(module.training for module in model.modules())
    monkeypatch.setattr(model.model, "forward", lambda **_: pytest.fail("probed again"))
    assert logit_head(model).vocabulary == VOCABULARY
