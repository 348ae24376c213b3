"""What a run found out: counts of rows, the facts of each arm, the table and the plots."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar, cast

from codeblock.core.errors import CodeBlockError
from codeblock.core.records import (
    EvaluatedRecord,
    FilteredRecord,
    NllRecord,
    PairsRecord,
    RankedRecord,
    RoleCounts,
    ScoredRecord,
    SegmentedRecord,
    SelectedRecord,
    TokenizedRecord,
    TrainedRecord,
)
from codeblock.core.schema import FILTERED
from codeblock.core.storage.tables import read_part, write_text
from codeblock.data.read.files import sources_of
from codeblock.evaluate.result import PASS_AT
from codeblock.evaluate.stored_nll import read_reference_nll
from codeblock.experiment.arm_cost import ArmCost, costs_of
from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.differences import against_controls, differences, nll_differences, write_differences
from codeblock.experiment.plan import Plan
from codeblock.experiment.summary import arm_row, by_arm, mean_rows
from codeblock.report.cost import cost_markdown
from codeblock.report.findings import findings
from codeblock.report.picked import picked_markdown
from codeblock.report.table import ArmRow, arms_markdown
from codeblock.selection import get_strategy

Facts = dict[str, Any]
R = TypeVar("R", bound=Mapping[str, Any])

SELECTED_SUMS = (
    "kept_pairs",
    "supervised_pairs",
    "unsupervised_pairs",
    "supervised_tokens",
    "asked_tokens",
    "supervised_share",
    "asked_share",
    "subset_ratio",
    "asked_subset_ratio",
    "subset_tokens_share",
    "kept_tokens",
    "items",
    "items_with_structure",
    "items_left_out",
    "rerank_changed_items",
    "warnings",
)
TRAINED_SUMS = ("processed_tokens", "supervised_tokens", "train_seconds", "pairs", "dropped_pairs")
"""What adds up over the rounds of an arm."""


@dataclass
class ArmResult:
    """The facts of one arm's steps, as far as they ran."""

    plan: ArmPlan
    selected: SelectedRecord | None = None
    trained: TrainedRecord | None = None
    evaluated: dict[str, EvaluatedRecord] = field(default_factory=dict)
    reference_nll: dict[str, NllRecord] = field(default_factory=dict)

    def add_selected(self, facts: SelectedRecord) -> None:
        """Facts of one round's selection, added to those of the rounds before."""
        before, added = self.selected, _added(self.selected, facts, SELECTED_SUMS)
        self.selected = cast(
            SelectedRecord,
            {
                **added,
                "inside_share": added["supervised_tokens"] / added["kept_tokens"],
                "below_subset_ratio": added["pool_pairs"] - added["kept_pairs"],
                "supervised_tokens_per_pair": in_order(added["supervised_tokens_per_pair"]),
                "picked": sum_picked(each["picked"] for each in (before, facts) if each is not None),
            },
        )

    def add_trained(self, facts: Mapping[str, Any]) -> None:
        """Facts of one round's fit, added to those of the rounds before."""
        self.trained = _added(self.trained, cast(TrainedRecord, facts), TRAINED_SUMS)

    def table(self, name: str) -> list[dict[str, Any]]:
        """A table that training wrote (`history` or `dev`), empty for an arm without training."""
        if self.plan.trained is None or self.trained is None:
            return []
        return list(read_part(self.plan.trained.directory / f"{name}.parquet").to_pylist())


def _added(before: R | None, facts: R, sums: tuple[str, ...]) -> R:
    if before is None:
        return facts
    return cast(R, {**facts, **{key: before[key] + facts[key] for key in sums if facts.get(key) is not None}})


def in_order(percentiles: Mapping[str, int]) -> dict[str, int]:
    """`p0`, `p10`, `p100`, `p25` ... by their numbers: the facts of older runs have them by the alphabet."""
    return dict(sorted(percentiles.items(), key=lambda each: int(each[0].removeprefix("p"))))


@dataclass
class Comparison:
    """Everything that one run found out."""

    plan: Plan
    pairs: PairsRecord = field(default_factory=lambda: cast(PairsRecord, {}))
    filtered: FilteredRecord = field(default_factory=lambda: cast(FilteredRecord, {}))
    tokenized: TokenizedRecord = field(default_factory=lambda: cast(TokenizedRecord, {}))
    segmented: SegmentedRecord = field(default_factory=lambda: cast(SegmentedRecord, {}))
    ranked: RankedRecord = field(default_factory=lambda: cast(RankedRecord, {}))
    scored: ScoredRecord = field(default_factory=lambda: cast(ScoredRecord, {}))
    arms: list[ArmResult] = field(default_factory=list)
    untrained_nll: dict[str, NllRecord] = field(default_factory=dict)

    @property
    def rows(self) -> list[ArmRow]:
        """The rows of the table of arms, means over the seeds of each."""
        return [arm_row(name, seeds, self.untrained, self._tflops(seeds)) for name, seeds in by_arm(self.arms).items()]

    @property
    def seed_rows(self) -> list[ArmRow]:
        """A row for each arm and seed."""
        return [arm_row(arm.plan.name, [arm], self.untrained, self._tflops([arm])) for arm in self.arms]

    @cached_property
    def untrained(self) -> dict[str, dict[str, float]]:
        """Reference nll of the untrained model by benchmark and task, as far as it was measured."""
        return {name: read_reference_nll(self.plan.untrained_nll[name].directory) for name in self.untrained_nll}

    @cached_property
    def findings(self) -> list[str]:
        """What the table of arms shows of the method against each control, and what it does not: one line each."""
        return findings(against_controls(self.plan))

    @cached_property
    def costs(self) -> dict[str, ArmCost]:
        """What each arm and seed has cost, by its label."""
        return costs_of(self.plan, [arm.plan for arm in self.arms])

    def mean_costs(self) -> dict[str, Facts]:
        """The numbers of `ArmCost.facts` by arm, means over seeds; one that a seed lacks is left out."""
        found = {}
        for name, seeds in by_arm(self.arms).items():
            facts = [self.costs[seed.plan.name].facts() for seed in seeds]
            found[name] = {key: fmean(each[key] for each in facts) for key in facts[0] if all(key in each for each in facts)}
        return found

    def _tflops(self, seeds: Sequence[ArmResult]) -> list[float | None]:
        if not all(seed.trained for seed in seeds):
            return []
        return [self.costs[seed.plan.name].facts().get("total_tflops") for seed in seeds]

    @property
    def reasons(self) -> Counter[str]:
        """Why rows left before selection, by reason."""
        stages = (self.pairs, self.filtered, self.tokenized, self.segmented)
        return sum((Counter(facts.get("reasons", {})) for facts in stages), Counter())

    def accounting(self) -> str:
        """One line in which read = kept + rejected + filtered."""
        reasons = self.reasons
        filtered = sum(count for reason, count in reasons.items() if reason in FILTERED)
        rejected = sum(reasons.values()) - filtered
        read, kept = self.pairs["read"], self.segmented["kept"]
        if read != kept + rejected + filtered:
            raise CodeBlockError(f"rows were lost: {read} read, {kept} kept, {rejected} rejected, {filtered} filtered")
        detail = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
        line = f"rows: {read:,} read = {kept:,} kept + {rejected:,} rejected + {filtered:,} filtered"
        line = f"{line} ({detail})" if detail else line
        if failed := self.filtered.get("rating_failed"):
            line += f"; {failed:,} of {self.filtered['rating_asked']:,} ratings failed, these pairs rank without one"
        return line

    def pool(self) -> str:
        """One line with the pool before and after the hard filters, which the shares are shares of."""
        ranked = self.ranked
        before, after = self.pairs["response_bytes"], self.segmented["response_bytes"]
        return (
            f"pool: {self.pairs['kept']:,} distinct pairs read ({before / 1e6:.1f} MB of responses); "
            f"shares are of the {ranked['pool_pairs']:,} after the hard filters ({ranked['pool_tokens']:,} response tokens, "
            f"{after / before:.0%} of the bytes)"
        )

    def datasets(self) -> str | None:
        """One line with the rows of each data set that was read and kept; None where there is only one."""
        read: Facts = self.pairs["datasets"]
        if len(read) < 2:
            return None
        kept = self.segmented["datasets"]
        names = [str(source.name) for source in sources_of(self.plan.config.pairs)]
        return "data sets: " + ", ".join(f"{name} {kept.get(name, 0):,} kept of {read[name]['read']:,}" for name in names)

    def rows_told(self) -> list[str]:
        """Where the rows went, in all and by data set: one line each."""
        return [*(line for line in (self.accounting(), self.datasets()) if line is not None), *self._unread()]

    def _unread(self) -> list[str]:
        """A line for each column that was left unread though its name says that it belongs to a pair."""
        notes: dict[str, dict[str, int]] = self.pairs.get("notes", {})
        return [f"note: {name}: {count:,} rows: {why}" for name, told in notes.items() for why, count in told.items()]

    def languages(self) -> str:
        """One line with the language of the kept pairs' code, and how it was found."""
        found = ", ".join(f"{name} {count:,}" for name, count in self.segmented["languages"].items())
        how = ", ".join(f"{name} {count:,}" for name, count in self.segmented["language_from"].items())
        return f"code: {found} (language by {how})"


def require_pairs(comparison: Comparison) -> None:
    """Raise CodeBlockError, with the filters that took them, where no pair is left."""
    if comparison.segmented["kept"]:
        return
    path = ", ".join(source.path for source in sources_of(comparison.plan.config.pairs))
    reasons = comparison.reasons
    if not reasons:
        raise CodeBlockError(f"pairs.path={path}: no rows there")
    told = ", ".join(f"{reason} took {count}" for reason, count in reasons.most_common())
    raise CodeBlockError(f"pairs.path={path}: no pair is left of {comparison.pairs['read']} rows ({told})")


def write_report(comparison: Comparison, directory: Path) -> list[Path]:
    """Tables, facts and plots as files of a directory; returns their paths."""
    # Here, for matplotlib takes half a second to import, and a plan draws nothing.
    from codeblock.report.plots import plot_dev_nll, plot_loss, plot_picked, plot_share_against_pass
    from codeblock.report.tradeoff import plot_tradeoff

    directory.mkdir(parents=True, exist_ok=True)
    rows = comparison.rows
    costs = {name: cost.facts() for name, cost in comparison.costs.items()}
    facts = [{**_facts(arm), "cost": costs[arm.plan.name]} for arm in comparison.arms]
    texts = {
        "arms.md": "\n".join([arms_tables(comparison), *comparison.rows_told(), comparison.pool(), ""]),
        "arms.json": json.dumps(facts, indent=2),
        "arms_cost.md": cost_markdown(comparison.mean_costs()),
        "arms_cost.json": json.dumps(costs, indent=2),
    }
    for name, text in texts.items():
        write_text(directory / name, text)
    files = [directory / name for name in texts]
    if picked := picked_by_arm(comparison.arms):
        write_text(directory / "picked.md", picked_markdown(picked))
        files += [directory / "picked.md", plot_picked(picked, directory / "picked.png")]
    trained = by_arm([arm for arm in comparison.arms if arm.trained])
    if trained:
        losses = {name: [seed.table("history") for seed in seeds] for name, seeds in trained.items()}
        means = {name: mean_rows(tables, ["step"], "loss") for name, tables in losses.items()}
        files.append(plot_loss(means, directory / "loss.png"))
    kinds = ["step", "token_class", "supervised"]
    looks = {name: mean_rows([seed.table("dev") for seed in seeds], kinds, "nll") for name, seeds in trained.items()}
    if dev := {name: table for name, table in looks.items() if table}:
        files.append(plot_dev_nll(dev, directory / "dev_nll.png"))
    for benchmark in comparison.plan.config.evaluate.benchmarks if trained else ():
        files.append(plot_tradeoff(rows, benchmark, directory / f"tradeoff_{benchmark}.png"))
        if any(benchmark in row.scores for row in rows):
            files.append(plot_share_against_pass(rows, benchmark, directory / f"share_against_pass_{benchmark}.png"))
    found, nll = differences(comparison.plan), nll_differences(comparison.plan)
    if found or nll:
        files += write_differences(found, directory, nll)
    return files


def picked_by_arm(arms: Sequence[ArmResult], whole_items: bool = False) -> Mapping[str, RoleCounts]:
    """What each arm that selects has picked, its seeds together; `whole_items`: of the arms that take whole items by rank."""
    picked: dict[str, list[RoleCounts]] = {}
    for arm in arms:
        if arm.selected and arm.plan.strategy and (not whole_items or _ranks_items(arm.plan.strategy)):
            picked.setdefault(arm.plan.arm, []).append(arm.selected["picked"])
    return {name: sum_picked(counts) for name, counts in picked.items()}


def sum_picked(counts: Iterable[RoleCounts]) -> RoleCounts:
    """What several selections have picked together, by role."""
    picked: dict[str, Counter[str]] = {}
    for each in counts:
        for role, tokens in each.items():
            picked.setdefault(role, Counter()).update(tokens)
    return {role: dict(tokens) for role, tokens in picked.items()}


def _ranks_items(strategy: str) -> bool:
    rule = get_strategy(strategy)
    return rule.whole_items and rule.budgeted


def arms_tables(comparison: Comparison) -> str:
    """The table of arms, what it shows, and below them the table of their seeds where there are several."""
    text = "\n".join([arms_markdown(comparison.rows), *(f"{line}\n" for line in comparison.findings)])
    several = any(row.seeds > 1 for row in comparison.rows)
    return f"{text}\nBy seed:\n\n{arms_markdown(comparison.seed_rows)}" if several else text


def pass_rates(facts: Mapping[str, Any]) -> dict[int, tuple[float, float, float]]:
    """pass@k of a graded benchmark, with the ends of its 95% interval, for each k that its samples allow."""
    more = {k: (facts[f"pass_at_{k}"], *facts[f"pass_at_{k}_interval"]) for k in PASS_AT[1:] if f"pass_at_{k}" in facts}
    return {1: (facts["pass_at_1"], facts["low"], facts["high"]), **more}


def _facts(arm: ArmResult) -> Facts:
    return {
        "arm": arm.plan.arm,
        "seed": arm.plan.seed,
        "label": arm.plan.name,
        "strategy": arm.plan.strategy,
        "selected": arm.selected,
        "trained": arm.trained,
        "evaluated": arm.evaluated,
        "reference_nll": arm.reference_nll,
        "steps": {step.label: step.directory.name for step in arm.plan.steps()},
    }
