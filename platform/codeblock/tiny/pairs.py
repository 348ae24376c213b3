"""Pairs as real data has them: prose around a fenced solution, a known share of poor rows, and a judge who errs.

Each row says its kind, so that a selection can be held against it. Nothing may be selected by it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from codeblock.tiny.holdout import Holdout, draw_task
from codeblock.tiny.poor import MAKERS, nearly_copy
from codeblock.tiny.prose import respond
from codeblock.tiny.quality import judge
from codeblock.tiny.solutions import write_code
from codeblock.tiny.tasks import TinyTask

GOOD, DUPLICATE, NEAR_DUPLICATE = "good", "duplicate", "near_duplicate"
POOR_SHARES = {
    "wrong": 0.10,
    "broken": 0.03,
    "off_topic": 0.04,
    DUPLICATE: 0.03,
    NEAR_DUPLICATE: 0.03,
    "prose_only": 0.02,
    "verbose": 0.05,
    "incomplete": 0.04,
    "hardcoded": 0.03,
    "wrong_names": 0.03,
}
"""Shares of the pairs that are poor, by kind: the code is wrong, does not parse, answers another task; the row repeats a
row, or nearly; the code is missing, swollen, unfinished, answers a few inputs only, or has another name than was asked for."""
QUALITY_GAPS = 0.07
"""Share of the pairs whose quality is unknown."""

_Made = tuple[dict[str, Any], TinyTask]


def make_pairs(count: int, seed: int, holdout: Holdout) -> Iterator[dict[str, Any]]:
    """Rows with instruction, response, quality (0..1, or None where the row has a gap) and kind.

    Copies are made of good rows that come before them.
    """
    rng, good = random.Random(f"pairs {seed}"), list[_Made]()
    texts: set[tuple[str, str]] = set()
    for kind in _kinds(count, rng):
        if kind == DUPLICATE:
            original, task = rng.choice(good)
            instruction, response = original["instruction"], original["response"]
        else:
            instruction, response, task = _make_new(kind, rng, seed, holdout, good)
            while (instruction, response) in texts:
                instruction, response, task = _make_new(kind, rng, seed, holdout, good)
        texts.add((instruction, response))
        quality = None if rng.random() < QUALITY_GAPS else judge(response, task, rng)
        row = {"instruction": instruction, "response": response, "quality": quality, "kind": kind}
        if kind == GOOD:
            good.append((row, task))
        yield row


def _kinds(count: int, rng: random.Random) -> list[str]:
    """Kinds of the rows in random order; the first one is good, so that there is something to copy."""
    kinds = [kind for kind, share in POOR_SHARES.items() for _ in range(round(share * count))]
    kinds += [GOOD] * (count - len(kinds))
    rng.shuffle(kinds)
    first = kinds.index(GOOD)
    kinds[0], kinds[first] = kinds[first], kinds[0]
    return kinds


def _make_new(kind: str, rng: random.Random, seed: int, holdout: Holdout, good: list[_Made]) -> tuple[str, str, TinyTask]:
    if kind == NEAR_DUPLICATE:
        original, task = rng.choice(good)
        return *nearly_copy(original["instruction"], original["response"], task, rng), task
    task = draw_task(rng, "pairs", seed, holdout)
    while not task.tells:
        task = draw_task(rng, "pairs", seed, holdout)
    if kind == GOOD:
        return task.instruction, respond(task, write_code(task, rng), rng), task
    return task.instruction, MAKERS[kind](task, rng, seed, holdout), task
