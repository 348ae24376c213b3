"""The table of arms: what the issue asks for in each row, in a terminal of 80 columns and in markdown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from codeblock.report.table import ArmRow, NllScore, Score, arms_markdown, arms_table

BASE = ArmRow("base", {"tiny": Score(200, 0.312, 0.25, 0.38)})
FULL = ArmRow("full", {"tiny": Score(200, 0.61, 0.54, 0.67)}, 210_432, 0.981, None, 1980, 402_111, 61.23, 1.0)
RANDOM = ArmRow(
    "random_tokens",
    {"tiny": Score(200, 0.4, 0.34, 0.47)},
    4075,
    supervised_share=0.01902,
    asked_share=0.019,
    pairs=1200,
    processed_tokens=190_233,
    train_seconds=31.3,
    inside_share=0.571,
    asked_inside_share=0.57,
    subset_ratio=0.0333,
    asked_subset_ratio=0.0334,
    total_tflops=12.34,
)
NLL = {"tiny": NllScore(200, 1.25, -0.0851, -0.1032, -0.067)}
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
        "57.1%",
        "1.9%",
        "1,200",
        "31.3",
        "12.3",
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


def test_markdown_has_all_shares_as_asked_and_as_spent() -> None:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in arms_markdown(ROWS).splitlines()]
    assert lines[0] == [
        "arm",
        "supervised tokens",
        "of the pool",
        "asked",
        "inside pairs",
        "asked",
        "pairs of the pool",
        "asked",
        "pairs",
        "processed tokens",
        "train seconds",
        "total TFLOPs",
        "tiny pass@1 (200 tasks)",
    ]
    assert {len(line) for line in lines} == {13}
    full = ["210,432", "98.1%", "—", "100%", "—", "—", "—", "1,980", "402,111", "61.2", "—", "0.610 [0.54, 0.67]"]
    assert lines[3] == ["full", *full]
    random = ["4,075", "1.9%", "1.9%", "57.1%", "57%", "3.33%", "3.34%", "1,200", "190,233", "31.3", "12.3"]
    assert lines[4] == ["random_tokens", *random, "0.400 [0.34, 0.47]"]


@pytest.mark.parametrize("name", ["[red]x", "a|b"])
def test_markup_in_a_name_is_text(name: str) -> None:
    row = ArmRow(name, BASE.scores)
    assert any(line.startswith(name) for line in printed([row], 120))
    assert len(arms_markdown([row]).splitlines()[2].replace(r"\|", "").split("|")) == 15


def test_below_pass_at_1_stands_the_change_of_the_reference_nll() -> None:
    rows = [replace(BASE, nll={"tiny": NllScore(200, 1.335)}), replace(RANDOM, nll=NLL)]
    lines = printed(rows)
    place = next(index for index, line in enumerate(lines) if line.startswith("random_tokens"))
    assert [line.strip() for line in lines[place + 1 : place + 3]] == ["-0.085", "[-0.103, -0.067]"]
    assert all(len(line) <= 80 for line in lines)
    markdown = arms_markdown(rows).splitlines()
    assert markdown[0].endswith("| tiny reference nll (200 tasks), less the untrained model's |")
    assert markdown[2].endswith("| 1.335 |")
    assert markdown[3].endswith("| 1.250, -0.085 [-0.103, -0.067] |")


def test_four_benchmarks_fit_120_columns() -> None:
    names = ("humaneval", "humanevalplus", "mbpp", "mbppplus")
    wide = replace(
        RANDOM,
        scores=dict.fromkeys(names, RANDOM.scores["tiny"]),
        nll=dict.fromkeys(names, NLL["tiny"]),
        train_seconds=12345.6,
    )
    lines = printed([wide], 120)
    assert all("…" not in line and len(line) <= 120 for line in lines)
    assert " ".join(lines).count("[-0.103, -0.067]") == 4


def test_seeds_are_counted_and_the_caption_says_what_the_interval_is_of() -> None:
    rows = [BASE, replace(RANDOM, seeds=3)]
    assert "means over 3 seeds" in " ".join(" ".join(printed(rows)).split())
    markdown = arms_markdown(rows).splitlines()
    assert markdown[0].startswith("| arm | seeds |")
    assert [line.split(" | ")[1] for line in markdown[2:4]] == ["1", "3"]
    assert markdown[-1].startswith("means over 3 seeds: first over the seeds of a task, then over tasks")
    assert "seeds" not in arms_markdown([BASE])
