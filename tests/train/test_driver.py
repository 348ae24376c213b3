"""The real thing: Ray Train workers on a real table. Few fits, since each takes some 20 s to start."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from ray.exceptions import ActorUnavailableError
from ray.train import WorkerGroupError
from tests.processes import running_below

from codeblock.core import schema
from codeblock.core.config import ClusterConfig, LoraConfig, TrainConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.load import load_model, load_tokenizer
from codeblock.core.models.ref import ModelRef
from codeblock.core.own_process import as_worker
from codeblock.core.storage import tables
from codeblock.train import driver
from codeblock.train.driver import CHECKPOINTS, DEV, HISTORY, MODEL, Callbacks, _readable, fit
from codeblock.train.loop import DEV_SCHEMA, HISTORY_SCHEMA, STATE, Session, Stopped
from codeblock.train.model import MaskedLM, add_lora
from codeblock.train.rows import read_pairs, trim_all
from codeblock.train.step import DistContext
from codeblock.train.worker import HERE, CurveRow

SEED = 3

pytestmark = pytest.mark.usefixtures("ray_cluster")


def write_selected(directory: Path, supervised: bool = True, vocabulary: int = 300) -> Path:
    """46 training and 6 dev pairs in two parts; every eighth training pair has no supervised token."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(52):
        length = int(rng.integers(10, 60))
        class_T = np.where(np.arange(length) < 4, 0, rng.integers(1, 4, length))
        class_T[-1] = 4
        weight_T = (rng.random(length) < 0.15) & (class_T > 0) & (supervised and number % 8 != 7)
        weight_T[6] = supervised and number % 8 != 7
        rows.append(
            {
                "id": f"pair{number}",
                "split": "dev" if number < 6 else "train",
                "input_ids": rng.integers(1, vocabulary, length).tolist(),
                "token_class": class_T.tolist(),
                "weight": weight_T.astype(float).tolist(),
                "selected": weight_T.astype(bool).tolist(),
            }
        )
    for part, chunk in enumerate((rows[:30], rows[30:])):
        table = pa.Table.from_pylist(chunk, schema=schema.SELECTED)
        tables.write_part(directory / tables.part_name(part), table)
    return directory


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_selected(tmp_path_factory.mktemp("selected"))


def losses_without_ray(selected: Path, model: Path, config: TrainConfig) -> list[float]:
    """The losses of the bare loop in this process: one worker, never interrupted."""
    torch.manual_seed(SEED)
    loaded = load_model(str(model))
    if config.mode == "lora":
        loaded = add_lora(loaded, config.lora)
    pairs, _ = trim_all(read_pairs(selected, "train"))
    session = Session(MaskedLM(loaded, config.dtype), pairs, [], config, SEED, DistContext(torch.device("cpu")))
    session.run()
    return [row["loss"] for row in session.history]


def kill_a_worker_once_a_checkpoint_is_registered(output: Path) -> threading.Thread:
    """SIGKILL one Ray Train worker of this process's own cluster.

    A checkpoint's directory is there before Ray Train has registered it; a third one is written only after the first
    was registered.
    """

    def kill() -> None:
        deadline = time.monotonic() + 300
        seen: set[str] = set()
        while len(seen) < 3 and time.monotonic() < deadline:
            seen.update(path.name for path in (output / CHECKPOINTS).glob("checkpoint_*"))
            time.sleep(0.01)
        while time.monotonic() < deadline:
            for worker in running_below(os.getpid(), "RayTrainWorker"):
                worker.kill()
                return

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def history_of(output: Path) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = pq.read_table(output / HISTORY).to_pydict()
    return columns


@pytest.mark.slow
def test_two_workers_give_the_losses_of_one_and_write_what_the_next_stages_read(
    selected: Path, small_model: Path, tmp_path: Path
) -> None:
    config = TrainConfig(steps=8, batch_pairs=8, learning_rate=5e-3, dev_every=3, micro_batch_tokens=100)
    facts = fit(selected, ModelRef(str(small_model)), tmp_path, config, ClusterConfig(train_workers=2), SEED)

    history = history_of(tmp_path)
    assert history["loss"] == pytest.approx(losses_without_ray(selected, small_model, config), rel=1e-4)
    assert pq.read_schema(tmp_path / HISTORY) == HISTORY_SCHEMA
    assert pq.read_schema(tmp_path / DEV) == DEV_SCHEMA
    dev = pq.read_table(tmp_path / DEV).to_pydict()
    assert sorted(set(dev["step"])) == [0, 3, 6, 8]
    assert set(dev["token_class"]) == {"text", "code", "core", "stop"}
    assert {sum(n for s, n in zip(dev["step"], dev["tokens"], strict=True) if s == step) for step in (0, 8)} == {
        sum(int((pair.token_class_T > 0).sum()) for pair in read_pairs(selected, "dev"))
    }

    pairs, saved = trim_all(read_pairs(selected, "train"))
    assert (facts["pairs"], facts["dropped_pairs"], facts["steps"], facts["world_size"]) == (len(pairs), 6, 8, 2)
    assert (facts["trimmed_tokens"], facts["dropped_tokens"]) == (saved.tail_inputs, saved.dropped_inputs)
    assert facts["processed_tokens"] == sum(history["processed_tokens"])
    assert facts["supervised_tokens"] == sum(history["supervised_tokens"])
    assert facts["train_seconds"] == pytest.approx(sum(history["seconds"]))
    assert facts["peak_memory_mb"] > 100
    assert facts["resumed_from_step"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [DEV, HISTORY, MODEL]

    trained, before = load_model(str(tmp_path / MODEL)), load_model(str(small_model))
    assert not torch.equal(trained.lm_head.weight, before.lm_head.weight)
    assert load_tokenizer(str(tmp_path / MODEL)).chat_template == load_tokenizer(str(small_model)).chat_template


@pytest.mark.slow
def test_a_killed_worker_resumes_from_the_last_checkpoint_with_the_same_losses(
    selected: Path, small_model: Path, tmp_path: Path
) -> None:
    config = TrainConfig(steps=160, batch_pairs=8, checkpoint_every=20, max_failures=1, dev_every=1000)
    killer = kill_a_worker_once_a_checkpoint_is_registered(tmp_path)
    facts = fit(selected, ModelRef(str(small_model)), tmp_path, config, ClusterConfig(), SEED)
    killer.join()
    assert facts["resumed_from_step"] >= 20
    assert facts["resumed_from_step"] % 20 == 0
    history = history_of(tmp_path)
    assert history["step"] == list(range(1, 161))
    assert history["loss"] == pytest.approx(losses_without_ray(selected, small_model, config), rel=1e-6)
    assert not (tmp_path / CHECKPOINTS).exists()


@pytest.mark.slow
def test_a_killed_worker_of_a_sharded_fit_resumes_with_the_losses_of_one_worker(
    selected: Path, small_model: Path, tmp_path: Path
) -> None:
    config = TrainConfig(steps=100, batch_pairs=8, checkpoint_every=10, max_failures=1, dev_every=1000, shard=True)
    killer = kill_a_worker_once_a_checkpoint_is_registered(tmp_path)
    facts = fit(selected, ModelRef(str(small_model)), tmp_path, config, ClusterConfig(train_workers=2), SEED)
    killer.join()
    assert facts["resumed_from_step"] >= 10
    whole = config.model_copy(update={"shard": False})
    assert history_of(tmp_path)["loss"] == pytest.approx(losses_without_ray(selected, small_model, whole), rel=1e-3)
    assert load_model(str(tmp_path / MODEL)).num_parameters() == load_model(str(small_model)).num_parameters()


@pytest.mark.slow
def test_an_interrupted_lora_fit_says_so_and_goes_on_when_called_again(
    selected: Path, small_model: Path, tmp_path: Path
) -> None:
    config = TrainConfig(
        mode="lora", lora=LoraConfig(rank=2, dropout=0.1), steps=160, batch_pairs=4, checkpoint_every=20, dev_every=1000
    )
    first, second = tmp_path / "first", tmp_path / "second"  # a run that takes over gives the directory a name of its own
    killer = kill_a_worker_once_a_checkpoint_is_registered(first)
    with pytest.raises(CodeBlockError, match="training: a worker failed"):
        fit(selected, ModelRef(str(small_model)), first, config, ClusterConfig(), SEED)
    killer.join()
    assert not (first / HISTORY).exists()

    first.rename(second)
    facts = fit(selected, ModelRef(str(small_model)), second, config, ClusterConfig(), SEED)
    assert facts["resumed_from_step"] >= 20
    assert history_of(second)["loss"] == pytest.approx(losses_without_ray(selected, small_model, config), rel=1e-6)
    adapted, base = load_model(str(second / MODEL)), load_model(str(small_model))
    assert torch.equal(adapted.get_base_model().lm_head.weight, base.lm_head.weight)
    ids_BT = torch.arange(1, 20)[None]
    assert not torch.equal(adapted(input_ids=ids_BT).logits, base(input_ids=ids_BT).logits)


@pytest.mark.slow
def test_ctrl_c_leaves_a_fit_at_once_ends_its_workers_and_is_again_what_it_was(
    selected: Path, small_model: Path, tmp_path: Path
) -> None:
    before, rows = signal.getsignal(signal.SIGINT), list[CurveRow]()

    def interrupt_once(row: CurveRow) -> None:
        if not rows:
            os.kill(os.getpid(), signal.SIGINT)
        rows.append(row)

    config = TrainConfig(steps=1_000_000, batch_pairs=4, dev_every=1_000_000)
    with pytest.raises(KeyboardInterrupt):
        fit(selected, ModelRef(str(small_model)), tmp_path, config, ClusterConfig(), SEED, Callbacks(interrupt_once))
    assert signal.getsignal(signal.SIGINT) is before
    wait_until_gone("ray::RayTrainWorker")


def wait_until_gone(title: str) -> None:
    until = time.monotonic() + 200
    while running_below(os.getpid(), title) and time.monotonic() < until:
        time.sleep(0.1)
    assert not running_below(os.getpid(), title)


@pytest.mark.slow
def test_several_workers_end_together_where_they_are_asked_to(selected: Path, small_model: Path, tmp_path: Path) -> None:
    rows: list[CurveRow] = []
    config = TrainConfig(steps=500, batch_pairs=8, dev_every=2)
    with pytest.raises(Stopped) as stopped:
        fit(
            selected,
            *(ModelRef(str(small_model)), tmp_path, config, ClusterConfig(train_workers=2), SEED),
            Callbacks(rows.append, _SecondLook(tmp_path / "looks")),
        )
    assert stopped.value.step == 4, "the first worker alone is asked, and both end at its answer"
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    assert not (tmp_path / MODEL).exists()


class _SecondLook:
    """Asks for the end at the second look; each look leaves a line, whichever process it is in."""

    def __init__(self, looks: Path) -> None:
        self.looks = looks

    def __call__(self) -> bool:
        with self.looks.open("a") as file:
            file.write("x")
        return self.looks.stat().st_size == 2


class _GoneQueue:
    """The queue of a fit whose processes were ended with it."""

    def __init__(self, **_: object) -> None:
        pass

    def qsize(self) -> int:
        raise ActorUnavailableError("connection reset by peer", None)

    def get_nowait_batch(self, count: int) -> list[CurveRow]:
        raise AssertionError(count)

    def shutdown(self, force: bool) -> None:
        assert force


def test_a_queue_that_went_with_the_fit_leaves_the_word_to_what_ended_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fallen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", fallen.append)
    monkeypatch.setattr(driver, "Queue", _GoneQueue)
    monkeypatch.setattr(driver, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(driver, "NodeAffinitySchedulingStrategy", lambda *_, **__: None)
    monkeypatch.setattr(driver.ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "here"))
    with pytest.raises(KeyboardInterrupt), driver._told(driver._HandOn(lambda *_: None, None)):
        raise KeyboardInterrupt
    assert fallen == []


# --- in this process, where it has the resources of the one worker


class _CutError(Exception):
    pass


def test_a_process_that_is_a_worker_trains_here_and_goes_on_from_its_checkpoint(
    selected: Path, small_model: Path, tmp_path: Path
) -> None:
    config = TrainConfig(steps=12, batch_pairs=8, checkpoint_every=4, dev_every=1000)
    rows: list[CurveRow] = []

    def cut(row: CurveRow) -> None:
        rows.append(row)
        if row.get("step") == 6 and "loss" in row:
            raise _CutError

    model = ModelRef(str(small_model))
    with as_worker():
        with pytest.raises(_CutError):
            fit(selected, model, tmp_path / "cut", config, ClusterConfig(), SEED, Callbacks(cut))
        assert [path.name for path in (tmp_path / "cut" / HERE).iterdir()] == [STATE]
        (tmp_path / "cut").rename(tmp_path / "own")  # a run that takes over gives the directory a name of its own
        facts = fit(selected, model, tmp_path / "own", config, ClusterConfig(), SEED, Callbacks(rows.append))
    assert (facts["resumed_from_step"], facts["steps"], facts["world_size"]) == (4, 12, 1)
    assert history_of(tmp_path / "own")["loss"] == pytest.approx(losses_without_ray(selected, small_model, config), rel=1e-6)
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6, *range(5, 13)]
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == [DEV, HISTORY, MODEL]


# --- refused before Ray Train starts


def test_a_table_without_a_supervised_token_is_refused(small_model: Path, tmp_path: Path) -> None:
    selected = write_selected(tmp_path / "selected", supervised=False)
    with pytest.raises(CodeBlockError, match="none of 46 training pairs has a supervised token"):
        fit(selected, ModelRef(str(small_model)), tmp_path / "out", TrainConfig(steps=1), ClusterConfig(), SEED)
    assert not (tmp_path / "out").exists()


def test_more_workers_than_the_cluster_holds_are_refused(selected: Path, small_model: Path, tmp_path: Path) -> None:
    with pytest.raises(CodeBlockError, match="training: 5 x 1 CPU asked, the cluster has 2 CPU"):
        fit(selected, ModelRef(str(small_model)), tmp_path, TrainConfig(steps=1), ClusterConfig(train_workers=5), SEED)


def test_a_pair_longer_than_the_model_is_named(selected: Path, small_model: Path, tmp_path: Path) -> None:
    short = shutil.copytree(small_model, tmp_path / "short")
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 20}))
    with pytest.raises(CodeBlockError, match=r"selected pair pair\d+: \d+ tokens .* the model takes 20"):
        fit(selected, ModelRef(str(short)), tmp_path / "out", TrainConfig(steps=1), ClusterConfig(), SEED)


def test_the_user_sees_the_workers_own_error_or_the_last_line_of_a_crash() -> None:
    own = CodeBlockError("train step 4: loss nan")
    assert _readable(WorkerGroupError("long text", {0: RuntimeError("peer closed"), 1: own})) is own
    crash = str(_readable(WorkerGroupError("long text", {0: RuntimeError("Traceback\n  File x\nOutOfMemory: 3 GB")})))
    assert crash.startswith("training: a worker failed (OutOfMemory: 3 GB)")
