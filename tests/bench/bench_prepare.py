"""Rows per CPU second of the prepare stage on one core, and its cost split by step.

python tests/bench/bench_prepare.py --pairs PATH --model DIRECTORY
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections import defaultdict
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

from codeblock.annotate.prepare import stage
from codeblock.annotate.prepare.render import Renderer
from codeblock.core.config import PrepareConfig
from codeblock.core.config.pairs import PairsConfig
from codeblock.core.models.load import load_tokenizer
from codeblock.core.storage.tables import parts, read_part
from codeblock.data.read.files import data_sets
from codeblock.data.read.stage import read_pairs


def main() -> None:
    """Measure three passes over the pairs and print the fastest, with the share of each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--model", required=True)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    seconds: dict[str, float] = defaultdict(float)
    for name in ("segment_response", "align"):
        setattr(stage, name, timed(getattr(stage, name), name, seconds))
    renderer = Renderer(load_tokenizer(arguments.model))
    renderer.chat.turns = timed(renderer.chat.turns, "render: chat template", seconds)
    renderer.chat.encoder.begin = timed(renderer.chat.encoder.begin, "render: tokens of prompts", seconds)
    renderer.chat.encoder.go_on = timed(renderer.chat.encoder.go_on, "render: tokens of responses", seconds)
    with tempfile.TemporaryDirectory() as directory:
        config = PairsConfig(path=arguments.pairs)
        read_pairs(data_sets(config), config, Path(directory))
        tables = [read_part(path) for path in parts(Path(directory))]
    rows = sum(table.num_rows for table in tables)
    best: tuple[float, dict[str, float], int] = (float("inf"), {}, 0)
    for _ in range(3):
        seconds.clear()
        started = time.process_time()
        kept = sum(stage.prepare_batch(table, renderer, PrepareConfig(), 10**9)[0].num_rows for table in tables)
        best = min(best, (time.process_time() - started, dict(seconds), kept), key=lambda run: run[0])
    total, split, kept = best
    print(f"{platform.processor() or platform.machine()}, one core of {os.cpu_count()}; {rows} rows, {kept} kept")
    print(f"{rows / total:,.0f} rows per CPU second, {1e3 * total / rows:.3f} ms a row, best of 3")
    for name, spent in sorted(split.items(), key=lambda item: -item[1]):
        print(f"  {100 * spent / total:5.1f}%  {name}")
    print(f"  {100 * (1 - sum(split.values()) / total):5.1f}%  the rest (columns in and out of Arrow)")


def timed(function, name, seconds):
    """The function, its time added up under a name."""

    def call(*args, **kwargs):
        started = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] += time.process_time() - started

    return call


if __name__ == "__main__":
    main()
