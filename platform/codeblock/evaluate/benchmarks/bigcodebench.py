"""BigCodeBench (Zhuo et al. 2024, arXiv 2406.15877), Full (1,140 tasks) and Hard (148), as its package 0.2.5 has them.

Complete asks with a docstring, Instruct in words. A sample is graded calibrated: `code_prompt + "\\n    pass\\n" + solution`,
then the class `TestCases`, all of whose tests have to pass, in the solution's own process.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks.base import Benchmark, Message, Task, text_field
from codeblock.evaluate.benchmarks.evalplus import CHAT_STOPS, STOPS, chat
from codeblock.evaluate.sanitize import sanitize_calibrated
from codeblock.sandbox.oracles import Limits, UnitTest

HEAD_END = "\n    pass\n"
"""Makes the head of a function one that can be defined."""

IMPORT = re.compile(r"\bfrom\s+([\w.]+)\s+import\b|\bimport\s+([\w., \t]+)")


@dataclass(frozen=True)
class BigCodeBenchComplete(Benchmark):
    """The prompt is the head of a function with its docstring. A samples file stores the whole solution."""

    name: ClassVar[str] = "bigcodebench_complete"
    max_new_tokens: ClassVar[int] = 1280
    stops: ClassVar[tuple[str, ...]] = (*STOPS, "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")
    chat_stops: ClassVar[tuple[str, ...]] = CHAT_STOPS
    sample_field = "solution"
    tasks: list[Task]

    @classmethod
    def task(cls, row: dict[str, Any], place: str) -> Task:
        prompt, head = text_field(row, "complete_prompt", place), text_field(row, "code_prompt", place)
        solution, test = text_field(row, "canonical_solution", place), text_field(row, "test", place)
        function = text_field(row, "entry_point", place)
        return Task(
            task_id=text_field(row, "task_id", place),
            prompt=prompt,
            entry_point=function,
            reference=solution,
            oracle=UnitTest(test, calls=function),
            limits=Limits(timeout_seconds=240.0, reference_factor=1.0, total_seconds=240.0, memory_mb=30 * 1024),
            question=text_field(row, "instruct_prompt", place),
            head=head + HEAD_END,
            needs=_packages(_libraries(row, place), prompt + solution, test),
        )

    def messages(self, task: Task) -> list[Message]:
        return chat(f"```\n{task.prompt.strip()}\n```")

    def given(self, task: Task) -> str:
        return task.prompt

    def completion(self, task: Task, answer: str, *, base: bool = False) -> str:
        answer = answer.replace("\t", "    ")
        return sanitize_calibrated(self.text(task) + answer if base else answer, task.entry_point)

    def code(self, task: Task, completion: str) -> str:
        return task.head + task.prompt + completion


@dataclass(frozen=True)
class BigCodeBenchInstruct(BigCodeBenchComplete):
    """The same tasks, asked in words; for chat models only."""

    name: ClassVar[str] = "bigcodebench_instruct"
    tasks: list[Task]

    def messages(self, task: Task) -> list[Message]:
        return chat(task.question.strip())

    def given(self, task: Task) -> str:
        return task.head.removesuffix(HEAD_END)

    def text(self, task: Task) -> str:  # noqa: ARG002
        raise CodeBlockError(
            f"benchmark {self.name}: a base model cannot be asked in words; use {self.name.replace('instruct', 'complete')}, "
            "or evaluate.prompt=chat for a model that follows a chat"
        )


@dataclass(frozen=True)
class BigCodeBenchHardComplete(BigCodeBenchComplete):
    """The 148 hard tasks."""

    name: ClassVar[str] = "bigcodebench_hard_complete"
    tasks: list[Task]


@dataclass(frozen=True)
class BigCodeBenchHardInstruct(BigCodeBenchInstruct):
    """The 148 hard tasks, asked in words."""

    name: ClassVar[str] = "bigcodebench_hard_instruct"
    tasks: list[Task]


def _libraries(row: dict[str, Any], place: str) -> list[str]:
    """The field `libs`: a list, or (in the official file) the text of one."""
    libraries = row.get("libs")
    try:
        libraries = ast.literal_eval(libraries) if isinstance(libraries, str) else libraries
    except (SyntaxError, ValueError):
        libraries = None
    if not isinstance(libraries, list):
        raise CodeBlockError(f"{place}: field 'libs' is missing or no list; is this the benchmark's file?")
    return [str(library) for library in libraries]


def _packages(libraries: list[str], *sources: str) -> tuple[str, ...]:
    """Top-level modules outside the standard library that a task names or that its code and tests import."""
    modules = {library.partition(".")[0] for library in libraries}
    for source in sources:
        if not _words_after_import(source) <= modules | sys.stdlib_module_names:
            modules |= _imports(source)
    return tuple(sorted(modules - sys.stdlib_module_names))


def _words_after_import(source: str) -> set[str]:
    """At least all modules that a source imports: parsing every task would take seconds. [ours]"""
    found = IMPORT.findall(source.replace("\\\n", " "))
    named = [part.split() for _, names in found for part in names.split(",")]
    return {
        module.partition(".")[0]
        for module in [*(module for module, _ in found if module), *(each[0] for each in named if each)]
    }


def _imports(source: str) -> set[str]:
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:
        return set()  # its grading says so
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {module.partition(".")[0] for module in modules}
