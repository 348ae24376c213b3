"""Until the platform has its own: the nll of reference solutions under the prompts that the evaluation uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from codeblock.evaluate.benchmarks import Benchmark
from codeblock.evaluate.prompts import PromptKind, make_requests
from codeblock.score.nll import token_nll


def references(model: Any, tokenizer: Any, benchmark: Benchmark, prompt: PromptKind, batch_tokens: int) -> pa.Table:
    """By task: the mean nll of its reference solution's tokens (natural log), and how many there are."""
    requests = make_requests(tokenizer, benchmark, [(task, 0) for task in benchmark.tasks], prompt, 0)
    rows, starts = [], []
    for task, request in zip(benchmark.tasks, requests, strict=True):
        code = task.reference if request.base else benchmark.code(task, task.reference).strip("\n")
        text = code if request.base else f"{'' if request.begun else '```python' + chr(10)}{code}\n```"
        rows.append(np.asarray([*request.ids, *tokenizer(text, add_special_tokens=False)["input_ids"]], dtype=np.int32))
        starts.append(len(request.ids))
    values = token_nll(model, rows, starts, batch_tokens)
    table = [
        {"task_id": task.task_id, "nll": float(nll_T[start:].mean(dtype=np.float64)), "tokens": len(nll_T) - start}
        for task, nll_T, start in zip(benchmark.tasks, values, starts, strict=True)
    ]
    return pa.Table.from_pylist(table)
