"""Tasks in MBPP's form as teams write them, from `tasks/*.txt`: a name, the reference, a setup, and tests as plain code."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "tasks"


class Own(NamedTuple):
    """A task, which passes where all of it runs in one process."""

    name: str
    code: str
    setup: str
    test: str


def read_tasks() -> list[Own]:
    """All tasks of all files."""
    texts = "\n".join(file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.txt")))
    return [task_of(text) for text in texts.split("=== ")[1:]]


def task_of(text: str) -> Own:
    head, _, test = text.partition("--- test\n")
    name, _, code = head.partition("\n")
    code, _, setup = code.partition("--- setup\n")
    return Own(name, code, setup.rstrip("\n"), test.rstrip("\n"))


TASKS = read_tasks()
