"""Tasks: a composition with its instruction, its reference solution and tests that tell it from its neighbours."""

from __future__ import annotations

import ast
import hashlib
import random
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from codeblock.tiny.classes import CLASS
from codeblock.tiny.family import Case, CodeLine, Family, Spec
from codeblock.tiny.loops import LOOP
from codeblock.tiny.mappings import DICT
from codeblock.tiny.pipelines import LIST, TEXT
from codeblock.tiny.primitives import draw, sentence

FAMILIES: dict[str, Family] = {family.name: family for family in (LIST, TEXT, DICT, LOOP, CLASS)}
PARTS = {"benchmark": 0.3, "base": 0.3, "pairs": 0.4}
"""Shares of the compositions that belong to the benchmark, to the base model's text, and to the pairs."""

TESTS = 6
_CANDIDATES = 16
_NEIGHBOURS = 8
_DISTINCT_ANSWERS = 3

_VERBS = ("get", "find", "compute", "make", "build", "collect")
_NOUNS = {
    "list": "numbers values list items",
    "text": "words text sentence letters",
    "dict": "table scores groups entries",
    "loop": "runs totals steps states",
}
_CLASS_NAMES = ("Tracker", "Counter", "Keeper", "Box", "Log", "Meter", "Store", "Bank")
_UPDATES = ("add", "push", "record", "update")
_QUERIES = ("result", "value", "score", "report")

_FORMS = (
    "Write a Python function `{name}` that {what}.",
    "Write a function called `{name}` that {what}.",
    "Implement `{name}`, a Python function that {what}.",
    "Please define a function named `{name}`. It {what}.",
    "I need a Python function `{name}` that {what}. Can you help?",
    "Create a function {name} that {what}.",
    "{name}: a function that {what}. Give me the Python code.",
    "Can you code a function `{name}` which {what}?",
)


@dataclass(frozen=True)
class TinyTask:
    """One task. Everything about it follows from the spec and the seed."""

    spec: Spec
    seed: int

    @property
    def family(self) -> Family:
        return FAMILIES[self.spec.family]

    @cached_property
    def clauses(self) -> list[str]:
        """What the solution does, as third-person clauses."""
        return self.family.clauses(self.spec, random.Random(f"clauses {self.seed}"))

    @cached_property
    def instruction(self) -> str:
        form = random.Random(f"form {self.seed}").choice(_FORMS)
        if self.spec.family == "class":
            form = form.replace("function", "class")
        return form.format(name=self.spec.entry_point, what=sentence(self.clauses))

    @cached_property
    def lines(self) -> list[CodeLine]:
        """The solution, with what may be said about its lines."""
        return self.family.write(self.spec, random.Random(f"write {self.seed}"))

    @property
    def solution(self) -> str:
        return "\n".join(line.code for line in self.lines) + "\n"

    @cached_property
    def cases(self) -> list[tuple[Case, Any]]:
        """Inputs with their right answers."""
        rng = random.Random(f"cases {self.seed}")
        inputs = [self.family.draw_case(self.spec, rng) for _ in range(_CANDIDATES)]
        rivals = [neighbour(self.spec, rng) for _ in range(_NEIGHBOURS)]
        answers = [repr(self.family.evaluate(self.spec, case)) for case in inputs]
        kills = [
            {r for r, rival in enumerate(rivals) if repr(self.family.evaluate(rival, case)) != answer}
            for case, answer in zip(inputs, answers, strict=True)
        ]
        return [(inputs[i], self.family.evaluate(self.spec, inputs[i])) for i in _pick(kills, answers)]

    @property
    def tells(self) -> bool:
        """Whether the tests see enough different answers to be worth anything."""
        return len({repr(answer) for _, answer in self.cases}) >= _DISTINCT_ANSWERS

    @property
    def checks(self) -> list[list[str]]:
        """Each test as lines of source that use the name `candidate`."""
        if self.spec.family == "class":
            return [self._class_check(case, answers) for case, answers in self.cases]
        return [[f"assert candidate({case[0]!r}) == {answer!r}"] for case, answer in self.cases]

    def _class_check(self, case: Case, answers: list[Any]) -> list[str]:
        given, *batches = case
        lines = [f"it = candidate({'' if self.spec.shape == 'log' else given})"]
        for batch, answer in zip(batches, answers, strict=True):
            lines.append(f"for x in {batch!r}: it.{self.spec.update}(x)")
            lines.append(f"assert it.{self.spec.query}() == {answer!r}")
        return lines

    @property
    def test(self) -> str:
        """A program that runs after the solution; it fails where an answer is wrong."""
        body = "\n".join(f"    {line}" for check in self.checks for line in check)
        return f"def check(candidate):\n{body}\n\n\ncheck({self.spec.entry_point})\n"


def _pick(kills: list[set[int]], answers: list[str]) -> list[int]:
    """Inputs that together tell the right composition from the most neighbours; ties go to answers not seen yet."""
    chosen: list[int] = []
    open_rivals = set().union(*kills)
    while len(chosen) < TESTS:
        seen = {answers[i] for i in chosen}
        rest = [i for i in range(len(kills)) if i not in chosen]
        best = max(rest, key=lambda i: (len(kills[i] & open_rivals), answers[i] not in seen, len(kills[i]), -i))
        chosen.append(best)
        open_rivals -= kills[best]
    return chosen


def draw_spec(rng: random.Random, part: str, seed: int, name: str | None = None) -> Spec:
    """A random composition of one part of the split, of the family `name` or of any."""
    while True:
        family = FAMILIES[name or rng.choice(list(FAMILIES))]
        shape = rng.choice(list(family.shapes))
        spec = Spec(family.name, shape, tuple(draw(pool, rng) for pool in family.shapes[shape]), "")
        if part == "base" and any(step.kind.new for step in spec.steps):
            continue
        if part_of(spec, seed) == part:
            return _named(spec, rng)


def part_of(spec: Spec, seed: int) -> str:
    """The part of the split that a composition belongs to; the same for all constants, names and wordings."""
    digest = hashlib.sha256(repr((seed, spec.composition)).encode()).digest()
    position = int.from_bytes(digest[:4], "big") / 2**32
    for part, share in PARTS.items():
        if position < share:
            return part
        position -= share
    return part


def neighbour(spec: Spec, rng: random.Random) -> Spec:
    """The same task with one step exchanged: what a plausible wrong answer computes."""
    slot = rng.randrange(len(spec.steps))
    while (step := draw(spec.steps[slot].pool, rng)) == spec.steps[slot]:
        pass
    return replace(spec, steps=(*spec.steps[:slot], step, *spec.steps[slot + 1 :]))


def _named(spec: Spec, rng: random.Random) -> Spec:
    if spec.family == "class":
        name = rng.choice(_CLASS_NAMES)
        return replace(spec, entry_point=name, update=rng.choice(_UPDATES), query=rng.choice(_QUERIES))
    return replace(spec, entry_point=f"{rng.choice(_VERBS)}_{rng.choice(_NOUNS[spec.family].split())}")


def normal_form(source: str) -> str:
    """Source without comments, docstrings, layout and the names of its functions and classes.

    Raises SyntaxError where the source does not parse.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.name = "_"
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(node.body) > 1:
                node.body = node.body[1:]
    return ast.unparse(tree)
