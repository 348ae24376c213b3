"""Plots as PNG files: supervised share against pass@1, training curves, dev nll by token class, what was picked.

Figures are made without pyplot, so neither a window system nor global state takes part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from codeblock.core.records import RoleCounts
from codeblock.core.schema import TokenClass
from codeblock.core.storage.tables import temporary_beside
from codeblock.report.picked import groups
from codeblock.report.table import ArmRow

# Okabe and Ito's palette without its yellow: told apart with any colour vision, readable on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY = "#6b6b6b"
SIZE = (8.0, 5.0)  # inches
DPI = 150
SAME_SHARE = 1.1  # shares within this factor are one budget, and are drawn side by side
SIDE_STEP = 1.14

Rows = Sequence[Mapping[str, Any]]


def plot_share_against_pass(rows: Sequence[ArmRow], benchmark: str, path: Path) -> Path:
    """Supervised share of the pool (log axis) against pass@1 with 95% intervals; untrained arms are horizontal bands."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    graded = [row for row in rows if benchmark in row.scores]
    trained = [row for row in graded if row.supervised_share]
    colours = dict(zip((row.arm for row in trained), _colours(len(trained)), strict=True))
    for row in graded:
        if not row.supervised_share:
            _draw_band(axes, row, benchmark)
    for group in _same_budget(trained):
        for place, row in enumerate(group):
            _draw_point(axes, row, benchmark, place, len(group), colours[row.arm])
    _share_axis(axes, trained)
    tasks = max((row.scores[benchmark].tasks for row in graded), default=0)
    top = max((row.scores[benchmark].high for row in graded), default=1.0)
    axes.set(ylabel=f"pass@1 on {benchmark}, 95% interval ({tasks:,} tasks)", ylim=(0, 1.12 * max(top, 0.01)))
    _plain(axes)
    return write_figure(figure, path)


def plot_loss(histories: Mapping[str, Rows], path: Path) -> Path:
    """Training loss per optimiser step, one curve per arm. Rows: `step`, `loss` (nats per supervised token)."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    for history, colour in zip(histories.values(), _colours(len(histories)), strict=True):
        axes.plot([row["step"] for row in history], [row["loss"] for row in history], color=colour, linewidth=1.5)
    axes.set(xlabel="optimiser step", ylabel="training loss (nats per supervised token)", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _plain(axes)
    _label_ends(axes, histories)
    return write_figure(figure, path)


def plot_dev_nll(devs: Mapping[str, Rows], path: Path) -> Path:
    """Dev nll over the steps: a line of panels per token class, a column per arm, tokens with and without a loss apart.

    Rows: `step`, `token_class`, `supervised`, `nll` (nats per token). A dashed line that rises is drift: tokens without
    a loss are being unlearned.
    """
    classes = [kind for kind in TokenClass if any(_of_class(dev, kind) for dev in devs.values())]
    lines, columns = max(len(classes), 1), max(len(devs), 1)
    figure = Figure(figsize=(1.2 + 2.4 * columns, 1.0 + 1.7 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey="row", squeeze=False)
    for line, kind in enumerate(classes):
        grid[line][0].set_ylabel(f"{kind.name.lower()} tokens")
        for axes, (arm, dev) in zip(grid[line], devs.items(), strict=True):
            _draw_dev(axes, _of_class(dev, kind))
            if line == 0:
                axes.set_title(arm, fontsize=11)
    figure.supylabel("dev nll (nats per token)", fontsize=11)
    figure.supxlabel("optimiser step", fontsize=11)
    handles = list(grid[0][0].lines[:2])
    if handles:
        figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False)
    return write_figure(figure, path)


def plot_picked(picked: Mapping[str, RoleCounts], path: Path) -> Path:
    """Bars of the share of tokens by role: the kept pairs (grey) and what each arm selected; a panel for each set of pairs."""
    panels = groups(picked)
    roles = max((len(group.pool) for group in panels), default=1)
    bars = 1 + max((len(group.arms) for group in panels), default=0)
    figure = Figure(figsize=(4.0 + 4.0 * max(len(panels), 1), 1.2 + 0.13 * roles * (bars + 1)), layout="constrained")
    grid = figure.subplots(1, max(len(panels), 1), squeeze=False)[0]
    for axes, group in zip(grid, panels, strict=False):
        series = {"kept pairs": group.pool, **group.arms}
        colours = (GREY, *_colours(len(group.arms)))
        names = list(group.pool)
        height = 0.85 / len(series)
        for place, ((name, shares), colour) in enumerate(zip(series.items(), colours, strict=True)):
            at = [row + (place - (len(series) - 1) / 2) * height for row in range(len(names))]
            axes.barh(at, [100 * shares.get(role, 0.0) for role in names], height, color=colour, label=name)
        axes.set_yticks(range(len(names)), names)
        axes.margins(y=0.01)
        axes.invert_yaxis()
        axes.set_xlabel("share of tokens (%)")
        _plain(axes)
        axes.grid(axis="x", color="#dddddd", linewidth=0.8)
        axes.grid(axis="y", visible=False)
        axes.legend(frameon=False, fontsize=9)
    return write_figure(figure, path)


def _draw_band(axes: Axes, row: ArmRow, benchmark: str) -> None:
    score = row.scores[benchmark]
    axes.axhspan(score.low, score.high, color=GREY, alpha=0.13, linewidth=0)
    axes.axhline(score.pass_at_1, color=GREY, linestyle="--", linewidth=1)
    text = f"{row.arm} {score.pass_at_1:.3f} (not trained)"
    axes.text(0.01, score.pass_at_1, text, color=GREY, va="bottom", fontsize=10, transform=axes.get_yaxis_transform())


def _draw_point(axes: Axes, row: ArmRow, benchmark: str, place: int, group: int, colour: str) -> None:
    score = row.scores[benchmark]
    x = (row.supervised_share or 0) * SIDE_STEP ** (place - (group - 1) / 2)
    error = [[score.pass_at_1 - score.low], [score.high - score.pass_at_1]]
    axes.errorbar([x], [score.pass_at_1], error, fmt="o", color=colour, capsize=4, markersize=7)
    text = f"{row.arm}\n{score.pass_at_1:.3f}"
    style: dict[str, Any] = {"color": colour, "textcoords": "offset points", "fontsize": 10}
    if group > 1 and place == 0:
        axes.annotate(text, (x, score.pass_at_1), (-9, 0), ha="right", va="center", **style)
    elif group > 1 and place == group - 1:
        axes.annotate(text, (x, score.pass_at_1), (9, 0), ha="left", va="center", **style)
    else:
        axes.annotate(text, (x, score.high), (0, 5), ha="center", va="bottom", **style)


def _draw_dev(axes: Axes, rows: Rows) -> None:
    for supervised, label, colour, style in (
        (True, "supervised tokens", COLOURS[0], "-"),
        (False, "tokens without a loss", COLOURS[1], "--"),
    ):
        points = [row for row in rows if bool(row["supervised"]) == supervised]
        steps, nlls = [row["step"] for row in points], [row["nll"] for row in points]
        axes.plot(steps, nlls, style, color=colour, marker="o", markersize=3, linewidth=1.5, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    _plain(axes)


def _same_budget(rows: Sequence[ArmRow]) -> list[list[ArmRow]]:
    """Arms by rising share, those together whose shares are so close that they would be drawn over each other."""
    groups: list[list[ArmRow]] = []
    for row in sorted(rows, key=lambda row: row.supervised_share or 0):
        if groups and (row.supervised_share or 0) <= SAME_SHARE * (groups[-1][0].supervised_share or 0):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _share_axis(axes: Axes, trained: Sequence[ArmRow]) -> None:
    shares = [row.supervised_share or 1.0 for row in trained] or [1.0]
    axes.set_xscale("log")
    axes.set_xlim(min(*shares, 0.5) / 2.2, max(shares) * 2.2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%" if share <= 1 else ""))
    axes.set_xlabel("supervised share of the pool's response tokens (log scale; equal shares side by side)")


def _label_ends(axes: Axes, histories: Mapping[str, Rows]) -> None:
    """Write each arm at the end of its curve, lowest first, each at least a line of text above the one below."""
    colours = dict(zip(histories, _colours(len(histories)), strict=True))
    ends = sorted((float(rows[-1]["loss"]), float(rows[-1]["step"]), arm) for arm, rows in histories.items() if rows)
    top = axes.get_ylim()[1]
    line = 0.05 * top
    last = -line
    for loss, step, arm in ends:
        last = max(loss, last + line)
        axes.annotate(
            f"{arm} {loss:.2f}",
            (step, loss),
            (1.01, last / top),
            textcoords="axes fraction",
            va="center",
            color=colours[arm],
            fontsize=10,
            annotation_clip=False,
        )


def _of_class(rows: Rows, kind: TokenClass) -> Rows:
    return [row for row in rows if row["token_class"] in (int(kind), kind.name.lower())]


def _colours(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)


def write_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as a PNG file, whole or not at all; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        figure.savefig(temporary, dpi=DPI, format="png")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
