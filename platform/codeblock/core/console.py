"""What the user sees while work goes on: a line at the start and the end of a stage, and between them how far it is.

A terminal gets a bar; a file, such as a Ray job's log, a line every `LINE_SECONDS`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Stage(Protocol):
    """What is announced: its name, and whether its facts are there already."""

    @property
    def label(self) -> str: ...
    @property
    def facts(self) -> Mapping[str, Any] | None: ...


LOG_WIDTH = 200
"""Characters of a table's lines where there is no terminal, so that none is broken."""
console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else LOG_WIDTH)
errors = Console(stderr=True, highlight=False, emoji=False)


def say(text: str) -> None:
    """One line of plain text."""
    console.print(escape(text), soft_wrap=True)


LINE_SECONDS = 30.0
"""Time between two lines of long work where there is no terminal."""


@dataclass
class _Count:
    """How far some work is."""

    what: str
    total: int | None
    started: float
    done: int = 0
    note: str = ""

    def line(self, now: float) -> str:
        """Such as `score: 12 of 40, 0.5/s, about 56 s left`."""
        seconds, said = now - self.started, f"{self.what}: {self.done:,}" + (f" of {self.total:,}" if self.total else "")
        if self.done and seconds > 0:
            said += f", {self.done / seconds:.3g}/s"
            if self.total:
                said += f", about {(self.total - self.done) * seconds / self.done:,.0f} s left"
        return f"{said} ({self.note})" if self.note else said


_counts: list[_Count] = []
"""The counts that are shown now, the innermost last."""


@contextmanager
def stage_line(step: Stage) -> Iterator[None]:
    """Announce a step and its end; a step that is cached already says so."""
    label = escape(f"{step.label:<28}")
    if step.facts is not None:
        console.print(f"[dim]{label} cached[/dim]")
        yield
        return
    console.print(f"[bold]{label}[/bold] ...")
    started = time.perf_counter()
    with lines(step.label):
        yield
    console.print(f"[bold]{label}[/bold] [green]done[/green] in {time.perf_counter() - started:.1f} s")


@contextmanager
def lines(label: str) -> Iterator[None]:
    """Say every `LINE_SECONDS` how far the work of the block is, where no terminal shows it."""
    if console.is_terminal:
        yield
        return
    ended, started = threading.Event(), time.perf_counter()

    def tell() -> None:
        while not ended.wait(LINE_SECONDS):
            now = time.perf_counter()
            far = "".join(f", {count.line(now)}" for count in _counts[-1:])  # another thread may end it meanwhile
            say(f"{label}: {now - started:,.0f} s so far{far}")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


Advance = Callable[..., None]
"""`advance(count, note="")`: so many more are done; the note, such as the loss, is shown beside. From any thread."""


@contextmanager
def counter(what: str, total: int | None = None) -> Iterator[Advance]:
    """A count that is shown while work streams through; gives the function that advances it."""
    known: tuple[ProgressColumn, ...] = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    columns = known if total is not None else (MofNCompleteColumn(), TimeElapsedColumn())
    count = _Count(what, total, time.perf_counter())
    # In a file it would be empty lines.
    with Progress(
        TextColumn("  {task.description}"), *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=total)

        def advance(done: int, note: str = "") -> None:
            count.done, count.note = count.done + done, note
            progress.update(task, advance=done, description=f"{what}, {note}" if note else what)

        _counts.append(count)
        try:
            yield advance
        finally:
            _counts.remove(count)
