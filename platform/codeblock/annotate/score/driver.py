"""Scores every prepared part in a Ray Data actor pool; a part that is there already is not scored again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from codeblock.annotate.score.attention import prompt_attention
from codeblock.core.cluster import actor_pool, map_parts, peak_of, pending
from codeblock.core.config import ClusterConfig, ScoreConfig
from codeblock.core.memory import worker_peak_mb
from codeblock.core.models.load import device, load_model
from codeblock.core.models.nll import response_nll
from codeblock.core.schema import SCORED
from codeblock.core.storage.tables import count_rows, parts, read_part, write_part


def score(
    prepared: Path,
    output: Path,
    model: str,
    revision: str | None,
    config: ScoreConfig,
    cluster: ClusterConfig,
    column: str = "nll",
) -> dict[str, Any]:
    """Score the parts of `prepared` into parts of `output` of the same names; returns the counts of this call's work.

    `column` is what is written: `nll` with all columns of the pairs (schema SCORED), another one (`nll_second`,
    `prompt_attention`) beside the id alone.
    """
    results = map_parts(
        Scorer,
        [{"path": str(path)} for path in pending(parts(prepared), output)],
        what="score",
        **actor_pool(cluster),
        constructor={"model": model, "revision": revision, "config": config, "output": output, "column": column},
    )
    seconds = sum(result["seconds"] for result in results)
    tokens = sum(result["tokens"] for result in results)
    return {
        "kept": count_rows(output),
        "scored_now": tokens,
        "actor_seconds": round(seconds, 2),
        "tokens_per_actor_second": round(tokens / seconds, 1) if seconds else 0.0,
        "worker_peak_mb": peak_of(results),
    }


class Scorer:
    """An actor that holds the reference model."""

    def __init__(self, model: str, revision: str | None, config: ScoreConfig, output: Path, column: str) -> None:
        # Only the plain implementation of attention keeps its weights.
        how = "eager" if column == "prompt_attention" else None
        self._model = load_model(model, revision, config.dtype, how).to(device())
        self._config, self._output, self._column = config, output, column

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        path = Path(row["path"])
        prepared = read_part(path)
        started = time.perf_counter()
        input_ids = [np.asarray(ids, dtype=np.int32) for ids in prepared["input_ids"].to_numpy()]
        compute = prompt_attention if self._column == "prompt_attention" else response_nll
        values = compute(self._model, input_ids, prepared["response_start"].to_pylist(), self._config.batch_tokens)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        column = pa.array(values, SCORED.field("nll").type, from_pandas=False)
        scored = prepared.append_column(self._column, column)
        write_part(
            self._output / path.name,
            scored.cast(SCORED) if self._column == "nll" else scored.select(["id", self._column]),
        )
        return {"tokens": sum(ids.size for ids in input_ids), "seconds": seconds, "peak_mb": worker_peak_mb()}
