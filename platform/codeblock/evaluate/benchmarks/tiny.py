"""The embedded benchmark: an instruction, and tests that follow the whole solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from codeblock.evaluate.benchmarks.base import Benchmark, Message, Task
from codeblock.evaluate.extract import extract_code


@dataclass(frozen=True)
class Tiny(Benchmark):
    """JSONL with `task_id`, `instruction`, `entry_point`, `test`, `reference`; a completion is a whole solution."""

    name: ClassVar[str] = "tiny"
    fields: ClassVar[dict[str, str]] = {
        "task_id": "task_id",
        "prompt": "instruction",
        "entry_point": "entry_point",
        "test": "test",
        "reference": "reference",
    }

    def messages(self, task: Task) -> list[Message]:
        return [{"role": "user", "content": task.prompt}]

    def completion(self, task: Task, answer: str) -> str:
        return extract_code(answer, task.entry_point)

    def code(self, task: Task, completion: str) -> str:  # noqa: ARG002
        return completion

    def program(self, task: Task, code: str) -> str:
        return f"{code}\n\n{task.test}\n"
