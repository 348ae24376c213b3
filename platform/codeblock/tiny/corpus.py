"""The base model's text: documented code in many styles, and conversations of uneven worth in the form that the pairs have.

The base so knows what an answer looks like, as an instruction-tuned model does; what the pairs bring is new building blocks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from codeblock.tiny.holdout import Holdout, draw_task
from codeblock.tiny.poor import break_syntax, rival
from codeblock.tiny.prose import explain, respond
from codeblock.tiny.solutions import write_code
from codeblock.tiny.tasks import TinyTask

Document = str | list[dict[str, str]]
"""Plain text, or the messages of a conversation."""

CHAT_SHARE = 0.5
"""Share of conversations among the documents."""
CHAT_STYLES = {"fenced": 0.5, "bare": 0.2, "wrong": 0.15, "broken": 0.05, "prose": 0.1}
"""Shares of the conversations by their answer."""


def make_corpus(count: int, seed: int, holdout: Holdout) -> Iterator[Document]:
    """Documents about the compositions that are the base model's own."""
    rng = random.Random(f"corpus {seed}")
    for _ in range(count):
        task = draw_task(rng, "base", seed, holdout)
        if rng.random() < CHAT_SHARE:
            answer = _answer(task, rng, holdout)
            yield [{"role": "user", "content": task.instruction}, {"role": "assistant", "content": answer}]
        else:
            yield _document(task, rng)


def _document(task: TinyTask, rng: random.Random) -> str:
    code = write_code(task, rng)
    style = rng.choice(("comment", "docstring", "readme"))
    if style == "comment":
        return f"# {task.instruction}\n{code}"
    if style == "docstring":
        return f'"""{task.instruction}"""\n\n{code}'
    return f"## {task.spec.entry_point}\n\n{task.instruction}\n\n{respond(task, code, rng)}\n"


def _answer(task: TinyTask, rng: random.Random, holdout: Holdout) -> str:
    style = rng.choices(list(CHAT_STYLES), list(CHAT_STYLES.values()))[0]
    if style == "prose":
        return explain(task, rng)
    if style == "wrong":
        task = rival(task, rng, holdout)
    code = write_code(task, rng)
    if style == "bare":
        return code
    if style == "broken":
        code = break_syntax(code, rng)
    return respond(task, code, rng)
