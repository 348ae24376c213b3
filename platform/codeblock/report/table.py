"""The table of arms: what was supervised, what it cost, how many tasks were solved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

DASH = "—"
TRAINING = ("supervised\ntokens", "of the\npool", "asked", "pairs", "processed\ntokens", "train\nseconds")
FIRST_SCORE = 1 + len(TRAINING)


@dataclass(frozen=True)
class Score:
    """A benchmark's result: tasks graded, share solved at the first try, ends of its 95% interval."""

    tasks: int
    pass_at_1: float
    low: float
    high: float


@dataclass(frozen=True)
class ArmRow:
    """One arm of a comparison. An arm that was not trained has no figures of training."""

    arm: str
    scores: dict[str, Score] = field(default_factory=dict)  # by benchmark
    supervised_tokens: int | None = None  # response tokens with a weight above 0
    supervised_share: float | None = None  # of the response tokens of the pool
    asked_share: float | None = None  # None: the strategy takes no budget
    pairs: int | None = None  # pairs with a supervised token
    processed_tokens: int | None = None  # tokens that went through the model in training
    train_seconds: float | None = None  # wall clock


def arms_table(rows: Sequence[ArmRow]) -> Table:
    """The table for the terminal; with one benchmark it fits 80 columns."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0, caption="pass@1 with its 95% interval")
    benchmarks = _benchmarks(rows)
    for place, heading in enumerate(_headings(rows)):
        table.add_column(heading, justify="right" if place else "left", no_wrap=place > 0, overflow="fold")
    for row in rows:
        cells = [escape(cell) for cell in _cells(row, benchmarks)]
        if len(benchmarks) > 1:  # one above the other, to leave room for the next benchmark
            cells[FIRST_SCORE:] = [cell.replace(" ", "\n", 1) for cell in cells[FIRST_SCORE:]]
        table.add_row(*cells)
    return table


def arms_markdown(rows: Sequence[ArmRow]) -> str:
    """The same table for a README or MLflow's note."""
    headings = [heading.replace("\n", " ") for heading in _headings(rows)]
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1)]
    lines += [[cell.replace("|", r"\|") for cell in _cells(row, _benchmarks(rows))] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _benchmarks(rows: Sequence[ArmRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.scores))


def _headings(rows: Sequence[ArmRow]) -> list[str]:
    tasks = {name: score.tasks for row in rows for name, score in row.scores.items()}
    return ["arm", *TRAINING, *(f"{name}\npass@1\n({tasks[name]:,} tasks)" for name in _benchmarks(rows))]


def _cells(row: ArmRow, benchmarks: Sequence[str]) -> list[str]:
    return [
        row.arm,
        _count(row.supervised_tokens),
        _percent(row.supervised_share),
        _percent(row.asked_share),
        _count(row.pairs),
        _count(row.processed_tokens),
        DASH if row.train_seconds is None else f"{row.train_seconds:,.1f}",
        *(_score(row.scores.get(name)) for name in benchmarks),
    ]


def _count(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.3g}%"


def _score(score: Score | None) -> str:
    return DASH if score is None else f"{score.pass_at_1:.3f} [{score.low:.2f}, {score.high:.2f}]"
