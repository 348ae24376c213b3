"""The registry of benchmarks. A new benchmark is one file that makes a `Benchmark`, and one line here."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate.benchmarks.base import Benchmark, Task
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
from codeblock.evaluate.source import content_hash, provenance, resolve

__all__ = ["BENCHMARKS", "Benchmark", "Task", "load", "tasks_fingerprint"]

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


def tasks_fingerprint(name: str, source: str) -> str:
    """A hash of what a source holds, compressed or not, wherever it lies. Raises what `load` raises."""
    path = resolve(source)
    return _fingerprint(name, path, _state(path))


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of a file: while they stay, it is read once."""
    facts = path.stat() if path.exists() else None
    return (facts.st_size, facts.st_mtime_ns) if facts else None


@lru_cache(maxsize=8)
def _read(name: str, path: Path, limit: int | None, _of: tuple[int, int] | None) -> Benchmark:
    return BENCHMARKS[name].read(path, limit)


@cache
def _fingerprint(name: str, path: Path, _of: tuple[int, int] | None) -> str:
    load(name, str(path))  # a broken file is told before the work, not after it
    return content_hash(path)
