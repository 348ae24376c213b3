"""The embedded default: a family of small programming tasks, pairs, a benchmark, and a base model trained on first use.

Everything is generated; nothing is downloaded. The compositions of the tasks fall into three parts that
share no composition: the base model's text, the pairs, and the benchmark.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codeblock.tiny.holdout import Holdout
from codeblock.tiny.pairs import POOR_SHARES, QUALITY_GAPS, make_pairs
from codeblock.tiny.prose import FORMS
from codeblock.tiny.quality import NOISE, WEIGHTS
from codeblock.tiny.recipe import SMALL, Recipe
from codeblock.tiny.tasks import FAMILIES, TinyTask, draw_spec

__all__ = ["SMALL", "VERSION", "Recipe", "build", "identity"]

VERSION = 3
"""Raised with every change of what a build writes."""

_DRAWS = 300
"""Draws in a row that bring no new task before a family counts as used up."""

PAIRS_FILE, BENCHMARK_FILE, MODEL_DIRECTORY = "pairs.jsonl", "benchmark.jsonl", "model"


def identity(recipe: Recipe | None = None) -> dict[str, Any]:
    """Everything but the seed that decides what `build` writes."""
    return {
        "version": VERSION,
        "recipe": asdict(recipe or Recipe()),
        "poor": POOR_SHARES,
        "prose": FORMS,
        "quality": {"gaps": QUALITY_GAPS, "noise": NOISE, **WEIGHTS},
    }


def build(directory: Path, seed: int = 0, progress: Callable[[str], None] | None = None, recipe: Recipe | None = None) -> None:
    """Write `pairs.jsonl`, `benchmark.jsonl` and the directory `model` into `directory`.

    The same seed and recipe give the same bytes of both files on every machine; the model's weights differ with the
    machine's arithmetic. `progress` gets one line of text at a time. A build that was cut off leaves files that are whole or
    not there, but no sign of completeness: that is for the caller to write.
    """
    recipe, say = recipe or Recipe(), progress or (lambda _: None)
    directory.mkdir(parents=True, exist_ok=True)
    tasks = make_benchmark(recipe.tasks, seed)
    holdout = Holdout.of(tasks)
    say(f"benchmark: {recipe.tasks} held-out tasks")
    _write_rows(directory / BENCHMARK_FILE, [benchmark_row(i, task) for i, task in enumerate(tasks)])
    rows = []
    for row in make_pairs(recipe.pairs, seed, holdout):
        rows.append(row)
        if len(rows) % 500 == 0 or len(rows) == recipe.pairs:
            say(f"pairs: {len(rows)} of {recipe.pairs}")
    _write_rows(directory / PAIRS_FILE, rows)
    _build_model(directory / MODEL_DIRECTORY, recipe, seed, holdout, say)


def make_benchmark(count: int, seed: int) -> list[TinyTask]:
    """Held-out tasks, the families in turn, no two of one composition with the same constants.

    A family that has no more of them is left out; raises ValueError where none has.
    """
    rng = random.Random(f"benchmark {seed}")
    tasks: dict[tuple[Any, ...], TinyTask] = {}
    families = list(FAMILIES)
    while len(tasks) < count:
        if not families:
            raise ValueError(f"{count} held-out tasks asked for, but there are only {len(tasks)}")
        family = families.pop(0)
        for _ in range(_DRAWS):
            task = TinyTask(draw_spec(rng, "benchmark", seed, family), rng.getrandbits(40))
            key = (*task.spec.composition, *(step.k for step in task.spec.steps))
            if key not in tasks and task.tells:
                tasks[key] = task
                families.append(family)
                break
    return list(tasks.values())


def benchmark_row(number: int, task: TinyTask) -> dict[str, str]:
    """A task as the benchmark's file has it."""
    return {
        "task_id": f"tiny/{number}",
        "instruction": task.instruction,
        "entry_point": task.spec.entry_point,
        "test": task.test,
        "reference": task.solution,
    }


def _build_model(directory: Path, recipe: Recipe, seed: int, holdout: Holdout, say: Callable[[str], None]) -> None:
    from codeblock.tiny import corpus, model

    mean_tokens = 140  # fewer than a document has, so that there are documents enough for all steps
    documents = list(corpus.make_corpus(recipe.base_steps * recipe.base_batch_tokens // mean_tokens, seed, holdout))
    say(f"base model: {len(documents)} documents")
    tokenizer = model.train_tokenizer([model.text_of(document) for document in documents[:3000]], recipe.vocabulary)
    trained = model.train_base(tokenizer, documents, recipe, seed, say)
    model.save(trained, tokenizer, directory)


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    temporary.replace(path)
