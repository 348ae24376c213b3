"""Arms side by side: pass@1 of each, and its difference to one of them on the same tasks, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from codeblock.core.metrics import PairedComparison, PairedMeans

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
    by_seed: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """The difference of each seed, where an arm has several."""

    def facts(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class NllDifferences:
    """The reference nll of the arms on one benchmark, each held against `baseline` on the tasks that both have."""

    benchmark: str
    baseline: str
    arms: dict[str, PairedMeans]
    by_seed: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"measure": "reference_nll", **asdict(self)}


def differences_table(found: Differences | NllDifferences) -> Table:
    """The table for the terminal; fits 80 columns where names of arms are short."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), title=escape(heading(found)))
    table.title_justify, table.title_style = "left", "bold"
    for place, name in enumerate(_headings(found)):
        # Headings break at their blanks: the width belongs to the names of the arms.
        heading_lines = escape(name).replace(" ", "\n")
        table.add_column(heading_lines, justify="right" if place else "left", no_wrap=place > 0, overflow="fold")
    for cells in _rows(found):
        table.add_row(*(escape(cell) for cell in cells))
    return table


def differences_markdown(found: Sequence[Differences], nll: Sequence[NllDifferences] = ()) -> str:
    """The same tables, one below the other, with what they mean."""
    every: list[Differences | NllDifferences] = [*found, *nll]
    return "\n".join(f"## {heading(each)}\n\n{_markdown(each)}\n{note(each)}\n" for each in every)


def heading(found: Differences | NllDifferences) -> str:
    """The benchmark and its tasks."""
    if isinstance(found, NllDifferences):
        return f"{found.benchmark}, reference nll: {next(iter(found.arms.values())).tasks:,} tasks"
    tasks = next(iter(found.arms.values())).tasks
    left_out = f", {found.left_out:,} left out: not run, or not by every arm" if found.left_out else ""
    return f"{found.benchmark}: {tasks:,} tasks{left_out}"


def note(found: Differences | NllDifferences) -> str:
    """How to read the numbers."""
    count = len(found.arms)
    many = f"; {count} comparisons, each p is of one alone" if count > 1 else ""
    if isinstance(found, NllDifferences):
        how = "nats per token of the references' code, less is better; paired t test over tasks"
        return f"nll - {found.baseline} with its 95% interval; {how}{many}{_seeds(found.by_seed, '+.4f')}."
    methods = " and ".join(sorted({each.method for each in found.arms.values()}))
    return f"pass@1 - {found.baseline} with its 95% interval; {methods}{many}{_seeds(found.by_seed, '+.3f')}."


def _seeds(by_seed: dict[str, tuple[float, ...]], form: str) -> str:
    """The difference of each seed, where there are several: the interval over tasks does not hold their spread."""
    told = [f"{name} {' '.join(f'{each:{form}}' for each in seeds)}" for name, seeds in by_seed.items() if seeds]
    return f"; seeds averaged within a task, by seed: {', '.join(told)}" if told else ""


def _headings(found: Differences | NllDifferences) -> list[str]:
    if isinstance(found, NllDifferences):
        return ["arm", "nll", f"- {found.baseline}", "p"]
    return ["arm", "pass@1", f"- {found.baseline}", f"only {found.baseline}", "only it", "p"]


def _rows(found: Differences | NllDifferences) -> list[list[str]]:
    return _nll_rows(found) if isinstance(found, NllDifferences) else _pass_rows(found)


def _pass_rows(found: Differences) -> list[list[str]]:
    first = next(iter(found.arms.values()))
    rows = [[found.baseline, _share(first.first, first.first_interval), *[DASH] * 4]]
    for name, arm in found.arms.items():
        low, high = arm.interval
        difference = f"{arm.difference:+.3f} [{low:+.2f}, {high:+.2f}]"
        counts = [f"{arm.only_first:,}", f"{arm.only_second:,}"]
        rows.append([name, _share(arm.second, arm.second_interval), difference, *counts, f"{arm.p_value:.3g}"])
    return rows


def _nll_rows(found: NllDifferences) -> list[list[str]]:
    rows = [[found.baseline, f"{next(iter(found.arms.values())).first:.4f}", DASH, DASH]]
    for name, arm in found.arms.items():
        interval = "" if arm.low is None else f" [{arm.low:+.4f}, {arm.high:+.4f}]"
        p_value = DASH if arm.p_value is None else f"{arm.p_value:.3g}"
        rows.append([name, f"{arm.second:.4f}", f"{arm.difference:+.4f}{interval}", p_value])
    return rows


def _share(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _markdown(found: Differences | NllDifferences) -> str:
    headings = _headings(found)
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *_rows(found)]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines) + "\n"
