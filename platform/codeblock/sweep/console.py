"""What the user sees while a sweep goes on: one live table in a terminal, a line for each finished trial elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from codeblock.core.console import console, say
from codeblock.core.metrics import mean_pass_at_k
from codeblock.report.table import DASH
from codeblock.sweep.points import Point
from codeblock.sweep.record import Record

SHOWN = 12
"""Finished trials that the live table shows, the last ones."""


class Screen:
    """The screen of a sweep of so many trials."""

    def __init__(self, trials: int, done: int) -> None:
        self._total, self._done, self._new = trials, done, 0
        self._running: dict[tuple[Point, int], tuple[float, str]] = {}
        self._finished: list[tuple[str, str, str]] = []
        self._started = time.monotonic()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def begins(self, point: Point, seed: int) -> None:
        """A trial has begun."""
        self._running[point, seed] = time.monotonic(), "selects and trains"
        self._draw()

    def looks(self, point: Point, seed: int, step: int, nll: float) -> None:
        """A trial has looked at the held-out pairs."""
        self._running[point, seed] = self._running.get((point, seed), (time.monotonic(), ""))[0], f"step {step}, nll {nll:.3f}"
        self._draw()

    def ends(self, record: Record) -> None:
        """A trial has ended."""
        self._running.pop((record.point, record.seed), None)
        self._done, self._new = self._done + 1, self._new + 1
        came = came_to(record)
        self._finished.append((record.name, came, f"{record.seconds:.0f} s"))
        if self._live is None:
            say(f"{self._done} of {self._total}  {record.name}: {came} ({record.seconds:.0f} s{self._left()})")
        elif record.status == "failed":
            console.print(f"[yellow]{escape(record.name)}: {escape(came)}[/yellow]")
        self._draw()

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def _left(self) -> str:
        left = self._total - self._done
        if not left:
            return ""
        return f"; about {left * (time.monotonic() - self._started) / self._new / 60:.0f} min left"

    def _draw(self) -> None:
        if self._live is None:
            return
        table = Table(box=SIMPLE_HEAD, show_edge=False, title=f"{self._done} of {self._total} trials{self._left_now()}")
        for heading in ("trial", "state", "time"):
            table.add_column(heading)
        for name, came, took in self._finished[-SHOWN:]:
            table.add_row(escape(name), escape(came), took)
        now = time.monotonic()
        for (point, seed), (since, state) in self._running.items():
            table.add_row(f"[bold]{escape(point.name)} seed {seed}[/bold]", escape(state), f"{now - since:.0f} s")
        self._live.update(table, refresh=True)

    def _left_now(self) -> str:
        return self._left() if self._new else ""


def came_to(record: Record) -> str:
    """What a trial came to, in a few words."""
    if record.status == "failed":
        return f"failed twice: {record.error}"
    if record.status == "stopped":
        if not record.steps:
            return "not begun: another seed of the point was stopped early"
        nll = f", nll {record.looks[-1][1]:.3f}" if record.looks else ""
        return f"stopped early at step {record.steps}{nll}"
    passed = [f"pass@1 {mean_pass_at_k(list(tasks.values()), 1):.3f} on {name}" for name, tasks in record.counts.items()]
    likely = [f"reference nll {sum(nll.values()) / len(nll):.3f}" for nll in record.nll.values() if nll]
    return ", ".join([*passed, *likely]) or DASH
