"""What the terminal shows: a line at the start and the end of a stage, and a counter where rows or programs stream through."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from codeblock.cache import Step

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line of plain text."""
    console.print(escape(text), soft_wrap=True)


@contextmanager
def stage_line(step: Step) -> Iterator[None]:
    """Announce a step and its end; a step that is cached already says so."""
    label = escape(f"{step.label:<28}")
    if step.facts is not None:
        console.print(f"[dim]{label} cached[/dim]")
        yield
        return
    console.print(f"[bold]{label}[/bold] ...")
    started = time.perf_counter()
    yield
    console.print(f"[bold]{label}[/bold] [green]done[/green] in {time.perf_counter() - started:.1f} s")


@contextmanager
def counter(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A count that is shown while work streams through; gives the function that advances it, from any thread."""
    known: tuple[ProgressColumn, ...] = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    columns = known if total is not None else (MofNCompleteColumn(), TimeElapsedColumn())
    # In a file it would be empty lines.
    with Progress(
        TextColumn("  {task.description}"), *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
