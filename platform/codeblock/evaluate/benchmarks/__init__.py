"""The registry of benchmarks. A new benchmark is one file that makes a `Benchmark`, and one line here."""

from __future__ import annotations

from codeblock.errors import CodeBlockError
from codeblock.evaluate.benchmarks.base import Benchmark, Task
from codeblock.evaluate.benchmarks.humaneval import HumanEval
from codeblock.evaluate.benchmarks.tiny import Tiny

__all__ = ["BENCHMARKS", "Benchmark", "Task", "load"]

BENCHMARKS: dict[str, type[Benchmark]] = {"tiny": Tiny, "humaneval": HumanEval}


def load(name: str, path: str, limit: int | None = None) -> Benchmark:
    """The first `limit` tasks (all where None) of the benchmark `name` from its file at `path`.

    Raises CodeBlockError for an unknown name, and for a file that is missing, empty or broken (with the line).
    """
    if name not in BENCHMARKS:
        raise CodeBlockError(f"benchmark {name!r}: unknown; known are {', '.join(sorted(BENCHMARKS))}")
    return BENCHMARKS[name].read(path, limit)
