"""What a benchmark is: tasks, the prompt for a chat model, and how an answer becomes a program that can be run.

Three kinds of text, each made from the one before:
- answer: what the model said, prose and all;
- completion: what is stored in a samples file and what public graders read;
- code: the whole solution that a completion stands for; a task's oracle decides whether it is right.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.rows import rows
from codeblock.sandbox.oracles import Limits, Oracle

Message = dict[str, str]
PromptKind = Literal["auto", "chat", "base"]
"""How a model is asked: in a chat or by text that it goes on from; `auto`: its tokenizer says which."""

FENCE_OPEN, FENCE_CLOSE = "```python\n", "\n```"


@dataclass(frozen=True)
class Task:
    """One task of a benchmark."""

    task_id: str
    prompt: str
    """The instruction, or the head of the function to complete."""
    entry_point: str
    """Name of the function or class that the tests call."""
    reference: str
    """The benchmark's own solution, as a completion."""
    oracle: Oracle
    """What decides whether a solution is right."""
    limits: Limits = field(default_factory=Limits)
    """The benchmark's official limits."""
    question: str = ""
    """What is asked in words, where that is not `prompt`."""
    head: str = ""
    """Code that stands before every graded solution (BigCodeBench's calibration)."""
    needs: tuple[str, ...] = ()
    """Top-level modules outside the standard library, without which the task cannot be graded."""


@dataclass(frozen=True)
class ReferenceAnswer:
    """The reference as an answer to the prompt would hold it: `before + code + after`."""

    before: str
    """What comes before the solution: the fence, and code that the question gives and the answer repeats."""
    code: str
    """The solution, without what the question gives."""
    after: str
    """What closes it."""


@dataclass(frozen=True)
class Benchmark(ABC):
    """A benchmark. Subclasses say what its file looks like, what is asked, and how an answer becomes a solution."""

    name: ClassVar[str]
    max_new_tokens: ClassVar[int] = 512
    """Tokens that the official protocol lets an answer have."""
    stops: ClassVar[tuple[str, ...]] = ()
    """Text at which a base model's completion of `text` ends; it is cut off."""
    chat_stops: ClassVar[tuple[str, ...]] = ()
    """Text at which an answer to `messages` ends; it is cut off."""
    sample_field: ClassVar[Literal["completion", "solution"]] = "completion"
    """Field of a samples file in which the public grader looks for what `completion` returns."""
    fence: ClassVar[str] = FENCE_OPEN
    """How the solution's block opens in a chat's answer: its line, with the language."""
    tasks: list[Task]
    provenance: str = field(default="", kw_only=True)
    """Whether the tasks come from the published file; empty where there is none."""

    @classmethod
    def read(cls, path: Path, limit: int | None) -> Self:
        """The first `limit` tasks of a file: JSONL, a JSON array or Parquet. Raises CodeBlockError."""
        return cls(cls.tasks_of(path, limit))

    @classmethod
    def tasks_of(cls, path: Path, limit: int | None) -> list[Task]:
        """The first `limit` tasks of a file. Raises CodeBlockError for a bad row, an id twice, and an empty file."""
        tasks: dict[str, Task] = {}
        for place, row in rows(path, f"benchmark {cls.name}"):
            if len(tasks) == limit:
                break
            task = cls.task(row, place)
            if task.task_id in tasks:
                raise CodeBlockError(f"{place}: task_id {task.task_id!r} occurs twice; each task has an id of its own")
            tasks[task.task_id] = task
        if not tasks:
            raise CodeBlockError(f"benchmark {cls.name}, {path}: no tasks; the file is empty")
        return list(tasks.values())

    @classmethod
    @abstractmethod
    def task(cls, row: dict[str, Any], place: str) -> Task:
        """A task from a row of the file; `place` names the row in errors. Raises CodeBlockError."""

    @abstractmethod
    def messages(self, task: Task) -> list[Message]:
        """The chat that asks for a solution. A last message of the assistant is the beginning of its answer."""

    def text(self, task: Task) -> str:
        """What a base model goes on from: the prompt, unless a benchmark says otherwise."""
        return task.prompt

    @abstractmethod
    def completion(self, task: Task, answer: str, *, base: bool = False) -> str:
        """What a samples file stores of an answer in `sample_field`; empty where it holds no code.

        `base`: the answer went on from `text`, not from a chat.
        """

    @abstractmethod
    def code(self, task: Task, completion: str) -> str:
        """The whole solution that a completion of a samples file stands for, `Task.head` before it."""

    def given(self, task: Task) -> str:  # noqa: ARG002
        """Code of the question that a chat's answer repeats before the reference: the head of a function to complete."""
        return ""

    def reference_answer(self, task: Task, *, base: bool, begun: str = "") -> ReferenceAnswer:
        """What a model would write to give the reference; `begun` is the beginning that a chat's prompt has written already.

        A completion of `text` (`base`) goes on from it and is closed by nothing, unless a benchmark says otherwise.
        """
        code = task.reference.strip("\r\n").rstrip()
        if base:
            return ReferenceAnswer("", code, "")
        given = self.given(task).strip("\n").rstrip()
        opened = self.fence if not begun.rstrip().endswith(self.fence.rstrip()) else "" if begun.endswith("\n") else "\n"
        return ReferenceAnswer(opened + (f"{given}\n" if given else ""), code, FENCE_CLOSE)

    def from_solution(self, task: Task, solution: str) -> str:
        """The whole solution that a `solution` of a samples file stands for: itself, with `Task.head` before it."""
        return task.head + solution

    def graded(self, task: Task, stored: str) -> str:
        """The whole solution that the return value of `completion` stands for."""
        return self.from_solution(task, stored) if self.sample_field == "solution" else self.code(task, stored)


def text_field(row: dict[str, Any], key: str, place: str) -> str:
    """A field of a row that has to be text. Raises CodeBlockError."""
    value = row.get(key)
    if not isinstance(value, str):
        problem = "is missing" if value is None else f"is {type(value).__name__}, not text"
        raise CodeBlockError(f"{place}: field {key!r} {problem}; is this the benchmark's file?")
    return value


def list_field(row: dict[str, Any], key: str, place: str) -> list[Any]:
    """A field of a row that has to be a list. Raises CodeBlockError."""
    value = row.get(key)
    if not isinstance(value, list):
        problem = "is missing" if value is None else f"is {type(value).__name__}, not a list"
        raise CodeBlockError(f"{place}: field {key!r} {problem}; is this the benchmark's file?")
    return value
