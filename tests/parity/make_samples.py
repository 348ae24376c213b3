"""Make a samples file of a benchmark: every reference, and mutated, cut, broken and empty ones. Standard library only.

    python make_samples.py humanevalplus HumanEvalPlus.jsonl.gz samples.jsonl [--each 7] [--seed 0]

Each row: `task_id`, `completion` or `solution`, `kind` (what was done to the reference). The same arguments give the same file.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import random
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mutations import MUTATIONS, find

ENDLESS_EVERY = 9
"""Of the tasks whose turn it is, one in so many gets an endless loop: each costs a public grader seconds."""


def as_completion(mutated: str, prompt: str, entry_point: str) -> str:
    """What goes after the prompt: the body, where the function stands last in it, else the whole code after an empty body."""
    try:
        tree = ast.parse(mutated)
    except SyntaxError:
        return mutated[len(prompt) :] if mutated.startswith(prompt) else mutated
    function = find(tree, entry_point)
    if function is None or tree.body[-1] is not function or ast.get_docstring(function) is None:
        return f"\n    pass\n\n{mutated}"
    body = "\n".join(ast.unparse(statement) for statement in function.body[1:])
    return textwrap.indent(body or "pass", "    ") + "\n"


def samples_of(task: dict[str, Any], number: int, each: int, seed: int, whole: bool) -> Iterator[dict[str, Any]]:
    """The reference and `each` - 1 samples that differ from it and from each other."""
    prompt, entry_point = task["prompt"], task["entry_point"]
    source = prompt + task["canonical_solution"]
    yield {"task_id": task["task_id"], "completion": task["canonical_solution"], "kind": "reference"}
    draw = random.Random(f"{seed} {task['task_id']}")
    names, seen, turn = list(MUTATIONS), {task["canonical_solution"], source}, number * (each - 1)
    made = 0
    for attempt in range(20 * each):
        if made == each - 1:
            return
        name = names[(turn + attempt) % len(names)]
        if name == "endless" and number % ENDLESS_EVERY:
            continue
        mutated = MUTATIONS[name](source, entry_point, draw)
        if mutated is None:
            continue
        text = mutated if whole else as_completion(mutated, prompt, entry_point)
        if text not in seen:
            seen.add(text)
            made += 1
            yield {
                "task_id": task["task_id"],
                ("solution" if whole else "completion"): text,
                "kind": name.removesuffix(" again"),
            }


def main() -> None:
    """Write the file, say what it holds."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("benchmark", choices=("humaneval", "humanevalplus", "mbppplus"))
    arguments.add_argument("tasks", type=Path, help="the benchmark's JSONL file (.gz too)")
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--each", type=int, default=7, help="samples of each task (default: 7)")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    opener = gzip.open if options.tasks.suffix == ".gz" else open
    with opener(options.tasks, "rt", encoding="utf-8") as file:
        tasks = [json.loads(line) for line in file if line.strip()]
    whole = options.benchmark != "humaneval"
    rows = [row for number, task in enumerate(tasks) for row in samples_of(task, number, options.each, options.seed, whole)]
    options.output.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    kinds: dict[str, int] = {}
    for row in rows:
        kinds[row["kind"]] = kinds.get(row["kind"], 0) + 1
    print(f"{len(rows)} samples of {len(tasks)} tasks:", ", ".join(f"{kind} {count}" for kind, count in kinds.items()))


if __name__ == "__main__":
    main()
