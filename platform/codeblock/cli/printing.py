"""What a finished run shows: the accounting of rows, the table of arms, where the files are and how to look at them."""

from __future__ import annotations

import errno
from pathlib import Path

from rich.markup import escape

from codeblock.core.console import console, lines, say
from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import places, store
from codeblock.evaluate import Benchmark, Settings, grade_samples_file
from codeblock.evaluate.formats import check_output, write_verdicts
from codeblock.experiment.differences import differences, nll_differences, write_differences
from codeblock.experiment.notes import notes
from codeblock.experiment.plan import Plan
from codeblock.experiment.results import Comparison, picked_by_arm, write_report
from codeblock.experiment.summary import by_arm
from codeblock.experiment.tracking import Tracked
from codeblock.report.differences import Differences, NllDifferences, differences_table, note
from codeblock.report.export import HOW, export
from codeblock.report.mlflow.view import shown_at
from codeblock.report.picked import picked_tables
from codeblock.report.table import arms_table

READ_ALONE = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of a storage of others, which this user may read and not write."""
SAMPLE_PAGES = 3
"""Pages of samples that are logged with each arm."""


def present_data(comparison: Comparison, until: str) -> None:
    """Print the outcome of a run that stopped before pass@1."""
    for line in (*comparison.rows_told(), comparison.languages()):
        say(line)
    if until in ("prepare", "score"):
        step = comparison.plan.segmented if until == "prepare" else comparison.plan.scored
        say(f"{step.stage}: {places.show(step.directory)}")
    else:
        _say_ranking(comparison)
        console.print(arms_table(comparison.rows))
        _print_picked(comparison)
        for line in notes(comparison.arms):
            say(line)


def present_comparison(comparison: Comparison, tracked: Tracked) -> None:
    """Print the table of arms, write the report, log both to MLflow unless the same results were logged before."""
    config = comparison.plan.config
    for line in (*comparison.rows_told(), comparison.languages()):
        say(line)
    _say_ranking(comparison)
    console.print(arms_table(comparison.rows))
    for line in comparison.findings:
        say(line)
    _print_picked(comparison)
    for line in notes(comparison.arms):
        say(line)
    report, uri = config.storage / config.name, tracked.tracker.uri
    if tracked.logged_before:
        say(f"report: {places.show(report)}; mlflow: {shown_at(uri, tracked.view)} (the same results were logged before)")
    else:
        from codeblock.experiment.inspect import write_samples  # brings torch and transformers

        files = write_report(comparison, report)
        shown = [seeds[0] for seeds in by_arm(comparison.arms).values() if seeds[0].selected]
        samples = {arm.plan.name: report / "samples" / arm.plan.name for arm in shown}
        for name, directory in samples.items():
            write_samples(comparison.plan, name, directory, count=SAMPLE_PAGES)
        store.put_tree(report)
        try:
            tracked.complete(comparison, files, samples)
        except CodeBlockError as error:
            later = "the same command logs them once MLflow answers, and computes nothing again"
            raise CodeBlockError(f"{error}; the results lie in {places.show(report)}: {later}") from error
        say(f"report: {places.show(report)} ({', '.join(path.name for path in files)}, samples)")
        say(f"mlflow: {shown_at(uri, tracked.view)}")
    say("open it with: codeblock ui" + ("" if str(config.storage) == "runs" else f" --storage {places.show(config.storage)}"))


def _say_ranking(comparison: Comparison) -> None:
    """The pool that shares are shares of, by what its pairs are ranked, and where that means little."""
    say(comparison.pool())
    say(f"pairs ranked by: {', '.join(comparison.ranked['by'])}")
    for warning in comparison.ranked["warnings"]:
        console.print(f"[bold yellow]note: ranking:[/bold yellow] {escape(warning)}", soft_wrap=True)


def _print_picked(comparison: Comparison) -> None:
    """What the arms that take whole items have picked; the report has it of every arm."""
    for table in picked_tables(picked_by_arm(comparison.arms, whole_items=True), console.width):
        console.print()
        console.print(table)


def present_grades(samples: Path, benchmark: Benchmark, settings: Settings, output: Path | None) -> None:
    """Grade a file of samples and print the result; write the verdicts where asked."""
    if output is not None:
        check_output(output, benchmark)
    with lines("grade"):
        result = grade_samples_file(samples, benchmark, settings)
    facts = result.facts()
    source = f" ({facts['provenance']})" if facts["provenance"] else ""
    say(f"{facts['benchmark']}: {facts['tasks']} tasks{source}, {facts['samples']} samples, {facts['programs']} programs")
    for k, rate in result.pass_at_k.items():
        low, high = result.interval(k)
        say(f"pass@{k} {rate:.4f}, 95% interval [{low:.4f}, {high:.4f}]")
    if "base_pass_at_1" in facts:
        say(f"base inputs alone: pass@1 {facts['base_pass_at_1']:.4f}")
    say("verdicts: " + ", ".join(f"{verdict} {count}" for verdict, count in facts["verdicts"].items()))
    for what in ("missing_tasks", "unknown_tasks", "missing_layers"):
        if facts[what]:
            say(f"{what.replace('_', ' ')}: {len(facts[what])} ({', '.join(facts[what][:5])})")
    if facts["not_run"]:
        packages = sorted({name for missing in facts["not_run"].values() for name in missing})
        say(f"not run: {len(facts['not_run'])} tasks, in no number, for want of {', '.join(packages[:8])}")
    for task, error in facts["reference_failures"].items():
        say(f"reference of {task} fails on this machine: {error}")
    if output is not None:
        write_verdicts(output, samples, benchmark, result)
        say(f"verdicts of each sample: {output}")


def present_export(selected: Path, output: Path, format_: str) -> None:
    """Write the masks in another trainer's format; say how it loads them."""
    written = export(selected, output, format_)
    say(f"{output}: {written['train']:,} training pairs in train/, {written['dev']:,} held-out ones in dev/ ({format_})")
    say(f"load them with: {HOW[format_].format(train=output / 'train')}")


def present_differences(plan: Plan, baseline: str | None) -> None:
    """Print each arm's difference to one of them, on the same tasks; write it beside the report."""
    found, nll = differences(plan, baseline), nll_differences(plan, baseline)
    if not found and not nll:
        say(f"{plan.arms[0].arm} is the only arm with results; there is nothing to hold it against")
        return
    every: list[Differences | NllDifferences] = [*found, *nll]
    for each in every:
        console.print(differences_table(each))
        say(note(each))
    try:
        files = write_differences(found, plan.config.storage / plan.config.name, nll)
    except OSError as error:
        if error.errno not in READ_ALONE:
            raise
        say(f"not written beside the report ({error.strerror})")
        return
    say(f"written: {', '.join(map(places.show, files))}")
