"""From pairs in memory to scored rows, for a trainer of your own: the stages `prepare` and `score` without Ray and files.

    table = score_pairs(pairs, tokenizer, model)
    weights = select(iter_pairs(table), "codeblock", SelectConfig(token_budget=0.2)).weights

`table["input_ids"]` and `weights` are lists over the same tokens of the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from codeblock.annotate.prepare.render import Renderer
from codeblock.annotate.prepare.stage import prepare_batch
from codeblock.core.config import PrepareConfig
from codeblock.core.errors import CodeBlockError, RowError
from codeblock.core.models.causal import logit_head
from codeblock.core.models.load import context_room
from codeblock.core.models.nll import response_nll
from codeblock.core.schema import PAIRS, SCORED
from codeblock.data.read.shapes import to_pair
from codeblock.selection import iter_pairs

__all__ = ["iter_pairs", "score_pairs"]


def score_pairs(
    pairs: Iterable[Mapping[str, Any]],
    tokenizer: Any,
    model: Any,
    config: PrepareConfig | None = None,
    batch_tokens: int = 8192,
) -> pa.Table:
    """Render, segment and score pairs (any row shape that the platform reads); returns a table of schema SCORED.

    `tokenizer`: a fast one with a chat template (`models.load_tokenizer` gives one). `model`: a causal Hugging Face model, the
    reference. Raises CodeBlockError that names the first row that cannot be used (filter such rows before), or a model whose
    logits cannot be made at chosen positions (`causal.logit_head`).
    """
    given = pa.Table.from_pylist([_pair(number, row) for number, row in enumerate(pairs)], schema=PAIRS)
    logit_head(model)  # a model that cannot be scored is refused before the work
    context = context_room(model, tokenizer)
    prepared, rejected = prepare_batch(given, Renderer(tokenizer), config or PrepareConfig(), context)
    if rejected.num_rows:
        first = rejected.to_pylist()[0]
        raise CodeBlockError(f"{first['source']}: {first['reason']} ({first['detail']}); leave the row out")
    input_ids = [np.asarray(ids, dtype=np.int32) for ids in prepared["input_ids"].to_numpy()]
    nll = response_nll(model, input_ids, prepared["response_start"].to_pylist(), batch_tokens)
    return prepared.append_column("nll", pa.array(nll, SCORED.field("nll").type, from_pandas=False)).cast(SCORED)


def _pair(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        pair = to_pair(dict(row), {})
    except RowError as error:
        raise CodeBlockError(f"row {number}: {error.reason} ({error.detail}); leave the row out") from error
    return {**asdict(pair), "id": str(number), "source": f"row {number}"}
