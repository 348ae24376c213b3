"""Rows per CPU second of the filter's first pass, and time and memory of grouping signatures that are made up.

python tests/bench/bench_filter.py --pairs PATH [--benchmark NAME=FILE]... [--rows 1000000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from codeblock.core.config import FilterConfig
from codeblock.core.config.pairs import PairsConfig
from codeblock.core.storage.tables import parts, read_part
from codeblock.data.filter.contamination import BenchmarkText, Index, write_index
from codeblock.data.filter.group import SignatureStore, group
from codeblock.data.filter.minhash import PERMUTATIONS, band_hashes, bands_for
from codeblock.data.filter.stage import screen
from codeblock.data.read.files import data_sets
from codeblock.data.read.stage import read_pairs
from codeblock.evaluate.benchmarks import load

THRESHOLD = 0.8
BLOCK = 20_000


def main() -> None:
    """Print both measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--benchmark", action="append", default=[], help="such as humaneval=HumanEval.jsonl.gz")
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        screening(Path(directory), arguments.pairs, dict(text.split("=", 1) for text in arguments.benchmark))
        make_store(Path(directory) / "store", arguments.rows)
        # A process of its own: the peak of this one holds what was made before.
        grouping = multiprocessing.get_context("spawn").Process(
            target=measure, args=(Path(directory) / "store", arguments.rows)
        )
        grouping.start()
        grouping.join()


def screening(directory: Path, path: str, benchmarks: dict[str, str]) -> None:
    """Contamination and signatures of real pairs, best of three passes."""
    tasks = [(name, task) for name, file in benchmarks.items() for task in load(name, file).tasks]
    references = [BenchmarkText(name, task.task_id, task.prompt, task.reference) for name, task in tasks]
    write_index(references, 13, directory / "index.parquet")
    index = Index(directory / "index.parquet", 13)
    config = PairsConfig(path=path)
    read_pairs(data_sets(config), config, directory / "pairs")
    tables = [read_part(part) for part in parts(directory / "pairs")]
    rows = sum(table.num_rows for table in tables)
    bands = bands_for(THRESHOLD)
    seconds = []
    for _ in range(3):
        started = time.process_time()
        for table in tables:
            signed = screen(table, FilterConfig(), index).signatures
            assert signed is not None
            band_hashes(signed, bands)
        seconds.append(time.process_time() - started)
    print(f"screen: {rows} rows, {rows / min(seconds):,.0f} rows per CPU second, best of 3")


def make_store(directory: Path, rows: int) -> None:
    """A fifth of the rows are copies of rows before them, with a likeness of 0.7 to 1."""
    rng = np.random.default_rng(0)
    bands = bands_for(THRESHOLD)
    store = SignatureStore(directory, bands.count)
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        signed = rng.integers(0, 2**32, (size, PERMUTATIONS), dtype=np.uint32)
        copies = rng.choice(np.arange(size // 2, size), size // 5, replace=False)
        sources = signed[rng.integers(0, size // 2, copies.size)]
        copied = rng.random(sources.shape) < rng.uniform(0.7, 1, (copies.size, 1))
        signed[copies] = np.where(copied, sources, signed[copies])
        store.add(signed, band_hashes(signed, bands))


def measure(directory: Path, rows: int) -> None:
    """Group the signatures that lie there."""
    store = SignatureStore(directory, bands_for(THRESHOLD).count)
    before, started = peak_mb(), time.perf_counter()
    groups = group(store, THRESHOLD)
    seconds, peak = time.perf_counter() - started, peak_mb()
    lost = np.count_nonzero(groups.owner != np.arange(rows))
    print(f"group: {rows} rows, {lost} near duplicates, {seconds:.1f} s, peak {peak:.0f} MiB ({before:.0f} before it)")


def peak_mb() -> float:
    """Of this process alone: `ru_maxrss` of a new process starts with its parent's."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**10


if __name__ == "__main__":
    main()
