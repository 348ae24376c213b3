"""Generate answers to a benchmark over a Ray cluster, and grade them there. Two steps: answers are what is dear.

generated/part-*.json      answers.Answer, parts whole or absent: a run that was cut off generates what is missing
graded/samples.jsonl       task_id, sample, completion (or solution), answer: a file that public graders read
graded/part-*.json         while nodes grade: what is done
graded/verdicts.parquet    task_id, sample, verdict, seconds, error
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from codeblock.core.cluster import peak_of
from codeblock.core.config import ClusterConfig, EvaluateConfig
from codeblock.core.console import say
from codeblock.core.digests import text_digest
from codeblock.core.memory import worker_peak_mb
from codeblock.core.models import load as models
from codeblock.core.models.ref import ModelRef
from codeblock.core.ray_data import Actors, Facts, run_parts, tables_as_parts
from codeblock.core.records import GeneratedRecord, GradedRecord
from codeblock.core.storage import tables
from codeblock.evaluate.answers import Answer, Decoding, Job, Request
from codeblock.evaluate.benchmarks import Benchmark, Task
from codeblock.evaluate.grading import grade_by
from codeblock.evaluate.grading_driver import run_on_nodes
from codeblock.evaluate.prompts import make_requests
from codeblock.evaluate.vllm_engine import generate_with_vllm
from codeblock.sandbox.pool import Settings

Key = tuple[str, int]
"""Task id and number of the sample."""


REQUESTS = pa.schema(
    [
        ("task_id", pa.string()),
        ("sample", pa.int32()),
        ("ids", pa.list_(pa.int32())),
        ("begun", pa.string()),
        ("base", pa.bool_()),
        ("stops", pa.list_(pa.string())),
        ("seed", pa.int64()),
    ]
)
"""`answers.Request` as a row."""


class Generator:
    """An actor of the engine `hf`: loads the model once and answers one batch of requests at a time."""

    def __init__(self, model: ModelRef, dtype: str, decoding: Decoding) -> None:
        self.tokenizer = models.load_tokenizer(model.path, model.revision)
        self.model = models.load_model(model.path, model.revision, dtype).to(models.device())
        self.decoding = decoding

    def __call__(self, rows: pa.Table, part: str) -> tuple[pa.Table, dict[str, float]]:  # noqa: ARG002
        """Rows of schema REQUESTS become rows with the fields of `answers.Answer`."""
        from codeblock.evaluate.generate import generate_answers

        requests = [Request(**{**row, "stops": tuple(row["stops"])}) for row in rows.to_pylist()]
        answers = generate_answers(self.model, self.tokenizer, requests, self.decoding)
        return pa.Table.from_pylist([asdict(answer) for answer in answers]), {"peak_mb": worker_peak_mb()}


def generate(
    model: ModelRef,
    benchmark: Benchmark,
    output: Path,
    config: EvaluateConfig,
    cluster: ClusterConfig,
    seed: int = 0,
) -> GeneratedRecord:
    """Write `config.samples` answers to each task into `output`; the facts: times, tokens, how answers ended.

    `output` belongs to one model, one seed and one set of identity fields of `config`: only answers that it lacks are
    generated. Needs a Ray session. Raises CodeBlockError where the engine or its resources are not there.
    """
    started = time.monotonic()
    wanted = _wanted(benchmark, config)
    done = read_answers(output)
    missing = [(task, key[1]) for key, task in wanted.items() if key not in done]
    peak = 0.0
    if missing:
        max_new_tokens = config.max_new_tokens or benchmark.max_new_tokens
        job = Job(f"generate answers to {benchmark.name}", model, max_new_tokens, config, cluster)
        tokenizer = models.load_tokenizer(model.path, model.revision)
        requests = make_requests(tokenizer, benchmark, missing, config.prompt, seed)
        if config.engine == "vllm":
            write_as_they_come(output, generate_with_vllm(job, tokenizer, requests), config.batch_size)
        else:
            peak = _generate_with_hf(job, requests, output)
        done = read_answers(output)
        if not wanted.keys() <= done.keys():
            raise tables.lost(job.what, output)
    answers = [done[key] for key in wanted]
    ends = Counter(answer.end for answer in answers)
    return {
        "prompt": "base" if any(answer.base for answer in answers) else "chat",
        "generate_seconds": time.monotonic() - started,
        "tokens_generated": sum(answer.tokens for answer in answers),
        "truncated": ends["max_new_tokens"] + ends["context"],
        "answer_ends": {str(end): count for end, count in ends.items()},
        "worker_peak_mb": peak,
    }


def take_answers(benchmark: Benchmark, output: Path, config: EvaluateConfig, others: Sequence[Path]) -> float:
    """Write into `output` the wanted answers that finished results of `generate` have; the seconds that they took there.

    `others` were asked in the same way, for other tasks of the benchmark or another number of samples.
    """
    missing, seconds = _wanted(benchmark, config).keys() - read_answers(output).keys(), 0.0
    for other in others if missing else ():
        there = read_answers(other)
        taken = [there[key] for key in sorted(missing & there.keys())]
        if taken:
            write_answers(output, taken)
            say(f"{len(taken):,} of {len(missing):,} answers to {benchmark.name} are those of {other.name}")
            facts: GeneratedRecord = (tables.completed(other) or {})["facts"]
            seconds += facts["generate_seconds"] * sum(each.tokens for each in taken) / max(1, facts["tokens_generated"])
            missing -= there.keys()
    return seconds


def _wanted(benchmark: Benchmark, config: EvaluateConfig) -> dict[Key, Task]:
    return {(task.task_id, sample): task for task in benchmark.tasks for sample in range(config.samples)}


def grade_answers(
    answers: Path,
    benchmark: Benchmark,
    output: Path,
    config: EvaluateConfig,
    cluster: ClusterConfig,
    store: Path | None = None,
) -> GradedRecord:
    """Grade the answers that `generate` wrote into `answers`; the facts: tasks, passed, pass_at_k, verdicts, times.

    All nodes that can grade do; this machine alone where there is no other (`graders.py`). Parts that were graded on nodes are
    kept in `output` until all is done. `store` keeps what references return, by machine. Raises CodeBlockError where the
    harness fails.
    """
    done = read_answers(answers)
    found = [done[task.task_id, sample] for task in benchmark.tasks for sample in range(config.samples)]
    samples = samples_of(benchmark, found)
    tables.write_text(output / "samples.jsonl", "".join(json.dumps(sample) + "\n" for sample in samples))
    settings = Settings(
        timeout_seconds=config.timeout_seconds,
        memory_mb=config.memory_mb,
        processes=cluster.grade_processes,
        python=config.python_of(benchmark.name),
        store=store,
        allow_missing_layers=config.allow_missing_layers,
    )
    result = grade_by(partial(run_on_nodes, output), samples, benchmark, settings)
    tables.write_part(output / "verdicts.parquet", result.table())
    return result.facts()


def samples_of(benchmark: Benchmark, answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """The answers as rows of a samples file: what the public grader reads in the field where it looks, and the answer."""
    tasks = {task.task_id: task for task in benchmark.tasks}
    return [
        {
            "task_id": answer.task_id,
            "sample": answer.sample,
            benchmark.sample_field: benchmark.completion(tasks[answer.task_id], answer.text, base=answer.base),
            "answer": answer.text,
        }
        for answer in answers
    ]


def read_answers(directory: Path) -> dict[Key, Answer]:
    """The answers on disk."""
    answers = [Answer(**row) for path in tables.parts_like(directory, ".json") for row in tables.read_json(path)]
    return {(answer.task_id, answer.sample): answer for answer in answers}


def write_answers(directory: Path, answers: Sequence[Answer]) -> None:
    """One part, named by what it answers: parts of an earlier run with another batch size stay valid beside it."""
    keys = "\n".join(f"{answer.task_id} {answer.sample}" for answer in answers)
    name = f"part-{text_digest(keys)}.json"
    tables.write_text(directory / name, json.dumps([asdict(answer) for answer in answers]))


def _generate_with_hf(job: Job, requests: list[Request], output: Path) -> float:
    """Write the answers to `requests`; the actors' peak memory (MiB)."""
    config, cluster = job.config, job.cluster
    # Prompts of similar length together; the longest first, so that the last chunks are short ones.
    ordered = sorted(requests, key=lambda request: -len(request.ids))
    chunks = [ordered[start : start + config.batch_size] for start in range(0, len(ordered), config.batch_size)]
    tables_of = {f"{number:06d}": _table_of(chunk) for number, chunk in enumerate(chunks)}
    decoding = Decoding(job.max_new_tokens, config.batch_size, config.temperature, config.top_p)
    constructor = {"model": job.model, "dtype": config.dtype, "decoding": decoding}
    results = run_parts(
        job.what, tables_as_parts(tables_of), Generator, partial(_write_rows, output), Actors(cluster, constructor)
    )
    return peak_of(results)


def _table_of(requests: list[Request]) -> pa.Table:
    return pa.Table.from_pylist([asdict(request) for request in requests], schema=REQUESTS)


def _write_rows(output: Path, rows: pa.Table, part: str, facts: Facts) -> Facts:  # noqa: ARG001
    write_answers(output, [Answer(**row) for row in rows.to_pylist()])
    return {}


def write_as_they_come(output: Path, answers: Iterable[Answer], batch_size: int) -> None:
    """Write a part whenever `batch_size` answers have come."""
    waiting: list[Answer] = []
    for answer in answers:
        waiting.append(answer)
        if len(waiting) == batch_size:
            write_answers(output, waiting)
            waiting = []
    if waiting:
        write_answers(output, waiting)
