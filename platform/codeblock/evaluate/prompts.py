"""From tasks to requests: a chat in the tokenizer's template, or the text that a base model goes on from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from codeblock.core.errors import CodeBlockError, RowError
from codeblock.core.models.load import is_default_template
from codeblock.core.rendering.chat import chat_of
from codeblock.evaluate.answers import Request, sample_seed
from codeblock.evaluate.benchmarks import Benchmark, PromptKind, Task


@dataclass(frozen=True)
class Prompt:
    """What the model sees before its answer."""

    text: str
    ids: list[int]
    """Its tokens, as preparation has them in training: with the beginning-of-text token where the tokenizer puts one."""
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
    return prompt == "base" or (prompt == "auto" and is_default_template(tokenizer.chat_template))


def _text(tokenizer: Any, benchmark: Benchmark, task: Task) -> Prompt:
    text = benchmark.text(task)
    with _named(task):
        return Prompt(text, chat_of(tokenizer).plain(text), "", base=True)


def _chat(tokenizer: Any, benchmark: Benchmark, task: Task) -> Prompt:
    messages = benchmark.messages(task)
    begun = messages.pop()["content"] if messages[-1]["role"] == "assistant" else ""
    with _named(task):
        return Prompt(*chat_of(tokenizer).prompt(messages, begun), base=False)


@contextmanager
def _named(task: Task) -> Iterator[None]:
    try:
        yield
    except RowError as error:
        raise CodeBlockError(
            f"task {task.task_id}: cannot be asked ({error.detail}); see model.path's chat template"
        ) from error
