"""The building blocks of the tasks, as data: how each is said, how it is written, and with which constants.

A `StepKind` without its constant is what a composition is made of; a `TaskStep` is a kind with its constant drawn.
In `code`, `{x}` stands for the variable and `{k}` for the constant; in `said`, `{o}` stands for the object of the verb.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any


@dataclass(frozen=True)
class StepKind:
    """One building block."""

    name: str
    said: tuple[str, ...]
    code: str
    constants: tuple[int | str, ...] = ()
    new: bool = False
    """Whether the base model's text lacks it: only the pairs teach it."""


@dataclass(frozen=True)
class TaskStep:
    """A building block with its constant, and the pool it was drawn from."""

    pool: str
    kind: StepKind
    k: int | str | None = None

    def say(self, rng: random.Random, o: str = "them") -> str:
        """The step in words, plural: `are even`, `squares them`."""
        said = rng.choice(self.kind.said).format(o=o, k=self.k)
        return said.replace("itself", "themselves") if o in _PLURALS else said

    def say_one(self, rng: random.Random) -> str:
        """A condition in words, singular: `is even`, `starts with 'a'`."""
        verb, _, rest = self.say(rng).partition(" ")
        return f"{_SINGULAR.get(verb, verb + 's')} {rest}"

    def write(self, x: str) -> str:
        """The step as a Python expression over `x`."""
        return self.kind.code.format(x=x, k=self.k)

    def __call__(self, x: Any) -> Any:
        """The value of the step for `x`."""
        return self._function(x)

    @cached_property
    def _function(self) -> Callable[[Any], Any]:
        return _compiled(self.write("x"))


_SINGULAR = {"are": "is", "have": "has"}
_PLURALS = ("them", "the values")


@cache
def _compiled(expression: str) -> Callable[[Any], Any]:
    function: Callable[[Any], Any] = eval(f"lambda x: {expression}")
    return function


def draw(pool: str, rng: random.Random) -> TaskStep:
    """A step of the pool, with a constant where it takes one."""
    kind = rng.choice(POOLS[pool])
    return TaskStep(pool, kind, rng.choice(kind.constants) if kind.constants else None)


def imperative(clause: str) -> str:
    """`multiplies them by 2` -> `multiply them by 2`."""
    verb, _, rest = clause.partition(" ")
    if verb == "otherwise":
        return f"otherwise {imperative(rest)}"
    stem = verb[:-3] + "y" if verb.endswith("ies") else verb[:-2] if verb.endswith("oes") else verb[:-1]
    return f"{stem} {rest}".rstrip().replace(" and adds ", " and add ").replace(" and splits ", " and split ")


def capital(text: str) -> str:
    """The text with a capital letter in front."""
    return text[:1].upper() + text[1:]


def sentence(clauses: list[str]) -> str:
    """Clauses joined as one enumeration."""
    return clauses[0] if len(clauses) == 1 else ", ".join(clauses[:-1]) + " and " + clauses[-1]


_SMALL = (2, 3)
_ANY = (2, 3, 5)
_LETTERS = ("a", "e", "s")

NUMBER_TEST = (
    StepKind("even", ("are even",), "{x} % 2 == 0"),
    StepKind("odd", ("are odd",), "{x} % 2 == 1"),
    StepKind("positive", ("are positive",), "{x} > 0"),
    StepKind("above", ("are greater than {k}", "are above {k}"), "{x} > {k}", _ANY),
    StepKind("divisible", ("are divisible by {k}",), "{x} % {k} == 0", (3, 5), new=True),
)
NUMBER_MAP = (
    StepKind("square", ("squares {o}", "multiplies {o} by itself"), "{x} * {x}"),
    StepKind("double", ("doubles {o}",), "{x} * 2"),
    StepKind("plus", ("adds {k} to {o}", "increases {o} by {k}"), "{x} + {k}", _ANY),
    StepKind("negate", ("negates {o}", "flips the sign of {o}"), "-{x}"),
    StepKind("absolute", ("takes the absolute value of {o}",), "abs({x})", new=True),
)
NUMBER_END = (
    StepKind("sum", ("returns their sum", "returns the total"), "sum({x})"),
    StepKind("max", ("returns the largest one, or 0 if there is none",), "max({x}, default=0)", new=True),
    StepKind("count", ("returns how many there are", "returns the count"), "len({x})"),
    StepKind("sorted", ("returns them in ascending order", "returns them sorted"), "sorted({x})"),
    StepKind("reversed", ("returns them in reverse order", "returns the reversed list"), "{x}[::-1]"),
)
WORD_TEST = (
    StepKind("longer", ("are longer than {k} letters", "have more than {k} letters"), "len({x}) > {k}", _SMALL),
    StepKind("starts", ("start with '{k}'", "begin with '{k}'"), "{x}.startswith('{k}')", _LETTERS),
    StepKind("ends", ("end with '{k}'", "end in '{k}'"), "{x}.endswith('{k}')", ("e", "n", "t")),
    StepKind("contains", ("contain '{k}'", "are spelled with '{k}'"), "'{k}' in {x}", _LETTERS, new=True),
)
WORD_MAP = (
    StepKind("upper", ("converts {o} to upper case", "uppercases {o}"), "{x}.upper()"),
    StepKind("reverse", ("reverses {o}", "spells {o} backwards"), "{x}[::-1]"),
    StepKind("capital", ("capitalizes {o}", "writes {o} with a capital letter in front"), "{x}.capitalize()"),
    StepKind("head", ("takes the first {k} letters of {o}",), "{x}[:{k}]", (1, 2, 3)),
    StepKind("twice", ("repeats {o} twice", "writes {o} twice"), "{x} * 2", new=True),
)
WORD_END = (
    StepKind("join", ("joins them with spaces",), "' '.join({x})"),
    StepKind("list", ("returns them as a list", "returns the list"), "{x}"),
    StepKind("reversed", ("returns them in reverse order", "returns the reversed list"), "{x}[::-1]"),
    StepKind("longest", ("returns the longest one, or '' if there is none",), "max({x}, key=len, default='')", new=True),
)
WORD_NUMBER = (
    StepKind("length", ("takes the length of {o}", "takes the number of letters of {o}"), "len({x})"),
    StepKind("count_letter", ("counts '{k}' in {o}", "takes the number of '{k}' in {o}"), "{x}.count('{k}')", ("a", "e", "o")),
)
WORD_KEY = (
    StepKind("first_letter", ("first letter",), "{x}[0]"),
    StepKind("last_letter", ("last letter",), "{x}[-1]", new=True),
    StepKind("length", ("length", "number of letters"), "len({x})"),
)
NUMBER_KEY = (
    StepKind("modulo", ("remainder modulo {k}", "remainder when divided by {k}"), "{x} % {k}", (2, 3)),
    StepKind("absolute", ("absolute value",), "abs({x})"),
)
ITEMS_END = (
    StepKind("dict", ("returns the resulting dictionary", "returns them as a dictionary"), "{x}"),
    StepKind("sum", ("returns the sum of the values",), "sum({x}.values())"),
    StepKind("keys", ("returns the keys in alphabetical order",), "sorted({x})", new=True),
    StepKind("count", ("returns the number of entries", "returns how many entries are left"), "len({x})"),
)
POOLS: dict[str, tuple[StepKind, ...]] = {
    "number_test": NUMBER_TEST,
    "number_map": NUMBER_MAP,
    "number_end": NUMBER_END,
    "word_test": WORD_TEST,
    "word_map": WORD_MAP,
    "word_end": WORD_END,
    "word_number": WORD_NUMBER,
    "word_key": WORD_KEY,
    "number_key": NUMBER_KEY,
    "items_end": ITEMS_END,
}
