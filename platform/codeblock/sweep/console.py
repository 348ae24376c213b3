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
"""Finished trials that the live table shows, the last ones, where the terminal has room for so many."""
TIME_WIDTH = 14
"""Characters of a line that are neither the trial's name nor its state."""
HEADING_LINES = 5
"""Lines of the live table that are no trial's."""


class Screen:
    """The screen of a sweep of so many trials."""

    def __init__(self, trials: int, done: int) -> None:
        self._total, self._done, self._new = trials, done, 0
        self._running: dict[tuple[Point, int], tuple[float, str]] = {}
        self._finished: list[tuple[str, str, str]] = []
        self._started = time.monotonic()
        self._live = None
        if console.is_terminal:  # drawn anew each second, for the times of the trials that run
            self._live = Live(console=console, get_renderable=self._table, refresh_per_second=1, transient=True)

    def begins(self, point: Point, seed: int) -> None:
        """A trial has begun."""
        self._running[point, seed] = time.monotonic(), "selects and trains"

    def looks(self, point: Point, seed: int, step: int, nll: float) -> None:
        """A trial has looked at the held-out pairs."""
        self._running[point, seed] = self._running.get((point, seed), (time.monotonic(), ""))[0], f"step {step}, nll {nll:.3f}"

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
        minutes = left * (time.monotonic() - self._started) / self._new / 60
        return f"; about {minutes:.0f} min left" if minutes >= 1 else "; less than a minute left"

    def _table(self) -> Table:
        """The last finished trials, and those that run. Called by another thread."""
        table = Table(box=SIMPLE_HEAD, show_edge=False, title=f"{self._done} of {self._total} trials{self._left_now()}")
        now, running = time.monotonic(), list(self._running.items())
        room = max(0, min(SHOWN, console.height - HEADING_LINES - len(running)))
        rows = self._finished[-room:] if room else []
        rows += [(f"{point.name} seed {seed}", state, f"{now - since:.0f} s") for (point, seed), (since, state) in running]
        widest = min(console.width // 2, max((len(name) for name, _, _ in rows), default=0))
        # A line each: a state that does not fit in it was told above, or is told at the end.
        state = max(10, console.width - widest - TIME_WIDTH)
        for heading, least, most in (("trial", widest, widest), ("state", None, state), ("time", None, None)):
            table.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=least, max_width=most)
        for number, row in enumerate(rows):
            table.add_row(*map(escape, row), style="bold" if number >= len(rows) - len(running) else "")
        return table

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
