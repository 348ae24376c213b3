"""The loop: what it optimises, that cutting a step differently changes nothing, and that resuming is exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from codeblock.core.config import LoraConfig, TrainConfig
from codeblock.core.errors import CodeBlockError
from codeblock.train.loop import Session
from codeblock.train.model import MaskedLM, add_lora
from codeblock.train.rows import TokenPair, trim_all
from codeblock.train.step import DistContext, make_optimizer

CPU = DistContext(torch.device("cpu"))


def build(dtype: torch.dtype = torch.float32, **overrides: Any) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, **overrides,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(dtype)


def some_pairs(count: int = 23, seed: int = 0) -> list[TokenPair]:
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        length = int(rng.integers(8, 50))
        class_T = np.where(np.arange(length) < 4, 0, rng.integers(1, 4, length)).astype(np.uint8)
        class_T[-1] = 4
        weight_T = ((rng.random(length) < 0.2) & (class_T > 0)).astype(np.float32)
        weight_T[5] = 0.5
        pairs.append(TokenPair(str(number), rng.integers(1, 97, length).astype(np.int32), class_T, weight_T))
    return pairs


def session(
    config: TrainConfig, model: Any = None, pairs: Sequence[TokenPair] | None = None, dev: Sequence[TokenPair] = ()
) -> Session:
    kept, _ = trim_all(some_pairs() if pairs is None else pairs)
    return Session(MaskedLM(model or build(), config.dtype), kept, dev, config, 7, CPU)


def losses(run: Session) -> list[float]:
    return [row["loss"] for row in run.history]


def test_the_loss_of_a_step_is_normalised_over_its_whole_batch() -> None:
    pairs = some_pairs(6)
    run = session(TrainConfig(steps=1, batch_pairs=6, micro_batch_tokens=60), build(torch.float64), pairs)
    model = build(torch.float64)
    total = weight = 0.0
    for pair in pairs:
        ids_T = torch.from_numpy(pair.input_ids_T.astype(np.int64))
        nll_T = torch.nn.functional.cross_entropy(model(ids_T[None]).logits[0, :-1], ids_T[1:], reduction="none")
        total += float((nll_T.detach() * torch.from_numpy(pair.weight_T[1:])).sum())
        weight += float(pair.weight_T[1:].sum())
    run.run()
    assert losses(run) == [pytest.approx(total / weight, rel=1e-9)]


@pytest.mark.parametrize("pack", ["never", "always"])
def test_accumulation_and_packing_change_neither_losses_nor_weights(pack: Any) -> None:
    common = {"steps": 6, "batch_pairs": 8, "learning_rate": 1e-2, "weight_decay": 0.1}
    whole = session(TrainConfig(**common, pack="never"), build(torch.float64))
    cut = session(TrainConfig(**common, pack=pack, micro_batch_tokens=70), build(torch.float64))
    whole.run()
    cut.run()
    assert losses(cut) == pytest.approx(losses(whole), rel=1e-9)
    expected = dict(whole.masked.named_parameters())
    for name, weight in cut.masked.named_parameters():
        torch.testing.assert_close(weight, expected[name], rtol=1e-6, atol=1e-9)


def test_training_lowers_the_loss_of_supervised_tokens() -> None:
    run = session(TrainConfig(steps=40, batch_pairs=23, learning_rate=1e-2, schedule="constant"))
    run.run()
    assert losses(run)[-1] < 0.5 * losses(run)[0]


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_resuming_gives_the_losses_of_the_uninterrupted_run(mode: str, tmp_path: Path) -> None:
    config = TrainConfig(
        steps=12, batch_pairs=5, learning_rate=5e-3, checkpoint_every=5, dev_every=4, lora=LoraConfig(dropout=0.3)
    )

    def model() -> Any:
        torch.manual_seed(1)
        return add_lora(build(), config.lora) if mode == "lora" else build(attention_dropout=0.2)

    uninterrupted = session(config, model(), dev=some_pairs(4, seed=1))
    uninterrupted.run()

    def save_and_die(run: Session) -> None:
        run.save(tmp_path)
        if run.step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session(config, model(), dev=some_pairs(4, seed=1)).run(on_checkpoint=save_and_die)
    torch.manual_seed(99)
    resumed = session(config, model(), dev=some_pairs(4, seed=1))
    resumed.load(tmp_path)
    assert resumed.step == 10
    resumed.run()

    assert losses(resumed) == losses(uninterrupted)
    assert resumed.dev == uninterrupted.dev
    expected = dict(uninterrupted.masked.named_parameters())
    assert all(torch.equal(weight, expected[name]) for name, weight in resumed.masked.named_parameters())


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    first = session(TrainConfig(steps=2, batch_pairs=5))
    first.run()
    first.save(tmp_path)
    with pytest.raises(CodeBlockError, match="of another model or run"):
        session(TrainConfig(steps=3, batch_pairs=5)).load(tmp_path)


def test_checkpoints_come_at_their_interval_and_not_after_the_last_step() -> None:
    at: list[int] = []
    config = TrainConfig(steps=6, batch_pairs=4, checkpoint_every=2)
    session(config).run(on_checkpoint=lambda run: at.append(run.step))
    assert at == [2, 4]


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step_before_it_reaches_the_weights() -> None:
    run = session(TrainConfig(steps=9, batch_pairs=4, learning_rate=1e30, warmup_share=0.0))
    with pytest.raises(CodeBlockError, match=r"train step [23]: loss .*lower train.learning_rate"):
        run.run()
    assert all(math.isfinite(loss) for loss in losses(run))


def test_bfloat16_trains_float32_weights() -> None:
    exact = session(TrainConfig(steps=3, batch_pairs=8))
    rounded = session(TrainConfig(steps=3, batch_pairs=8, dtype="bfloat16"))
    exact.run()
    rounded.run()
    assert losses(rounded) != losses(exact)
    assert losses(rounded) == pytest.approx(losses(exact), rel=1e-2)
    assert {weight.dtype for weight in rounded.masked.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("schedule", "last"), [("constant", 1.0), ("linear", 1 / 8), ("cosine", 0.5 * (1 + math.cos(math.pi * 7 / 8)))]
)
def test_the_learning_rate_warms_up_from_above_zero_and_follows_its_schedule(schedule: Any, last: float) -> None:
    run = session(TrainConfig(steps=10, batch_pairs=2, learning_rate=0.01, warmup_share=0.2, schedule=schedule))
    run.run()
    rates = [row["learning_rate"] for row in run.history]
    assert rates[:3] == pytest.approx([0.005, 0.01, 0.01])
    assert rates[-1] == pytest.approx(0.01 * last)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_only_matrices_decay() -> None:
    optimizer = make_optimizer(build(), 0.1, weight_decay=0.3)
    decayed, kept = optimizer.param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
    assert {weight.ndim for weight in decayed["params"]} == {2}
    assert {weight.ndim for weight in kept["params"]} == {1}


def test_gradients_are_clipped_and_the_history_has_the_norm_before() -> None:
    config = {"steps": 1, "batch_pairs": 8, "warmup_share": 0.0}
    free, clipped = session(TrainConfig(**config, max_grad_norm=1e9)), session(TrainConfig(**config, max_grad_norm=0.1))
    free.run()
    clipped.run()
    assert free.history[0]["grad_norm"] == clipped.history[0]["grad_norm"] > 0.1


def test_the_history_counts_tokens_and_time_of_each_step() -> None:
    run = session(TrainConfig(epochs=1, batch_pairs=10))
    run.run()
    assert [row["step"] for row in run.history] == [1, 2, 3]
    assert sum(row["supervised_tokens"] for row in run.history) == sum(pair.supervised for pair in run.pairs)
    assert sum(row["processed_tokens"] for row in run.history) == sum(pair.inputs for pair in run.pairs)
    assert all(row["seconds"] > 0 for row in run.history)


# --- the dev pairs


def test_dev_nll_is_the_mean_by_class_of_supervised_and_of_unsupervised_tokens() -> None:
    dev = some_pairs(5, seed=3)
    run = session(TrainConfig(steps=5, batch_pairs=4, dev_every=2), build(torch.float64), dev=dev)
    model = build(torch.float64)
    expected: dict[tuple[str, bool], list[float]] = {}
    names = {1: "text", 2: "code", 3: "core", 4: "stop"}
    for pair in dev:
        ids_T = torch.from_numpy(pair.input_ids_T.astype(np.int64))
        nll_T = torch.nn.functional.cross_entropy(model(ids_T[None]).logits[0, :-1], ids_T[1:], reduction="none")
        for t in range(1, len(ids_T)):
            if pair.token_class_T[t]:
                key = names[int(pair.token_class_T[t])], bool(pair.weight_T[t] > 0)
                expected.setdefault(key, []).append(float(nll_T[t - 1].detach()))
    run.run()
    assert sorted({row["step"] for row in run.dev}) == [0, 2, 4, 5]
    seen = {(row["token_class"], row["supervised"]): row for row in run.dev if row["step"] == 0}
    assert {key: row["tokens"] for key, row in seen.items()} == {key: len(nll) for key, nll in expected.items()}
    for key, row in seen.items():
        assert row["nll"] == pytest.approx(np.mean(expected[key]), rel=1e-9)


def test_looking_at_dev_pairs_does_not_change_training() -> None:
    config = TrainConfig(steps=4, batch_pairs=5, dev_every=1)
    plain, looking = session(config), session(config, dev=some_pairs(6, seed=2))
    plain.run()
    looking.run()
    assert losses(plain) == losses(looking)
    assert plain.dev == []
