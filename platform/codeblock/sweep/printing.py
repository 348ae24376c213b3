"""What a sweep shows at its end, and before it begins where that is asked: tables, files, addresses."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from statistics import median

from rich.markup import escape

from codeblock.core.config.file import dump_config
from codeblock.core.console import console, say
from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import places, store
from codeblock.core.storage.tables import write_text
from codeblock.experiment.plan import make_plan
from codeblock.report.mlflow.runs import metric_name
from codeblock.report.mlflow.view import shown_at
from codeblock.sweep.choose import PointResult, Prediction, parts_of, prediction
from codeblock.sweep.console import came_to
from codeblock.sweep.plots import plot_points
from codeblock.sweep.points import best_config, config_of
from codeblock.sweep.run import Sweep, SweepOutcome, arm_of
from codeblock.sweep.shared import shared_steps
from codeblock.sweep.table import points_markdown, points_table, told
from codeblock.sweep.track import SweepRuns

FAILED_SHOWN = 10


def present_plan(sweep: Sweep) -> None:
    """Print what a sweep would do: how many trials, what they share, and how long one has taken so far."""
    config = sweep.config
    points = config.sweep.samples if config.sweep.search == "optuna" else len(sweep.points)
    seeds, arm = len(sweep.seeds), config.sweep.arm
    say(f"{points} points ({config.sweep.search}) x {seeds} seeds = {sweep.trials} trials of the arm {arm}")
    ended = len(sweep.done)
    say(f"{ended} have ended before, {sweep.trials - ended} would run")
    for step in shared_steps(sweep.plans):
        state = "[green]cached[/green]" if step.facts is not None else "[yellow]would run[/yellow]"
        console.print(f"shared  {escape(step.label):<32} {state}", soft_wrap=True)
    say(f"tasks: {parts_of(config).told(list(config.evaluate.benchmarks))}")
    took = [record.seconds for record in sweep.done if record.status == "evaluated" and record.seconds]
    if took:
        each = median(took)
        left = (sweep.trials - ended) * each / 60
        say(f"a trial has taken {each:.0f} s (median of {len(took)}): about {left:.0f} min for the rest, one after another")
    else:
        say("no trial has ended yet, so nothing is known of the time that one takes")


def present_sweep(outcome: SweepOutcome, runs: SweepRuns) -> int:
    """Print the table of points, write the report, complete the runs in MLflow; the exit status."""
    config, results = outcome.sweep.config, outcome.results
    whole = [each for each in results if each.whole]
    benchmarks = list(config.evaluate.benchmarks)
    foretold = [found for name in benchmarks if (found := prediction(results, name)) is not None]
    console.print(points_table(results))
    lines = told(results, foretold, parts_of(config).told(benchmarks))
    for line in lines:
        say(line)
    failed = [record for record in outcome.records if record.status == "failed"]
    for record in failed[:FAILED_SHOWN]:
        say(f"{record.name}: {came_to(record)}")
    report = config.storage / config.name
    files = write_report(outcome, foretold, lines, report)
    if whole and config.sweep.register_as and not runs.logged_before:
        _register(outcome, whole[0], runs)
    address = runs.complete(_markdown(results, lines), files, _metrics(results), outcome.records)
    say(f"report: {places.show(report)} ({', '.join(path.name for path in files)})")
    if whole:
        say(f"the best point again: codeblock run {places.show(report / 'best.yaml')}")
    before = " (the same results were logged before)" if runs.logged_before else ""
    say(f"mlflow: {shown_at(runs.tracker.uri, address)}{before}")
    say("open it with: codeblock ui" + ("" if str(config.storage) == "runs" else f" --storage {places.show(config.storage)}"))
    if outcome.error is not None:
        raise CodeBlockError(f"sweep stopped: {outcome.error}")
    return 0 if whole else 1


def write_report(outcome: SweepOutcome, foretold: list[Prediction], lines: list[str], directory: Path) -> list[Path]:
    """sweep.md, sweep.json, best.yaml and the plots; returns their paths."""
    store.make_parent(directory / "sweep.md")
    config, results = outcome.sweep.config, outcome.results
    points = [
        {
            "point": each.point.values,
            "state": each.state() or "evaluated",
            "merit": each.merit,
            "choosing": {name: asdict(score) for name, score in each.chosen.items()},
            "reported": {name: asdict(score) for name, score in each.scores.items()},
            "reference_nll": {name: asdict(score) for name, score in each.nll.items()},
            "seconds": [record.seconds for record in each.records],
        }
        for each in results
    ]
    texts = {
        "sweep.md": _markdown(results, lines),
        "sweep.json": json.dumps({"points": points, "foretold": [asdict(each) for each in foretold]}, indent=2, default=str),
    }
    if results and results[0].whole:
        texts["best.yaml"] = dump_config(best_config(config, results[0].point))
    for name, content in texts.items():
        write_text(directory / name, content)
    files = [directory / name for name in texts]
    for benchmark in config.evaluate.benchmarks:
        files += plot_points(results, benchmark, directory)
    for path in files:
        store.put(path)
    return files


def _register(outcome: SweepOutcome, best: PointResult, runs: SweepRuns) -> None:
    sweep = outcome.sweep
    plan = make_plan(config_of(sweep.config, best.point), sweep.cache)
    record = best.records[0]
    trained = arm_of(plan, record.seed).trained
    if trained is None or trained.facts is None:
        say("note: the best point's model was not kept (sweep.keep_models=0), so it is not registered")
        return
    trained.check()  # fetched, where it is in a store
    runs.register(record, trained.directory / "model")
    say(f"registered: {sweep.config.sweep.register_as}, of {record.name}")


def _markdown(results: list[PointResult], lines: list[str]) -> str:
    return "\n".join([points_markdown(results), *(f"- {line}" for line in lines), ""])


def _metrics(results: list[PointResult]) -> dict[str, float]:
    """Of the best point, for the parent's line in the list of runs."""
    if not results or not results[0].whole:
        return {}
    best = results[0]
    metrics: dict[str, float] = {}
    for name, score in best.scores.items():
        key = f"pass_at_1_reported/{metric_name(name)}"
        metrics |= {key: score.pass_at_1, f"{key}_low": score.low, f"{key}_high": score.high}
    return metrics
