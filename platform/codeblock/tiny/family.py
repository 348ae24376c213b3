"""What a task family is: a way to say, write, and work out a composition of steps."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from codeblock.tiny.primitives import TaskStep

WORDS = (
    *("apple", "banana", "cat", "dog", "elephant", "the", "moon", "and", "sun", "mountain", "river", "stone", "cup"),
    *("bread", "salt", "pepper", "orange", "lemon", "ant", "bee", "cow", "rat", "top", "map", "not", "eel", "art"),
    *("ember", "open", "oboe", "otter", "nest", "pine", "rope", "table", "event", "actor", "motor", "nun", "level"),
)


@dataclass(frozen=True)
class CodeLine:
    """One line of a function's or a class's body, with what a commented solution says above it."""

    code: str
    comment: str = ""


Case = tuple[Any, ...]
"""Input of one test: the function's one argument; for a class its constructor's argument, then lists of updates."""


@dataclass(frozen=True)
class Spec:
    """A composition (the family, its shape, the steps in the shape's slots) and the names that the task asks for."""

    family: str
    shape: str
    steps: tuple[TaskStep, ...]
    entry_point: str
    update: str = ""
    """Method that changes the state; classes only."""
    query: str = ""
    """Method that returns the result; classes only."""

    @property
    def composition(self) -> tuple[str, ...]:
        """What makes two tasks the same composition: everything but constants, names and wording."""
        return (self.family, self.shape, *(step.kind.name for step in self.steps))


class Family(Protocol):
    """One family of tasks. `shapes` gives the pools that fill each shape's slots."""

    @property
    def name(self) -> str: ...

    @property
    def shapes(self) -> Mapping[str, tuple[str, ...]]: ...

    def clauses(self, spec: Spec, rng: random.Random) -> list[str]:
        """What the solution does, as third-person clauses."""

    def write(self, spec: Spec, rng: random.Random) -> list[CodeLine]:
        """A solution in a style of its own; the first line is the header."""

    def evaluate(self, spec: Spec, case: Case) -> Any:
        """The right answer, worked out from the steps themselves and never from the written solution."""

    def draw_case(self, spec: Spec, rng: random.Random) -> Case:
        """Random arguments, often at the borders of the steps' conditions."""


def draw_numbers(steps: Sequence[TaskStep], rng: random.Random, low: int = 0, high: int = 8) -> list[int]:
    """Integers of both signs; some lie at the steps' constants or repeat."""
    borders = [step.k + shift for step in steps if isinstance(step.k, int) for shift in (-1, 0, 1)]
    numbers: list[int] = []
    for _ in range(rng.randint(low, high)):
        if borders and rng.random() < 0.3:
            numbers.append(rng.choice(borders))
        elif numbers and rng.random() < 0.2:
            numbers.append(rng.choice(numbers))
        else:
            numbers.append(rng.randint(-12, 24))
    return numbers


def draw_words(rng: random.Random, low: int = 0, high: int = 7) -> list[str]:
    """Lower-case words, some of them repeated."""
    words: list[str] = []
    for _ in range(rng.randint(low, high)):
        words.append(rng.choice(words) if words and rng.random() < 0.2 else rng.choice(WORDS))
    return words
