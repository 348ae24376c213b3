"""The formulas of cost, held against torch's own counter of FLOPs on a small random model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from codeblock.core.config import LoraConfig
from codeblock.core.models.causal import logit_head
from codeblock.core.models.load import load_model
from codeblock.core.models.nll import response_nll
from codeblock.core.schema import TokenClass
from codeblock.experiment.cost import (
    Adapters,
    ModelShape,
    Trained,
    adapters_of,
    forward_flops,
    generation_flops,
    padded_forward_flops,
    shape_of,
    training_flops,
)
from codeblock.train.batches import MicroBatch, collate
from codeblock.train.model import MaskedLM, add_lora, checkpoint_activations
from codeblock.train.rows import TokenPair

D, F, L, V, H, K, h = 32, 64, 2, 337, 4, 2, 8  # of `small_model`
LAYER = D * H * h + 2 * D * K * h + H * h * D + 3 * D * F


@pytest.fixture(scope="module")
def shape(small_model: Path) -> ModelShape:
    return shape_of(str(small_model))


def eager(small_model: Path) -> Any:
    """The plain implementation of attention: torch does not count the fused one on a CPU."""
    model = load_model(str(small_model), attention="eager")
    logit_head(model)  # the probe of a model is not counted
    return model


def counted(work: Any) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def batch_of(lengths: list[int], supervised: int) -> MicroBatch:
    """Rows whose last `supervised` tokens have a loss."""
    rows = []
    for number, length in enumerate(lengths):
        weight = np.zeros(length, np.float32)
        weight[-supervised:] = 1
        ids = (np.arange(length) * 7 + number) % V
        rows.append([TokenPair(str(number), ids.astype(np.int32), np.full(length, TokenClass.CODE, np.uint8), weight)])
    return collate(rows)


def test_a_shape_is_read_from_the_config(shape: ModelShape) -> None:
    assert (shape.layers, shape.layer, shape.keys_values, shape.queries) == (L, LAYER, 2 * D * K * h, D * H * h)
    assert (shape.attention, shape.head, shape.sparse) == (H * h, V * D, True)
    assert shape.body == 2 * LAYER


def test_a_forward_pass_is_two_for_each_weight_and_token_and_the_attention(shape: ModelShape, small_model: Path) -> None:
    ours = forward_flops(shape, 3, 20, 60)
    assert ours == 2 * (2 * LAYER * 60 + 3 * 4 * H * h * 20 * 20) + 2 * V * D * 60
    model, ids_BT = eager(small_model), torch.arange(60).reshape(3, 20)
    assert counted(lambda: model(input_ids=ids_BT, use_cache=False)) == pytest.approx(ours, rel=0.01)


def test_scoring_counts_padding_and_logits_of_the_response_alone(shape: ModelShape, small_model: Path) -> None:
    lengths, starts = [30, 12, 25, 8], [20, 4, 5, 2]
    ids = [np.arange(length, dtype=np.int32) for length in lengths]
    ours = padded_forward_flops(shape, lengths, [n - s for n, s in zip(lengths, starts, strict=True)], 60)
    model = eager(small_model)
    assert counted(lambda: response_nll(model, ids, starts, 60)) == pytest.approx(ours, rel=0.01)
    assert ours > padded_forward_flops(shape, lengths, [0] * 4, 60) > sum(forward_flops(shape, 1, n, 0) for n in lengths)


@pytest.mark.parametrize("supervised", [3, 30])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_training_counts_what_the_trainer_computes(
    shape: ModelShape, small_model: Path, mode: str, checkpointing: bool, supervised: int
) -> None:
    """With 3 of 59 positions a row the last layer is sparse, with 30 it is dense."""
    batch, model, adapters = batch_of([60, 52, 47], supervised), eager(small_model), None
    if checkpointing:
        checkpoint_activations(model)
    if mode == "lora":
        config = LoraConfig(rank=4)
        model, adapters = add_lora(model, config), adapters_of(shape, config)
    masked = MaskedLM(model).train()
    ours = training_flops(shape, 3, 59, batch.index_N.numel(), batch.most, Trained(adapters, checkpointing))
    # The sparse last layer calls the fused attention, which torch does not count here: its share is added.
    unseen = 3 * 3 * shape.attend(3, 59) if supervised == 3 else 0.0
    assert counted(lambda: masked(batch).backward()) + unseen == pytest.approx(ours, rel=0.01)


def test_lora_has_no_gradients_of_frozen_weights(shape: ModelShape) -> None:
    full = training_flops(shape, 4, 50, 200, 50, Trained())
    lora = training_flops(shape, 4, 50, 200, 50, Trained(Adapters(1, frozenset())))
    attention = 3 * L * 4 * 4 * H * h * 50 * 50
    assert full == 6 * (2 * LAYER + V * D) * 200 + attention
    assert lora == 4 * (2 * LAYER + V * D) * 200 - 2 * (shape.queries + shape.keys_values) * 200 + attention


def test_generation_is_a_pass_over_the_prompt_and_one_for_each_further_token(shape: ModelShape, small_model: Path) -> None:
    model = eager(small_model)
    ids_BT = torch.arange(36).reshape(3, 12) + 3

    def generate() -> None:
        with torch.inference_mode():
            model.generate(input_ids=ids_BT, max_new_tokens=8, min_new_tokens=8, do_sample=False, pad_token_id=0)

    assert counted(generate) == pytest.approx(generation_flops(shape, [(12, [8, 8, 8])]), rel=0.02)


def test_an_answer_that_has_ended_costs_until_it_leaves_its_batch(shape: ModelShape) -> None:
    together = generation_flops(shape, [(12, [5, 40, 70])])
    assert together == pytest.approx(generation_flops(shape, [(12, [32]), (12, [64]), (12, [70])]))


def test_adapters_are_on_the_named_matrices(shape: ModelShape) -> None:
    assert adapters_of(shape, LoraConfig(rank=2, target_modules=["q_proj", "down_proj"])).weights(shape) == 2 * (
        D + H * h + F + D
    )
    everywhere = adapters_of(shape, LoraConfig(rank=1)).weights(shape)
    assert everywhere == (D + H * h) + 2 * (D + K * h) + (H * h + D) + 2 * (D + F) + (F + D)
