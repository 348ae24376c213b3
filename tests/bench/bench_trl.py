"""One epoch of the same selected pairs by our training loop and by TRL's SFTTrainer: seconds a step and peak memory, in turns.

    python tests/bench/bench_trl.py --model DIR --selected runs/cache/selected-... [--mode lora|full] [--steps 6] [--turns 3]

Both take the same rows with the same masks, batches of as many pairs, float32 weights under bfloat16 autocast, AdamW, and no
gradient checkpointing (TRL's default is on, which trades time for memory). Each turn is a process of its own, ours and theirs
one after the other; the first step, which warms up, is not counted. Needs TRL.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from codeblock.core.config import LoraConfig, TrainConfig
from codeblock.core.memory import worker_peak_mb
from codeblock.core.models.load import device, load_model, load_tokenizer
from codeblock.train.model import add_lora
from codeblock.train.rows import TokenPair, read_pairs, trim_all

LORA = LoraConfig(rank=16, alpha=32)


def chosen_pairs(options: argparse.Namespace) -> list[TokenPair]:
    """As many pairs as the steps take, each with a supervised token, untrimmed."""
    pairs = [pair for pair in read_pairs(options.selected, "train") if pair.supervised]
    wanted = options.steps * options.batch
    if len(pairs) < wanted:
        raise SystemExit(f"{options.selected}: {len(pairs)} pairs, {wanted} are needed; lower --steps or --batch")
    return pairs[:wanted]


def built(options: argparse.Namespace) -> Any:
    model = load_model(str(options.model)).to(device())
    return add_lora(model, LORA) if options.mode == "lora" else model


def ours(options: argparse.Namespace) -> list[float]:
    """Seconds of each step of our loop."""
    from codeblock.train.loop import Session
    from codeblock.train.model import MaskedLM
    from codeblock.train.step import DistContext

    pairs, _ = trim_all(chosen_pairs(options))
    config = TrainConfig(steps=options.steps, batch_pairs=options.batch, learning_rate=1e-4, dtype=options.dtype, dev_pairs=0)
    masked = MaskedLM(built(options), options.dtype).to(device())
    session = Session(masked, pairs, [], config, 0, DistContext(device()))
    session.run()
    return [row["seconds"] for row in session.history]


def theirs(options: argparse.Namespace) -> list[float]:
    """Seconds of each step of TRL's trainer."""
    import trl
    from datasets import Dataset
    from transformers import TrainerCallback

    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            times.append(-time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times[-1] += time.perf_counter()

    rows = []
    for pair in chosen_pairs(options):
        labels = pair.input_ids_T.astype(int)
        labels[pair.weight_T == 0] = -100
        rows.append({"input_ids": pair.input_ids_T.tolist(), "labels": labels.tolist()})
    with tempfile.TemporaryDirectory() as output:
        settings = trl.SFTConfig(
            output_dir=output,
            max_length=None,
            max_steps=options.steps,
            per_device_train_batch_size=options.batch,
            learning_rate=1e-4,
            report_to=[],
            use_cpu=device().type == "cpu",
            bf16=options.dtype == "bfloat16",
            gradient_checkpointing=False,
            save_strategy="no",
        )
        trainer = trl.SFTTrainer(
            built(options),
            args=settings,
            train_dataset=Dataset.from_list(rows),
            processing_class=load_tokenizer(str(options.model)),
            callbacks=[Clock()],
        )
        trainer.train()
    return times


def child(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(options.threads)
    times = (ours if options.child == "ours" else theirs)(options)
    print(json.dumps({"seconds": statistics.mean(times[1:]), "peak_mb": worker_peak_mb()}))


def main() -> None:
    """Measure both in turns and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--selected", type=Path, required=True)
    parser.add_argument("--mode", choices=["lora", "full"], default="lora")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--child", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    found: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    for _ in range(options.turns):
        for name, results in found.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--child", name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr)
            results.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"  {name}: {results[-1]['seconds']:.2f} s a step, {results[-1]['peak_mb']:,.0f} MiB", flush=True)
    seconds = {name: statistics.median(each["seconds"] for each in results) for name, results in found.items()}
    memory = {name: statistics.median(each["peak_mb"] for each in results) for name, results in found.items()}
    print(
        f"{options.mode}, {options.dtype}, {options.batch} pairs a step, {options.threads} threads, {platform.machine()}: "
        f"ours {seconds['ours']:.2f} s and {memory['ours']:,.0f} MiB, TRL {seconds['theirs']:.2f} s and "
        f"{memory['theirs']:,.0f} MiB; TRL takes {seconds['theirs'] / seconds['ours']:.2f} times the time"
    )


if __name__ == "__main__":
    main()
