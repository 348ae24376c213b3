"""Families `list` and `text`: filters and maps over numbers or words, then one closing step."""

from __future__ import annotations

import random
from typing import Any

from codeblock.tiny.family import Case, CodeLine, Spec, draw_numbers, draw_words
from codeblock.tiny.primitives import TaskStep, imperative


class Pipeline:
    """Steps over a sequence. In a shape, F is a filter, M a map, N a map from words to numbers; a closing step ends it."""

    def __init__(self, name: str, intro: tuple[str, ...], parameters: tuple[str, ...], variables: tuple[str, ...]) -> None:
        self.name = name
        self.intro = intro
        self.parameters = parameters
        self.variables = variables
        self.words = name == "text"
        if self.words:
            pools = {"F": "word_test", "M": "word_map", "N": "word_number"}
            patterns = ("FM", "MF", "FN")
        else:
            pools = {"F": "number_test", "M": "number_map"}
            patterns = ("FM", "MF", "MM")
        self.shapes = {
            pattern: (*(pools[letter] for letter in pattern), "word_end" if self.words and "N" not in pattern else "number_end")
            for pattern in patterns
        }

    def clauses(self, spec: Spec, rng: random.Random) -> list[str]:
        noun = "words" if self.words else "numbers"
        said = [rng.choice(self.intro)]
        for position, step in enumerate(spec.steps[:-1]):
            said.append(self._say(step, position, noun, rng))
        return [*said, spec.steps[-1].say(rng)]

    def _say(self, step: TaskStep, position: int, noun: str, rng: random.Random) -> str:
        if step.pool.endswith("_test"):
            if position == 0:
                return f"{rng.choice(('keeps', 'selects', 'takes'))} the {noun} that {step.say(rng)}"
            return f"keeps {rng.choice(('those that', 'only results that'))} {step.say(rng)}"
        return step.say(rng, rng.choice((f"each {noun[:-1]}", "each of them")) if position == 0 else "them")

    def write(self, spec: Spec, rng: random.Random) -> list[CodeLine]:
        parameter, x = rng.choice(self.parameters), rng.choice(self.variables)
        source = f"{parameter}.split()" if self.words else parameter
        style = rng.choice((self._stepwise, self._loop, self._nested))
        return [CodeLine(f"def {spec.entry_point}({parameter}):"), *style(spec, source, x, rng)]

    def _stepwise(self, spec: Spec, source: str, x: str, rng: random.Random) -> list[CodeLine]:
        lines, result = [], rng.choice(("result", "items"))
        for position, step in enumerate(spec.steps[:-1]):
            comment = imperative(self._say(step, position, "words" if self.words else "numbers", rng))
            lines.append(CodeLine(f"    {result} = {_comprehension(step, x, source)}", comment))
            source = result
        return [*lines, CodeLine(f"    return {spec.steps[-1].write(result)}", imperative(spec.steps[-1].say(rng)))]

    def _loop(self, spec: Spec, source: str, x: str, rng: random.Random) -> list[CodeLine]:
        result = rng.choice(("result", "found"))
        lines = [CodeLine(f"    {result} = []"), CodeLine(f"    for {x} in {source}:")]
        indent = " " * 8
        for position, step in enumerate(spec.steps[:-1]):
            comment = imperative(self._say(step, position, "words" if self.words else "numbers", rng))
            if step.pool.endswith("_test"):
                lines.append(CodeLine(f"{indent}if {step.write(x)}:", comment))
                indent += "    "
            else:
                lines.append(CodeLine(f"{indent}{x} = {step.write(x)}", comment))
        lines.append(CodeLine(f"{indent}{result}.append({x})"))
        return [*lines, CodeLine(f"    return {spec.steps[-1].write(result)}", imperative(spec.steps[-1].say(rng)))]

    def _nested(self, spec: Spec, source: str, x: str, rng: random.Random) -> list[CodeLine]:
        first, second, *rest = spec.steps[:-1]
        result = rng.choice(("result", "chosen"))
        if first.pool.endswith("_test") and not second.pool.endswith("_test"):
            merged = f"[{second.write(x)} for {x} in {source} if {first.write(x)}]"
            lines = [CodeLine(f"    {result} = {merged}", f"only what {first.say_one(rng)}")]
        else:
            lines = [
                CodeLine(f"    {result} = {_comprehension(step, x, at)}") for step, at in ((first, source), (second, result))
            ]
        lines += [CodeLine(f"    {result} = {_comprehension(step, x, result)}") for step in rest]
        return [*lines, CodeLine(f"    return {spec.steps[-1].write(result)}", imperative(spec.steps[-1].say(rng)))]

    def evaluate(self, spec: Spec, case: Case) -> Any:
        values: list[Any] = case[0].split() if self.words else list(case[0])
        for step in spec.steps[:-1]:
            values = [x for x in values if step(x)] if step.pool.endswith("_test") else [step(x) for x in values]
        return spec.steps[-1](values)

    def draw_case(self, spec: Spec, rng: random.Random) -> Case:
        return (" ".join(draw_words(rng)) if self.words else draw_numbers(spec.steps, rng),)


def _comprehension(step: TaskStep, x: str, source: str) -> str:
    if step.pool.endswith("_test"):
        return f"[{x} for {x} in {source} if {step.write(x)}]"
    return f"[{step.write(x)} for {x} in {source}]"


LIST = Pipeline(
    "list",
    ("takes a list of numbers", "receives a list of integers", "is given a list of numbers"),
    ("numbers", "values", "data"),
    ("x", "n", "value"),
)
TEXT = Pipeline(
    "text",
    ("splits a text into words", "takes a string of words", "receives a sentence and splits it into words"),
    ("text", "sentence", "line"),
    ("w", "word"),
)
