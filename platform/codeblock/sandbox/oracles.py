"""What a benchmark holds a solution against. Plain data: the sandbox carries it out.

`Script` and `Cases` are carried out by a process of their own, which calls the solution in another one: the solution never
holds the tests, the expected values or the verdict in its memory. The class of a `UnitTest` runs beside the solution, because
such tests patch the modules that the solution uses; the verdict is decided outside, by how each test ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What one solution may use."""

    timeout_seconds: float = 3.0
    """Seconds of one sample, or of one input of `Cases`: wall clock, less the time that the kernel let the solution wait."""
    reference_factor: float = 4.0
    """A sample may always take this many times what the task's reference takes on this machine."""
    total_seconds: float = 60.0
    """Most seconds of a sample over all inputs of `Cases`."""
    memory_mb: int = 1024
    """Address space (MiB) of each process of the solution."""


@dataclass(frozen=True)
class Script:
    """Tests written as code that ends without an error exactly if the solution is right."""

    setup: str
    """Trusted code that runs first: imports and helpers of the tests. Its names win over the solution's, but for `calls`."""
    test: str
    """The tests. Names that neither they, `setup` nor Python's builtins define are the solution's."""
    calls: str
    """Name of the function or class under test: always the solution's."""


@dataclass(frozen=True)
class Cases:
    """Inputs whose expected outputs are what the reference returns for them (EvalPlus)."""

    inputs: Sequence[Sequence[Any]]
    """Positional arguments of each call, the base inputs first."""
    base: int
    """Number of base inputs; the rest is the benchmark's "plus"."""
    reference: str
    """Whole solution whose outputs are expected."""
    calls: str
    """Name of the function under test."""
    compare: str = "equal"
    """How an output is held against the expected one: a name of `sandbox.compare`."""
    atol: float = 0.0
    """Absolute tolerance of floats; where 0 and the expected output is made of floats, 1e-6."""


@dataclass(frozen=True)
class UnitTest:
    """A `unittest` class that runs in the solution's own process (BigCodeBench)."""

    test: str
    """Code that defines the class; runs in the solution's module."""
    name: str = "TestCases"
    calls: str = ""
    """Name of the function under test: the tests must fail where its answers are thrown away. Empty: that is not tried."""


Oracle = Script | Cases | UnitTest
