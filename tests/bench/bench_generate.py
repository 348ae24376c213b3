"""Generation against plain `generate` of transformers: batches in file order, stop texts cut off afterwards; ratios in one run.

    python tests/bench/bench_generate.py --model DIRECTORY --tasks HUMANEVAL [--limit 32] [--new 128] [--batch 16]

Both get the same prompts of HumanEval, greedy, as a chat (no stop texts) and as text to go on from (with the benchmark's).
Times are CPU seconds of the process without a GPU, which other work on the machine does not change, else wall clock.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from codeblock.core.models.load import device, load_model, load_tokenizer
from codeblock.evaluate.answers import Decoding, Request, first_stop
from codeblock.evaluate.benchmarks import load
from codeblock.evaluate.generate import generate_answers
from codeblock.evaluate.prompts import make_requests


def main() -> None:
    """Measure both ways in turn, for both kinds of prompt, and print the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    model, tokenizer = load_model(arguments.model, dtype=arguments.dtype).to(device()), load_tokenizer(arguments.model)
    benchmark = load("humaneval", arguments.tasks, arguments.limit)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    size = f"batches of {arguments.batch}, {arguments.new} new tokens"
    print(f"{name}, {arguments.dtype}, {torch.get_num_threads()} threads; {size}")
    for kind in ("chat", "base"):
        requests = make_requests(tokenizer, benchmark, [(task, 0) for task in benchmark.tasks], kind, 0)
        compare(arguments, model, tokenizer, requests, kind)


def compare(arguments: argparse.Namespace, model: Any, tokenizer: Any, requests: list[Request], kind: str) -> None:
    """Print what both ways take for these requests, and how many of their answers are the same."""
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    plain: list[str] = []
    ours: list[str] = []
    for _ in range(arguments.repeats):
        plain, seconds = measure(lambda: plain_answers(model, tokenizer, requests, arguments.new, arguments.batch))
        times["plain"].append(seconds)
        decoding = Decoding(arguments.new, arguments.batch)
        ours, seconds = measure(lambda: [each.text for each in generate_answers(model, tokenizer, requests, decoding)])  # noqa: B023
        times["ours"].append(seconds)
    slow, fast = (float(np.median(times[way])) for way in ("plain", "ours"))
    same = sum(a == b for a, b in zip(plain, ours, strict=True))
    print(f"{kind}: plain {slow:.1f} s, ours {fast:.1f} s: {slow / fast:.2f}x; {same} of {len(requests)} answers are the same")


def measure(work: Callable[[], list[str]]) -> tuple[list[str], float]:
    """A result and its seconds."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    started = clock()
    result = work()
    return result, clock() - started


@torch.inference_mode()
def plain_answers(model: Any, tokenizer: Any, requests: list[Request], new: int, batch: int) -> list[str]:
    """What a first version would do: file order, left-padded batches, all tokens of the longest answer, stops cut off then."""
    tokenizer.padding_side = "left"
    texts = []
    for first in range(0, len(requests), batch):
        some = requests[first : first + batch]
        padded = tokenizer.pad({"input_ids": [each.ids for each in some]}, return_tensors="pt").to(model.device)
        out = model.generate(**padded, do_sample=False, max_new_tokens=new, pad_token_id=tokenizer.pad_token_id)
        said = tokenizer.batch_decode(out[:, padded["input_ids"].shape[1] :], skip_special_tokens=True)
        for request, text in zip(some, said, strict=True):
            end = first_stop(text, request.stops)
            texts.append(request.begun + (text if end is None else text[:end]))
    return texts


if __name__ == "__main__":
    main()
