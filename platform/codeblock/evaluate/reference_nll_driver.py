"""Reference nll of a model over a Ray cluster.

output/part-*.parquet          rows of some tasks; a run that was cut off goes on with the parts that are missing
output/reference_nll.parquet   all tasks, in the benchmark's order (schema REFERENCE_NLL)
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from codeblock import models, tables
from codeblock.cluster import map_parts, peak_of
from codeblock.config import ClusterConfig, EvaluateConfig
from codeblock.evaluate.benchmarks import Benchmark
from codeblock.evaluate.metrics import mean_interval
from codeblock.evaluate.reference_nll import REFERENCE_NLL, Rendered, reference_nll, render
from codeblock.memory import worker_peak_mb

FILE = "reference_nll.parquet"
PART_TASKS = 64
"""Tasks of a part."""
BATCH_TOKENS = 2048
"""Padded tokens of a forward pass: larger ones are slower on CPUs, and a GPU is full with a few of these."""


class ReferenceScorer:
    """A Ray actor that holds the model."""

    def __init__(self, model_path: str, revision: str | None, dtype: str) -> None:
        self._model = models.load_model(model_path, revision, dtype).to(models.device())
        self._context = int(getattr(self._model.config, "max_position_embeddings", None) or 2048)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """`item`: `output`, the file of the part; `rendered`, JSON of a list of `Rendered`."""
        rendered = [Rendered(task, np.asarray(ids, np.int32), *code) for task, ids, *code in json.loads(item["rendered"])]
        tables.write_part(Path(item["output"]), reference_nll(self._model, rendered, self._context, BATCH_TOKENS))
        return {"peak_mb": worker_peak_mb()}


def measure_reference_nll(
    model_path: str, revision: str | None, benchmark: Benchmark, output: Path, config: EvaluateConfig, cluster: ClusterConfig
) -> dict[str, Any]:
    """Write the nll of every task's reference; the facts: means over the tasks that count, with a 95% interval, and the rest
    by reason.

    Needs a Ray session. Raises CodeBlockError where the actors do not fit the cluster, and for a benchmark that cannot be
    asked in this way.
    """
    started = time.monotonic()
    tokenizer = models.load_tokenizer(model_path, revision)
    rendered = [render(tokenizer, benchmark, task, config.prompt) for task in benchmark.tasks]
    # The longest first: pairs of like length share a part, and the last parts are short ones.
    rendered.sort(key=lambda each: (-each.ids_T.size, each.task_id))
    chunks = [rendered[start : start + PART_TASKS] for start in range(0, len(rendered), PART_TASKS)]
    paths = {output / tables.part_name(index): chunk for index, chunk in enumerate(chunks)}
    results = map_parts(
        ReferenceScorer,
        [{"output": str(path), "rendered": _json(chunk)} for path, chunk in paths.items() if not path.exists()],
        what=f"reference nll of {benchmark.name}",
        actors=cluster.actors,
        cpus=cluster.cpus_per_worker,
        gpus=cluster.gpus_per_worker,
        constructor={"model_path": model_path, "revision": revision, "dtype": config.dtype},
    )
    rows = {row["task_id"]: row for row in tables.iter_rows(output)}
    table = pa.Table.from_pylist([rows[task.task_id] for task in benchmark.tasks], REFERENCE_NLL)
    tables.write_part(output / FILE, table)
    for path in paths:
        path.unlink()
    return {**facts_of(table), "seconds": time.monotonic() - started, "worker_peak_mb": peak_of(results)}


def facts_of(table: pa.Table) -> dict[str, Any]:
    """What a table of reference nll says: the mean over tasks of the mean over each one's tokens (nats per token)."""
    rows = table.to_pylist()
    counted = [row for row in rows if row["reason"] is None]
    nll = [row["nll"] for row in counted]
    low, high = mean_interval(nll)
    closing = [row["closing_nll"] for row in counted if row["closing_nll"] is not None]
    return {
        "tasks": len(counted),
        "reasons": dict(Counter(row["reason"] for row in rows if row["reason"] is not None)),
        "nll": float(np.mean(nll)) if nll else None,
        "low": low,
        "high": high,
        "tokens": sum(row["tokens"] for row in counted),
        "closing_nll": float(np.mean(closing)) if closing else None,
        "input_tokens": sum(row["length"] for row in counted),
    }


def read_reference_nll(step_directory: Path) -> dict[str, float]:
    """The nll of each task that counts."""
    rows = tables.read_part(step_directory / FILE, ["task_id", "nll", "reason"]).to_pylist()
    return {row["task_id"]: row["nll"] for row in rows if row["reason"] is None}


def _json(chunk: list[Rendered]) -> str:
    return json.dumps([[each.task_id, each.ids_T.tolist(), each.code_start, each.code_end] for each in chunk])
