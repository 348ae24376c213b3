"""A small experiment that runs through the command line in this process, for the tests of plans, the main job and sweeps."""

import json
from pathlib import Path

import pytest

from codeblock.cli.commands import main
from codeblock.core.storage.tables import MARKER

BAD_LINES = ['{"instruction": "Add.", "output": \n', '{"instruction": "", "output": "x = 1"}\n', '{"instruction": "Add."}\n']


def response(number: int) -> str:
    """Prose around a fenced solution."""
    return (
        f"This function adds {number} to each value.\n\n```python\ndef add_{number}(values):\n    result = []\n"
        f"    for value in values:\n        result.append(value + {number})\n    return result\n```\n"
    )


def write_tasks(path: Path, count: int) -> None:
    """A benchmark of so many tasks, a line each."""
    tasks = [
        {
            "task_id": f"t{n}",
            "instruction": f"Write add_{n}.",
            "entry_point": f"add_{n}",
            "test": f"assert add_{n}([1]) == [{n + 1}]",
            "reference": f"def add_{n}(values):\n    return [value + {n} for value in values]\n",
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(task) + "\n" for task in tasks))


@pytest.fixture(scope="module")
def setting(tmp_path_factory, small_model):
    """A directory with pairs (three of them unusable, one a duplicate, one without code), a benchmark and a config.

    The pairs are alike on purpose, so the filter of near duplicates is off.
    """
    home = tmp_path_factory.mktemp("run")
    rows = [{"instruction": f"Add {n} to each value.", "output": response(n)} for n in range(40)]
    rows += [rows[0], {"instruction": "Say hello.", "output": "Hello, how are you today? I am very well."}]
    lines = [json.dumps(row) + "\n" for row in rows]
    (home / "pairs.jsonl").write_text("".join(lines[:20] + BAD_LINES + lines[20:]))
    write_tasks(home / "tasks.jsonl", 3)
    config = f"""
name: small
storage: {home}/runs
pairs: {{path: {home}/pairs.jsonl}}
filter: {{near_duplicates: null}}
model: {{path: {small_model}, max_length: 256}}
select: {{token_budget: 0.2, subset_ratio: 1.0, nl_share: 0.1}}
arms: {{base: {{}}, full: {{strategy: full}}, codeblock: {{strategy: codeblock}}}}
train: {{steps: 2, batch_pairs: 4, dev_pairs: 4, dev_every: 1}}
evaluate: {{benchmarks: {{tiny: {home}/tasks.jsonl}}, max_new_tokens: 8}}
"""
    (home / "config.yaml").write_text(config)
    return home


def call(*arguments: object) -> int:
    """Run the command line in this process; returns its exit status."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def markers(home: Path) -> dict[str, float]:
    return {path.parent.name: path.stat().st_mtime for path in (home / "runs" / "cache").glob(f"*/{MARKER}")}
