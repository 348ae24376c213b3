"""Segmentation that outlives its grammars: C code that crashes or never returns costs one row, not the run.

A worker segments in its own process under a clock (`watched`). A crash ends the process, and so does a row that takes too
long; Ray then runs the part again, and this time its rows are segmented in a child process (`apart`), whose end tells
which row it was.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codeblock.core.schema import Reason
from codeblock.segmentation import Segmentation

SegmentOutcome = Segmentation | tuple[Reason, str]
"""What was found, or why the row is taken out and in detail."""


class SegmentJob(NamedTuple):
    """One response to segment."""

    response: str
    token_starts: NDArray[np.int32]  # [T] characters of the response


Segment = Callable[[SegmentJob], SegmentOutcome]
SegmentAll = Callable[[Segment, Sequence[SegmentJob]], list[SegmentOutcome]]


def plainly(segment: Segment, jobs: Sequence[SegmentJob]) -> list[SegmentOutcome]:
    """Every job in this process, without a limit."""
    return [segment(job) for job in jobs]


def watched(segment: Segment, jobs: Sequence[SegmentJob], seconds: float) -> list[SegmentOutcome]:
    """Every job in this process, which ends (SIGPROF) where one takes more than so many CPU seconds."""
    with _clock() as restart:
        outcomes = []
        for job in jobs:
            restart(seconds)
            outcomes.append(segment(job))
        return outcomes


def apart(segment: Segment, jobs: Sequence[SegmentJob], seconds: float) -> list[SegmentOutcome]:
    """Every job in a forked child. The job on which a child crashes or runs out of time has that as its outcome."""
    outcomes: list[SegmentOutcome] = []
    while len(outcomes) < len(jobs):
        outcomes += _until_death(segment, jobs[len(outcomes) :], seconds)
    return outcomes


def _until_death(segment: Segment, jobs: Sequence[SegmentJob], seconds: float) -> list[SegmentOutcome]:
    """The outcomes of one child, the last of them its death unless it came to the end."""
    context = multiprocessing.get_context("fork")  # grammars are loaded already, and cannot be pickled
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_serve, args=(segment, jobs, seconds, theirs), daemon=True)
    child.start()
    theirs.close()
    outcomes: list[SegmentOutcome] = []
    with ours, suppress(EOFError):
        while len(outcomes) < len(jobs):
            outcomes.append(ours.recv())
    child.join()
    if len(outcomes) < len(jobs):
        outcomes.append(_death(child.exitcode or 0, seconds))
    return outcomes


def _serve(segment: Segment, jobs: Sequence[SegmentJob], seconds: float, theirs: Connection) -> None:
    """The child: outcomes one by one, so that the parent knows at which job it ended."""
    faulthandler.disable()
    for fatal in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL):
        signal.signal(fatal, signal.SIG_DFL)  # Ray's handlers would write pages of addresses
    with _clock() as restart:
        for job in jobs:
            restart(seconds)
            theirs.send(segment(job))


def _death(exitcode: int, seconds: float) -> tuple[Reason, str]:
    if exitcode == -signal.SIGPROF:
        return Reason.SEGMENTATION_TIMEOUT, f"not done after {seconds:g} CPU seconds (prepare.max_row_seconds)"
    how = signal.Signals(-exitcode).name if exitcode < 0 else f"exit status {exitcode}"
    return Reason.SEGMENTATION_CRASH, f"its process ended with {how}"


@contextmanager
def _clock() -> Iterator[Callable[[float], object]]:
    """Gives a function that lets this process live for so many CPU seconds from now on; the limit ends with the block.

    The kernel ends the process by SIGPROF, whatever code runs and whoever holds the interpreter's lock.
    """
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_PROF, seconds)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
