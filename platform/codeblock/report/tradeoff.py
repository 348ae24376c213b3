"""What a model is worth against what it took: pass@1 and reference nll, over supervised tokens and over total FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from codeblock.report.plots import COLOURS, GREY, write_figure
from codeblock.report.table import ArmRow

MARKERS = "os^Dv<>P"
"""Arms beyond the palette's colours repeat these with other marks."""
PANEL = (5.2, 3.6)  # inches

TradeoffPoint = tuple[float, float | None, float | None]
"""A value with the ends of its interval."""


@dataclass(frozen=True)
class _Worth:
    """What stands on an upright axis."""

    label: str
    of: Callable[[ArmRow], TradeoffPoint | None]


COSTS: tuple[tuple[str, Callable[[ArmRow], float | None]], ...] = (
    ("supervised tokens", lambda row: row.supervised_tokens),
    ("total TFLOPs: scoring, selection, training", lambda row: row.total_tflops),
)


def plot_tradeoff(rows: Sequence[ArmRow], benchmark: str, path: Path) -> Path:
    """A column for each cost (log axes), a line of panels for pass@1 and for reference nll as far as there are such numbers.

    Points are means over seeds with 95% intervals over tasks. The untrained model is a dashed line.
    """
    trained = [row for row in rows if row.supervised_tokens]
    worths = [worth for worth in _worths(benchmark) if any(worth.of(row) for row in rows)]
    figure = Figure(figsize=(PANEL[0] * len(COSTS), PANEL[1] * max(len(worths), 1) + 0.5), layout="constrained")
    grid = figure.subplots(max(len(worths), 1), len(COSTS), sharex="col", sharey="row", squeeze=False)
    for line, worth in zip(grid, worths, strict=False):
        line[0].set_ylabel(worth.label)
        for axes, (_, cost) in zip(line, COSTS, strict=True):
            _draw(axes, [row for row in rows if not row.supervised_tokens], trained, worth, cost)
    for axes, (label, _) in zip(grid[-1], COSTS, strict=True):
        axes.set_xlabel(f"{label} (log scale)")
    handles, labels = grid[0][0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return write_figure(figure, path)


def _worths(benchmark: str) -> tuple[_Worth, ...]:
    def passed(row: ArmRow) -> TradeoffPoint | None:
        score = row.scores.get(benchmark)
        return None if score is None else (score.pass_at_1, score.low, score.high)

    def likelier(row: ArmRow) -> TradeoffPoint | None:
        score = row.nll.get(benchmark)
        return None if score is None or score.change is None else (score.change, score.low, score.high)

    return (
        _Worth(f"pass@1 on {benchmark}", passed),
        _Worth(f"reference nll on {benchmark}\nless the untrained model's (nats)", likelier),
    )


def _draw(
    axes: Axes, untrained: Sequence[ArmRow], trained: Sequence[ArmRow], worth: _Worth, cost: Callable[[ArmRow], float | None]
) -> None:
    axes.set_xscale("log")
    for row in untrained:
        point = worth.of(row)
        axes.axhline(point[0] if point else 0.0, color=GREY, linestyle="--", linewidth=1, label=f"{row.arm} (not trained)")
    for number, row in enumerate(trained):
        point, spent = worth.of(row), cost(row)
        if point is None or not spent:
            continue
        value, low, high = point
        error = None if low is None or high is None else [[value - low], [high - value]]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % len(MARKERS)]
        axes.errorbar([spent], [value], error, fmt=marker, color=colour, capsize=3, markersize=6, label=row.arm)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
