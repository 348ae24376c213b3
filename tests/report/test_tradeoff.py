"""The figure of worth against cost: what stands in which panel."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from codeblock.report.cost import cost_markdown
from codeblock.report.table import ArmRow, NllScore, Score
from codeblock.report.tradeoff import plot_tradeoff

ROWS = [
    ArmRow("base", {"tiny": Score(200, 0.31, 0.25, 0.38)}, nll={"tiny": NllScore(200, 1.3)}),
    ArmRow(
        "full",
        {"tiny": Score(200, 0.61, 0.54, 0.67)},
        1000,
        total_tflops=2.0,
        nll={"tiny": NllScore(200, 1.2, -0.1, -0.12, -0.08)},
    ),
    ArmRow("blocks", {"tiny": Score(200, 0.42, 0.35, 0.49)}, 19, total_tflops=3.5, nll={"tiny": NllScore(200, 1.1, -0.2)}),
]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    seen: list[Figure] = []
    write = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kwargs: seen.append(self) or write(self, *args, **kwargs))
    return seen


def points(axes: object) -> set[tuple[float, float]]:
    boxes = axes.containers  # type: ignore[attr-defined]
    return {(float(box.lines[0].get_xdata()[0]), float(box.lines[0].get_ydata()[0])) for box in boxes}


def test_pass_at_1_and_reference_nll_stand_over_tokens_and_over_total_flops(tmp_path: Path, figures: list[Figure]) -> None:
    path = plot_tradeoff(ROWS, "tiny", tmp_path / "new" / "tradeoff.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    above, above_right, below, below_right = figures[0].axes
    assert points(above) == {(1000, 0.61), (19, 0.42)}
    assert points(above_right) == {(2.0, 0.61), (3.5, 0.42)}
    assert points(below) == {(1000, -0.1), (19, -0.2)}
    assert points(below_right) == {(2.0, -0.1), (3.5, -0.2)}
    assert [axes.get_xscale() for axes in figures[0].axes] == ["log"] * 4
    assert below.get_xlabel() == "supervised tokens (log scale)"
    assert below_right.get_xlabel().startswith("total TFLOPs")
    assert float(above.lines[0].get_ydata()[0]) == 0.31, "the untrained model is a line"  # type: ignore[index]
    assert float(below.lines[0].get_ydata()[0]) == 0.0  # type: ignore[index]
    assert [text.get_text() for text in figures[0].legends[0].texts] == ["base (not trained)", "full", "blocks"]


def test_a_benchmark_without_answers_has_the_panels_of_reference_nll_alone(tmp_path: Path, figures: list[Figure]) -> None:
    rows = [ArmRow(row.arm, {}, row.supervised_tokens, total_tflops=row.total_tflops, nll=row.nll) for row in ROWS]
    plot_tradeoff(rows, "tiny", tmp_path / "a.png")
    assert len(figures[0].axes) == 2
    assert figures[0].axes[0].get_ylabel().startswith("reference nll on tiny")
    plot_tradeoff([ArmRow("x")], "tiny", tmp_path / "b.png")


def test_the_table_of_cost_has_a_dash_for_what_is_not_known() -> None:
    lines = cost_markdown({"a|b": {"scoring_seconds": 1234.5, "scoring_tflops": 0.001234, "peak_mb": 99.9}}).splitlines()
    assert lines[0].startswith("| arm | scoring TFLOPs | scoring s | selection TFLOPs |")
    assert lines[2].startswith(r"| a\|b | 0.00123 | 1,234 | — |")
    assert lines[2].endswith("| 99.9 |")
