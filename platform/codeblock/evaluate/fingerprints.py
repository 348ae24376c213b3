"""What of a benchmark decides a step: hashes of all that its file holds, and of what those steps read that look at less.

The tests of a task decide how answers are graded, and not what is asked: a corrected test leaves the answers as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from codeblock.core.digests import value_digest
from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks import Benchmark, PromptKind, Task, load
from codeblock.evaluate.source import content_hash, resolve
from codeblock.sandbox.oracles import Command


@dataclass(frozen=True)
class Fingerprints:
    """Hashes of a benchmark's tasks, and the commands that tell by which versions of other languages than Python they run."""

    whole: str
    """All that the file holds, compressed or not, wherever it lies."""
    asked: str
    """What a model is asked, and where its answers end."""
    references: str
    """What it is asked, and the reference that answers it."""
    texts: str
    """Prompts and solutions as they stand in the file."""
    versions: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, told: str) -> Fingerprints:
        """One fingerprint for all parts of tasks in Python."""
        return cls(told, told, told, told)


def fingerprints(name: str, source: str, prompt: PromptKind = "auto") -> Fingerprints:
    """The fingerprints of a benchmark. `auto` counts both ways of asking: which one it is, the tokenizer says.

    Raises what `load` raises: a broken file is told before the work, not after it.
    """
    path = resolve(source)
    facts = path.stat() if path.exists() else None
    return _fingerprints(name, path, prompt, (facts.st_size, facts.st_mtime_ns) if facts else None)


@cache
def _fingerprints(name: str, path: Path, prompt: PromptKind, _at: tuple[int, int] | None) -> Fingerprints:
    benchmark = load(name, str(path))
    tasks = benchmark.tasks
    asked = [[task.task_id, *_prompts(benchmark, task, prompt)] for task in tasks]
    stops = [() if prompt == "base" else benchmark.chat_stops, () if prompt == "chat" else benchmark.stops]
    return Fingerprints(
        whole=content_hash(path),
        asked=value_digest([asked, stops, benchmark.max_new_tokens]),
        references=value_digest([asked, [(task.reference, benchmark.given(task)) for task in tasks]]),
        texts=value_digest([(task.task_id, task.prompt, task.reference) for task in tasks]),
        versions=tuple(sorted({task.oracle.version for task in tasks if isinstance(task.oracle, Command)})),
    )


def _prompts(benchmark: Benchmark, task: Task, prompt: PromptKind) -> list[Any]:
    """A task as a chat and as text; None where it is not asked in that way, or cannot be."""
    try:
        text = None if prompt == "chat" else benchmark.text(task)
    except CodeBlockError:  # told where it is asked
        text = None
    return [None if prompt == "base" else benchmark.messages(task), text]
