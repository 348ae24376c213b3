"""The table of points: what was asked, what came out on the tasks that did not choose, and what it shows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from codeblock.report.table import DASH, NllScore, Score
from codeblock.sweep.choose import PointResult, Prediction
from codeblock.sweep.points import short_names, text

FIGURES = (
    ("supervised tokens", "selected", "supervised_tokens"),
    ("pairs", "selected", "supervised_pairs"),
    ("train seconds", "trained", "train_seconds"),
)
"""Heading, section and key of the figures of a point; the terminal has room for the first."""
CAPTION = "means over seeds; pass@1 with its 95% interval over tasks, the reference nll less the untrained model's"


def points_table(results: Sequence[PointResult]) -> Table:
    """The table for the terminal, the best point first. `points_markdown` has more columns."""
    headings, lines = _cells(results, brief=True)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), caption=CAPTION)
    for heading in headings:
        table.add_column(heading.replace(", ", "\n").replace(" (", "\n("), overflow="fold")
    for line in lines:
        table.add_row(*(escape(cell) for cell in line))
    return table


def points_markdown(results: Sequence[PointResult]) -> str:
    """The whole table, for a file, or MLflow's note."""
    headings, lines = _cells(results, brief=False)
    rows = [headings, ["---"] * len(headings), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows) + "\n"


def _cells(results: Sequence[PointResult], brief: bool) -> tuple[list[str], list[list[str]]]:
    keys = list(results[0].point.values) if results else []
    names = short_names(keys)
    columns = [(names[key], [text(each.point.values[key]) for each in results]) for key in keys]
    for name in _benchmarks(results):
        columns += [each for each in _of_benchmark(results, name, brief) if set(each[1]) != {DASH}]
    for heading, section, key in FIGURES[:1] if brief else FIGURES:
        values = [each.mean(section, key) for each in results]
        columns.append((heading, [DASH if value is None else f"{value:,.0f}" for value in values]))
    done = [sum(record.status == "evaluated" for record in each.records) for each in results]
    columns.append(("seeds", [each.state() or str(count) for each, count in zip(results, done, strict=True)]))
    return [heading for heading, _ in columns], [list(line) for line in zip(*(cells for _, cells in columns), strict=True)]


def _of_benchmark(results: Sequence[PointResult], name: str, brief: bool) -> list[tuple[str, list[str]]]:
    """Headings and cells; a benchmark that only chooses has nothing to report, and one that only reports has not chosen."""
    chosen, scores = [each.chosen.get(name) for each in results], [each.scores.get(name) for each in results]
    return [
        (
            f"{name} pass@1, choosing tasks ({_tasks(chosen)})",
            [DASH if each is None else f"{each.pass_at_1:.3f}" for each in chosen],
        ),
        (f"{name} pass@1, reported tasks ({_tasks(scores)})", [_score(each, brief) for each in scores]),
        (
            f"{name} reference nll{'' if brief else ', reported tasks'}",
            [_nll(each.nll.get(name), brief) for each in results],
        ),
    ]


def _benchmarks(results: Sequence[PointResult]) -> list[str]:
    return list(dict.fromkeys(name for each in results for name in (*each.chosen, *each.scores, *each.nll)))


def _tasks(scores: Sequence[Score | None]) -> str:
    most = max((score.tasks for score in scores if score), default=0)
    return f"{most:,} tasks"


def _score(score: Score | None, brief: bool) -> str:
    if score is None:
        return DASH
    seeds = f" (by seed {min(score.by_seed):.3f} to {max(score.by_seed):.3f})" if score.by_seed and not brief else ""
    return f"{score.pass_at_1:.3f} [{score.low:.2f}, {score.high:.2f}]{seeds}"


def _nll(score: NllScore | None, brief: bool) -> str:
    if score is None:
        return DASH
    if score.change is None:
        return f"{score.nll:.3f}"
    interval = "" if score.low is None or brief else f" [{score.low:+.3f}, {score.high:+.3f}]"
    return f"{score.change:+.3f}" if brief else f"{score.nll:.3f}, {score.change:+.3f}{interval}"


def told(results: Sequence[PointResult], foretold: Sequence[Prediction], parts: str) -> list[str]:
    """What a reader of the table has to know, one line each."""
    whole = [each for each in results if each.whole]
    lines = [f"{len(results)} points, {len(whole)} of them evaluated with every seed; {parts}"]
    if whole:
        lines.append(f"best point: {whole[0].point.name}" + _ahead(whole))
    for each in foretold:
        lines.append(
            f"reference nll foretells pass@1 on {each.benchmark}: rank correlation {each.correlation:+.2f} over {each.points} "
            f"points (p {each.p_value:.2g})"
        )
    return lines


def _ahead(whole: Sequence[PointResult]) -> str:
    """How far the best point is ahead of the middle one, on the tasks that did not choose, and whether that is seen."""
    best, middle = whole[0], whole[len(whole) // 2]
    told = []
    for name in best.scores.keys() & middle.scores.keys() if best is not middle else ():
        one, other = best.scores[name], middle.scores[name]
        seen = "their intervals do not meet" if one.low > other.high or other.low > one.high else "their intervals overlap"
        told.append(
            f"{name} {one.pass_at_1:.3f} against {other.pass_at_1:.3f} of the middle point on the reported tasks, {seen}"
        )
    return "; " + "; ".join(told) if told else ""
