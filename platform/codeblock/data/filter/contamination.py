"""Decontamination: pairs that share a run of words with a task that will be evaluated.

The rule of GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C): runs of 13 words, lower case and without punctuation.
[ours] Prompts that are shorter than a run (305 of MBPP's 974) are held against the whole request of a pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from codeblock.core.storage.tables import read_part, write_part
from codeblock.data.filter.words import runs, words

INDEX: pa.Schema = pa.schema([("run", pa.string()), ("benchmark", pa.string()), ("task", pa.string())])


@dataclass(frozen=True)
class BenchmarkText:
    """What must not be learned by heart: the prompt and the solution of a benchmark's task."""

    benchmark: str
    task: str
    prompt: str
    solution: str


def write_index(references: Iterable[BenchmarkText], length: int, path: Path) -> None:
    """Write all runs of `length` words; of equal ones the first task is named."""
    found: dict[str, tuple[str, str]] = {}
    for reference in references:
        prompt = words(reference.prompt)
        whole = [_whole(prompt)] if len(prompt) < length else []
        for run in [*runs(prompt, length), *runs(words(reference.solution), length), *whole]:
            found.setdefault(run, (reference.benchmark, reference.task))
    names = list(found.values())
    columns = [list(found), [benchmark for benchmark, _ in names], [task for _, task in names]]
    write_part(path, pa.table(columns, schema=INDEX))


class Index:
    """The runs of all benchmarks, as `write_index` wrote them: about 200 bytes a run, 500 runs a task."""

    def __init__(self, path: Path, length: int) -> None:
        table = read_part(path)
        tasks = zip(table["benchmark"].to_pylist(), table["task"].to_pylist(), strict=True)
        self._tasks = dict(zip(table["run"].to_pylist(), tasks, strict=True))
        self._length = length

    def find(self, text: list[str], request: list[str]) -> str | None:
        """The benchmark, the task and the run that the words of a pair share with it; None where they share none.

        `request`: the words of the user's last turn alone, for the prompts that are shorter than a run.
        """
        if len(request) < self._length and (task := self._tasks.get(_whole(request))):
            return f"{task[0]}, {task[1]}: the whole request is its prompt"
        found = runs(text, self._length)
        if self._tasks.keys().isdisjoint(found):
            return None
        run = next(run for run in found if run in self._tasks)
        return f"{self._tasks[run][0]}, {self._tasks[run][1]}: {run}"


def _whole(sequence: list[str]) -> str:
    """A whole prompt. The line break keeps it apart from a run of other words."""
    return "\n" + " ".join(sequence)
