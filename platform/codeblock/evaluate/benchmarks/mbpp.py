"""MBPP (Austin et al. 2021, arXiv 2108.07732), from mbpp.jsonl (974 tasks) or sanitized-mbpp.json (427 of them).

`mbpp` evaluates the test split, ids 11 to 510, of either file: 500 and 257 tasks. `mbpp_all` evaluates all of its tasks.
A base model is shown the tasks 2, 3 and 4 of the same file, three shots in the paper's format; a chat is asked with the text
and the first assert as a docstring. Task ids are EvalPlus's: `Mbpp/11`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks.base import Benchmark, Message, ReferenceAnswer, Task, list_field, text_field
from codeblock.evaluate.extract import extract_code
from codeblock.sandbox.oracles import Script, defined_names

REQUEST = (
    "Write a Python function that solves the following task. Answer with a self-contained solution, the whole function with "
    "its imports, in one markdown code block.\n\n```python\n{prompt}```"
)
PROBLEM = (
    "You are an expert Python programmer, and here is your task: {text} Your code should pass these tests:\n\n{tests}\n[BEGIN]"
)
SHOTS = (2, 3, 4)
TEST_SPLIT = range(11, 511)


@dataclass(frozen=True)
class Mbpp(Benchmark):
    """A completion is a whole solution."""

    name: ClassVar[str] = "mbpp"
    stops: ClassVar[tuple[str, ...]] = ("[DONE]",)
    split: ClassVar[range | None] = TEST_SPLIT
    tasks: list[Task]
    shots: str
    """The three solved problems that stand before a base model's own; empty where the file lacks them."""

    @classmethod
    def read(cls, path: Path, limit: int | None) -> Self:
        tasks = cls.tasks_of(path, None)
        by_number = {_number(task): task for task in tasks}
        shots = [by_number[number] for number in SHOTS if number in by_number]
        solved = "".join(f"{_problem(task)}\n{task.reference}\n[DONE]\n" for task in shots)
        evaluated = [task for task in tasks if cls.split is None or _number(task) in cls.split]
        if not evaluated:
            raise CodeBlockError(f"benchmark {cls.name}, {path}: no task of the test split; use mbpp_all for all its tasks")
        return cls(evaluated[:limit], solved if len(shots) == len(SHOTS) else "")

    @classmethod
    def task(cls, row: dict[str, Any], place: str) -> Task:
        number = row.get("task_id")
        if isinstance(number, bool) or not isinstance(number, int):
            raise CodeBlockError(f"{place}: field 'task_id' is missing or no whole number; is this the benchmark's file?")
        text = text_field(row, "text" if "text" in row else "prompt", place).strip()
        code = text_field(row, "code", place).replace("\r", "").replace("\t", "    ")
        tests = [str(test).replace("\r", "") for test in list_field(row, "test_list", place)]
        if not tests:
            raise CodeBlockError(f"{place}: no tests; mend or remove the row")
        entry_point = _entry_point(code, tests, place)
        parts = [str(row.get("test_setup_code") or "").replace("\r", ""), *(row.get("test_imports") or [])]
        return Task(
            task_id=f"Mbpp/{number}",
            prompt=f'"""\n{text}\n{tests[0].strip()}\n"""\n',
            entry_point=entry_point,
            reference=code,
            oracle=_oracle("\n".join(part for part in parts if part), "\n".join(tests), entry_point, code, place),
            question=text,
        )

    def messages(self, task: Task) -> list[Message]:
        return [{"role": "user", "content": REQUEST.format(prompt=task.prompt)}]

    def text(self, task: Task) -> str:
        if not self.shots:
            raise CodeBlockError(
                f"benchmark {self.name}: the file lacks the tasks 2, 3 and 4, which a base model is shown; "
                "give a file that has them, or ask in a chat with evaluate.prompt=chat"
            )
        return self.shots + _problem(task)

    def reference_answer(self, task: Task, *, base: bool, begun: str = "") -> ReferenceAnswer:
        found = super().reference_answer(task, base=base, begun=begun)
        return replace(found, before="\n", after="\n[DONE]") if base else found

    def completion(self, task: Task, answer: str, *, base: bool = False) -> str:
        return extract_code(answer.partition("[DONE]")[0].strip("\n") if base else answer, task.entry_point)

    def code(self, task: Task, completion: str) -> str:  # noqa: ARG002
        return completion


@dataclass(frozen=True)
class MbppAll(Mbpp):
    """Every task of the file."""

    name: ClassVar[str] = "mbpp_all"
    split: ClassVar[range | None] = None
    tasks: list[Task]
    shots: str


def _number(task: Task) -> int:
    return int(task.task_id.rpartition("/")[2])


def _problem(task: Task) -> str:
    assert isinstance(task.oracle, Script)
    return PROBLEM.format(text=task.question, tests=task.oracle.test)


def _oracle(setup: str, tests: str, entry_point: str, code: str, place: str) -> Script:
    try:
        return Script.of(setup, tests, entry_point, code)
    except (SyntaxError, ValueError) as error:
        raise CodeBlockError(f"{place}: code, setup or tests do not parse ({error}); mend or remove the row") from error


def _entry_point(code: str, tests: list[str], place: str) -> str:
    """The function or class of the solution that the tests call, the first of several."""
    try:
        defined = defined_names(ast.parse(code).body)
        nodes = [node for test in tests for node in ast.walk(ast.parse(test.strip()))]
    except SyntaxError as error:
        raise CodeBlockError(f"{place}: code or tests do not parse ({error}); mend or remove the row") from error
    called = [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    named = [node.id for node in nodes if isinstance(node, ast.Name)]  # a decorator, a constant, an enumeration
    used = [name for name in called if name in defined] or [name for name in named if name in defined]
    if not used:
        raise CodeBlockError(f"{place}: the tests use nothing that the code defines; mend or remove the row")
    # A class is made to hold an argument; the function that takes it is under test.
    functions = [name for name in used if f"def {name}" in code]
    return (functions or used)[0]
