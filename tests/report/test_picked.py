"""The table and the plot of what was picked."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from codeblock.report.picked import groups, picked_markdown, picked_tables
from codeblock.report.plots import plot_picked

FIRST = {
    "control flow": {"pool": 60, "selected": 1},
    "header": {"pool": 40, "selected": 3},
    "in poor pairs": {"pool": 20, "selected": 1},
}
SECOND = {role: {**counts, "selected": counts["pool"]} for role, counts in FIRST.items()}
OTHER_PAIRS = {"control flow": {"pool": 5, "selected": 5}}


def test_shares_are_of_all_tokens_and_the_factor_is_that_to_the_pools_share() -> None:
    lines = picked_markdown({"codeblock": FIRST, "full": SECOND}).splitlines()
    assert lines[2:] == [
        "| tokens of | kept pairs | codeblock | full |",
        "| --- | ---: | ---: | ---: |",
        "| control flow | 60.0% | 25.0% x0.42 | 60.0% x1 |",
        "| header | 40.0% | 75.0% x1.9 | 40.0% x1 |",
        "| in poor pairs | 20.0% | 25.0% x1.2 | 20.0% x1 |",
    ]


def test_arms_that_chose_from_other_pairs_have_a_table_of_their_own() -> None:
    picked = {"codeblock": FIRST, "small": OTHER_PAIRS, "full": SECOND, "an_arm_of_a_long_name": SECOND}
    assert [list(group.arms) for group in groups(picked)] == [["codeblock", "full", "an_arm_of_a_long_name"], ["small"]]
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        for table in picked_tables(picked):
            console.print(table)
    text = capture.get()
    assert text.count("what was picked") == 2
    assert "…" not in text


@pytest.mark.parametrize(("width", "tables"), [(200, 1), (120, 2), (80, 3)])
def test_arms_that_do_not_fit_the_terminal_go_on_in_another_table(width: int, tables: int) -> None:
    """Every cell stands whole in one line, and no table is wider than the terminal."""
    counts = {"whole function or class": {"pool": 99_998, "selected": 1}, "stop": {"pool": 2, "selected": 1}}
    picked = dict.fromkeys([*(f"random_items_{n}" for n in range(7)), "an_arm_of_a_name_that_is_too_long"], counts)
    found = picked_tables(picked, width)
    assert [table.caption is not None for table in found] == [False] * (tables - 1) + [True]
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        for table in found:
            console.print(table)
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    stops = [line.split() for line in lines if line.startswith("stop ")]
    assert stops[0][:2] == ["stop", "0.0%"]
    assert [cell for line in stops for cell in line[2:]] == ["50.0%", "x2.5e+04"] * 8


def test_a_terminal_too_narrow_for_one_arm_breaks_cells_and_cuts_none() -> None:
    console = Console(width=20, color_system=None)
    with console.capture() as capture:
        console.print(picked_tables({"codeblock": FIRST}, 20)[0])
    text = capture.get()
    assert "…" not in text
    assert {"x0.42", "x1.9", "x1.2"} <= set(text.split())


def test_facts_that_were_read_back_in_another_order_are_of_the_same_pairs() -> None:
    by_alphabet = dict(sorted(FIRST.items(), reverse=True))
    assert [list(group.arms) for group in groups({"codeblock": FIRST, "again": by_alphabet})] == [["codeblock", "again"]]


def test_the_plot_has_a_bar_for_each_role_and_arm(tmp_path: Path) -> None:
    path = plot_picked({"codeblock": FIRST, "full": SECOND, "small": OTHER_PAIRS}, tmp_path / "picked.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_bars_are_as_long_as_the_shares(tmp_path: Path, monkeypatch: object) -> None:
    seen: list[Figure] = []
    write = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (seen.append(self), write(self, *a, **k)))  # type: ignore[attr-defined]
    plot_picked({"codeblock": FIRST}, tmp_path / "picked.png")
    pool, arm = seen[0].axes[0].containers
    assert [round(bar.get_width()) for bar in pool] == [60, 40, 20]
    assert [round(bar.get_width()) for bar in arm] == [25, 75, 25]
    assert [text.get_text() for text in seen[0].axes[0].get_legend().get_texts()] == ["kept pairs", "codeblock"]
