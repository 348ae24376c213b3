"""A sweep that takes seconds: a few pairs, six tasks, and the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.small_run import write_tasks

ANSWER = "```python\ndef add_{n}(values):\n    return [v + {n} for v in values]\n```"


def write_data(home: Path) -> None:
    """`pairs.jsonl` and `tasks.jsonl`."""
    rows = [{"instruction": f"Add {n} to each value.", "output": ANSWER.format(n=n)} for n in range(24)]
    (home / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_tasks(home / "tasks.jsonl", 6)


def told(text: str) -> str:
    """What was printed, whatever the lines were broken at."""
    return " ".join(text.split())
