"""A fit that no longer gets better can end, and can end with the weights of its best look."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.test_loop import session, some_pairs

from codeblock.core.config import TrainConfig
from codeblock.train.best import Best
from codeblock.train.rows import TokenPair

OVERFIT: dict[str, Any] = {
    "steps": 40,
    "batch_pairs": 4,
    "learning_rate": 2e-2,
    "schedule": "constant",
    "warmup_share": 0,
    "dev_every": 2,
}


def learnable(seed: int) -> list[TokenPair]:
    """Pairs of five words at random: which words there are is learnt, and then only these pairs by heart."""
    return [replace(pair, input_ids_T=pair.input_ids_T % 5 + 1) for pair in some_pairs(4, seed=seed)]


def look(supervised: float, other: float = 9.0) -> list[dict[str, Any]]:
    return [
        {"supervised": True, "nll": supervised, "tokens": 3},
        {"supervised": True, "nll": supervised, "tokens": 1},
        {"supervised": False, "nll": other, "tokens": 5},
    ]


def test_only_a_lower_nll_of_supervised_tokens_is_better():
    best, weight = Best(keep=True), {"w": torch.tensor([1.0])}
    best.see(0, look(2.0), weight)
    weight["w"] = torch.tensor([2.0])
    best.see(2, look(1.5), weight)
    weight["w"] = torch.tensor([3.0])
    best.see(4, look(1.5, other=1.0), weight)
    assert (best.step, best.looks_since) == (2, 1)
    best.put_back(weight)
    assert weight["w"].item() == 2.0


def test_without_a_held_out_supervised_token_nothing_is_best():
    best = Best()
    best.see(0, [{"supervised": False, "nll": 1.0, "tokens": 5}], {})
    assert (best.step, best.looks_since) == (None, 0)


def test_a_fit_ends_after_so_many_looks_without_a_better_one():
    run = session(TrainConfig(**OVERFIT, stop_after_looks=3), pairs=learnable(0), dev=learnable(1))
    run.run()
    assert 6 <= run.step < 40
    assert run.best.step == run.step - 3 * 2


def test_the_best_weights_are_the_ones_that_it_ends_with_and_a_resumed_fit_has_the_same(tmp_path: Path):
    config = TrainConfig(**OVERFIT, keep="best", stop_after_looks=3, checkpoint_every=3)
    pairs, dev = learnable(0), learnable(1)
    whole = session(config, pairs=pairs, dev=dev)

    def save_past_the_best(run: Any) -> None:
        if run.best.looks_since and not (tmp_path / "state.pt").exists():
            run.save(tmp_path)

    whole.run(on_checkpoint=save_past_the_best)
    assert 0 < whole.best.step < whole.step
    again = session(TrainConfig(**{**OVERFIT, "steps": whole.best.step}), pairs=pairs, dev=dev)
    again.run()
    for one, other in zip(whole.masked.parameters(), again.masked.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)

    resumed = session(config, pairs=pairs, dev=dev)
    resumed.load(tmp_path)
    resumed.run()
    assert resumed.step == whole.step
    for one, other in zip(whole.masked.parameters(), resumed.masked.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_there_have_to_be_held_out_pairs():
    with pytest.raises(ValueError, match=r"need train\.dev_pairs above 0"):
        TrainConfig(keep="best", dev_pairs=0)
