"""Memory and speed of a fit by size of the model and mode, beside what `doctor` estimates; random weights, made on the device.

    python tests/bench/bench_memory.py [--models smollm2-135m qwen2.5-1.5b llama-3.1-8b] [--tokens 8192] [--steps 4]

Each case trains by the platform's own loader and loop on random pairs of 512 tokens, a tenth of them supervised, one
micro-batch a step. What is estimated to need more than `--room` GiB (by default all of the GPU) is left out, and said so.
Peak: of the tensors that PyTorch held at once; without a GPU, the process's, which grows from case to case.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from codeblock.core.config import TrainConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.memory import worker_peak_mb
from codeblock.core.models import load as models
from codeblock.core.models.ref import ModelRef
from codeblock.train.footprint import footprint, shape_of
from codeblock.train.loop import Session
from codeblock.train.rows import TokenPair
from codeblock.train.step import DistContext
from codeblock.train.worker import load_for_training

SHAPES: dict[str, Any] = {
    "tiny": LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1
    ),
    "smollm2-135m": LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True, max_position_embeddings=8192,
    ),
    "qwen2.5-1.5b": Qwen2Config(
        vocab_size=151936, hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12,
        num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=32768,
    ),
    "llama-3.1-8b": LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, tie_word_embeddings=False, max_position_embeddings=131072,
    ),
}  # fmt: skip
"""Sizes as the models' own configs state them."""
LENGTH = 512
SUPERVISED = 51


def main() -> None:
    """Measure each case and print a row of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES)[1:])
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--room", type=float, help="GiB")
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    room = options.room or (torch.cuda.mem_get_info()[1] / 2**30 if on_gpu else 8.0)
    print(torch.cuda.get_device_name() if on_gpu else "CPU", f"{room:.0f} GiB, {options.tokens} tokens a step", flush=True)
    print("| model | mode | estimate, GiB | peak, GiB | estimate / peak | tokens/s |\n|---|---|---:|---:|---:|---:|")
    for name in options.models:
        for config in cases(options):
            print(case(name, config, options, room), flush=True)


def cases(options: argparse.Namespace) -> Iterator[TrainConfig]:
    for mode in ("lora", "full"):
        for dtype in ("float32", "bfloat16"):
            for checkpointing in (False, True):
                yield TrainConfig(
                    mode=mode, dtype=dtype, gradient_checkpointing=checkpointing, steps=options.steps, dev_pairs=0,
                    batch_pairs=options.tokens // LENGTH, micro_batch_tokens=options.tokens, learning_rate=1e-5,
                )  # fmt: skip


def case(name: str, config: TrainConfig, options: argparse.Namespace, room: float) -> str:
    """A row of the table."""
    told = f"{config.mode}, {config.dtype}{', checkpointing' if config.gradient_checkpointing else ''}"
    with tempfile.TemporaryDirectory() as directory:
        SHAPES[name].save_pretrained(directory)
        estimate = footprint(shape_of(directory, None, config), config, options.tokens).gib
        if estimate > room:
            return f"| {name} | {told} | {estimate:.1f} | left out | | |"
        try:
            peak, rate = measured(name, directory, config)
        except (torch.OutOfMemoryError, CodeBlockError) as error:
            return f"| {name} | {told} | {estimate:.1f} | {type(error).__name__}: {str(error)[:80]} | | |"
    return f"| {name} | {told} | {estimate:.1f} | {peak:.1f} | {estimate / peak:.2f} | {rate:,.0f} |"


def measured(name: str, directory: str, config: TrainConfig) -> tuple[float, float]:
    """GiB at the peak, and tokens per second after the first step."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with mock.patch.object(models, "load_model", lambda _path, _revision, dtype: random_model(name, dtype)):
        masked = load_for_training(ModelRef(directory), config).to(models.device())
    session = Session(masked, random_pairs(name, config.batch_pairs), [], config, 0, DistContext(models.device()))
    session.run()
    rows = session.history[1:]
    rate = sum(row["processed_tokens"] for row in rows) / sum(row["seconds"] for row in rows)
    return worker_peak_mb() / 1024, rate


def random_model(name: str, dtype: str) -> Any:
    with torch.device(models.device()):
        return AutoModelForCausalLM.from_config(SHAPES[name], dtype=getattr(torch, dtype)).eval()


def random_pairs(name: str, count: int) -> list[TokenPair]:
    generator = np.random.default_rng(0)
    pairs = []
    for number in range(count):
        ids_T = generator.integers(0, SHAPES[name].vocab_size, LENGTH + 1).astype(np.int32)
        weight_T = np.zeros(LENGTH + 1, np.float32)
        weight_T[-SUPERVISED:] = 1.0  # the last token is supervised, so no pair is trimmed
        pairs.append(TokenPair(str(number), ids_T, np.ones(LENGTH + 1, np.uint8), weight_T))
    return pairs


if __name__ == "__main__":
    main()
