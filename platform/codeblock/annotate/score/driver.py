"""Scores pairs in a Ray Data actor pool; a pair that has scores already is not scored again."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from codeblock.annotate.score.attention import prompt_attention
from codeblock.core.cluster import actor_pool, map_parts, peak_of
from codeblock.core.config import ClusterConfig, ScoreConfig
from codeblock.core.memory import worker_peak_mb
from codeblock.core.models.load import device, load_model
from codeblock.core.models.nll import response_nll
from codeblock.core.records import ScoredRecord
from codeblock.core.storage.scores import VALUES, places
from codeblock.core.storage.tables import count_rows, part_name, parts, read_part, write_part


def score(
    pairs: Path,
    output: Path,
    model: str,
    revision: str | None,
    config: ScoreConfig,
    cluster: ClusterConfig,
    column: str = "nll",
    rows: float = math.inf,
) -> ScoredRecord:
    """Score those of the first `rows` pairs of `pairs` that have no scores in `output` yet; the counts of this call's work.

    `column` is what is written beside the id: `nll` (schema SCORES), `nll_second`, `prompt_attention`.
    """
    results = map_parts(
        Scorer,
        missing(pairs, output, rows),
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


def missing(pairs: Path, output: Path, rows: float) -> list[dict[str, Any]]:
    """What is to be scored: the `path` of a part, its `rows`, and the `name` of the part that they become.

    Whole parts are looked at, as far as they begin within the first `rows` pairs.
    """
    there = places(output)
    number = max((int(path.stem.removeprefix("part-")) for path in parts(output)), default=-1)
    items: list[dict[str, Any]] = []
    held = 0
    for path in parts(pairs):
        if held >= rows:
            break
        ids = read_part(path, ["id"])["id"].to_pylist()
        held += len(ids)
        if lacking := np.flatnonzero(there.find(ids) < 0).tolist():
            number += 1
            items.append({"path": str(path), "rows": lacking, "name": part_name(number)})
    return items


class Scorer:
    """An actor that holds the reference model."""

    def __init__(self, model: str, revision: str | None, config: ScoreConfig, output: Path, column: str) -> None:
        # Only the plain implementation of attention keeps its weights.
        how = "eager" if column == "prompt_attention" else None
        self._model = load_model(model, revision, config.dtype, how).to(device())
        self._config, self._output, self._column = config, output, column

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        pairs = read_part(Path(row["path"]), ["id", "input_ids", "response_start"]).take(pa.array(row["rows"], pa.int64()))
        started = time.perf_counter()
        input_ids = [np.asarray(ids, dtype=np.int32) for ids in pairs["input_ids"].to_numpy()]
        compute = prompt_attention if self._column == "prompt_attention" else response_nll
        values = compute(self._model, input_ids, pairs["response_start"].to_pylist(), self._config.batch_tokens)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        column = pa.array(values, VALUES, from_pandas=False)
        write_part(self._output / row["name"], pa.table({"id": pairs["id"], self._column: column}))
        return {"tokens": sum(ids.size for ids in input_ids), "seconds": seconds, "peak_mb": worker_peak_mb()}
