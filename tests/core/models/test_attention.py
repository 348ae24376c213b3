"""No pass of a model is left to the attention that plans for each shape; what a caller has set is there again afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codeblock.core.config import TrainConfig
from codeblock.core.models.load import load_model
from codeblock.core.models.nll import response_nll
from codeblock.data.rank.embed import mean_hidden
from codeblock.evaluate.answers import Decoding, Request
from codeblock.evaluate.generate import generate_answers
from codeblock.train.loop import Session
from codeblock.train.model import MaskedLM, checkpoint_activations
from codeblock.train.rows import TokenPair
from codeblock.train.step import DistContext

IDS = np.arange(5, 25)
ALL = np.ones(IDS.size)


def score(model: Any, _: Any) -> Callable[[], Any]:
    return lambda: response_nll(model, [IDS.astype(np.int32)], [4], 64)


def embed(model: Any, _: Any) -> Callable[[], Any]:
    return lambda: mean_hidden(model, [IDS], [4], 64)


def answer(model: Any, tokenizer: Any) -> Callable[[], Any]:
    return lambda: generate_answers(model, tokenizer, [Request("t", 0, IDS.tolist())], Decoding(4, 1))


def train(model: Any, _: Any) -> Callable[[], Any]:
    """A look at a held-out pair, and a step that computes each layer a second time in its backward pass."""
    pair = TokenPair("a", IDS.astype(np.int32), ALL.astype(np.uint8), ALL.astype(np.float32))
    checkpoint_activations(model)
    config = TrainConfig(mode="full", steps=1, batch_pairs=1, dtype="float32", gradient_checkpointing=True)
    return Session(MaskedLM(model), [pair], [pair], config, 0, DistContext(torch.device("cpu"))).run


@pytest.mark.parametrize("use", [score, embed, answer, train])
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
def test_every_pass_takes_attention_that_needs_no_plan(
    small_model: Path, tokenizer: Any, use: Callable[[Any, Any], Callable[[], Any]]
) -> None:
    model, cuda = load_model(str(small_model)), torch.backends.cuda
    run = use(model, tokenizer)
    seen: list[bool] = []
    model.model.layers[0].self_attn.register_forward_pre_hook(lambda *_: seen.append(cuda.cudnn_sdp_enabled()))
    assert cuda.cudnn_sdp_enabled(), "PyTorch's own choice"
    run()
    assert set(seen) == {False}
    assert cuda.cudnn_sdp_enabled()
