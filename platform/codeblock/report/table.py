"""The table of arms: what was supervised, what it cost, how many tasks were solved, and how likely the references became."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

DASH = "—"
CAPTION = "pass@1 with its 95% interval over tasks"
NLL_CAPTION = "below it the reference nll less that of the untrained model (nats per token, less is better)"


@dataclass(frozen=True)
class Score:
    """A benchmark's result: tasks graded, share solved at the first try, ends of its 95% interval over tasks."""

    tasks: int
    pass_at_1: float
    low: float
    high: float
    by_seed: tuple[float, ...] = ()
    """pass@1 of each seed; empty with one."""


@dataclass(frozen=True)
class NllScore:
    """The nll of a benchmark's references: the mean over tasks, and its change against the untrained model, paired by task."""

    tasks: int
    nll: float
    change: float | None = None  # None: this is the untrained model
    low: float | None = None  # ends of the change's 95% interval over tasks; None below two tasks
    high: float | None = None
    by_seed: tuple[float, ...] = ()
    """Change of each seed; empty with one."""


@dataclass(frozen=True)
class ArmRow:
    """One arm of a comparison, means over its seeds. An arm that was not trained has no figures of training."""

    arm: str
    scores: dict[str, Score] = field(default_factory=dict)  # by benchmark
    supervised_tokens: int | None = None  # response tokens that were chosen
    supervised_share: float | None = None  # of the response tokens of the pool
    asked_share: float | None = None  # None: the strategy takes no budget
    pairs: int | None = None  # pairs with a supervised token
    processed_tokens: int | None = None  # tokens that went through the model in training
    train_seconds: float | None = None  # wall clock
    inside_share: float | None = None  # supervised share of the kept pairs' response tokens
    asked_inside_share: float | None = None
    subset_ratio: float | None = None  # kept share of the pool's pairs
    asked_subset_ratio: float | None = None
    total_tflops: float | None = None  # scoring, selection and training
    nll: dict[str, NllScore] = field(default_factory=dict)  # by benchmark
    seeds: int = 1


Cell = Callable[[ArmRow], str]
Column = tuple[str, Cell]


def arms_table(rows: Sequence[ArmRow]) -> Table:
    """The table for the terminal: with one benchmark it fits 80 columns, with four 120. `arms_markdown` has more columns."""
    benchmarks = _benchmarks(rows)
    nll = any(row.nll for row in rows)
    caption = "; ".join(part for part in (CAPTION, NLL_CAPTION if nll else "", seeds_note(rows)) if part)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0, caption=caption)
    columns: list[Column] = [("arm", lambda row: row.arm), *_training(brief=True)]
    columns += [(_score_heading(rows, name), _both(name, len(benchmarks) > 1)) for name in benchmarks]
    for place, (heading, _) in enumerate(columns):
        table.add_column(heading, justify="right" if place else "left", no_wrap=place > 0, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell(row)) for _, cell in columns))
    return table


def arms_markdown(rows: Sequence[ArmRow]) -> str:
    """The whole table, for a README or MLflow's note."""
    columns: list[Column] = [("arm", lambda row: row.arm), *_training(brief=False)]
    if any(row.seeds > 1 for row in rows):
        columns.insert(1, ("seeds", lambda row: str(row.seeds)))
    for name in _benchmarks(rows):
        columns.append((_score_heading(rows, name), _score_cell(name)))
        if any(name in row.nll for row in rows):
            columns.append((_nll_heading(rows, name), _nll_cell(name)))
    lines = [[heading.replace("\n", " ") for heading, _ in columns], ["---"] + ["---:"] * (len(columns) - 1)]
    lines += [[cell(row).replace("|", r"\|") for _, cell in columns] for row in rows]
    note = seeds_note(rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n" + (f"\n{note}.\n" if note else "")


def seeds_note(rows: Sequence[ArmRow]) -> str:
    """How seeds were averaged; empty where each arm has one."""
    most = max((row.seeds for row in rows), default=1)
    if most == 1:
        return ""
    return f"means over {most} seeds: first over the seeds of a task, then over tasks, so the interval is that of the tasks"


def _training(brief: bool) -> list[Column]:
    """The columns of selection and training; `brief`: those that a terminal has room for."""
    tokens: Column = ("supervised\ntokens", lambda row: _count(row.supervised_tokens))
    pool: Column = ("of the\npool", lambda row: _percent(row.supervised_share))
    inside: Column = ("inside\npairs", lambda row: _percent(row.inside_share))
    pairs: Column = ("pairs", lambda row: _count(row.pairs))
    seconds: Column = ("train\nseconds", lambda row: DASH if row.train_seconds is None else f"{row.train_seconds:,.1f}")
    tflops: Column = ("total\nTFLOPs", lambda row: _number(row.total_tflops))
    if brief:
        return [tokens, inside, pool, pairs, seconds, tflops]
    return [
        tokens,
        pool,
        ("asked", lambda row: _percent(row.asked_share)),
        inside,
        ("asked", lambda row: _percent(row.asked_inside_share)),
        ("pairs of the pool", lambda row: _percent(row.subset_ratio)),
        ("asked", lambda row: _percent(row.asked_subset_ratio)),
        pairs,
        ("processed tokens", lambda row: _count(row.processed_tokens)),
        seconds,
        tflops,
    ]


def _benchmarks(rows: Sequence[ArmRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in (*row.scores, *row.nll)))


def _score_heading(rows: Sequence[ArmRow], name: str) -> str:
    tasks = max((found.tasks for row in rows for found in (row.scores.get(name), row.nll.get(name)) if found), default=0)
    return f"{name}\npass@1\n({tasks:,} tasks)"


def _nll_heading(rows: Sequence[ArmRow], name: str) -> str:
    tasks = max(row.nll[name].tasks for row in rows if name in row.nll)
    return f"{name} reference nll ({tasks:,} tasks), less the untrained model's"


def _both(name: str, narrow: bool) -> Cell:
    """pass@1, and below it the change of the reference nll with its interval; `narrow`: so has pass@1."""

    def cell(row: ArmRow) -> str:
        score = _score(row.scores.get(name))
        lines = [score.replace(" ", "\n", 1) if narrow else score]
        if name in row.nll and row.nll[name].change is not None:
            lines.append(_change(row.nll[name]).replace(" ", "\n", 1))
        return "\n".join(lines)

    return cell


def _score_cell(name: str) -> Cell:
    return lambda row: _score(row.scores.get(name)) + _seeds(row.scores.get(name), ".3f")


def _nll_cell(name: str) -> Cell:
    return lambda row: _nll(row.nll.get(name)) + _seeds(row.nll.get(name), "+.3f")


def _count(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.3g}%"


def _number(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _score(score: Score | None) -> str:
    return DASH if score is None else f"{score.pass_at_1:.3f} [{score.low:.2f}, {score.high:.2f}]"


def _seeds(score: Score | NllScore | None, form: str) -> str:
    """The least and the most of the seeds: what the interval over tasks does not tell."""
    by_seed = score.by_seed if score else ()
    return f" (by seed {min(by_seed):{form}} to {max(by_seed):{form}})" if by_seed else ""


def _change(score: NllScore) -> str:
    interval = "" if score.low is None else f" [{score.low:+.3f}, {score.high:+.3f}]"
    return f"{score.change:+.3f}{interval}"


def _nll(score: NllScore | None) -> str:
    if score is None or not score.tasks:
        return DASH
    return f"{score.nll:.3f}" if score.change is None else f"{score.nll:.3f}, {_change(score)}"
