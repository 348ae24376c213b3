"""What a benchmark is: tasks, the prompt for a chat model, and how an answer becomes a program that can be run.

Three kinds of text, each made from the one before:
- answer: what the model said, prose and all;
- completion: what is stored in a samples file and what public graders read;
- code: the whole solution that a completion stands for; a task's oracle decides whether it is right.
"""

from __future__ import annotations

import gzip
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from codeblock.errors import CodeBlockError
from codeblock.evaluate.oracles import Limits, Oracle

Message = dict[str, str]


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


@dataclass(frozen=True)
class Benchmark(ABC):
    """A benchmark. Subclasses say what its file looks like, what is asked, and how an answer becomes a solution."""

    name: ClassVar[str]
    max_new_tokens: ClassVar[int] = 512
    """Tokens that the official protocol lets an answer have."""
    stops: ClassVar[tuple[str, ...]] = ()
    """Text at which a base model's completion of `text` ends; it is cut off."""
    chat_stops: ClassVar[tuple[str, ...]] = ()
    """Text at which an answer in a chat ends, such as the fence after a block that `messages` has begun; it is cut off."""
    tasks: list[Task]

    @classmethod
    def read(cls, path: str, limit: int | None) -> Self:
        """The first `limit` tasks of a JSONL file, which may be compressed with gzip. Raises CodeBlockError."""
        tasks: list[Task] = []
        seen: set[str] = set()
        for place, row in json_lines(Path(path), f"benchmark {cls.name}"):
            if len(tasks) == limit:
                break
            task = cls.task(row, place)
            if task.task_id in seen:
                raise CodeBlockError(f"{place}: task_id {task.task_id!r} occurs twice; each task has an id of its own")
            seen.add(task.task_id)
            tasks.append(task)
        if not tasks:
            raise CodeBlockError(f"benchmark {cls.name}, {path}: no tasks; the file is empty")
        return cls(tasks)

    @classmethod
    @abstractmethod
    def task(cls, row: dict[str, Any], place: str) -> Task:
        """A task from a row of the file; `place` names the row in errors. Raises CodeBlockError."""

    @abstractmethod
    def messages(self, task: Task) -> list[Message]:
        """The chat that asks for a solution. A last message of the assistant is the beginning of its answer."""

    @abstractmethod
    def text(self, task: Task) -> str:
        """What a base model goes on from."""

    @abstractmethod
    def completion(self, task: Task, answer: str, *, base: bool = False) -> str:
        """The completion that an answer holds; empty where it holds none. `base`: it went on from `text`, not from a chat."""

    @abstractmethod
    def code(self, task: Task, completion: str) -> str:
        """The whole solution that a completion stands for."""


def text_field(row: dict[str, Any], key: str, place: str) -> str:
    """A field of a row that has to be text. Raises CodeBlockError."""
    value = row.get(key)
    if not isinstance(value, str):
        problem = "is missing" if value is None else f"is {type(value).__name__}, not text"
        raise CodeBlockError(f"{place}: field {key!r} {problem}; is this the benchmark's file?")
    return value


def json_lines(path: Path, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects of a JSONL file (.gz too), each with its place for error messages. Blank lines are skipped.

    Raises CodeBlockError where the file cannot be read or a line is not a JSON object.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                place = f"{what}, {path} line {number}"
                if line.strip():
                    yield place, _object(line, place)
    except FileNotFoundError:
        raise CodeBlockError(f"{what}: no file {path}; give the path of its JSONL file") from None
    except (OSError, EOFError) as error:
        raise CodeBlockError(f"{what}: {path} is not readable ({error}); give the path of its JSONL file") from error


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CodeBlockError(f"{place}: not JSON ({error}); mend or remove the line") from error
    if not isinstance(row, dict):
        raise CodeBlockError(f"{place}: a JSON object is needed, not {type(row).__name__}; mend or remove the line")
    return row
