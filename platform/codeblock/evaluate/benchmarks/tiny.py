"""The embedded benchmark: an instruction, and tests that follow the whole solution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks.base import FENCE_CLOSE, Benchmark, Message, ReferenceAnswer, Task, text_field
from codeblock.evaluate.extract import extract_code
from codeblock.sandbox.oracles import Script


@dataclass(frozen=True)
class Tiny(Benchmark):
    """JSONL with `task_id`, `instruction`, `entry_point`, `test`, `reference`; a completion is a whole solution."""

    name: ClassVar[str] = "tiny"
    tasks: list[Task]

    @classmethod
    def task(cls, row: dict[str, Any], place: str) -> Task:
        entry_point, reference = text_field(row, "entry_point", place), text_field(row, "reference", place)
        try:
            oracle = Script.of("", text_field(row, "test", place), entry_point, reference)
        except (SyntaxError, ValueError) as error:
            raise CodeBlockError(f"{place}: test or reference does not parse ({error}); mend or remove the row") from error
        return Task(
            task_id=text_field(row, "task_id", place),
            prompt=text_field(row, "instruction", place),
            entry_point=entry_point,
            reference=reference,
            oracle=oracle,
        )

    def messages(self, task: Task) -> list[Message]:
        return [{"role": "user", "content": task.prompt}]

    def text(self, task: Task) -> str:
        return f"{task.prompt}\n\n```python\n"

    def reference_answer(self, task: Task, *, base: bool, begun: str = "") -> ReferenceAnswer:
        found = super().reference_answer(task, base=base, begun=begun)
        return replace(found, after=FENCE_CLOSE) if base else found

    def completion(self, task: Task, answer: str, *, base: bool = False) -> str:
        return extract_code(f"```python\n{answer}" if base else answer, task.entry_point)

    def code(self, task: Task, completion: str) -> str:  # noqa: ARG002
        return completion
