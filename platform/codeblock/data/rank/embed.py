"""Embeddings of prepared pairs by the reference model. [ours, after DS2]

Two kinds: the last hidden states averaged over the response (`model`), and those of the first layers averaged over the prompt
(`layers`).

Shapes: B pairs of a batch, T tokens, D hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from codeblock.core.cluster import peak_of, pending
from codeblock.core.config import ClusterConfig, ScoreConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.memory import worker_peak_mb
from codeblock.core.models.attention import attention_of_any_shape
from codeblock.core.models.causal import check_ids, decoder_of
from codeblock.core.models.load import device, load_model
from codeblock.core.models.padding import batches_by_length, pad
from codeblock.core.models.ref import ModelRef
from codeblock.core.ray_data import Actors, filled, part_writer, read_parts, run_parts
from codeblock.core.schema import EMBEDDED
from codeblock.core.storage.tables import count_rows, parts

LAYERS = 4
"""First layers of the embedding `layers`."""


def embed(
    prepared: Path,
    output: Path,
    model: ModelRef,
    config: ScoreConfig,
    cluster: ClusterConfig,
    layers: int | None = None,
) -> dict[str, Any]:
    """Embed the parts of `prepared` into parts of `output` of the same names (schema EMBEDDED); those there are left.

    `layers`: the first so many layers on the prompt; None: all of them on the whole pair. Raises CodeBlockError for a model
    whose decoder keeps no list of layers.
    """
    todo = filled(pending(parts(prepared), output), output, EMBEDDED.empty_table())
    results = run_parts(
        "embed",
        read_parts(todo, ["id", "input_ids", "response_start"]),
        Embedder,
        part_writer(output),
        Actors(cluster, {"model": model, "config": config, "layers": layers}),
    )
    return {"kept": count_rows(output), "worker_peak_mb": peak_of(results)}


class Embedder:
    """An actor that holds the reference model."""

    def __init__(self, model: ModelRef, config: ScoreConfig, layers: int | None) -> None:
        self._model = load_model(model.path, model.revision, config.dtype).to(device())
        self._of_prompt = layers is not None
        if layers is not None:
            keep_layers(self._model, layers)
        self._batch_tokens = config.batch_tokens

    def __call__(self, pairs: pa.Table, part: str) -> tuple[pa.Table, dict[str, float]]:  # noqa: ARG002
        """Rows with `id`, `input_ids` and `response_start` become rows of schema EMBEDDED."""
        input_ids = [np.asarray(ids, dtype=np.int64) for ids in pairs["input_ids"].to_numpy()]
        starts = pairs["response_start"].to_pylist()
        if self._of_prompt:  # what follows cannot influence it
            input_ids, starts = [ids[:start] for ids, start in zip(input_ids, starts, strict=True)], [0] * len(starts)
        embeddings = mean_hidden(self._model, input_ids, starts, self._batch_tokens)
        column = pa.array(list(embeddings.astype(np.float16)), EMBEDDED.field("embedding").type)
        return pa.table([pairs["id"], column], schema=EMBEDDED), {"peak_mb": worker_peak_mb()}


def keep_layers(model: Any, count: int) -> None:
    """Take all but the first `count` layers out of a model. Raises CodeBlockError where its decoder has no list of layers."""
    decoder = decoder_of(model)
    if not isinstance(getattr(decoder, "layers", None), torch.nn.ModuleList):
        raise CodeBlockError(f"rank.embedding=layers: {type(decoder).__name__} keeps no list of layers; use words or model")
    decoder.layers = decoder.layers[:count]
    decoder.config.num_hidden_layers = len(decoder.layers)


@torch.inference_mode()
@attention_of_any_shape()
def mean_hidden(
    model: Any, input_ids: Sequence[NDArray[np.int64]], response_start: Sequence[int], batch_tokens: int
) -> NDArray[np.float32]:
    """float32[pairs, D], of unit length: the mean over response tokens of the last hidden state, divided by its norm.

    Unit length loses nothing to cosine distance, and keeps float16 from overflow.
    """
    where = next(model.parameters()).device
    check_ids(model, input_ids)
    decoder, means = decoder_of(model), np.empty((len(input_ids), 0), dtype=np.float32)
    for batch in batches_by_length([ids.size for ids in input_ids], batch_tokens):
        ids_BT, mask_BT = pad([input_ids[pair] for pair in batch], where)
        first_B = torch.tensor([response_start[pair] for pair in batch], device=where)
        response_BT = mask_BT * (torch.arange(ids_BT.shape[1], device=where) >= first_B[:, None])
        hidden_BTD = decoder(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).last_hidden_state.float()
        sums_BD = torch.einsum("btd,bt->bd", hidden_BTD, response_BT.float())
        if not means.shape[1]:  # configs name the width in many ways
            means = np.empty((len(input_ids), sums_BD.shape[1]), dtype=np.float32)
        means[batch] = torch.nn.functional.normalize(sums_BD, dim=-1).cpu().numpy()
    return means
