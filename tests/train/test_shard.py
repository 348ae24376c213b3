"""Full weights over two workers: the losses of one, checkpoints for another number of workers, a plain model at the end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from tests.ports import free_port
from transformers import AutoModelForCausalLM

from codeblock.core.config import TrainConfig
from codeblock.core.models.load import load_model
from codeblock.train.loop import Session
from codeblock.train.model import MaskedLM
from codeblock.train.rows import TokenPair, trim_all
from codeblock.train.shard import shard, whole_weights
from codeblock.train.step import DistContext

SEED = 5
# Two passes or three a step and a worker: the workers differ in how many they have.
CONFIG = TrainConfig(
    steps=6, batch_pairs=5, learning_rate=5e-3, micro_batch_tokens=70, weight_decay=0.1, dev_every=3, checkpoint_every=4
)
SHARDED = CONFIG.model_copy(update={"shard": True})


def pairs_of(count: int, seed: int) -> list[TokenPair]:
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        length = int(rng.integers(8, 60))
        weight_T = (rng.random(length) < 0.2).astype(np.float32)
        weight_T[:3], weight_T[4] = 0, 1
        ids_T = rng.integers(1, 300, length).astype(np.int32)
        class_T = np.where(np.arange(length) < 3, 0, 2).astype(np.uint8)
        pairs.append(TokenPair(str(number), ids_T, class_T, weight_T))
    return pairs


def session_of(model: str, config: TrainConfig, place: DistContext) -> Session:
    torch.set_num_threads(1)
    masked = MaskedLM(load_model(model), config.dtype)
    if config.shard:
        masked = shard(masked, place)
    pairs, _ = trim_all(pairs_of(20, 0))
    return Session(masked, pairs, pairs_of(5, 1), config, SEED, place)


def worker(rank: int, world: int, port: int, model: str, directory: str, resume: bool) -> None:
    """One of the workers: trains from the start, or from the checkpoint in `directory`; rank 0 writes what it came to."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world)
    try:
        session = session_of(model, SHARDED, DistContext(torch.device("cpu"), rank, world))
        if resume:
            session.load(Path(directory) / "checkpoint")
        session.run(on_checkpoint=lambda now: now.save(Path(directory) / "checkpoint"))
        weights = whole_weights(session.masked)
        if rank == 0:
            session.masked.model.save_pretrained(Path(directory) / f"model{world}", state_dict=weights)
            told = {"history": session.history, "dev": session.dev}
            (Path(directory) / f"told{world}.json").write_text(json.dumps(told))
    finally:
        dist.destroy_process_group()


def run(world: int, model: Path, directory: Path, resume: bool = False) -> dict[str, Any]:
    torch.multiprocessing.spawn(worker, (world, free_port(), str(model), str(directory), resume), nprocs=world)
    told: dict[str, Any] = json.loads((directory / f"told{world}.json").read_text())
    return told


@pytest.fixture(scope="module")
def alone(small_model: Path) -> Session:
    """One worker that shards nothing."""
    session = session_of(str(small_model), CONFIG, DistContext(torch.device("cpu")))
    session.run()
    return session


@pytest.fixture(scope="module")
def two(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("two")
    return directory, run(2, small_model, directory)


def column(rows: list[dict[str, Any]], name: str) -> list[float]:
    return [row[name] for row in rows]


@pytest.mark.slow
def test_two_workers_have_the_losses_norms_and_held_out_nll_of_one(alone: Session, two: tuple[Path, dict[str, Any]]) -> None:
    _, told = two
    for name in ("loss", "grad_norm", "supervised_tokens"):
        assert column(told["history"], name) == pytest.approx(column(alone.history, name), rel=1e-4), name
    assert column(told["dev"], "tokens") == column(alone.dev, "tokens")
    assert column(told["dev"], "nll") == pytest.approx(column(alone.dev, "nll"), rel=1e-4)


@pytest.mark.slow
def test_the_export_is_a_plain_model_with_the_weights_of_one(alone: Session, two: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = two
    plain = AutoModelForCausalLM.from_pretrained(directory / "model2").state_dict()
    own = alone.masked.model.state_dict()
    assert plain.keys() == own.keys()
    for name, weight in own.items():
        torch.testing.assert_close(plain[name], weight, atol=2e-4, rtol=1e-3, msg=name)


@pytest.mark.slow
def test_another_number_of_workers_goes_on_from_a_checkpoint(
    alone: Session, two: tuple[Path, dict[str, Any]], small_model: Path
) -> None:
    directory, _ = two
    assert len(list((directory / "checkpoint").glob("__*.distcp"))) == 2
    told = run(1, small_model, directory, resume=True)
    assert column(told["history"], "step") == [1, 2, 3, 4, 5, 6]
    assert column(told["history"], "loss") == pytest.approx(column(alone.history, "loss"), rel=1e-4)


def test_adapters_are_not_sharded() -> None:
    with pytest.raises(ValueError, match=r"needs train\.mode=full"):
        TrainConfig(mode="lora", shard=True)
