"""What is said below the table of arms: once for each selection and machine, whatever the number of seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codeblock.core.config import SelectConfig, TrainConfig
from codeblock.experiment.arms import ArmPlan, Model, Round
from codeblock.experiment.cache import Step
from codeblock.experiment.notes import notes
from codeblock.experiment.results import ArmResult, in_order

SPREAD = {"p0": 1, "p10": 2, "p100": 9, "p25": 3}
UNSTOPPED = "{} pairs do not learn to stop (select.supervise_eos=false)"
SPENT = "{} tokens spent of 2,000 asked (50.0%): the strategy offers no more, or few pairs"


def arm(name: str, seed: int, seeds: int = 3, selection: str | None = None, warnings: list[str] | None = None) -> ArmResult:
    """One seed of an arm; `selection` is what its step is told apart by."""
    step = Step("selected", name, {"selection": selection or name}, Path("cache"))
    rounds = [Round({}, step, step, Model("model", None, ""), TrainConfig(), (0, 1))]
    label = f"{name} seed {seed}" if seeds > 1 else name
    found = ArmResult(ArmPlan(name, seed, label, name, SelectConfig(), rounds, {}, {}))
    found.add_selected(
        {
            "pool_pairs": 10,
            "kept_pairs": 2,
            "supervised_tokens": 10,
            "kept_tokens": 20,
            "picked": {},
            "rerank_changed_items": 3 if name == "codeblock" else 0,
            "items_with_structure": 1200,
            "items": 3400,
            "supervised_tokens_per_pair": SPREAD,
            "warnings": warnings or [],
        }
    )
    return found


def graded(**facts: Any) -> dict[str, Any]:
    usual = {"pass_at_1": 0.5, "low": 0.4, "high": 0.6, "reference_failures": {}, "not_run": {}, "missing_layers": []}
    return {**usual, "provenance": "", "truncated": 0, "samples": 1000, **facts}


def test_percentiles_are_ordered_by_their_numbers() -> None:
    assert list(in_order(SPREAD)) == ["p0", "p10", "p25", "p100"]
    assert list((arm("full", 0).selected or {})["supervised_tokens_per_pair"]) == ["p0", "p10", "p25", "p100"]


def test_a_selection_that_all_seeds_share_is_told_once_under_the_name_of_the_arm() -> None:
    arms = [arm("codeblock", seed, warnings=[UNSTOPPED.format(4)]) for seed in range(3)]
    assert notes(arms) == [
        "rerank: codeblock: 3 selected items that utility alone would not select (1,200 of 3,400 items have reach or bridge)",
        "masks: codeblock: supervised tokens per supervised pair: p0 1, p10 2, p25 3, p100 9",
        "note: codeblock: 4 pairs do not learn to stop (select.supervise_eos=false)",
    ]


def test_arms_that_share_a_selection_are_named_together() -> None:
    arms = [arm("full", 0, 1, "same"), arm("again", 0, 1, "same")]
    assert notes(arms) == ["masks: full, again: supervised tokens per supervised pair: p0 1, p10 2, p25 3, p100 9"]


def test_of_a_strategy_that_draws_the_first_seed_is_told_and_what_is_new_with_others() -> None:
    """Seed 1 warns of the same with other numbers, seed 2 of something else too."""
    warnings = [[UNSTOPPED.format(4)], [UNSTOPPED.format("1,005")], [UNSTOPPED.format(6), SPENT.format("1,000")]]
    arms = [arm("random_items", seed, selection=f"random {seed}", warnings=warnings[seed]) for seed in range(3)]
    assert notes(arms) == [
        "masks: random_items seed 0: supervised tokens per supervised pair: p0 1, p10 2, p25 3, p100 9",
        "note: random_items seed 0: 4 pairs do not learn to stop (select.supervise_eos=false)",
        "note: random_items seed 2: 1,000 tokens spent of 2,000 asked (50.0%): the strategy offers no more, or few pairs",
    ]


def test_what_holds_for_a_benchmark_is_told_once_and_cut_answers_once_for_each_arm() -> None:
    arms = [arm(name, seed, 2) for name in ("full", "codeblock") for seed in range(2)]
    for number, each in enumerate(arms):
        each.evaluated["mbpp"] = graded(truncated=number, not_run={"a": ["pandas"], "b": ["numpy", "pandas"]})
    arms[3].evaluated["mbpp"]["missing_layers"] = ["seccomp"]
    assert notes(arms)[3:] == [
        "note: mbpp: 2 tasks not run for want of numpy, pandas",
        "note: codeblock seed 1, mbpp: graded without layers of the sandbox: seccomp",
        "note: full, mbpp: 1 of 2,000 answers were cut before they ended",
        "note: codeblock, mbpp: 5 of 2,000 answers were cut before they ended",
    ]


def test_rates_of_several_samples_are_told_for_each_seed() -> None:
    arms = [arm("full", seed, 2) for seed in range(2)]
    for each in arms:
        each.evaluated["mbpp"] = graded(pass_at_10=0.75, pass_at_10_interval=(0.7, 0.8))
    assert notes(arms)[1:] == [f"full seed {seed}, mbpp: pass@10 0.750 [0.70, 0.80]" for seed in range(2)]


def test_tasks_without_a_reference_nll_are_told_once_with_their_reason() -> None:
    arms = [arm("full", seed) for seed in range(2)]
    for each in arms:
        each.reference_nll = {"humaneval": {"reasons": {"longer_than_context": 3}}, "mbpp": {"reasons": {}}}
    assert notes(arms)[-1] == "note: humaneval: 3 tasks without a reference nll (longer_than_context)"
    assert sum("reference nll" in line for line in notes(arms)) == 1
