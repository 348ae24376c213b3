"""Reference nll of models over a Ray cluster: one pool of actors for all of them, for starting one takes longer than a pass.

output/part-*.parquet          rows of some tasks; a run that was cut off goes on with the parts that are missing
output/reference_nll.parquet   all tasks, in the benchmark's order (schema REFERENCE_NLL)
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from codeblock.core.config import ClusterConfig, EvaluateConfig
from codeblock.core.memory import worker_peak_mb
from codeblock.core.metrics import mean_interval
from codeblock.core.models import load as models
from codeblock.core.models.ref import ModelRef
from codeblock.core.ray_data import Actors, Facts, run_parts, tables_as_parts
from codeblock.core.records import NllRecord
from codeblock.core.storage import store, tables
from codeblock.evaluate.benchmarks import Benchmark, PromptKind
from codeblock.evaluate.reference_nll import REFERENCE_NLL, RenderedReference, reference_nll, render
from codeblock.evaluate.stored_nll import FILE

PART_TASKS = 64
"""Tasks of a part."""
BATCH_TOKENS = 2048
"""Padded tokens of a forward pass: larger ones are slower on CPUs, and a GPU is full with a few of these."""
MEASURED = b"codeblock.measured"
"""Key of a part's metadata: JSON of the seconds and the peak memory (MiB) that it took."""
RENDERED = pa.schema(
    [
        ("model", pa.string()),
        ("revision", pa.string()),
        ("task_id", pa.string()),
        ("ids", pa.list_(pa.int32())),
        ("code_start", pa.int32()),
        ("code_end", pa.int32()),
    ]
)
"""A task, rendered, and the model that is asked."""


@dataclass(frozen=True)
class NllJob:
    """One model on one benchmark."""

    model: ModelRef
    benchmark: Benchmark
    output: Path

    def chunks(self, prompt: PromptKind) -> dict[Path, list[RenderedReference]]:
        """The tasks of each part, the longest first: pairs of like length share a part, and the last parts are short ones."""
        tokenizer = models.load_tokenizer(self.model.path, self.model.revision)
        rendered = [render(tokenizer, self.benchmark, task, prompt) for task in self.benchmark.tasks]
        rendered.sort(key=lambda each: (-each.ids_T.size, each.task_id))
        starts = range(0, len(rendered), PART_TASKS)
        return {self.output / tables.part_name(n): rendered[at : at + PART_TASKS] for n, at in enumerate(starts)}


class ReferenceScorer:
    """A Ray actor that holds the model that it was last asked for."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._held: tuple[str, Any] | None = None

    def __call__(self, rows: pa.Table, part: str) -> tuple[pa.Table, dict[str, float]]:  # noqa: ARG002
        """Rows of schema RENDERED, of one model, become rows of schema REFERENCE_NLL."""
        path, revision = rows["model"][0].as_py(), rows["revision"][0].as_py()
        if self._held is None or self._held[0] != path:
            self._held = path, models.load_model(path, revision, self._dtype).to(models.device())
        context = models.context_length(path, revision) or models.NO_LIMIT
        rendered = [
            RenderedReference(row["task_id"], np.asarray(row["ids"], np.int32), row["code_start"], row["code_end"])
            for row in rows.to_pylist()
        ]
        started = time.perf_counter()
        table = reference_nll(self._held[1], rendered, context, BATCH_TOKENS)
        return table, {"seconds": time.perf_counter() - started, "peak_mb": worker_peak_mb()}


def fill_parts(jobs: Sequence[NllJob], config: EvaluateConfig, cluster: ClusterConfig) -> None:
    """Write the parts that the jobs lack. Needs a Ray session.

    Raises CodeBlockError where the actors do not fit the cluster, and for a benchmark that cannot be asked in this way.
    """
    todo = {
        str(path): _table_of(job, chunk)
        for job in jobs
        for path, chunk in job.chunks(config.prompt).items()
        if not store.exists(path)
    }
    run_parts("reference nll", tables_as_parts(todo), ReferenceScorer, _write, Actors(cluster, {"dtype": config.dtype}))


def _table_of(job: NllJob, chunk: list[RenderedReference]) -> pa.Table:
    rows = [
        {
            "model": job.model.path,
            "revision": job.model.revision,
            "task_id": each.task_id,
            "ids": each.ids_T,
            "code_start": each.code_start,
            "code_end": each.code_end,
        }
        for each in chunk
    ]
    return pa.Table.from_pylist(rows, schema=RENDERED)


def _write(rows: pa.Table, part: str, measured: Facts) -> Facts:
    """Write a part with what was measured of it, for a run that goes on with the parts that are missing."""
    tables.write_part(Path(part), rows.replace_schema_metadata({MEASURED: json.dumps(measured)}))
    return {}


def finish(job: NllJob) -> NllRecord:
    """Put the parts of a job together; the facts: means over the tasks that count, with a 95% interval, the rest by reason."""
    paths = tables.parts(job.output)
    parts = [tables.read_part(path) for path in paths]
    rows = {row["task_id"]: row for part in parts for row in part.to_pylist()}
    if not {task.task_id for task in job.benchmark.tasks} <= rows.keys():
        raise tables.lost("reference nll", job.output)
    table = pa.Table.from_pylist([rows[task.task_id] for task in job.benchmark.tasks], REFERENCE_NLL)
    tables.write_part(job.output / FILE, table)
    for path in paths:
        store.remove(path)
    measured = [json.loads((part.schema.metadata or {}).get(MEASURED, b"{}")) for part in parts]
    seconds = sum(each.get("seconds", 0.0) for each in measured)
    peak = max((each.get("peak_mb", 0.0) for each in measured), default=0.0)
    return cast(NllRecord, {**facts_of(table), "seconds": round(seconds, 3), "worker_peak_mb": round(peak, 1)})


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
