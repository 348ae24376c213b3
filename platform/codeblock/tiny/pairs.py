"""Pairs as real data has them: prose around a fenced solution, examples, comments, and a known share of poor rows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from codeblock.tiny.family import Case
from codeblock.tiny.primitives import imperative, sentence
from codeblock.tiny.quality import share_passed
from codeblock.tiny.tasks import Task, draw_spec, neighbour

POOR_SHARES = {"wrong": 0.10, "broken": 0.05, "off_topic": 0.04, "duplicate": 0.04, "prose_only": 0.03}
"""Shares of the pairs whose code is wrong, does not parse, answers another task, repeats a row, or is missing."""
QUALITY_GAPS = 0.05
"""Share of the pairs whose quality is unknown."""

ADDITIONS = (0.25, 0.25, 0.25)
"""Shares of the solutions with a docstring, with comments, and with an example call."""

_INTROS = (
    "",
    "",
    "Sure! Here is the code:",
    "Here is a solution.",
    "Certainly! The {what} `{name}` below does what you ask for.",
    "You can do it like this:",
    "Here is a {what} that {first}, step by step:",
    "Below is an implementation of `{name}` in Python.",
)
_OUTROS = (
    "",
    "",
    "",
    "Let me know if you have any questions!",
    "The {what} first {first}.",
    "I hope this helps.",
    "Explanation:\n{steps}",
    "How it works: it {all}.",
)


_USUAL_NUMBERS = ([1, 2, 3, 4, 5], [3, -1, 4, 0, 7])
_USUAL_WORDS = ("the sun and the moon", "apple banana orange")


@dataclass(frozen=True)
class Style:
    """What a response carries besides its code."""

    docstring: bool
    comments: bool
    example: bool


@dataclass(frozen=True)
class Holdout:
    """What may appear neither in the pairs nor in the base model's text."""

    instructions: frozenset[str]
    solutions: frozenset[str]
    """Written without the names that a task asks for; a solution has neither comments nor docstrings."""

    @classmethod
    def of(cls, tasks: list[Task]) -> Holdout:
        return cls(frozenset(task.instruction for task in tasks), frozenset(_nameless(task) for task in tasks))

    def has(self, task: Task) -> bool:
        return task.instruction in self.instructions or _nameless(task) in self.solutions


def _nameless(task: Task) -> str:
    source = task.solution
    for name in (task.spec.entry_point, task.spec.update, task.spec.query):
        source = source.replace(f" {name}", " _") if name else source
    return source


def draw_task(rng: random.Random, part: str, seed: int, holdout: Holdout) -> Task:
    """A random task of one part of the split, none of it held out."""
    while True:
        task = Task(draw_spec(rng, part, seed), rng.getrandbits(40))
        if not holdout.has(task):
            return task


def make_pairs(count: int, seed: int, holdout: Holdout) -> Iterator[dict[str, Any]]:
    """Rows with instruction, response and quality (0..1, or None where the row has a gap)."""
    rows: list[dict[str, Any]] = []
    rng = random.Random(f"pairs {seed}")
    kinds = [kind for kind, share in POOR_SHARES.items() for _ in range(round(share * count))]
    kinds += ["good"] * (count - len(kinds))
    rng.shuffle(kinds)
    for kind in kinds:
        copied = kind == "duplicate" and rows
        rows.append(rng.choice(rows) if copied else _make_pair(kind, rng, seed, holdout))
        yield rows[-1]


def _make_pair(kind: str, rng: random.Random, seed: int, holdout: Holdout) -> dict[str, Any]:
    task = draw_task(rng, "pairs", seed, holdout)
    while not task.tells:
        task = draw_task(rng, "pairs", seed, holdout)
    if kind == "wrong":
        response = respond(task, write_code(wrong(task, rng, holdout), rng), rng)
    elif kind == "broken":
        response = respond(task, break_syntax(write_code(task, rng), rng), rng)
    elif kind == "off_topic":
        other = draw_task(rng, "pairs", seed, holdout)
        response = respond(other, write_code(other, rng), rng)
    elif kind == "prose_only":
        response = explain(task, rng)
    else:
        response = respond(task, write_code(task, rng), rng)
    quality = share_passed(response, task)
    return {
        "instruction": task.instruction,
        "response": response,
        "quality": None if rng.random() < QUALITY_GAPS else round(quality, 3),
    }


def wrong(task: Task, rng: random.Random, holdout: Holdout) -> Task:
    """A task whose solution fails some of the tests of `task` and has the same names."""
    while share_passed(f"```python\n{(other := rival(task, rng, holdout)).solution}```", task) == 1:
        pass
    return other


def rival(task: Task, rng: random.Random, holdout: Holdout) -> Task:
    """A task with the same names and one step exchanged, not held out."""
    while holdout.has(other := Task(neighbour(task.spec, rng), task.seed)):
        pass
    return other


def write_code(task: Task, rng: random.Random, additions: tuple[float, float, float] = ADDITIONS) -> str:
    """The solution with what its author happened to add: docstring, comments, an example, each with its chance."""
    style = Style(*(rng.random() < share for share in additions))
    header, *body = task.lines
    source = [header.code]
    if style.docstring:
        source.append(f'    """{imperative_sentence(task)}"""')
    for line in body:
        if style.comments and line.comment:
            source.append(" " * (len(line.code) - len(line.code.lstrip())) + f"# {line.comment}")
        source.append(line.code)
    if style.example:
        source += ["", *example(task, rng)]
    return "\n".join(source) + "\n"


def imperative_sentence(task: Task) -> str:
    """What the solution does, as a docstring says it."""
    if task.spec.family == "class":
        return f"Keep a {'list' if task.spec.shape == 'log' else 'total'} with `{task.spec.update}` and `{task.spec.query}`."
    text = sentence([imperative(clause) for clause in task.clauses[1:]])
    return text[:1].upper() + text[1:] + "."


def example(task: Task, rng: random.Random) -> list[str]:
    """A call with a printed answer; its input is one of the few that people write in examples."""
    case = usual_case(task, rng)
    answer = task.family.evaluate(task.spec, case)
    name = task.spec.entry_point
    if task.spec.family != "class":
        return [f"print({name}({case[0]!r}))  # {answer!r}"]
    given, batch, _ = case
    made = f"it = {name}({'' if task.spec.shape == 'log' else given})"
    return [made, *(f"it.{task.spec.update}({x})" for x in batch[:3]), f"print(it.{task.spec.query}())"]


def usual_case(task: Task, rng: random.Random) -> Case:
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


def respond(task: Task, code: str, rng: random.Random) -> str:
    """Prose, the code in a fence, prose."""
    parts = [_fill(rng.choice(_INTROS), task), f"```python\n{code}```", _fill(rng.choice(_OUTROS), task)]
    return "\n\n".join(part for part in parts if part)


def explain(task: Task, rng: random.Random) -> str:
    """An answer without code."""
    hint = rng.choice(("You could write a {what} that {all}.", "Think of it in steps:\n{steps}\nCan you write it now?"))
    return _fill(hint, task)


def _fill(text: str, task: Task) -> str:
    steps = "\n".join(f"{number}. It {clause}." for number, clause in enumerate(task.clauses, 1))
    what = "class" if task.spec.family == "class" else "function"
    return text.format(what=what, name=task.spec.entry_point, first=task.clauses[0], all=sentence(task.clauses), steps=steps)


def break_syntax(code: str, rng: random.Random) -> str:
    """Code that no longer parses: a lost sign, a lost indent, or a lost end."""
    while True:
        how = rng.choice(("sign", "indent", "end"))
        if how == "sign":
            position = rng.choice([i for i, sign in enumerate(code) if sign in "():[]"])
            broken = code[:position] + code[position + 1 :]
        elif how == "indent":
            lines = code.split("\n")
            number = rng.randrange(1, len(lines))
            lines[number] = lines[number][2:]
            broken = "\n".join(lines)
        else:
            broken = code[: rng.randrange(len(code) // 2, len(code))].rstrip() + "\n"
        try:
            compile(broken, "<broken>", "exec")
        except SyntaxError:
            return broken
