"""What a reader of the table of arms has to know about its selections and evaluations, one line each, nothing said twice.

Most strategies select the same with every seed, and the seeds then share one step: what is said of a step is said once, named
by the arm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from codeblock.core.records import EvaluatedRecord, SelectedRecord
from codeblock.evaluate.source import DIFFERS
from codeblock.experiment.results import ArmResult, pass_rates
from codeblock.experiment.summary import by_arm

PACKAGES_NAMED = 8


def notes(arms: Sequence[ArmResult]) -> list[str]:
    """The lines of all arms: their selections in order, then their evaluations."""
    return [*_selections(arms), *_evaluations(arms), *_references(arms)]


def name_of(chosen: Sequence[ArmResult], arms: Sequence[ArmResult]) -> str:
    """What some of `arms` are called together: an arm with all its seeds by its own name, else by those of its seeds."""
    every = by_arm(arms)
    names: list[str] = []
    for arm, seeds in by_arm(chosen).items():
        names += [arm] if len(seeds) == len(every[arm]) else [seed.plan.name for seed in seeds]
    return ", ".join(names)


def _selections(arms: Sequence[ArmResult]) -> Iterator[str]:
    shared: dict[str, list[ArmResult]] = {}
    for arm in arms:
        if arm.selected is not None and arm.plan.selected is not None:
            shared.setdefault(arm.plan.selected.key, []).append(arm)
    said: dict[str, set[str]] = {}  # kinds of warnings by arm
    for chosen in shared.values():
        facts, name = chosen[0].selected, name_of(chosen, arms)
        assert facts is not None
        new = any(arm.plan.arm not in said for arm in chosen)
        if new:
            yield from _of_selection(name, facts)
        known = set.intersection(*(said.setdefault(arm.plan.arm, set()) for arm in chosen))
        yield from (f"note: {name}: {warning}" for warning in facts["warnings"] if new or _kind(warning) not in known)
        for arm in chosen:
            said[arm.plan.arm].update(map(_kind, facts["warnings"]))


def _of_selection(name: str, facts: SelectedRecord) -> Iterator[str]:
    if changed := facts["rerank_changed_items"]:
        share = f"{facts['items_with_structure']:,} of {facts['items']:,} items have reach or bridge"
        yield f"rerank: {name}: {changed:,} selected items that utility alone would not select ({share})"
    spread = ", ".join(f"{percentile} {count}" for percentile, count in facts["supervised_tokens_per_pair"].items())
    yield f"masks: {name}: supervised tokens per supervised pair: {spread}"


def _kind(warning: str) -> str:
    """A warning without its numbers and the ids in brackets: what differs between seeds that have the same to say."""
    return re.sub(r"\([^)]*\)|[\d.,%]+", "", warning)


def _evaluations(arms: Sequence[ArmResult]) -> Iterator[str]:
    for benchmark in dict.fromkeys(name for arm in arms for name in arm.evaluated):
        asked = [arm for arm in arms if benchmark in arm.evaluated]
        yield from _rates(asked, benchmark)
        yield from _of_benchmark(asked, benchmark)
        yield from _truncated(asked, benchmark)


def _references(arms: Sequence[ArmResult]) -> Iterator[str]:
    """Tasks whose reference has no nll, by reason: the same for all arms, since the tokenizer is."""
    for benchmark in dict.fromkeys(name for arm in arms for name in arm.reference_nll):
        reasons = next(arm.reference_nll[benchmark]["reasons"] for arm in arms if benchmark in arm.reference_nll)
        for reason, count in reasons.items():
            yield f"note: {benchmark}: {count:,} tasks without a reference nll ({reason})"


def _rates(arms: Sequence[ArmResult], benchmark: str) -> Iterator[str]:
    for arm in arms:
        for k, (rate, low, high) in pass_rates(arm.evaluated[benchmark]).items():
            if k > 1:
                yield f"{arm.plan.name}, {benchmark}: pass@{k} {rate:.3f} [{low:.2f}, {high:.2f}]"


def _of_benchmark(arms: Sequence[ArmResult], benchmark: str) -> Iterator[str]:
    """What holds for a benchmark on this machine, with the names of the arms where it is not so for all of them."""
    lines: dict[str, list[ArmResult]] = {}
    for arm in arms:
        for line in _remarks(arm.evaluated[benchmark]):
            lines.setdefault(line, []).append(arm)
    for line, of in lines.items():
        place = benchmark if len(of) == len(arms) else f"{name_of(of, arms)}, {benchmark}"
        yield f"note: {place}: {line}"


def _remarks(facts: EvaluatedRecord) -> Iterator[str]:
    for task, error in facts["reference_failures"].items():
        yield f"the reference of {task} fails here ({error})"
    if facts["not_run"]:
        packages = sorted({name for missing in facts["not_run"].values() for name in missing})
        yield f"{len(facts['not_run'])} tasks not run for want of {', '.join(packages[:PACKAGES_NAMED])}"
    if facts["missing_layers"]:
        yield f"graded without layers of the sandbox: {'; '.join(facts['missing_layers'])}"
    if facts["provenance"].startswith(DIFFERS):
        yield f"its file {facts['provenance']}"


def _truncated(arms: Sequence[ArmResult], benchmark: str) -> Iterator[str]:
    """One line for each arm, its seeds added up."""
    for name, seeds in by_arm(arms).items():
        facts = [seed.evaluated[benchmark] for seed in seeds]
        if cut := sum(each["truncated"] for each in facts):
            samples = sum(each["samples"] for each in facts)
            yield f"note: {name}, {benchmark}: {cut:,} of {samples:,} answers were cut before they ended"
