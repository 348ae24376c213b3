"""From tasks to requests: a chat in the tokenizer's template, or the text that a base model goes on from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codeblock.evaluate.answers import Request, sample_seed
from codeblock.evaluate.benchmarks import Benchmark, Task
from codeblock.models import DEFAULT_TEMPLATE

PromptKind = Literal["auto", "chat", "base"]


@dataclass(frozen=True)
class Prompt:
    """What the model sees before its answer."""

    text: str
    ids: list[int]
    """Tokens of `text`."""
    begun: str
    """Beginning of the answer that the text ends with."""
    base: bool
    """The text is the benchmark's, not a chat."""


def make_prompt(tokenizer: Any, benchmark: Benchmark, task: Task, prompt: PromptKind) -> Prompt:
    """The prompt of one task. Raises CodeBlockError where the benchmark cannot be asked in this way."""
    return (_text if goes_on_from_text(tokenizer, prompt) else _chat)(tokenizer, benchmark, task)


def make_requests(
    tokenizer: Any, benchmark: Benchmark, wanted: Sequence[tuple[Task, int]], prompt: PromptKind, seed: int
) -> list[Request]:
    """A request for each (task, number of the sample) in `wanted`."""
    prompts: dict[str, Prompt] = {}
    requests: list[Request] = []
    for task, sample in wanted:
        if task.task_id not in prompts:
            prompts[task.task_id] = make_prompt(tokenizer, benchmark, task, prompt)
        made, number = prompts[task.task_id], sample_seed(seed, task.task_id, sample)
        stops = benchmark.stops if made.base else benchmark.chat_stops
        requests.append(Request(task.task_id, sample, made.ids, made.begun, made.base, stops, seed=number))
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


def _text(tokenizer: Any, benchmark: Benchmark, task: Task) -> Prompt:
    text = benchmark.text(task)
    return Prompt(text, list(tokenizer(text)["input_ids"]), "", base=True)


def _chat(tokenizer: Any, benchmark: Benchmark, task: Task) -> Prompt:
    messages = benchmark.messages(task)
    begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
    how = {"continue_final_message": True} if begun else {"add_generation_prompt": True}
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, **how)
    if not text.endswith(begun):
        begun = begun.rstrip()  # some templates strip their messages
    return Prompt(text, list(tokenizer(text, add_special_tokens=False)["input_ids"]), begun, base=False)
