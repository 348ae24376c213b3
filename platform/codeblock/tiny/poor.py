"""The poor kinds of pairs, each as real data has them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace

from codeblock.tiny.holdout import Holdout, draw_task
from codeblock.tiny.prose import CLOSINGS, explain, open_or_close, padding, respond, surround
from codeblock.tiny.quality import share_passed
from codeblock.tiny.solutions import indent_of, parameter_of, usual_case, write_code
from codeblock.tiny.tasks import TinyTask, neighbour

Maker = Callable[[TinyTask, random.Random, int, Holdout], str]
"""Makes a response from the task, random numbers, the seed of the split and what is held out."""

_NAMES = ("solution", "my_function", "process_data", "func", "calculate", "main_function")
_CLASS_NAMES = ("Solution", "MyClass", "Main", "DataProcessor", "Helper", "Manager")
_REQUEST_STARTS = ("Hi! ", "Please help me with this. ", "Hello, I have a question. ", "Task: ")
_REQUEST_ENDS = (" Thanks!", " Thank you in advance.", " Use Python.", " Please answer with code.")


def wrong_response(task: TinyTask, rng: random.Random, _: int, holdout: Holdout) -> str:
    """Code that computes something near what was asked."""
    return respond(task, write_code(wrong(task, rng, holdout), rng), rng)


def broken_response(task: TinyTask, rng: random.Random, _: int, __: Holdout) -> str:
    """Code that does not parse."""
    return respond(task, break_syntax(write_code(task, rng), rng), rng)


def off_topic_response(_: TinyTask, rng: random.Random, seed: int, holdout: Holdout) -> str:
    """A good answer to another task."""
    other = draw_task(rng, "pairs", seed, holdout)
    return respond(other, write_code(other, rng), rng)


def prose_only_response(task: TinyTask, rng: random.Random, _: int, __: Holdout) -> str:
    """No code at all."""
    return explain(task, rng)


def verbose_response(task: TinyTask, rng: random.Random, _: int, __: Holdout) -> str:
    """Right code, swollen with checks, prints and paragraphs that say nothing."""
    opening, closing = open_or_close(task, rng)
    before, *after = padding(rng, 2)
    return surround(swell(task, rng), [before, opening], [*after, closing])


def incomplete_response(task: TinyTask, rng: random.Random, _: int, __: Holdout) -> str:
    """Code that parses and does a part at most."""
    return respond(task, cut_short(task, rng), rng)


def hardcoded_response(task: TinyTask, rng: random.Random, _: int, __: Holdout) -> str:
    """Answers to a few inputs instead of a solution."""
    while share_passed(f"```python\n{(code := special_case(task, rng))}```", task) == 1:
        pass
    return respond(task, code, rng)


def wrong_names_response(task: TinyTask, rng: random.Random, _: int, __: Holdout) -> str:
    """Right logic under another name than was asked for."""
    name = rng.choice(_CLASS_NAMES if task.spec.family == "class" else _NAMES)
    renamed = TinyTask(replace(task.spec, entry_point=name), task.seed)
    return respond(renamed, write_code(renamed, rng), rng)


MAKERS: dict[str, Maker] = {
    "wrong": wrong_response,
    "broken": broken_response,
    "off_topic": off_topic_response,
    "prose_only": prose_only_response,
    "verbose": verbose_response,
    "incomplete": incomplete_response,
    "hardcoded": hardcoded_response,
    "wrong_names": wrong_names_response,
}
"""How a poor response is made; `duplicate` and `near_duplicate` are made from rows that are there."""


def wrong(task: TinyTask, rng: random.Random, holdout: Holdout) -> TinyTask:
    """A task whose solution fails some of the tests of `task` and has the same names."""
    while share_passed(f"```python\n{(other := rival(task, rng, holdout)).solution}```", task) == 1:
        pass
    return other


def rival(task: TinyTask, rng: random.Random, holdout: Holdout) -> TinyTask:
    """A task with the same names and one step exchanged, not held out."""
    while holdout.has(other := TinyTask(neighbour(task.spec, rng), task.seed)):
        pass
    return other


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


def swell(task: TinyTask, rng: random.Random) -> str:
    """The solution with needless imports, checks, prints and a `main`; it still passes the tests."""
    imports = [f"import {module}" for module in rng.sample(("os", "sys", "math", "json", "logging"), rng.choice((0, 1, 2)))]
    source = [*imports, *([""] * 2 if imports else []), task.lines[0].code, *_needless_checks(task, rng)]
    for line in task.lines[1:]:
        if rng.random() < 0.4 and not re.match(r"\s*(def|elif|else)\b", line.code):
            message = rng.choice(("Working", "Next step", "Still running", "Debug"))
            source.append(" " * indent_of(line.code) + f'print("{message}")')
        source.append(line.code)
    is_empty = task.spec.family == "class" and task.spec.shape == "log"
    call = f"{task.spec.entry_point}({'' if is_empty else repr(usual_case(task, rng)[0])})"
    main = ["def main():", f"    result = {call}", '    print("The result is:", result)']
    return "\n".join([*source, "", "", *main, "", "", 'if __name__ == "__main__":', "    main()"]) + "\n"


def _needless_checks(task: TinyTask, rng: random.Random) -> list[str]:
    if task.spec.family == "class":
        return []
    name, parameter = task.spec.entry_point, parameter_of(task)
    checks = (
        [f"    assert {parameter} is not None"],
        [f"    if {parameter} is None:", '        raise ValueError("The input must not be None")'],
        [f'    print("Starting {name}")'],
        [f'    print("The input is:", {parameter})'],
    )
    return [line for check in rng.sample(checks, rng.choice((1, 2, 2))) for line in check]


def cut_short(task: TinyTask, rng: random.Random) -> str:
    """A stub, or the first lines of the solution; it parses and never returns the answer."""
    lines = [line.code for line in task.lines]
    kept = lines[: rng.randint(2, len(lines) - 1)]
    if rng.random() < 0.4:
        kept = lines[:1]
    inner = indent_of(kept[-1]) + 4 * kept[-1].endswith(":")
    rest = ["pass"] if kept[-1].endswith(":") else []
    note = rng.choice(("# TODO: finish this", "# Your code here", "# ... the rest is left to you", "# and so on"))
    return "\n".join([*kept, " " * inner + note, *(" " * inner + line for line in rest)]) + "\n"


def special_case(task: TinyTask, rng: random.Random) -> str:
    """The answers to one or two inputs and one answer for all others; a class answers the same whatever it was told."""
    *known, (_, other) = rng.sample(task.cases, rng.choice((2, 3)))
    if task.spec.family == "class":
        return _constant_class(task, other[0])
    source = [task.lines[0].code]
    for case, answer in known:
        source += [f"    if {parameter_of(task)} == {case[0]!r}:", f"        return {answer!r}"]
    return "\n".join([*source, f"    return {other!r}"]) + "\n"


def _constant_class(task: TinyTask, answer: object) -> str:
    spec = task.spec
    lines = [
        f"class {spec.entry_point}:",
        "    def __init__(self):" if spec.shape == "log" else "    def __init__(self, total):",
        "        self.x = 0",
        f"    def {spec.update}(self, x):",
        "        self.x = x",
        f"    def {spec.query}(self):",
        f"        return {answer!r}",
    ]
    return "\n".join(lines) + "\n"


def nearly_copy(instruction: str, response: str, task: TinyTask, rng: random.Random) -> tuple[str, str]:
    """The same request and answer with one to three additions around them."""
    opening, closing = open_or_close(task, rng)
    places = ["start", "end"]
    places += ["before"] if response.startswith("```") else []
    places += ["after"] if not response.endswith(CLOSINGS) else []
    for place in rng.sample(places, min(rng.choice((1, 2, 3)), len(places))):
        if place == "start":
            instruction = f"{rng.choice(_REQUEST_STARTS)}{instruction}"
        elif place == "end":
            instruction = f"{instruction}{rng.choice(_REQUEST_ENDS)}"
        elif place == "before":
            response = f"{opening}\n\n{response}"
        else:
            response = f"{response}\n\n{closing}"
    return instruction, response
