"""A sweep that takes seconds: a few pairs, six tasks, and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeblock.cli.commands import main

ANSWER = "```python\ndef add_{n}(values):\n    return [v + {n} for v in values]\n```"


def write_data(home: Path) -> None:
    """`pairs.jsonl` and `tasks.jsonl`."""
    rows = [{"instruction": f"Add {n} to each value.", "output": ANSWER.format(n=n)} for n in range(24)]
    (home / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = [
        {
            "task_id": f"t{n}",
            "instruction": f"Write add_{n}.",
            "entry_point": f"add_{n}",
            "test": f"assert add_{n}([1]) == [{n + 1}]",
            "reference": f"def add_{n}(values):\n    return [value + {n} for value in values]\n",
        }
        for n in range(6)
    ]
    (home / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))


def call(*arguments: object) -> int:
    """The exit status of a command, in this process."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def told(text: str) -> str:
    """What was printed, whatever the lines were broken at."""
    return " ".join(text.split())
