"""The table of arms: what the issue asks for in each row, in a terminal of 80 columns and in markdown."""

from __future__ import annotations

import pytest
from rich.console import Console

from codeblock.report.table import ArmRow, Score, arms_markdown, arms_table

BASE = ArmRow("base", {"tiny": Score(200, 0.312, 0.25, 0.38)})
FULL = ArmRow("full", {"tiny": Score(200, 0.61, 0.54, 0.67)}, 210_432, 0.981, None, 1980, 402_111, 61.23)
RANDOM = ArmRow("random_tokens", {"tiny": Score(200, 0.4, 0.34, 0.47)}, 4075, 0.01902, 0.019, 1200, 190_233, 31.3)
ROWS = [BASE, FULL, RANDOM]


def printed(rows: list[ArmRow], width: int = 80) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(arms_table(rows))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_row_tells_tokens_share_cost_and_pass_at_1_with_its_interval() -> None:
    row = next(line for line in printed(ROWS) if line.startswith("random_tokens"))
    assert row.split(maxsplit=7) == [
        "random_tokens",
        "4,075",
        "1.9%",
        "1.9%",
        "1,200",
        "190,233",
        "31.3",
        "0.400 [0.34, 0.47]",
    ]


def test_an_arm_without_training_has_dashes_in_the_columns_of_training() -> None:
    row = next(line for line in printed(ROWS) if line.startswith("base"))
    assert row.split(maxsplit=7) == ["base", *["—"] * 6, "0.312 [0.25, 0.38]"]


def test_with_one_benchmark_nothing_is_wrapped_or_cut_at_80_columns() -> None:
    lines = printed(ROWS)
    assert all("…" not in line and len(line) <= 80 for line in lines)
    assert sum(line.split(" ")[0] in {"base", "full", "random_tokens"} for line in lines) == 3


def test_with_two_benchmarks_the_interval_stands_below_its_value() -> None:
    rows = [ArmRow("base", {**BASE.scores, "humaneval": Score(164, 0.0, 0.0, 0.022)})]
    lines = printed(rows, 100)
    place = next(index for index, line in enumerate(lines) if line.startswith("base"))
    assert lines[place].split()[-2:] == ["0.312", "0.000"]
    assert lines[place + 1].split("  ")[-1].strip().endswith("[0.25, 0.38] [0.00, 0.02]")


def test_a_benchmark_that_an_arm_lacks_is_a_dash() -> None:
    rows = [BASE, ArmRow("other", {"humaneval": Score(164, 0.5, 0.42, 0.58)})]
    cells = [cell.strip() for cell in arms_markdown(rows).splitlines()[3].strip("|").split("|")]
    assert cells[-2:] == ["—", "0.500 [0.42, 0.58]"]


def test_markdown_has_the_same_cells() -> None:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in arms_markdown(ROWS).splitlines()]
    assert lines[0] == [
        "arm",
        "supervised tokens",
        "of the pool",
        "asked",
        "pairs",
        "processed tokens",
        "train seconds",
        "tiny pass@1 (200 tasks)",
    ]
    assert {len(line) for line in lines} == {8}
    assert lines[3] == ["full", "210,432", "98.1%", "—", "1,980", "402,111", "61.2", "0.610 [0.54, 0.67]"]


@pytest.mark.parametrize("name", ["[red]x", "a|b"])
def test_markup_in_a_name_is_text(name: str) -> None:
    row = ArmRow(name, BASE.scores)
    assert any(line.startswith(name) for line in printed([row], 120))
    assert len(arms_markdown([row]).splitlines()[2].replace(r"\|", "").split("|")) == 10
