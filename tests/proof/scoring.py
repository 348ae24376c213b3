"""Scores a pool on one device: the nll of every response token, and two embeddings of each pair in the same pass.

work/score/nll-K.parquet            id, nll (of the response's tokens alone)
work/score/response-K.parquet       id, embedding: mean of the last hidden state over the response, of unit length
work/score/instruction-K.parquet    id, embedding: mean of the state behind the first layers over the prompt, of unit length
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tests.proof.saving import LARGEST

from codeblock.core.memory import worker_peak_mb
from codeblock.core.models import load as models
from codeblock.core.models.nll import response_nll
from codeblock.core.models.padding import batches_by_length
from codeblock.core.schema import EMBEDDED
from codeblock.core.storage import tables

EMBEDDINGS = ("response", "instruction")


class States:
    """Catches hidden states of the passes that go through a model."""

    def __init__(self, model: Any, layers: int) -> None:
        self._decoder, self._layers = model.get_decoder(), layers
        self.last: torch.Tensor = torch.empty(0)
        """[B, T, D] after all layers and the last norm."""
        self.early: torch.Tensor = torch.empty(0)
        """[B, T, D] behind the first `layers` layers."""
        self._passed = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        hooks = [
            self._decoder.register_forward_hook(lambda *call: self._keep_last(call[-1].last_hidden_state)),
            self._decoder.layers[self._layers - 1].register_forward_hook(lambda *call: self._keep_early(_first(call[-1]))),
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _keep_early(self, hidden_BTD: torch.Tensor) -> None:
        self.early, self._passed = hidden_BTD, True

    def _keep_last(self, hidden_BTD: torch.Tensor) -> None:
        if self._passed:  # where logits are made the decoder stands aside, and no layer runs
            self.last, self._passed = hidden_BTD, False


def _first(output: Any) -> torch.Tensor:
    result: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return result


def score_pool(
    pool: Path, model_path: str, output: Path, dtype: str, batch_tokens: int, layers: int, limit: int | None = None
) -> dict[str, Any]:
    """Score the pairs of `pool/pairs.parquet` and write `output`; the facts."""
    device = models.device()
    table = tables.read_part(pool / "pairs.parquet").slice(0, limit).combine_chunks()
    input_ids = [np.asarray(ids, dtype=np.int32) for ids in table["input_ids"].to_numpy(zero_copy_only=False)]
    starts = table["response_start"].to_pylist()
    model = models.load_model(model_path, dtype=dtype).to(device)
    score(model, input_ids[:8], starts[:8], batch_tokens, layers)  # warm-up
    started = time.perf_counter()
    nll, embeddings = score(model, input_ids, starts, batch_tokens, layers)
    seconds = time.perf_counter() - started
    _write(output, "nll", table["id"], pa.array([nll_T[start:] for nll_T, start in zip(nll, starts, strict=True)]))
    for name in EMBEDDINGS:
        _write(output, name, table["id"], pa.array(list(embeddings[name]), EMBEDDED.field("embedding").type))
    tokens = sum(ids.size for ids in input_ids)
    return {
        "pairs": len(input_ids),
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "dtype": dtype,
        "peak_memory_mb": worker_peak_mb(),
        "against_float32": _against_float32(model_path, input_ids, starts, nll, batch_tokens),
    }


@torch.inference_mode()
def score(
    model: Any, input_ids: Sequence[NDArray[np.int32]], starts: Sequence[int], batch_tokens: int, layers: int
) -> tuple[list[NDArray[np.float32]], dict[str, NDArray[np.float16]]]:
    """The nll [T] of each pair (`response_nll`), and its embeddings [pairs, D], from the same passes."""
    nll: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * len(input_ids)
    embeddings = {name: np.empty((len(input_ids), model.config.hidden_size), dtype=np.float16) for name in EMBEDDINGS}
    states = States(model, layers)
    with states.caught():
        for batch in batches_by_length([ids.size for ids in input_ids], batch_tokens):
            # The batch is in the order in which `response_nll` puts it, so its rows are the rows of the states.
            values = response_nll(model, [input_ids[pair] for pair in batch], [starts[pair] for pair in batch], 2**62)
            for pair, nll_T in zip(batch, values, strict=True):
                nll[pair] = nll_T
            lengths = torch.tensor([[starts[pair], input_ids[pair].size] for pair in batch], device=states.last.device)
            place_T = torch.arange(states.last.shape[1], device=states.last.device)
            prompt_BT = place_T < lengths[:, :1]
            response_BT = (place_T < lengths[:, 1:]) & ~prompt_BT
            embeddings["response"][batch] = _mean(states.last, response_BT)
            embeddings["instruction"][batch] = _mean(states.early, prompt_BT)
    return nll, embeddings


def _mean(hidden_BTD: torch.Tensor, mask_BT: torch.Tensor) -> NDArray[np.float16]:
    """Of unit length: that loses nothing to cosine distance, and keeps float16 from overflow."""
    sums_BD = torch.einsum("btd,bt->bd", hidden_BTD.float(), mask_BT.float())
    return torch.nn.functional.normalize(sums_BD, dim=-1).cpu().numpy().astype(np.float16)


def _against_float32(
    model_path: str, input_ids: Sequence[Any], starts: Sequence[int], nll: Sequence[Any], batch_tokens: int, pairs: int = 256
) -> dict[str, float]:
    """How far the nll of evenly spread pairs is from that in float32."""
    chosen = np.linspace(0, len(input_ids) - 1, min(pairs, len(input_ids)), dtype=int)
    model = models.load_model(model_path).to(models.device())
    exact = response_nll(model, [input_ids[pair] for pair in chosen], [starts[pair] for pair in chosen], batch_tokens)
    first, second = np.concatenate([nll[pair] for pair in chosen]), np.concatenate(exact)
    gap = np.abs(first - second)[~np.isnan(second)]
    return {
        "pairs": len(chosen),
        "tokens": int(gap.size),
        "mean_nll": float(np.nanmean(second)),
        "mean_difference": float(np.nanmean(first - second)),
        "mean_absolute_difference": float(gap.mean()),
        "largest_difference": float(gap.max()),
    }


def _write(output: Path, name: str, ids: pa.ChunkedArray, column: pa.Array) -> None:
    """In as many parts as keep each below the largest file that comes back."""
    count = max(1, -(-column.nbytes // LARGEST))
    rows = -(-len(column) // count)
    label = "nll" if name == "nll" else "embedding"
    for number in range(count):
        part = pa.table({"id": ids.slice(number * rows, rows), label: column.slice(number * rows, rows)})
        tables.write_part(output / f"{name}-{number}.parquet", part)
