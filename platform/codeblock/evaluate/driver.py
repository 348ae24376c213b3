"""Generate answers to a benchmark in a Ray Data actor pool, then grade them on this machine.

output/answers/part-*.json   one per chunk, each whole or absent: a run that was cut off generates only what is missing
output/samples.jsonl         task_id, completion, answer: a file that public graders read
output/verdicts.parquet      task_id, sample, verdict, seconds, error
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codeblock import tables
from codeblock.cluster import map_parts, peak_of
from codeblock.config import ClusterConfig, EvaluateConfig
from codeblock.evaluate.benchmarks import Benchmark, Task
from codeblock.evaluate.grading import Settings, grade
from codeblock.memory import worker_peak_mb


class Generator:
    """A Ray actor: loads the model once and writes the answers to one chunk of tasks at a time."""

    def __init__(self, model_path: str, revision: str | None, max_new_tokens: int, batch_size: int) -> None:
        from codeblock import models

        self.device = models.device()
        self.tokenizer = models.load_tokenizer(model_path, revision)
        self.model = models.load_model(model_path, revision).to(self.device)
        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """`item`: `part`, the file to write; `chats`, JSON of [task_id, messages] for each task."""
        from codeblock.evaluate.generate import generate_answers

        chats = json.loads(item["chats"])
        answers = generate_answers(
            self.model,
            self.tokenizer,
            [messages for _, messages in chats],
            max_new_tokens=self.max_new_tokens,
            batch_size=self.batch_size,
            device=self.device,
        )
        rows = [{"task_id": task_id, **asdict(answer)} for (task_id, _), answer in zip(chats, answers, strict=True)]
        tables.write_text(Path(item["part"]), json.dumps(rows))
        return {"part": item["part"], "peak_mb": worker_peak_mb()}


def evaluate(
    model_path: str,
    revision: str | None,
    benchmark: Benchmark,
    output: Path,
    config: EvaluateConfig,
    cluster: ClusterConfig,
) -> dict[str, Any]:
    """Generate, grade, write `output`; the facts: tasks, passed, pass_at_1 with low and high, verdict counts, times, tokens.

    `output` belongs to one model and one set of identity fields of `config`: answers that lie there are used.
    Needs a Ray session. Raises CodeBlockError where the actors do not fit the cluster and where the harness fails.
    """
    started = time.monotonic()
    answers, peak = generate(model_path, revision, benchmark, output / "answers", config, cluster)
    generate_seconds = time.monotonic() - started
    samples = [
        {
            "task_id": task.task_id,
            "completion": benchmark.completion(task, answers[task.task_id]["text"]),
            "answer": answers[task.task_id]["text"],
        }
        for task in benchmark.tasks
    ]
    tables.write_text(output / "samples.jsonl", "".join(json.dumps(sample) + "\n" for sample in samples))
    settings = Settings(
        timeout_seconds=config.timeout_seconds,
        memory_mb=config.memory_mb,
        processes=cluster.grade_processes,
        python=config.pythons.get(benchmark.name),
        allow_missing_layers=config.allow_missing_layers,
    )
    result = grade(samples, benchmark, settings)
    tables.write_part(output / "verdicts.parquet", result.table())
    ends = Counter(answers[task.task_id]["end"] for task in benchmark.tasks)
    return {
        **result.facts(),
        "generate_seconds": generate_seconds,
        "tokens_generated": sum(answers[task.task_id]["tokens"] for task in benchmark.tasks),
        "truncated": ends["max_new_tokens"] + ends["context"],
        "answer_ends": dict(ends),
        "worker_peak_mb": peak,
    }


def generate(
    model_path: str,
    revision: str | None,
    benchmark: Benchmark,
    output: Path,
    config: EvaluateConfig,
    cluster: ClusterConfig,
) -> tuple[dict[str, dict[str, Any]], float]:
    """The answers (`generate.Answer` as a dictionary) by task id, and the actors' peak memory (MiB).

    Only answers that `output` lacks are generated.
    """
    done = read_answers(output)
    missing = [task for task in benchmark.tasks if task.task_id not in done]
    # Prompts of similar length together; the longest first, so that the last chunks are short ones.
    missing.sort(key=lambda task: -len(task.prompt))
    chunks = [missing[start : start + config.batch_size] for start in range(0, len(missing), config.batch_size)]
    items = [
        {
            "part": str(output / _part_name(chunk)),
            "chats": json.dumps([[task.task_id, benchmark.messages(task)] for task in chunk]),
        }
        for chunk in chunks
    ]
    results = map_parts(
        Generator,
        items,
        what=f"generate answers to {benchmark.name}",
        actors=cluster.actors,
        cpus=cluster.cpus_per_worker,
        gpus=cluster.gpus_per_worker,
        constructor={
            "model_path": model_path,
            "revision": revision,
            "max_new_tokens": config.max_new_tokens or benchmark.max_new_tokens,
            "batch_size": config.batch_size,
        },
    )
    return read_answers(output), peak_of(results)


def read_answers(directory: Path) -> dict[str, dict[str, Any]]:
    """The answers on disk, by task id."""
    return {
        row["task_id"]: row
        for path in sorted(directory.glob("part-*.json"))
        for row in json.loads(path.read_text(encoding="utf-8"))
    }


def _part_name(chunk: list[Task]) -> str:
    """Named by the tasks in it: parts of an earlier run with another batch size stay valid beside it."""
    ids = "\n".join(task.task_id for task in chunk)
    return f"part-{hashlib.sha256(ids.encode()).hexdigest()[:16]}.json"
