"""Rows per second, memory of the driver and time to resume of the stages that run over a cluster, each in a process of its own.

    python tests/bench/bench_ray_data.py prepare|score --pairs PATH --model DIRECTORY [--rows N] [--package DIRECTORY]

`score` does the same parts by a queue of file names too (`map_parts`): an actor that reads, scores and writes.
`--package` names the `platform` directory of another version (given several times, they are measured in turns).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


def main() -> None:
    """Measure each package in turn, and print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("prepare", "score"))
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--cpus", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--part-rows", type=int, help="score: rows of a part; default: as they are read")
    parser.add_argument("--dtype", default="float32", help="score: of the model")
    parser.add_argument("--package", action="append", default=[])
    parser.add_argument("--work", help="for the measured process itself")
    arguments = parser.parse_args()
    if arguments.work:
        print(json.dumps(measure(arguments, Path(arguments.work))))
        return
    packages = arguments.package or [str(Path(__file__).parents[2] / "platform")]
    with tempfile.TemporaryDirectory() as work:
        for turn in range(arguments.repeat + 1):  # the first makes the input
            for package in packages[: None if turn else 1]:
                environment = {**os.environ, "PYTHONPATH": package}
                command = [sys.executable, *sys.argv, "--work", work]
                told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
                if turn:
                    print(turn, package, told.splitlines()[-1], flush=True)


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """What one process finds."""
    from codeblock.annotate.prepare.driver import segment, tokenize
    from codeblock.annotate.score.driver import score
    from codeblock.core.cluster import ray_session
    from codeblock.core.config import ClusterConfig, PrepareConfig, ScoreConfig
    from codeblock.core.config.pairs import PairsConfig
    from codeblock.core.memory import process_peak_mb
    from codeblock.core.models.ref import ModelRef
    from codeblock.core.storage.tables import count_rows, parts
    from codeblock.data.read.files import data_sets
    from codeblock.data.read.stage import read_pairs

    pairs, tokenized = work / "pairs", work / "tokenized"
    if not pairs.exists():
        config = PairsConfig(path=arguments.pairs, limit=arguments.rows)
        read_pairs(data_sets(config), config, pairs)
    cluster = ClusterConfig(actors=arguments.actors, cpus_per_worker=arguments.cpus)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory, ray_session(cluster):
        out = Path(directory)
        todo: dict[str, tuple[Path, Callable[[Path], Any]]] = {}
        if arguments.stage == "score":
            if not tokenized.exists():
                tokenize(pairs, tokenized, ModelRef(arguments.model), 1024)
                if arguments.part_rows:
                    cut(tokenized, arguments.part_rows)
            config = ScoreConfig(batch_tokens=2048, dtype=arguments.dtype)
            todo["score"] = (
                tokenized,
                lambda output: score(tokenized, output, ModelRef(arguments.model), config, cluster),
            )
            constructor = {"model": ModelRef(arguments.model), "config": config, "column": "nll"}
            todo["queue"] = (tokenized, lambda output: score_by_queue(tokenized, output, constructor, arguments))
        else:
            todo["tokenize"] = (pairs, lambda output: tokenize(pairs, output, ModelRef(arguments.model), 1024))
            todo["segment"] = (out / "tokenize", lambda output: segment(out / "tokenize", output, PrepareConfig()))
        for name, (source, run) in todo.items():
            once = partial(run, out / name)
            rows, seconds = count_rows(source), timed(once)
            for path in parts(out / name)[::2]:
                path.unlink()
            found[name] = {"rows": rows, "seconds": seconds, "rows_per_s": round(rows / seconds, 1)}
            found[name]["resume_half_s"] = timed(once)
    return {**found, "driver_peak_mb": round(process_peak_mb())}


class QueueScorer:
    """An actor that is handed names of parts."""

    def __init__(self, output: Path, constructor: dict[str, Any]) -> None:
        from codeblock.annotate.score.driver import Scorer

        self._output, self._score = output, Scorer(**constructor)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        from codeblock.core.storage.tables import read_part, write_part

        path = Path(item["path"])
        scored, facts = self._score(read_part(path, ["id", "input_ids", "response_start"]), path.name)
        write_part(self._output / path.name, scored)
        return facts


def score_by_queue(source: Path, output: Path, constructor: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Score the parts that are missing."""
    from codeblock.core.cluster import map_parts, pending
    from codeblock.core.storage.tables import parts

    items = [{"path": str(path)} for path in pending(parts(source), output)]
    how = {"actors": arguments.actors, "cpus": arguments.cpus}
    map_parts(QueueScorer, items, what="queue", constructor={"output": output, "constructor": constructor}, **how)


def cut(directory: Path, rows: int) -> None:
    """Put smaller parts in place of those that are there."""
    from codeblock.core.storage.tables import part_name, parts, read_part, write_part

    tables = [read_part(path) for path in parts(directory)]
    for path in parts(directory):
        path.unlink()
    pieces = [table.slice(start, rows) for table in tables for start in range(0, table.num_rows, rows)]
    for number, piece in enumerate(pieces):
        write_part(directory / part_name(number), piece)


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    main()
