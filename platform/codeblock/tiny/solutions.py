"""Solutions as people hand them over: with a docstring, comments and an example call, each now and then."""

from __future__ import annotations

import random
from dataclasses import dataclass

from codeblock.tiny.family import Case
from codeblock.tiny.primitives import capital, imperative, sentence
from codeblock.tiny.tasks import TinyTask

ADDITIONS = (0.25, 0.25, 0.25)
"""Shares of the solutions with a docstring, with comments, and with an example call."""

_USUAL_NUMBERS = ([1, 2, 3, 4, 5], [3, -1, 4, 0, 7])
_USUAL_WORDS = ("the sun and the moon", "apple banana orange")


@dataclass(frozen=True)
class Style:
    """What a solution carries besides its code."""

    docstring: bool
    comments: bool
    example: bool


def write_code(task: TinyTask, rng: random.Random, additions: tuple[float, float, float] = ADDITIONS) -> str:
    """The solution with what its author happened to add: docstring, comments, an example, each with its chance."""
    style = Style(*(rng.random() < share for share in additions))
    header, *body = task.lines
    source = [header.code]
    if style.docstring:
        source.append(f'    """{imperative_sentence(task)}"""')
    for line in body:
        if style.comments and line.comment:
            source.append(" " * indent_of(line.code) + f"# {line.comment}")
        source.append(line.code)
    if style.example:
        source += ["", *example(task, rng)]
    return "\n".join(source) + "\n"


def indent_of(line: str) -> int:
    """Blanks before the line's text."""
    return len(line) - len(line.lstrip())


def parameter_of(task: TinyTask) -> str:
    """The argument's name in the solution; empty for a class."""
    return "" if task.spec.family == "class" else task.lines[0].code.partition("(")[2].partition(")")[0]


def imperative_sentence(task: TinyTask) -> str:
    """What the solution does, as a docstring says it."""
    if task.spec.family == "class":
        return f"Keep a {'list' if task.spec.shape == 'log' else 'total'} with `{task.spec.update}` and `{task.spec.query}`."
    return capital(sentence([imperative(clause) for clause in task.clauses[1:]])) + "."


def example(task: TinyTask, rng: random.Random) -> list[str]:
    """A call with a printed answer; its input is one of the few that people write in examples."""
    case = usual_case(task, rng)
    answer = task.family.evaluate(task.spec, case)
    name = task.spec.entry_point
    if task.spec.family != "class":
        return [f"print({name}({case[0]!r}))  # {answer!r}"]
    given, batch, _ = case
    made = f"it = {name}({'' if task.spec.shape == 'log' else given})"
    return [made, *(f"it.{task.spec.update}({x})" for x in batch[:3]), f"print(it.{task.spec.query}())"]


def usual_case(task: TinyTask, rng: random.Random) -> Case:
    """Arguments of the types that the task takes, as an example has them: `[1, 2, 3, 4, 5]`, not random numbers."""
    numbers = rng.choice(_USUAL_NUMBERS)
    words = rng.choice(_USUAL_WORDS)
    first = task.family.draw_case(task.spec, rng)[0]
    if task.spec.family == "class":
        return (0, numbers, numbers)
    if isinstance(first, str):
        return (words,)
    if isinstance(first, dict):
        return (dict(zip(words.split(), numbers, strict=False)),)
    return (words.split() if task.spec.shape.endswith("_words") else numbers,)


def empty_case(task: TinyTask) -> Case:
    """The empty input: no numbers, no text, no entries; for a class a fresh object that was never updated."""
    if task.spec.family == "class":
        return (0, [])
    first = task.family.draw_case(task.spec, random.Random(0))[0]
    return (type(first)(),)
