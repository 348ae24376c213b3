"""Arms side by side: pass@1 of each, and its difference to one of them on the same tasks, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from codeblock.evaluate.metrics import PairedComparison

DASH = "—"


@dataclass(frozen=True)
class Differences:
    """The arms on one benchmark, each held against `baseline` on the tasks that all of them have."""

    benchmark: str
    baseline: str
    arms: dict[str, PairedComparison]
    """Without the baseline, which is the first arm of each comparison."""
    left_out: int
    """Tasks that an arm lacks or that were not run (missing packages)."""

    def facts(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def differences_table(found: Differences) -> Table:
    """The table for the terminal; fits 80 columns where names of arms are short."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), title=escape(heading(found)))
    table.title_justify, table.title_style = "left", "bold"
    for place, name in enumerate(_headings(found)):
        table.add_column(escape(name), justify="right" if place else "left", no_wrap=place > 0, overflow="fold")
    for cells in _rows(found):
        table.add_row(*(escape(cell) for cell in cells))
    return table


def differences_markdown(found: Sequence[Differences]) -> str:
    """The same tables, one below the other, with what they mean."""
    return "\n".join(f"## {heading(each)}\n\n{_markdown(each)}\n{note(each)}\n" for each in found)


def heading(found: Differences) -> str:
    """The benchmark and its tasks."""
    tasks = next(iter(found.arms.values())).tasks
    left_out = f", {found.left_out:,} left out: not run, or not by every arm" if found.left_out else ""
    return f"{found.benchmark}: {tasks:,} tasks{left_out}"


def note(found: Differences) -> str:
    """How to read the numbers."""
    count, methods = len(found.arms), " and ".join(sorted({each.method for each in found.arms.values()}))
    many = f"; {count} comparisons, each p is of one alone" if count > 1 else ""
    return f"pass@1 - {found.baseline} with its 95% interval; {methods}{many}."


def _headings(found: Differences) -> list[str]:
    return ["arm", "pass@1", f"- {found.baseline}", f"only {found.baseline}", "only it", "p"]


def _rows(found: Differences) -> list[list[str]]:
    first = next(iter(found.arms.values()))
    rows = [[found.baseline, _share(first.first, first.first_interval), *[DASH] * 4]]
    for name, arm in found.arms.items():
        low, high = arm.interval
        difference = f"{arm.difference:+.3f} [{low:+.2f}, {high:+.2f}]"
        counts = [f"{arm.only_first:,}", f"{arm.only_second:,}"]
        rows.append([name, _share(arm.second, arm.second_interval), difference, *counts, f"{arm.p_value:.3g}"])
    return rows


def _share(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _markdown(found: Differences) -> str:
    lines = [_headings(found), ["---"] + ["---:"] * 5, *_rows(found)]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines) + "\n"
