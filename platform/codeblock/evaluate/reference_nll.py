"""The nll of a benchmark's reference solutions under the prompts of the evaluation. [ours]

What counts are the tokens that hold a character of the reference's code: not the prompt, not the fence, not the head of a
function that the question gives and the answer repeats. What closes the answer (fence and end of turn) is told apart.

Knows nothing of Ray. Shapes: T tokens of a prompt with its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.models.nll import response_nll
from codeblock.core.rendering.chat import chat_of
from codeblock.evaluate.benchmarks import Benchmark, PromptKind, Task
from codeblock.evaluate.prompts import make_prompt

EMPTY, TOO_LONG = "empty_reference", "longer_than_context"

REFERENCE_NLL = pa.schema(
    [
        ("task_id", pa.string()),
        ("nll", pa.float64()),  # mean over the code's tokens, nats; null where the task does not count
        ("tokens", pa.int32()),  # tokens of the code
        ("closing_nll", pa.float64()),  # mean over the tokens that close the answer; null where there are none
        ("closing_tokens", pa.int32()),
        ("length", pa.int32()),  # T: the prompt's tokens and the answer's
        ("reason", pa.string()),  # why the task does not count; null where it does
    ]
)


@dataclass(frozen=True)
class RenderedReference:
    """A prompt with its reference answer: `[prompt | before | code | closing]`."""

    task_id: str
    ids_T: NDArray[np.int32]
    code_start: int
    """Index of the first token of the code."""
    code_end: int
    """Index after its last one; what follows closes the answer."""

    def reason(self, context: int) -> str | None:
        """Why it does not count under a model of this context; None where it does."""
        if self.code_start == self.code_end:
            return EMPTY
        return TOO_LONG if self.ids_T.size > context else None


def render(tokenizer: Any, benchmark: Benchmark, task: Task, prompt: PromptKind) -> RenderedReference:
    """The tokens of a task's prompt, exactly as the evaluation has them, and of its reference as the answer."""
    made = make_prompt(tokenizer, benchmark, task, prompt)
    answer = benchmark.reference_answer(task, base=made.base, begun=made.begun)
    chat = chat_of(tokenizer)
    tokens = chat.go_on(made.text, answer.before + answer.code + answer.after)
    start, end = len(answer.before), len(answer.before) + len(answer.code)
    code = np.flatnonzero((tokens.starts < end) & (tokens.ends > start)).tolist()
    stop = None if made.base else chat.stop
    whole = [*made.ids, *tokens.ids.tolist(), *([] if stop is None else [stop])]
    shift = len(made.ids)
    first, last = (shift + code[0], shift + code[-1] + 1) if code else (len(whole), len(whole))
    return RenderedReference(task.task_id, np.asarray(whole, dtype=np.int32), first, last)


def reference_nll(model: Any, rendered: Sequence[RenderedReference], context: int, batch_tokens: int) -> pa.Table:
    """One row per task (schema REFERENCE_NLL), in order. `batch_tokens`: padded tokens of one forward pass."""
    counted = [each for each in rendered if each.reason(context) is None]
    values = response_nll(model, [each.ids_T for each in counted], [each.code_start for each in counted], batch_tokens)
    nll = {each.task_id: nll_T for each, nll_T in zip(counted, values, strict=True)}
    return pa.Table.from_pylist([_row(each, nll.get(each.task_id), each.reason(context)) for each in rendered], REFERENCE_NLL)


def _row(each: RenderedReference, nll_T: NDArray[np.float32] | None, reason: str | None) -> dict[str, Any]:
    row = {"task_id": each.task_id, "length": each.ids_T.size, "tokens": each.code_end - each.code_start, "reason": reason}
    row["closing_tokens"] = each.ids_T.size - each.code_end
    if nll_T is not None:
        row["nll"] = float(nll_T[each.code_start : each.code_end].mean(dtype=np.float64))
        if row["closing_tokens"]:
            row["closing_nll"] = float(nll_T[each.code_end :].mean(dtype=np.float64))
    return row
