"""HumanEval+ from the file HumanEvalPlus.jsonl.gz of EvalPlus's release (v0.1.10): HumanEval with some 80 times its tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from codeblock.evaluate.benchmarks.base import Task
from codeblock.evaluate.benchmarks.evalplus import STOPS, EvalPlus


@dataclass(frozen=True)
class HumanEvalPlus(EvalPlus):
    """Inputs are JSON as they are."""

    name: ClassVar[str] = "humanevalplus"
    stops: ClassVar[tuple[str, ...]] = (*STOPS, "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")
    rules: ClassVar[dict[str, str]] = {"find_zero": "root"}
    tasks: list[Task]

    def given(self, task: Task) -> str:
        return task.prompt

    @classmethod
    def arguments(cls, task_id: str, stored: Sequence[Any]) -> list[Any]:  # noqa: ARG003
        return list(stored)
