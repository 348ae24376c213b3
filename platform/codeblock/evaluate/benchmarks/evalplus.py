"""What HumanEval+ and MBPP+ share: EvalPlus (Liu et al. 2023, arXiv 2305.01210), version 0.3.1.

Rows hold `prompt`, `canonical_solution`, `base_input`, `plus_input` and `atol`. What `prompt + canonical_solution` returns for
an input is the expected output. A sample passes where all of them are right, the base inputs' and the plus inputs' alike.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks.base import Benchmark, Message, Task, list_field, text_field
from codeblock.evaluate.sanitize import sanitize
from codeblock.sandbox.oracles import Cases, Limits

REQUEST = "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
ANSWER = "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:"
STOPS = ("<|endoftext|>", "<|endofmask|>", "</s>", "\nif __name__", "\ndef main(", "\nprint(")
CHAT_STOPS = (*STOPS, "\n```\n")


def chat(problem: str) -> list[Message]:
    """The chat of EvalPlus and BigCodeBench, whose answer begins with an opened fence. `problem` follows the request."""
    return [
        {"role": "user", "content": f"{REQUEST}\n{problem}\n"},
        {"role": "assistant", "content": f"{ANSWER}\n```python\n"},
    ]


@dataclass(frozen=True)
class EvalPlus(Benchmark):
    """A samples file stores the whole solution, as EvalPlus's own does: it is graded without the prompt's imports."""

    max_new_tokens: ClassVar[int] = 768
    chat_stops: ClassVar[tuple[str, ...]] = CHAT_STOPS
    sample_field = "solution"
    rules: ClassVar[dict[str, str]]
    """Entry points that are compared by a rule of their own, with its name in `sandbox.compare`."""
    tasks: list[Task]

    @classmethod
    def task(cls, row: dict[str, Any], place: str) -> Task:
        task_id, prompt = text_field(row, "task_id", place), text_field(row, "prompt", place)
        entry_point, solution = text_field(row, "entry_point", place), text_field(row, "canonical_solution", place)
        base = list_field(row, "base_input", place)
        # The official file has an empty object where Mbpp/793 has no inputs.
        plus = list_field(row, "plus_input", place) if row.get("plus_input") != {} else []
        atol = row.get("atol")
        if isinstance(atol, bool) or not isinstance(atol, int | float):
            raise CodeBlockError(f"{place}: field 'atol' is missing or no number; is this the benchmark's file?")
        try:
            inputs = [cls.arguments(task_id, each) for each in (*base, *plus)]
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            raise CodeBlockError(f"{place}: the inputs are not those of {task_id} ({error}); fetch the file again") from error
        return Task(
            task_id=task_id,
            prompt=prompt,
            entry_point=entry_point,
            reference=solution,
            oracle=Cases(
                inputs=inputs,
                base=len(base),
                reference=prompt + solution,
                calls=entry_point,
                compare=cls.rules.get(entry_point, "equal"),
                atol=float(atol),
            ),
            limits=Limits(timeout_seconds=4.0, reference_factor=4.0, total_seconds=60.0, memory_mb=4096),
        )

    @classmethod
    @abstractmethod
    def arguments(cls, task_id: str, stored: Sequence[Any]) -> list[Any]:
        """The arguments of a call from an input of the file."""

    def messages(self, task: Task) -> list[Message]:
        return chat(f"```\n{task.prompt.strip()}\n```")

    def text(self, task: Task) -> str:
        return task.prompt.strip() + "\n"

    def completion(self, task: Task, answer: str, *, base: bool = False) -> str:
        answer = answer.replace("\t", "    ")
        return sanitize(self.text(task) + answer if base else answer, task.entry_point)

    def code(self, task: Task, completion: str) -> str:
        return task.prompt + completion
