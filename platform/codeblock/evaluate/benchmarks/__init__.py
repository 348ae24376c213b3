"""The registry of benchmarks. A new benchmark is one file that makes a `Benchmark`, and one line here."""

from __future__ import annotations

from codeblock.errors import CodeBlockError
from codeblock.evaluate.benchmarks.base import Benchmark, Task
from codeblock.evaluate.benchmarks.bigcodebench import (
    BigCodeBenchComplete,
    BigCodeBenchHardComplete,
    BigCodeBenchHardInstruct,
    BigCodeBenchInstruct,
)
from codeblock.evaluate.benchmarks.humaneval import HumanEval
from codeblock.evaluate.benchmarks.humanevalplus import HumanEvalPlus
from codeblock.evaluate.benchmarks.mbpp import Mbpp, MbppAll
from codeblock.evaluate.benchmarks.mbppplus import MbppPlus
from codeblock.evaluate.benchmarks.tiny import Tiny
from codeblock.evaluate.source import resolve

__all__ = ["BENCHMARKS", "Benchmark", "Task", "load"]

KINDS: list[type[Benchmark]] = [
    Tiny,
    HumanEval,
    HumanEvalPlus,
    Mbpp,
    MbppAll,
    MbppPlus,
    BigCodeBenchComplete,
    BigCodeBenchInstruct,
    BigCodeBenchHardComplete,
    BigCodeBenchHardInstruct,
]
BENCHMARKS: dict[str, type[Benchmark]] = {kind.name: kind for kind in KINDS}


def load(name: str, source: str, limit: int | None = None) -> Benchmark:
    """The first `limit` tasks (all where None) of the benchmark `name` from `source`: a path, or a file of a hub dataset.

    Raises CodeBlockError for an unknown name, a source that `resolve` cannot find, and a file that is empty or broken (with the
    line).
    """
    check_name(name)
    return BENCHMARKS[name].read(resolve(source), limit)


def check_name(name: str) -> None:
    """Raises CodeBlockError where there is no such benchmark."""
    if name not in BENCHMARKS:
        raise CodeBlockError(f"benchmark {name!r}: unknown; known are {', '.join(sorted(BENCHMARKS))}")
