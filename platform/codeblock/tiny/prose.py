"""What people write around code: openings, plans, explanations, notes on cost, borders and use, closing words.

All of it is true of the task that it is written about; only the swollen paragraphs of `padding` say nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from codeblock.tiny.primitives import capital, imperative, sentence
from codeblock.tiny.solutions import empty_case, usual_case
from codeblock.tiny.tasks import TinyTask

FORMS = {"bare": 0.08, "short": 0.22, "explained": 0.42, "planned": 0.28}
"""Shares of the responses by their prose: none, a sentence, paragraphs after the code, a plan before it as well."""

_OPENINGS = (
    "Sure! Here is the code:",
    "Here is a solution.",
    "Certainly! The {what} `{name}` below does what you ask for.",
    "You can do it like this:",
    "Here is one way to write the {what}:",
    "Below is an implementation of `{name}` in Python.",
)
CLOSINGS = ("Let me know if you have any questions!", "I hope this helps.", "Feel free to ask if something is not clear.")
_SUMMARIES = (
    "How it works: it {all}.",
    "The {what} first {first}.",
    "In short, `{name}` {all}.",
    "This {what} {all}, as you asked.",
)
_PLANS = (
    "To solve this, we go step by step:\n\n{steps}\n\nHere is the code:",
    "We can split the task into a few small steps.\n\n{steps}\n\nIn Python this looks as follows:",
    "Let us think about it first. What we need is a {what} that\n\n{parts}\n\nThis leads to the following code:",
    "The idea is simple: the {what} {all}. Each of these steps needs only a line or two of Python:",
    "Before we write the code, here is the plan.\n\n{steps}\n\nNow we can write `{name}`:",
)
_WALKS = (
    "Explanation:\n\n{steps}",
    "### How it works\n\n{bullets}",
    "Let us walk through the code. The {what} {all}.",
    "The code follows the task closely:\n\n{bullets}",
    "**Explanation**\n\nThe {what} `{name}` works like this:\n\n{steps}",
)
_COSTS = (
    "The time complexity is {time}, because {why}. The space complexity is O(n).",
    "**Complexity:** {time} time, since {why}, and O(n) space in the worst case.",
    "It runs in {time} time, as {why}.",
    "As {why}, the running time is {time} for {size}.",
)
_BORDERS = (
    "If {empty}, the answer is `{nothing}`.",
    "Edge case: when {empty}, `{call}` returns `{nothing}`.",
    "The {what} also works when {empty}: the result is then `{nothing}`.",
    "Nothing special is needed for borders. If {empty}, you get `{nothing}`.",
)
_USES = (
    "For example, `{name}({given})` returns `{answer}`.",
    "You can try it with `{name}({given})`, which gives `{answer}`.",
    "Example: with `{given}` as input the result is `{answer}`.",
)
_CLASS_USES = (
    "To use it, create an object of `{name}`, call `{update}` for each number and then `{query}`.",
    "Call `{update}` as often as you like; `{query}` can be called at any time and does not change the object.",
    "For example, make an object with `{name}`, then call `{update}` a few times, and read the answer with `{query}`.",
)
_REMARKS = (
    "Note that no imports are needed, only plain Python.",
    "The code does not check the types of its input. In real projects you may want to add such a check.",
    "Note that the input itself is not changed.",
    "You can of course choose shorter names if you like.",
    "I kept the code simple, so that it is easy to read and to test.",
    "Please test it with your own data as well.",
)
_PADDING = (
    "It is important to note that writing clean, readable and maintainable code is very important in software development.",
    "Python is a popular and powerful programming language that is used by many people all over the world.",
    "As always, there are many different ways to solve a problem like this, and each of them has its own pros and cons.",
    "When it comes to code like this, it is always a good idea to follow best practices and to think about the details.",
    "By using this solution, you can save time and make your work more efficient and more productive.",
    "In conclusion, this solution is robust, flexible and easy to use, and it can be adapted to many different needs.",
    "A task like this may look easy at first sight, but there is a lot to think about, and every detail matters.",
    "Remember that practice makes perfect, so do not hesitate to try out different things on your own.",
)
_HINTS = (
    "You could write a {what} that {all}.",
    "Think of it in steps:\n\n{steps}\n\nCan you write it now?",
    "There are several ways to do this. The main idea is that the {what} {all}. {padding}",
    "To write `{name}`, start with the signature, then go on step by step:\n\n{bullets}\n\nThe rest is plain Python.",
)
_LENGTHS = (1, 2, 2, 3)
"""How many paragraphs follow the code where it is explained, each with the same chance."""


def respond(task: TinyTask, code: str, rng: random.Random) -> str:
    """Prose, the code in a fence, prose."""
    form = rng.choices(list(FORMS), list(FORMS.values()))[0]
    before, after = _around(form, task, rng)
    return surround(code, before, after)


def surround(code: str, before: list[str], after: list[str]) -> str:
    """The code in a fence between paragraphs."""
    return "\n\n".join([*before, f"```python\n{code}```", *after])


def _around(form: str, task: TinyTask, rng: random.Random) -> tuple[list[str], list[str]]:
    if form == "bare":
        return [], []
    opening = [_fill(rng.choice(_OPENINGS), task, rng)] if rng.random() < 0.7 else []
    closing = [rng.choice(CLOSINGS)] if rng.random() < 0.25 else []
    if form == "short":
        return opening, [_fill(rng.choice(_SUMMARIES), task, rng)] if not opening or rng.random() < 0.4 else closing
    if form == "planned":
        return [_fill(rng.choice(_PLANS), task, rng)], [*_notes(task, rng, rng.choice((0, 1, 1, 2))), *closing]
    walk = _fill(rng.choice(_WALKS), task, rng)
    return opening, [walk, *_notes(task, rng, rng.choice(_LENGTHS) - 1), *closing]


def _notes(task: TinyTask, rng: random.Random, count: int) -> list[str]:
    """Different notes on a solution."""
    kinds: list[Callable[[TinyTask, random.Random], str]] = [_cost, _border, _use, _remark]
    return [note(task, rng) for note in rng.sample(kinds, count)]


def _cost(task: TinyTask, rng: random.Random) -> str:
    sorts = any("sorted(" in line.code for line in task.lines)
    if task.spec.family == "class":
        return f"Each call of `{task.spec.update}` takes constant time."
    what = "word" if "word" in task.spec.shape or task.spec.family == "text" else "number"
    noun = "entry" if task.spec.shape in ("values", "keys") else what
    why = f"each {noun} is looked at once" if not sorts else "the result is sorted at the end"
    size = f"n {'entries' if noun == 'entry' else noun + 's'}"
    return rng.choice(_COSTS).format(time="O(n log n)" if sorts else "O(n)", why=why, size=size)


def _border(task: TinyTask, rng: random.Random) -> str:
    name, answer = task.spec.entry_point, task.family.evaluate(task.spec, empty_case(task))
    if task.spec.family == "class":
        given = "Right after" if task.spec.shape == "log" else "If the total starts at 0, then right after"
        return f"{given} the object is made, `{task.spec.query}()` returns `{answer[0]!r}`."
    empty = empty_case(task)[0]
    noun = "text" if isinstance(empty, str) else "dictionary" if isinstance(empty, dict) else "list"
    words = {"what": "function", "empty": f"the {noun} is empty", "nothing": repr(answer), "call": f"{name}({empty!r})"}
    return rng.choice(_BORDERS).format(**words)


def _use(task: TinyTask, rng: random.Random) -> str:
    spec = task.spec
    if spec.family == "class":
        return rng.choice(_CLASS_USES).format(name=spec.entry_point, update=spec.update, query=spec.query)
    case = usual_case(task, rng)
    answer = task.family.evaluate(spec, case)
    return rng.choice(_USES).format(name=spec.entry_point, given=repr(case[0]), answer=repr(answer))


def _remark(_: TinyTask, rng: random.Random) -> str:
    return rng.choice(_REMARKS)


def explain(task: TinyTask, rng: random.Random) -> str:
    """An answer without code."""
    return _fill(rng.choice(_HINTS), task, rng)


def padding(rng: random.Random, count: int) -> list[str]:
    """Paragraphs that say nothing about the task."""
    sentences = rng.sample(_PADDING, 2 * count)
    return [f"{first} {second}" for first, second in zip(sentences[::2], sentences[1::2], strict=True)]


def open_or_close(task: TinyTask, rng: random.Random) -> tuple[str, str]:
    """An opening and a closing line."""
    return _fill(rng.choice(_OPENINGS), task, rng), rng.choice(CLOSINGS)


def _fill(text: str, task: TinyTask, rng: random.Random) -> str:
    said = [f"It {clause}" for clause in _clauses(task)]
    is_class = task.spec.family == "class"
    does = said if is_class else [capital(imperative(clause)) for clause in task.clauses[1:]]
    steps = rng.choice((does, said))
    return text.format(
        what="class" if is_class else "function",
        name=task.spec.entry_point,
        first=task.clauses[0],
        all=sentence(task.clauses),
        steps="\n".join(f"{number}. {step}." for number, step in enumerate(steps, 1)),
        parts="\n".join(f"- {clause}" for clause in _clauses(task)),
        bullets="\n".join(f"- {step}." for step in steps),
        padding=padding(rng, 1)[0],
    )


def _clauses(task: TinyTask) -> list[str]:
    """The task's clauses, each with a verb of its own."""
    return [f"has {clause}" if clause.startswith("a method") else clause for clause in task.clauses]
