"""The registry of benchmarks. A new benchmark is one file that makes a `Benchmark`, and one line here."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks.base import Benchmark, PromptKind, Task
from codeblock.evaluate.benchmarks.bigcodebench import (
    BigCodeBenchComplete,
    BigCodeBenchHardComplete,
    BigCodeBenchHardInstruct,
    BigCodeBenchInstruct,
)
from codeblock.evaluate.benchmarks.humaneval import HumanEval
from codeblock.evaluate.benchmarks.humanevalplus import HumanEvalPlus
from codeblock.evaluate.benchmarks.humanevalx import HumanEvalXJavaScript
from codeblock.evaluate.benchmarks.mbpp import Mbpp, MbppAll
from codeblock.evaluate.benchmarks.mbppplus import MbppPlus
from codeblock.evaluate.benchmarks.tiny import Tiny
from codeblock.evaluate.source import provenance, resolve

__all__ = ["BENCHMARKS", "Benchmark", "PromptKind", "Task", "load"]

KINDS: list[type[Benchmark]] = [
    Tiny,
    HumanEval,
    HumanEvalPlus,
    HumanEvalXJavaScript,
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
    if name not in BENCHMARKS:
        raise CodeBlockError(f"benchmark {name!r}: unknown; known are {', '.join(sorted(BENCHMARKS))}")
    path = resolve(source)
    return replace(_read(name, path, limit, _state(path)), provenance=provenance(name, path))


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of a file: while they stay, it is read once."""
    facts = path.stat() if path.exists() else None
    return (facts.st_size, facts.st_mtime_ns) if facts else None


@lru_cache(maxsize=8)
def _read(name: str, path: Path, limit: int | None, _of: tuple[int, int] | None) -> Benchmark:
    return BENCHMARKS[name].read(path, limit)
