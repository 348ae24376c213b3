"""The table of what was picked: for each arm the shares of its supervised tokens by what they do in the code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from codeblock.report.table import DASH

Counts = Mapping[str, Mapping[str, int]]
"""By role: tokens of the `pool` (all kept pairs) and `selected` ones."""
PART_OF_ALL = frozenset({"in poor pairs"})
"""Rows that are no roles: their tokens are in other rows too."""


@dataclass(frozen=True)
class Group:
    """Arms that chose from the same pairs."""

    pool: dict[str, float]
    """Share of the tokens by role."""
    arms: dict[str, dict[str, float]]
    """The same of what each arm selected."""

    def cell(self, arm: str, role: str) -> str:
        """A share and, behind it, by what factor it differs from the pool's."""
        selected, pool = self.arms[arm].get(role, 0.0), self.pool[role]
        return f"{100 * selected:.1f}% x{selected / pool:.2g}" if pool else DASH


def groups(picked: Mapping[str, Counts]) -> list[Group]:
    """Arms by the pairs that they chose from, in order. `picked`: the fact of each arm."""
    found: dict[tuple[tuple[str, int], ...], dict[str, Counts]] = {}
    for arm, counts in picked.items():
        found.setdefault(tuple((role, count["pool"]) for role, count in counts.items()), {})[arm] = counts
    return [
        Group(
            _shares(dict(pool)),
            {arm: _shares({role: count["selected"] for role, count in counts.items()}) for arm, counts in arms.items()},
        )
        for pool, arms in found.items()
    ]


def _shares(tokens: Mapping[str, int]) -> dict[str, float]:
    total = sum(count for role, count in tokens.items() if role not in PART_OF_ALL)
    return {role: count / total if total else 0.0 for role, count in tokens.items()}


def picked_tables(picked: Mapping[str, Counts]) -> list[Table]:
    """For the terminal: one table for the arms that chose from the same pairs."""
    return [_table(group) for group in groups(picked)]


def _table(group: Group) -> Table:
    caption = "what was picked: share of tokens, and how many times that of the kept pairs"
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), caption=caption)
    for place, heading in enumerate(("tokens of", "kept pairs", *group.arms)):
        table.add_column(escape(heading), justify="right" if place else "left", no_wrap=place == 0, overflow="fold")
    for cells in _rows(group):
        table.add_row(*map(escape, cells))
    return table


def _rows(group: Group) -> Sequence[list[str]]:
    return [[role, f"{100 * pool:.1f}%", *(group.cell(arm, role) for arm in group.arms)] for role, pool in group.pool.items()]


def picked_markdown(picked: Mapping[str, Counts]) -> str:
    """The same tables for a report."""
    tables = []
    for group in groups(picked):
        lines = [["tokens of", "kept pairs", *group.arms], ["---"] + ["---:"] * (1 + len(group.arms)), *_rows(group)]
        tables.append("".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines))
    return (
        "Share of the supervised tokens by what they do in the code, and how many times (x) the share in the kept pairs.\n\n"
        + "\n".join(tables)
    )
