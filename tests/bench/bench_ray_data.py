"""Rows per second, memory of the driver and time to resume of the stages that run over a cluster, each in a process of its own.

    python tests/bench/bench_ray_data.py prepare --pairs PATH --model DIRECTORY [--rows N] [--package DIRECTORY]
    python tests/bench/bench_ray_data.py score|embed|generate|reference --pairs PATH --tasks HUMANEVAL --model ...

Stages with a model do the same parts by a queue too (`map_parts`): an actor that reads, transforms and writes.
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
from itertools import islice
from pathlib import Path
from typing import Any

MODELLED = ("score", "embed", "generate", "reference")
Work = Callable[[Path], Any]
"""A stage, by where it writes."""


def main() -> None:
    """Measure each package in turn, and print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("prepare", *MODELLED))
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--tasks", help="generate, reference: HumanEval")
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--cpus", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--part-rows", type=int, help="rows of a part; default: as the stage makes them")
    parser.add_argument("--dtype", default="float32", help="of the model")
    parser.add_argument("--package", action="append", default=[])
    parser.add_argument("--work", help="for the measured process itself")
    parser.add_argument("--queue-first", action="store_true")
    arguments = parser.parse_args()
    if arguments.work:
        print(json.dumps(measure(arguments, Path(arguments.work))))
        return
    packages = arguments.package or [str(Path(__file__).parents[2] / "platform")]
    with tempfile.TemporaryDirectory() as work:
        for turn in range(arguments.repeat + 1):  # the first makes the input
            for package in packages[: None if turn else 1]:
                environment = {**os.environ, "PYTHONPATH": package}
                command = [sys.executable, *sys.argv, "--work", work, *(["--queue-first"] if turn % 2 else [])]
                told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
                if turn:
                    print(turn, package, told.splitlines()[-1], flush=True)


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """What one process finds."""
    from codeblock.core.cluster import ray_session
    from codeblock.core.config import ClusterConfig
    from codeblock.core.memory import process_peak_mb
    from codeblock.core.storage.tables import parts_like

    cluster = ClusterConfig(actors=arguments.actors, cpus_per_worker=arguments.cpus)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory, ray_session(cluster):
        out = Path(directory)
        if arguments.stage == "prepare":
            todo = prepare(arguments, work, out)
        else:
            todo = (
                dict(reversed(modelled(arguments, work, cluster).items()))
                if arguments.queue_first
                else modelled(arguments, work, cluster)
            )
        for name, run in todo.items():
            once = partial(run, out / name)
            seconds = timed(once)
            for path in [*parts_like(out / name, ".parquet"), *parts_like(out / name, ".json")][::2]:
                path.unlink()
            found[name] = {"seconds": seconds, "resume_half_s": timed(once)}
    return {**found, "driver_peak_mb": round(process_peak_mb())}


def prepare(arguments: argparse.Namespace, work: Path, out: Path) -> dict[str, Work]:
    """The stages that need no model."""
    from codeblock.annotate.prepare.driver import segment, tokenize
    from codeblock.core.config import PrepareConfig
    from codeblock.core.models.ref import ModelRef

    pairs = read(arguments, work)
    return {
        "tokenize": lambda output: tokenize(pairs, output, ModelRef(arguments.model), 1024),
        "segment": lambda output: segment(out / "tokenize", output, PrepareConfig()),
    }


def read(arguments: argparse.Namespace, work: Path) -> Path:
    """The pairs, read once."""
    from codeblock.core.config.pairs import PairsConfig
    from codeblock.data.read.files import data_sets
    from codeblock.data.read.stage import read_pairs

    if not (work / "pairs").exists():
        config = PairsConfig(path=arguments.pairs, limit=arguments.rows)
        print(read_pairs(data_sets(config), config, work / "pairs"), file=sys.stderr)
    return work / "pairs"


def modelled(arguments: argparse.Namespace, work: Path, cluster: Any) -> dict[str, Work]:
    """A stage with a model, by the pipeline and by a queue."""
    from codeblock.annotate.score import driver as scores
    from codeblock.core.config import EvaluateConfig, ScoreConfig
    from codeblock.core.models.ref import ModelRef
    from codeblock.data.rank import embed as embeddings
    from codeblock.evaluate import benchmarks, reference_nll_driver
    from codeblock.evaluate import driver as answers

    model, config = ModelRef(arguments.model), ScoreConfig(batch_tokens=2048, dtype=arguments.dtype)
    size = {"batch_size": arguments.part_rows} if arguments.part_rows else {}
    evaluate = EvaluateConfig(dtype=arguments.dtype, max_new_tokens=32, **size)
    tasks = benchmarks.load("humaneval", arguments.tasks, arguments.rows) if arguments.tasks else None
    reference_nll_driver.PART_TASKS = arguments.part_rows or reference_nll_driver.PART_TASKS
    stages: dict[str, tuple[Any, Work]] = {
        "score": (scores, lambda out: scores.score(tokenized(arguments, work), out, model, config, cluster)),
        "embed": (embeddings, lambda out: embeddings.embed(tokenized(arguments, work), out, model, config, cluster)),
        "generate": (answers, lambda out: answers.generate(model, tasks, out, evaluate, cluster)),
        "reference": (
            reference_nll_driver,
            lambda out: reference_nll_driver.fill_parts([reference_nll_driver.NllJob(model, tasks, out)], evaluate, cluster),
        ),
    }
    module, run = stages[arguments.stage]
    pipeline = module.run_parts

    def by(how: Callable[..., Any], output: Path) -> None:
        module.run_parts = how
        run(output)

    if arguments.stage in ("score", "embed"):
        tokenized(arguments, work)
    return {"pipeline": partial(by, pipeline), "queue": partial(by, queue)}


def tokenized(arguments: argparse.Namespace, work: Path) -> Path:
    """The tokens of the pairs, made once, in parts of the size that was asked for."""
    from codeblock.annotate.prepare.driver import tokenize
    from codeblock.core.models.ref import ModelRef

    if not (work / "tokenized").exists():
        tokenize(read(arguments, work), work / "tokenized", ModelRef(arguments.model), 1024)
        if arguments.part_rows:
            cut(work / "tokenized", arguments.part_rows)
    return work / "tokenized"


class QueueActor:
    """An actor that is handed numbers of parts, and reads, transforms and writes."""

    def __init__(self, rows: Any, transform: type, write: Callable[..., Any], constructor: dict[str, Any]) -> None:
        self._rows, self._transform, self._write = rows, transform(**constructor), write

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        from codeblock.core.ray_data import _unlabelled

        table, part, _ = _unlabelled(next(islice(self._rows.tables(), item["number"], None)))
        done, facts = self._transform(table, part)
        return {**facts, **self._write(done, part, facts)}


def queue(what: str, rows: Any, transform: type, write: Callable[..., Any], actors: Any) -> list[dict[str, Any]]:
    """What `run_parts` does, by a queue."""
    from codeblock.core.cluster import map_parts

    cluster = actors.cluster
    constructor = {"rows": rows, "transform": transform, "write": write, "constructor": dict(actors.constructor)}
    how = {"actors": cluster.actors, "cpus": cluster.cpus_per_worker, "gpus": cluster.gpus_per_worker}
    return map_parts(QueueActor, [{"number": n} for n in range(rows.parts)], what=what, constructor=constructor, **how)


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
