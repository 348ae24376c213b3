"""Scores pairs by a pipeline of Ray Data with a pool of actors; a pair that has scores already is not scored again."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from codeblock.annotate.score.attention import prompt_attention
from codeblock.core.cluster import peak_of
from codeblock.core.config import ClusterConfig, ScoreConfig
from codeblock.core.memory import worker_peak_mb
from codeblock.core.models.load import device, load_model
from codeblock.core.models.nll import response_nll
from codeblock.core.models.ref import ModelRef
from codeblock.core.ray_data import Actors, Part, part_writer, read_parts, run_parts
from codeblock.core.records import ScoredRecord
from codeblock.core.storage.scores import VALUES, places
from codeblock.core.storage.tables import count_rows, part_name, parts, read_part


def score(
    pairs: Path,
    output: Path,
    model: ModelRef,
    config: ScoreConfig,
    cluster: ClusterConfig,
    column: str = "nll",
    rows: float = math.inf,
) -> ScoredRecord:
    """Score those of the first `rows` pairs of `pairs` that have no scores in `output` yet; the counts of this call's work.

    `column` is what is written beside the id: `nll` (schema SCORES), `nll_second`, `prompt_attention`.
    """
    todo = missing(pairs, output, rows)
    constructor = {"model": model, "config": config, "column": column}
    results = run_parts(
        "score",
        read_parts(todo, ["id", "input_ids", "response_start"]),
        Scorer,
        part_writer(output),
        Actors(cluster, constructor),
    )
    seconds = sum(result["seconds"] for result in results)
    tokens = int(sum(result["tokens"] for result in results))
    return {
        "kept": count_rows(output),
        "scored_now": tokens,
        "actor_seconds": round(seconds, 2),
        "tokens_per_actor_second": round(tokens / seconds, 1) if seconds else 0.0,
        "worker_peak_mb": peak_of(results),
    }


def missing(pairs: Path, output: Path, rows: float) -> list[Part]:
    """What is to be scored: the rows of each part that have no scores, and the part that they become.

    Whole parts are looked at, as far as they begin within the first `rows` pairs.
    """
    there = places(output)
    number = max((int(path.stem.removeprefix("part-")) for path in parts(output)), default=-1)
    items: list[Part] = []
    held = 0
    for path in parts(pairs):
        if held >= rows:
            break
        ids = read_part(path, ["id"])["id"].to_pylist()
        held += len(ids)
        if lacking := np.flatnonzero(there.find(ids) < 0).tolist():
            number += 1
            items.append(Part(path, lacking, part_name(number)))
    return items


class Scorer:
    """An actor that holds the reference model."""

    def __init__(self, model: ModelRef, config: ScoreConfig, column: str) -> None:
        # Only the plain implementation of attention keeps its weights.
        how = "eager" if column == "prompt_attention" else None
        self._model = load_model(model.path, model.revision, config.dtype, how).to(device())
        self._config, self._column = config, column

    def __call__(self, pairs: pa.Table, part: str) -> tuple[pa.Table, dict[str, float]]:  # noqa: ARG002
        """Rows with `id`, `input_ids` and `response_start` become rows of ids and values."""
        started = time.perf_counter()
        input_ids = [np.asarray(ids, dtype=np.int32) for ids in pairs["input_ids"].to_numpy()]
        compute = prompt_attention if self._column == "prompt_attention" else response_nll
        values = compute(self._model, input_ids, pairs["response_start"].to_pylist(), self._config.batch_tokens)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        column = pa.array(values, VALUES, from_pandas=False)
        facts = {"tokens": sum(ids.size for ids in input_ids), "seconds": seconds, "peak_mb": worker_peak_mb()}
        return pa.table({"id": pairs["id"], self._column: column}), facts
