"""Each exact saving leaves loss and gradients equal to the naive computation: every pair alone and whole, all logits."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from codeblock.core.config import LoraConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.load import load_model
from codeblock.train import model as model_module
from codeblock.train.batches import micro_batches
from codeblock.train.last_layer import sparse_last_layer
from codeblock.train.model import MaskedLM, add_lora, checkpoint_activations
from codeblock.train.rows import TokenPair, trim

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
CONFIGS = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}


def build(family: str = "llama", tied: bool = False, dtype: torch.dtype = torch.float64, **overrides: Any) -> Any:
    config, model = CONFIGS[family]
    torch.manual_seed(0)
    built = model(config(**{**SIZES, "tie_word_embeddings": tied, **overrides}))
    return built.to(dtype).train()


def some_pairs(count: int = 9, share: float = 0.15) -> list[TokenPair]:
    """Pairs of 5 to 60 tokens with few supervised tokens of uneven weights, and whole tails without a loss."""
    rng = np.random.default_rng(4)
    pairs = []
    for number in range(count):
        length = int(rng.integers(5, 60))
        weight_T = np.where(rng.random(length) < share, rng.random(length) + 0.05, 0).astype(np.float32)
        weight_T[0], weight_T[2 + length // 3 :] = 0, 0
        weight_T[1 + length // 3] = 0.7
        input_ids_T = rng.integers(1, 97, length).astype(np.int32)
        pairs.append(TokenPair(str(number), input_ids_T, np.full(length, 2, np.uint8), weight_T))
    return pairs


def naive_loss(model: Any, pairs: Sequence[TokenPair]) -> torch.Tensor:
    """Every pair alone and whole, logits everywhere, log-softmax, mask."""
    total = torch.zeros((), dtype=next(model.parameters()).dtype)
    for pair in pairs:
        ids_T = torch.from_numpy(pair.input_ids_T.astype(np.int64))
        log_p_TV = torch.log_softmax(model(input_ids=ids_T[None], use_cache=False).logits[0], dim=-1)
        nll_T = -log_p_TV[:-1].gather(1, ids_T[1:, None])[:, 0]
        total = total + (nll_T * torch.from_numpy(pair.weight_T[1:])).sum()
    return total


def sparse_loss(masked: MaskedLM, pairs: Sequence[TokenPair], max_inputs: int, pack: bool) -> torch.Tensor:
    losses = [masked(batch) for batch in micro_batches([trim(pair) for pair in pairs], max_inputs, pack)]
    return torch.stack(losses).sum()


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    computed = torch.autograd.grad(loss, [weight for _, weight in named])
    return {name: gradient for (name, _), gradient in zip(named, computed, strict=True)}


def assert_equal(model: Any, masked: MaskedLM, pairs: Sequence[TokenPair], max_inputs: int, pack: bool) -> None:
    rtol = TOLERANCE[next(model.parameters()).dtype]
    expected = naive_loss(model, pairs)
    expected_gradients = gradients(model, expected)
    loss = sparse_loss(masked, pairs, max_inputs, pack)
    torch.testing.assert_close(loss, expected, rtol=rtol, atol=0)
    for name, gradient in gradients(model, loss).items():
        # Relative to the largest element: single elements near zero are sums that cancel.
        scale = float(expected_gradients[name].abs().max())
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=rtol, atol=rtol * scale, msg=name)


@pytest.mark.parametrize("last_layer", [False, True], ids=["dense_last_layer", "sparse_last_layer"])
@pytest.mark.parametrize(
    ("max_inputs", "pack"), [(1, False), (4096, False), (120, False), (4096, True), (64, True)],
    ids=["one_by_one", "padded", "padded_in_passes", "packed", "packed_in_passes"],
)  # fmt: skip
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_loss_and_gradients_equal_the_naive_ones_in_float64(
    family: str, tied: bool, max_inputs: int, pack: bool, last_layer: bool
) -> None:
    model = build(family, tied)
    assert_equal(model, MaskedLM(model, last_layer=last_layer), some_pairs(), max_inputs, pack)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_loss_and_gradients_equal_the_naive_ones_in_float32(family: str, pack: bool) -> None:
    model = build(family, dtype=torch.float32, initializer_range=0.05)
    assert_equal(model, MaskedLM(model), some_pairs(), 4096, pack)


def test_eager_attention_is_exact_too() -> None:
    # transformers' eager attention takes its softmax in float32, whatever the weights
    model = build(dtype=torch.float32, initializer_range=0.05, attn_implementation="eager")
    assert_equal(model, MaskedLM(model), some_pairs(), 4096, pack=True)


def test_the_sparse_last_layer_is_used_where_few_positions_are_supervised(monkeypatch: pytest.MonkeyPatch) -> None:
    masked = MaskedLM(build())
    (sparse,) = micro_batches([trim(pair) for pair in some_pairs(share=0.01)], 4096, pack=False)
    full = replace(some_pairs(1)[0], weight_T=np.ones(len(some_pairs(1)[0].weight_T), np.float32))
    (dense,) = micro_batches([full], 4096, pack=False)
    mlp_rows = []
    masked.decoder.layers[-1].mlp.register_forward_hook(lambda _m, _i, out: mlp_rows.append(out.numel() // 32))
    masked(sparse), masked(dense)
    assert mlp_rows == [len(sparse.index_N), dense.input_ids_BT.numel()]
    monkeypatch.setattr(model_module, "SPARSE_SHARE", 1.0)
    masked(dense)
    assert mlp_rows[2] == len(dense.index_N)


def test_other_architectures_and_sliding_windows_keep_their_own_last_layer() -> None:
    sliding = build("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1)
    assert sparse_last_layer(sliding.get_decoder()) is None
    assert sparse_last_layer(torch.nn.Linear(2, 2)) is None
    assert_equal(sliding, MaskedLM(sliding), some_pairs(), 4096, pack=False)


@pytest.mark.parametrize("last_layer", [False, True])
def test_gradient_checkpointing_changes_nothing(last_layer: bool) -> None:
    plain, recomputed = build(), build()
    checkpoint_activations(recomputed)
    masked = MaskedLM(recomputed, last_layer=last_layer)
    expected = gradients(plain, naive_loss(plain, some_pairs()))
    for pack in (False, True):
        for name, gradient in gradients(recomputed, sparse_loss(masked, some_pairs(), 64, pack)).items():
            scale = float(expected[name].abs().max())
            torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-9 * scale)


def test_the_model_still_generates_as_before_after_a_sparse_pass() -> None:
    model = build(dtype=torch.float32)
    ids_BT = torch.arange(1, 9)[None]
    before = model(input_ids=ids_BT).logits
    masked = MaskedLM(model)
    sparse_loss(masked, some_pairs(), 4096, pack=False)
    assert torch.equal(model(input_ids=ids_BT).logits, before)


def test_bfloat16_runs_the_body_in_half_precision_and_the_loss_in_float32() -> None:
    model = build(dtype=torch.float32)
    exact = sparse_loss(MaskedLM(model), some_pairs(), 4096, pack=False)
    rounded = sparse_loss(MaskedLM(model, "bfloat16"), some_pairs(), 4096, pack=False)
    assert rounded.dtype == torch.float32
    assert rounded != exact
    torch.testing.assert_close(rounded, exact, rtol=2e-2, atol=0)


# --- LoRA


def test_adapters_come_without_a_warning_of_the_libraries() -> None:
    """It would be the first line that a user sees of a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        add_lora(build(), LoraConfig(rank=4))


def test_lora_trains_adapters_only_and_leaves_the_head_alone() -> None:
    model = add_lora(build(), LoraConfig(rank=4))
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    assert not [name for name in trained if "lm_head" in name]
    assert {name.split(".")[-4] for name in trained} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [False, True])
def test_lora_gradients_equal_the_naive_ones(family: str, tied: bool) -> None:
    model = add_lora(build(family, tied), LoraConfig(rank=4)).to(torch.float64)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # they start at zero, where the gradient of the other half vanishes
            torch.nn.init.normal_(weight, std=0.1)
    for pack in (False, True):
        assert_equal(model, MaskedLM(model), some_pairs(), 4096, pack)


def test_an_optimiser_step_on_adapters_leaves_base_weights_untouched_and_reloads_equal(tmp_path: Path) -> None:
    build(dtype=torch.float32).save_pretrained(tmp_path / "base")
    model = add_lora(load_model(str(tmp_path / "base")), LoraConfig(rank=4, target_modules=["q_proj", "v_proj"]))
    frozen = {name: weight.clone() for name, weight in model.named_parameters() if not weight.requires_grad}
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=0.1)
    for _ in range(3):
        sparse_loss(MaskedLM(model), some_pairs(), 4096, pack=False).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    now = dict(model.named_parameters())
    assert all(torch.equal(weight, now[name]) for name, weight in frozen.items())

    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    reloaded = load_model(str(tmp_path / "adapter"))
    ids_BT = torch.arange(1, 20)[None]
    with torch.no_grad():
        expected = model.eval()(input_ids=ids_BT).logits
        assert torch.equal(reloaded(input_ids=ids_BT).logits, expected)
        assert not torch.equal(load_model(str(tmp_path / "base"))(input_ids=ids_BT).logits, expected)


@pytest.mark.parametrize(("targets", "said"), [(["nothing"], "nothing"), (["lm_head"], "lm_head is the output head")])
def test_lora_targets_that_do_not_exist_or_are_the_head_are_refused(targets: list[str], said: str) -> None:
    with pytest.raises(CodeBlockError, match=said):
        add_lora(build(), LoraConfig(target_modules=targets))
