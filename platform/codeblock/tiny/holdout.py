"""What the benchmark keeps from the pairs and from the base model's text."""

from __future__ import annotations

import random
from dataclasses import dataclass

from codeblock.tiny.tasks import TinyTask, draw_spec


@dataclass(frozen=True)
class Holdout:
    """What may appear neither in the pairs nor in the base model's text."""

    instructions: frozenset[str]
    solutions: frozenset[str]
    """Written without the names that a task asks for; a solution has neither comments nor docstrings."""

    @classmethod
    def of(cls, tasks: list[TinyTask]) -> Holdout:
        return cls(frozenset(task.instruction for task in tasks), frozenset(_nameless(task) for task in tasks))

    def has(self, task: TinyTask) -> bool:
        return task.instruction in self.instructions or _nameless(task) in self.solutions


def _nameless(task: TinyTask) -> str:
    source = task.solution
    for name in (task.spec.entry_point, task.spec.update, task.spec.query):
        source = source.replace(f" {name}", " _") if name else source
    return source


def draw_task(rng: random.Random, part: str, seed: int, holdout: Holdout) -> TinyTask:
    """A random task of one part of the split, none of it held out."""
    while True:
        task = TinyTask(draw_spec(rng, part, seed), rng.getrandbits(40))
        if not holdout.has(task):
            return task
