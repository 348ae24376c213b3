"""Plots of a sweep as PNG files: one key against pass@1, a map over two keys, and all keys side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from codeblock.report.plots import COLOURS, GREY, SIZE, write_figure
from codeblock.sweep.choose import PointResult
from codeblock.sweep.points import STRATEGY, short_names, text

BUDGET = "select.token_budget"
MAP = ("select.reach_weight", "select.bridge_weight")
COLOUR_MAP = "viridis"
PLATE = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none"}
"""Under the numbers of a map, which has to be read on every colour."""


def plot_points(results: Sequence[PointResult], benchmark: str, directory: Path) -> list[Path]:
    """All plots that the swept keys allow, of the points that were evaluated with every seed, on the reported tasks."""
    whole = [each for each in results if each.whole and benchmark in each.scores]
    keys = [key for key in (whole[0].point.values if whole else ()) if len({each.point.values[key] for each in whole}) > 1]
    numeric = [key for key in keys if all(_is_number(each.point.values[key]) for each in whole)]
    files = []
    if numeric:
        key = BUDGET if BUDGET in numeric else numeric[0]
        files.append(_line(whole, benchmark, key, directory / f"{_file(key)}_against_pass_{benchmark}.png"))
    rest = [key for key in (*MAP, *numeric) if key in numeric and key != BUDGET]
    pair = list(dict.fromkeys(rest))[:2]
    if len(pair) == 2:
        files.append(_map(whole, benchmark, pair, directory / f"map_{_file(pair[0])}_{_file(pair[1])}_{benchmark}.png"))
    if keys:
        files.append(_parallel(whole, benchmark, keys, directory / f"parallel_{benchmark}.png"))
    return files


def _line(whole: Sequence[PointResult], benchmark: str, key: str, path: Path) -> Path:
    """A line for each strategy through the means over the other keys; each point beside it with its 95% interval."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    groups: dict[str, list[PointResult]] = {}
    for each in whole:
        groups.setdefault(str(each.point.values.get(STRATEGY, "")), []).append(each)
    values = sorted({float(each.point.values[key]) for each in whole})
    log = values[0] > 0 and values[-1] / values[0] >= 8
    for number, (name, members) in enumerate(groups.items()):
        colour, at = COLOURS[number % len(COLOURS)], []
        for value in values:
            here = [each for each in members if float(each.point.values[key]) == value]
            here.sort(key=lambda each: each.point.name)
            if here:
                at.append((value, fmean(each.scores[benchmark].pass_at_1 for each in here)))
            for place, each in enumerate(here):
                score, shift = each.scores[benchmark], (place - (len(here) - 1) / 2) / max(len(here), 1)
                x = value * 1.12**shift if log else value + 0.3 * shift * _gap(values)
                error = [[score.pass_at_1 - score.low], [score.high - score.pass_at_1]]
                axes.errorbar([x], [score.pass_at_1], error, fmt="o", color=colour, alpha=0.35, markersize=4, capsize=2)
        axes.plot(*zip(*at, strict=True), color=colour, linewidth=2, marker="s", label=name or None)
    if log:
        axes.set_xscale("log")
    axes.set_xticks(values, [text(value) for value in values])
    axes.minorticks_off()
    axes.set(xlabel=short_names([key])[key], ylabel=_label(whole, benchmark))
    if any(groups):
        axes.legend(frameon=False)
    _plain(axes)
    return write_figure(figure, path)


def _map(whole: Sequence[PointResult], benchmark: str, pair: Sequence[str], path: Path) -> Path:
    """Mean pass@1 over all points with the two values; a cell without a point is empty."""
    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    axes = figure.subplots()
    columns, rows = (sorted({float(each.point.values[key]) for each in whole}) for key in pair)
    grid = np.full((len(rows), len(columns)), np.nan)
    for row, column in np.ndindex(grid.shape):
        here = [
            each.scores[benchmark].pass_at_1
            for each in whole
            if (float(each.point.values[pair[0]]), float(each.point.values[pair[1]])) == (columns[column], rows[row])
        ]
        if here:
            grid[row, column] = fmean(here)
            axes.text(column, row, f"{grid[row, column]:.3f}\n({len(here)})", ha="center", va="center", bbox=PLATE)
    image = axes.imshow(grid, origin="lower", cmap=COLOUR_MAP, aspect="auto")
    axes.set_xticks(range(len(columns)), [text(value) for value in columns])
    axes.set_yticks(range(len(rows)), [text(value) for value in rows])
    names = short_names(pair)
    axes.set(xlabel=names[pair[0]], ylabel=names[pair[1]])
    figure.colorbar(image, label=f"{_label(whole, benchmark)}; points in brackets")
    return write_figure(figure, path)


def _parallel(whole: Sequence[PointResult], benchmark: str, keys: Sequence[str], path: Path) -> Path:
    """One line for each point through its values, pass@1 at the right; the better, the lighter."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    scores = [each.scores[benchmark].pass_at_1 for each in whole]
    low, high = min(scores), max(scores)
    places = {key: _places([each.point.values[key] for each in whole]) for key in keys}
    cmap = colormaps[COLOUR_MAP]
    for each, score in sorted(zip(whole, scores, strict=True), key=lambda found: found[1]):
        share = (score - low) / (high - low) if high > low else 0.5
        heights = [*(places[key][str(each.point.values[key])] for key in keys), share]
        axes.plot(range(len(heights)), heights, color=cmap(share), linewidth=1.5)
    names = short_names(keys)
    axes.set_xticks(range(len(keys) + 1), [*(names[key] for key in keys), f"pass@1\n{low:.3f} to {high:.3f}"])
    for number, key in enumerate(keys):
        for value, height in places[key].items():
            axes.annotate(value, (number, height), fontsize=9, color=GREY, ha="right", va="bottom")
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    return write_figure(figure, path)


def _places(values: Sequence[Any]) -> dict[str, float]:
    """Heights from 0 to 1 by value, in the order of the values."""
    every = list(dict.fromkeys(values))
    ordered = sorted(every) if all(_is_number(value) for value in every) else every
    return {str(value): number / max(len(ordered) - 1, 1) for number, value in enumerate(ordered)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _gap(values: Sequence[float]) -> float:
    return min((after - before for before, after in pairwise(values)), default=1.0)


def _label(whole: Sequence[PointResult], benchmark: str) -> str:
    return f"pass@1 on {benchmark}, {max(each.scores[benchmark].tasks for each in whole):,} reported tasks"


def _file(key: str) -> str:
    return key.rpartition(".")[2]


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
