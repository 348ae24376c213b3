"""The table of what was picked: for each arm the shares of its supervised tokens by what they do in the code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from codeblock.core.records import RoleCounts
from codeblock.report.table import DASH

ROLE, POOL = "tokens of", "kept pairs"
CAPTION = "what was picked: share of tokens, and how many times that of the kept pairs"
HEADING = 16
"""Characters of an arm's name that may widen its column; a longer name takes more lines."""
GAP = 2
"""Columns of text between two columns of a table: the padding and the line of its box."""
PART_OF_ALL = frozenset({"in poor pairs"})
"""Rows that are no roles: their tokens are in other rows too."""


@dataclass(frozen=True)
class ArmGroup:
    """Arms that chose from the same pairs."""

    pool: dict[str, float]
    """Share of the tokens by role."""
    arms: dict[str, dict[str, float]]
    """The same of what each arm selected."""

    def cell(self, arm: str, role: str) -> str:
        """A share and, behind it, by what factor it differs from the pool's."""
        selected, pool = self.arms[arm].get(role, 0.0), self.pool[role]
        return f"{100 * selected:.1f}% x{selected / pool:.2g}" if pool else DASH


def groups(picked: Mapping[str, RoleCounts]) -> list[ArmGroup]:
    """Arms by the pairs that they chose from, in order. `picked`: the fact of each arm."""
    found: dict[tuple[tuple[str, int], ...], dict[str, RoleCounts]] = {}
    for arm, counts in picked.items():
        # Facts of older runs have their roles by the alphabet.
        found.setdefault(tuple(sorted((role, count["pool"]) for role, count in counts.items())), {})[arm] = counts
    return [
        ArmGroup(
            _shares({role: count["pool"] for role, count in next(iter(arms.values())).items()}),
            {arm: _shares({role: count["selected"] for role, count in counts.items()}) for arm, counts in arms.items()},
        )
        for arms in found.values()
    ]


def _shares(tokens: Mapping[str, int]) -> dict[str, float]:
    total = sum(count for role, count in tokens.items() if role not in PART_OF_ALL)
    return {role: count / total if total else 0.0 for role, count in tokens.items()}


def picked_tables(picked: Mapping[str, RoleCounts], width: int = 80) -> list[Table]:
    """For the terminal: the arms that chose from the same pairs, in as many tables as `width` (columns of text) asks for."""
    return [table for group in groups(picked) for table in _tables(group, width)]


def _tables(group: ArmGroup, width: int) -> Iterator[Table]:
    rows = _rows(group)
    roles = max(cell_len(text) for text in (ROLE, *(row[0] for row in rows)))
    pool = max(cell_len(text) for text in (*POOL.split(), *(row[1] for row in rows)))
    arms = {arm: _width(group, arm) for arm in group.arms}
    chunks: list[list[str]] = [[]]
    for arm in arms:
        if chunks[-1] and roles + pool + sum(arms[each] + GAP for each in (*chunks[-1], arm)) + GAP > width:
            chunks.append([])
        chunks[-1].append(arm)
    for chunk in chunks:
        caption = CAPTION if chunk is chunks[-1] else None
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), caption=caption)
        table.add_column(ROLE, width=roles, overflow="fold")
        table.add_column(POOL.replace(" ", "\n"), justify="right", width=pool, overflow="fold")
        for arm in chunk:
            table.add_column(escape(arm), justify="right", width=arms[arm], overflow="fold")
        for cells in _rows(ArmGroup(group.pool, {arm: group.arms[arm] for arm in chunk})):
            table.add_row(*map(escape, cells))
        yield table


def _width(group: ArmGroup, arm: str) -> int:
    """Of an arm's column: its widest cell, or its name as far as a heading of one line may make it wider."""
    return max(*(cell_len(group.cell(arm, role)) for role in group.pool), min(cell_len(arm), HEADING))


def _rows(group: ArmGroup) -> Sequence[list[str]]:
    return [[role, f"{100 * pool:.1f}%", *(group.cell(arm, role) for arm in group.arms)] for role, pool in group.pool.items()]


def picked_markdown(picked: Mapping[str, RoleCounts]) -> str:
    """The same tables for a report."""
    tables = []
    for group in groups(picked):
        lines = [[ROLE, POOL, *group.arms], ["---"] + ["---:"] * (1 + len(group.arms)), *_rows(group)]
        tables.append("".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines))
    return (
        "Share of the supervised tokens by what they do in the code, and how many times (x) the share in the kept pairs.\n\n"
        + "\n".join(tables)
    )
