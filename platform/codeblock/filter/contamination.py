"""Decontamination: pairs that share a run of words with a task that will be evaluated.

The rule of GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C): runs of 13 words, lower case and without punctuation.
[ours] Prompts that are shorter than a run (305 of MBPP's 974) are held against the whole request of a pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import xxhash

from codeblock.filter.words import Messages, last_request, pair_text, runs, words
from codeblock.tables import read_part, write_part

INDEX: pa.Schema = pa.schema([("hash", pa.uint64()), ("benchmark", pa.string()), ("task", pa.string())])


@dataclass(frozen=True)
class Reference:
    """What must not be learned by heart: the prompt and the solution of a benchmark's task."""

    benchmark: str
    task: str
    prompt: str
    solution: str


def write_index(references: Iterable[Reference], length: int, path: Path) -> None:
    """Write the hashes of all runs of `length` words; of equal runs the first task is named."""
    found: dict[int, tuple[str, str]] = {}
    for reference in references:
        prompt = words(reference.prompt)
        whole = [_whole(prompt)] if 0 < len(prompt) < length else []
        for run in [*runs(prompt, length), *runs(words(reference.solution), length), *whole]:
            found.setdefault(_hash(run), (reference.benchmark, reference.task))
    names = list(found.values())
    columns = [list(found), [benchmark for benchmark, _ in names], [task for _, task in names]]
    write_part(path, pa.table(columns, schema=INDEX))


class Index:
    """The runs of all benchmarks, as `write_index` wrote them."""

    def __init__(self, path: Path, length: int) -> None:
        table = read_part(path)
        tasks = zip(table["benchmark"].to_pylist(), table["task"].to_pylist(), strict=True)
        self._tasks = dict(zip(table["hash"].to_pylist(), tasks, strict=True))
        self._length = length

    def find(self, messages: Messages, response: str) -> str | None:
        """The benchmark, the task and the run that a pair shares with it; None where it shares none."""
        request = words(last_request(messages))
        if 0 < len(request) < self._length:
            whole = _whole(request)
            if task := self._tasks.get(_hash(whole)):
                return f"{task[0]}, {task[1]}: the whole request is its prompt"
        for run in runs(words(pair_text(messages, response)), self._length):
            if task := self._tasks.get(_hash(run)):
                return f"{task[0]}, {task[1]}: {run}"
        return None


def _hash(run: str) -> int:
    return xxhash.xxh3_64_intdigest(run.encode())


def _whole(sequence: list[str]) -> str:
    """A whole prompt. The line break keeps it apart from a run of other words."""
    return "\n" + " ".join(sequence)
