"""From tasks to requests: a chat in the tokenizer's template, or the text that a base model goes on from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from codeblock.evaluate.answers import Request, sample_seed
from codeblock.evaluate.benchmarks import Benchmark, Task
from codeblock.models import DEFAULT_TEMPLATE

PromptKind = Literal["auto", "chat", "base"]


def make_requests(
    tokenizer: Any, benchmark: Benchmark, wanted: Sequence[tuple[Task, int]], prompt: PromptKind, seed: int
) -> list[Request]:
    """A request for each (task, number of the sample) in `wanted`."""
    base = goes_on_from_text(tokenizer, prompt)
    stops = benchmark.stops if base else benchmark.chat_stops
    prompts: dict[str, tuple[list[int], str]] = {}
    requests: list[Request] = []
    for task, sample in wanted:
        if task.task_id not in prompts:
            prompts[task.task_id] = _text(tokenizer, benchmark, task) if base else _chat(tokenizer, benchmark, task)
        ids, begun = prompts[task.task_id]
        requests.append(Request(task.task_id, sample, ids, begun, base, stops, seed=sample_seed(seed, task.task_id, sample)))
    return requests


def check_prompts(tokenizer: Any, benchmarks: Iterable[Benchmark], prompt: PromptKind) -> None:
    """Raise CodeBlockError where one of the benchmarks cannot be asked in this way."""
    for benchmark in benchmarks:
        make_requests(tokenizer, benchmark, [(benchmark.tasks[0], 0)], prompt, 0)


def goes_on_from_text(tokenizer: Any, prompt: PromptKind) -> bool:
    """Whether the model goes on from the benchmark's text. `auto`: where the tokenizer brings no chat template of its own.

    A model that was trained here without one has the same template as its base model, so that all arms are asked alike.
    """
    return prompt == "base" or (prompt == "auto" and tokenizer.chat_template == DEFAULT_TEMPLATE)


def _text(tokenizer: Any, benchmark: Benchmark, task: Task) -> tuple[list[int], str]:
    return list(tokenizer(benchmark.text(task))["input_ids"]), ""


def _chat(tokenizer: Any, benchmark: Benchmark, task: Task) -> tuple[list[int], str]:
    """Tokens of the chat, and the beginning of the answer that it ends with."""
    messages = benchmark.messages(task)
    begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
    how = {"continue_final_message": True} if begun else {"add_generation_prompt": True}
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, **how)
    if not text.endswith(begun):
        begun = begun.rstrip()  # some templates strip their messages
    return list(tokenizer(text, add_special_tokens=False)["input_ids"]), begun
