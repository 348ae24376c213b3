"""Rows per second of tokenizing, segmenting and scoring with 1 and more processes, by the stages' own drivers over Ray.

python tests/bench/bench_processes.py --pairs PAIRS --model MODEL [--processes 1 2] [--rounds 2] [--times 1] [--scored 96]

Each size gets a Ray cluster of so many CPUs, in turns, so that other work on the machine meets both alike. What is timed is the
driver's call on a warm cluster: Ray's start is not in it, the start of the actors and the loading of the model are.
Beside it, what the machine itself allows: the same parts by as many processes without Ray, which have imported all before.
With `--times`, tokenize and segment do the pool so many times over, as further parts: a longer call has less of its start.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import ray

from codeblock.annotate.prepare.driver import segment, tokenize
from codeblock.annotate.score.driver import score
from codeblock.core.cluster import quiet_data, runtime_env
from codeblock.core.config import ClusterConfig, PrepareConfig, ScoreConfig
from codeblock.core.config.pairs import PairsConfig
from codeblock.core.models.ref import ModelRef
from codeblock.core.own_process import as_worker
from codeblock.core.quiet import quiet_environment
from codeblock.core.storage.tables import part_name, parts, read_part, write_part
from codeblock.data.read.files import data_sets
from codeblock.data.read.stage import read_pairs

SCORED_PARTS = 8
MAX_LENGTH = 2048


def main() -> None:
    """Prepare once, then time each driver with each number of processes, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="efficiency is against the first")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scored", type=int, default=96, help="pairs that are scored; 0: MODEL needs no weights then")
    parser.add_argument("--times", type=int, default=1, help="how often the pool is tokenized and segmented in one call")
    options = parser.parse_args()
    quiet_environment()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        config = PairsConfig(path=options.pairs)
        read_pairs(data_sets(config), config, home / "once")
        repeat(home / "once", home / "pairs", options.times)
        seconds: dict[tuple[str, int], list[float]] = {}
        work: dict[str, tuple[int, int]] = {}
        for number in range(options.rounds):
            for processes in options.processes if number % 2 == 0 else reversed(options.processes):
                for what, taken, rows, tokens in measured(home, options, processes):
                    seconds.setdefault((what, processes), []).append(taken)
                    work[what] = rows, tokens
                    print(f"round {number}, {processes} processes, {what}: {taken:.1f} s", flush=True)
    first, *more = options.processes
    print(f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; medians")
    columns = [f"{first} process", *(f"{count} processes | efficiency" for count in more)]
    print(f"| stage | rows | tokens | {' | '.join(columns)} |\n| --- |{' ---: |' * (2 + 2 * len(columns) - 1)}")
    for what, (rows, tokens) in work.items():
        taken = {count: median(seconds[what, count]) for count in options.processes}
        rates = [f"{taken[count]:.1f} s | {taken[first] * first / taken[count] / count:.2f}" for count in more]
        print(f"| {what} | {rows:,} | {tokens:,} | {taken[first]:.1f} s | {' | '.join(rates)} |")


def measured(home: Path, options: argparse.Namespace, processes: int) -> list[tuple[str, float, int, int]]:
    """Stage, seconds, rows and tokens of each stage on a cluster of so many CPUs."""
    ray.init(num_cpus=processes, logging_level="error", include_dashboard=False, runtime_env=runtime_env())
    quiet_data()
    try:
        out = Path(tempfile.mkdtemp(dir=home))
        ray.get([ray.remote(warm).remote() for _ in range(processes)])
        found: list[tuple[str, float, int, int]] = []

        def timed(what: str, call: Callable[[], Any]) -> None:
            started = time.perf_counter()
            facts = call()
            taken = time.perf_counter() - started
            tokens = facts["tokens"] if "tokens" in facts else facts["scored_now"]
            found.append((what, taken, facts["kept"], tokens))

        timed("tokenize", lambda: tokenize(home / "pairs", out / "tokenized", ModelRef(options.model), MAX_LENGTH))
        timed("segment", lambda: segment(out / "tokenized", out / "segmented", PrepareConfig()))
        if options.scored:
            some(out / "segmented", out / "some", options.scored)
        cluster = ClusterConfig(actors=processes, cpus_per_worker=0.5)
        plain = partial(without_ray, processes=processes, home=home, out=out, model=options.model)
        for what in ("tokenize", "segment"):
            rows, tokens = next(each[2:] for each in found if each[0] == what)
            found.append((f"{what}, no Ray", plain(what), rows, tokens))
        if options.scored:
            timed("score", lambda: score(out / "some", out / "scored", ModelRef(options.model), ScoreConfig(), cluster))
        return found
    finally:
        ray.shutdown()


def repeat(once: Path, pairs: Path, times: int) -> None:
    """The parts of a pool so many times over, under names of their own."""
    pairs.mkdir()
    for number, part in enumerate(part for _ in range(times) for part in parts(once)):
        shutil.copyfile(part, pairs / part_name(number))


def without_ray(what: str, processes: int, home: Path, out: Path, model: str) -> float:
    """Seconds in which so many processes do the parts, a share each, once each has done a first one."""
    found = parts(home / "pairs" if what == "tokenize" else out / "tokenized")
    shares = [share_of(found[number::processes], out / f"{what}-{number}") for number in range(processes)]
    first = [share_of(found[:1], out / f"{what}-first-{number}") for number in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(partial(do_share, what, model), first, chunksize=1)
        started = time.perf_counter()
        pool.map(partial(do_share, what, model), shares, chunksize=1)
        return time.perf_counter() - started


def share_of(found: Sequence[Path], directory: Path) -> Path:
    """A directory with these parts alone."""
    directory.mkdir()
    for part in found:
        (directory / part.name).symlink_to(part)
    return directory


def do_share(what: str, model: str, share: Path) -> None:
    """What the stage's driver does, in this process."""
    with as_worker():
        if what == "tokenize":
            tokenize(share, share / "done", ModelRef(model), MAX_LENGTH)
        else:
            segment(share, share / "done", PrepareConfig())


def warm() -> None:
    """What a worker imports."""
    import codeblock.annotate.prepare.stage  # noqa: F401


def some(segmented: Path, output: Path, pairs: int) -> None:
    """The first pairs in SCORED_PARTS parts."""
    table = read_part(parts(segmented)[0]).slice(0, pairs)
    size = -(-table.num_rows // SCORED_PARTS)
    for number in range(SCORED_PARTS):
        write_part(output / part_name(number), table.slice(number * size, size))


if __name__ == "__main__":
    main()
